"""Recordings of every kind come in alike; what cannot be used is named, with a remedy, in one line."""

import contextlib
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from ddim_from_scratch.audio import AudioError, find_audio, full_scale, load_audio, wav, write_wav

T = np.arange(44100) / 44100
STEREO = np.stack([0.5 * np.sin(2 * np.pi * 440 * T), 0.3 * np.sin(2 * np.pi * 440 * T)], axis=1)


@pytest.mark.parametrize(("suffix", "tolerance"), [("wav", 1e-3), ("flac", 1e-3), ("ogg", 0.03), ("mp3", 0.03)])
def test_every_format_becomes_mono_16_khz(tmp_path, suffix, tolerance):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, STEREO, 44100)
    x = load_audio(path)
    assert x.dtype == np.float32
    assert abs(len(x) - 16000) <= 1
    expected = 0.4 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)  # the channels' mean
    np.testing.assert_allclose(x[200:-200], expected[200:-200], atol=tolerance)


def test_no_resampling_at_the_same_rate(tmp_path):
    x = np.random.default_rng(0).uniform(-1, 1, 999).astype(np.float32)
    soundfile.write(tmp_path / "x.wav", x, 16000, subtype="FLOAT")
    np.testing.assert_array_equal(load_audio(tmp_path / "x.wav"), x)


def test_write_wav_rounds(tmp_path):
    path = tmp_path / "x.wav"
    write_wav(path, np.array([-1.0, 0.0, 0.25, 1.0]))
    pcm, rate = soundfile.read(path, dtype="int16")
    assert rate == 16000
    np.testing.assert_array_equal(pcm, [-32767, 0, 8192, 32767])
    assert list(tmp_path.iterdir()) == [path]


def test_a_clip_louder_than_full_scale_gets_one_gain_and_that_is_said_once(tmp_path, capsys):
    wav._say_once.cache_clear()
    loud = np.array([-3.0, 0.0, 1.5, -0.75], np.float32)
    for _ in range(2):
        write_wav(tmp_path / "x.wav", loud)
        np.testing.assert_allclose(load_audio(tmp_path / "x.wav"), loud / 3, atol=1e-4)
    assert capsys.readouterr().err.count("full scale") == 1
    quiet = np.array([-1, 0.5], np.float32)
    assert full_scale(quiet) is quiet and full_scale(loud).dtype == np.float32


def test_write_wav_refuses_nan_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "x.wav"
    write_wav(path, np.ones(10))
    with pytest.raises(ValueError, match="finite"):
        write_wav(path, np.array([np.nan]))
    assert len(load_audio(path)) == 10
    assert list(tmp_path.iterdir()) == [path]


def test_find_audio_looks_into_folders(tmp_path):
    for name in ("b/2.WAV", "a/deep/1.flac", "3.Mp3", "a/x.ogg", "notes.txt", "a/cover.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "folder.wav").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in find_audio(tmp_path)]
    assert found == ["3.Mp3", "a/deep/1.flac", "a/x.ogg", "b/2.WAV"]
    with pytest.raises(AudioError, match="nowhere"):
        find_audio(tmp_path / "nowhere")


def make_bad(folder, kind):
    path = folder / f"{kind}.wav"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("not a sound " * 50)
    elif kind == "folder":
        path.mkdir()
    elif kind in ("truncated", "header only"):
        soundfile.write(path, STEREO, 44100)
        path.write_bytes(path.read_bytes()[: 5000 if kind == "truncated" else 44])
    elif kind == "no samples":
        soundfile.write(path, np.zeros(0), 44100)
    elif kind in ("nan", "inf"):
        soundfile.write(path, np.array([0.0, float(kind), 0.0]), 16000, subtype="FLOAT")
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "does not exist"),
        ("empty", "0 bytes"),
        ("text", "not audio"),
        ("folder", "cannot be opened"),
        ("truncated", "cut short"),
        ("header only", "cut short"),
        ("no samples", "no samples"),
        ("nan", "NaN or infinite"),
        ("inf", "NaN or infinite"),
    ],
)
def test_a_bad_file_is_named_in_one_line(tmp_path, kind, message):
    path = make_bad(tmp_path, kind)
    with pytest.raises(AudioError, match=message) as caught:
        load_audio(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert text.split(": ")[-1]  # the remedy


def test_a_truncated_flac_is_named(tmp_path):
    path = tmp_path / "x.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 44100), 44100)
    path.write_bytes(path.read_bytes()[:40000])
    with pytest.raises(AudioError, match=r"x\.flac"):
        load_audio(path)


def test_a_streamed_wav_has_no_size_and_is_read_to_its_end(tmp_path):
    path = tmp_path / "stream.wav"
    pcm = np.arange(1000, dtype="<i2")
    size = 0xFFFFFFFF
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", size, b"WAVE", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16, b"data", size
    )
    path.write_bytes(header + pcm.tobytes())
    assert len(load_audio(path)) == 1000


FIRST_FILES_OF_THREE_THREADS = """
import gc, inspect, linecache, sys, threading, time
from ddim_from_scratch.audio import load_audio

def pause(phase, info):  # a garbage collection in the middle of soundfile's calls to C lets the other threads run
    frame = inspect.currentframe().f_back
    if frame and "_snd." in linecache.getline(frame.f_code.co_filename, frame.f_lineno):
        time.sleep(0.05)

def read(path):
    gc.set_threshold(1)  # collect at every second new object: `offset` decides at which
    kept.extend([] for _ in range(offset))
    load_audio(path)

kept, offset = [], int(sys.argv[1])
gc.callbacks.append(pause)
readers = [threading.Thread(target=read, args=(path,)) for path in sys.argv[2:]]
for reader in readers:
    reader.start()
for reader in readers:
    reader.join()
"""


@pytest.mark.parametrize("offset", [1, 2, 3])
def test_first_files_read_by_several_threads_do_not_abort_the_process(offset, recordings):
    command = [sys.executable, "-c", FIRST_FILES_OF_THREE_THREADS, str(offset), *find_audio(recordings)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_no_c_function_waits_for_its_first_call(tmp_path, monkeypatch):
    """`libsndfile` calls all that reading, writing and failing need."""
    called = set()

    class Library:
        def __getattr__(self, name):
            called.add(name)
            return getattr(library, name)

    library = soundfile._snd
    for suffix in ("wav", "flac", "ogg", "mp3"):
        soundfile.write(tmp_path / f"x.{suffix}", STEREO, 44100)
    (tmp_path / "bad.wav").write_bytes(b"RIFF1234WAVE")
    monkeypatch.setattr(soundfile, "_snd", Library())
    wav._soundfile.cache_clear()
    wav.libsndfile()
    at_first = set(called)
    for path in find_audio(tmp_path):
        with contextlib.suppress(AudioError):
            load_audio(path)
    write_wav(tmp_path / "y.wav", T)
    assert called == at_first
