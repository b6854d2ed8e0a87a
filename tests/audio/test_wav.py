"""Recordings of every kind come in alike; what cannot be used is named, with a remedy, in one line."""

import contextlib
import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ddim_from_scratch.audio import AudioError, find_audio, full_scale, load_audio, log_mel, wav, write_wav
from ddim_from_scratch.runtime import errors

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


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_write_wav_rounds(tmp_path, dtype):
    path = tmp_path / "x.wav"
    write_wav(path, np.array([-1.0, 0.0, 0.25, 1.0], dtype))
    pcm, rate = soundfile.read(path, dtype="int16")
    assert rate == 16000
    np.testing.assert_array_equal(pcm, [-32767, 0, 8192, 32767])
    assert list(tmp_path.iterdir()) == [path]


def test_a_clip_louder_than_full_scale_gets_one_gain_and_that_is_said_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(errors, "_said", set())
    loud = np.array([-3.0, 0.0, 1.5, -0.75], np.float32)
    for _ in range(2):
        write_wav(tmp_path / "x.wav", loud)
        np.testing.assert_allclose(load_audio(tmp_path / "x.wav"), loud / 3, atol=1e-4)
    assert capsys.readouterr().err.count("full scale") == 1
    np.testing.assert_allclose(full_scale(np.array([1000, 5, -1.0])), [1, 0.5, -0.1])  # a burst
    quiet = np.array([-1, 0.5], np.float32)
    assert full_scale(quiet) is quiet and full_scale(loud).dtype == np.float32


def test_write_wav_refuses_nan_and_integers_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "x.wav"
    write_wav(path, np.ones(10))
    with pytest.raises(ValueError, match="finite"):
        write_wav(path, np.array([np.nan]))
    with pytest.raises(ValueError, match="samples are int16, not float"):
        write_wav(path, np.array([9000, -9000], np.int16))
    assert len(load_audio(path)) == 10
    assert list(tmp_path.iterdir()) == [path]


def test_find_audio_looks_into_folders_and_behind_links_once(tmp_path):
    music = tmp_path / "music"
    for name in ("b/2.WAV", "a/deep/1.flac", "3.Mp3", "a/x.ogg", "notes.txt", "a/cover.jpg", "../outside/1.wav"):
        (music / name).parent.mkdir(parents=True, exist_ok=True)
        (music / name).touch()
    (music / "folder.wav").mkdir()
    (music / "linked").symlink_to(tmp_path / "outside")
    (music / "later").symlink_to(music / "a")
    (music / "a/loop").symlink_to(music)
    (tmp_path / "outside/loop").symlink_to(tmp_path / "outside/loop")
    found = [path.relative_to(music).as_posix() for path in find_audio(music)]
    assert found == ["3.Mp3", "a/deep/1.flac", "a/x.ogg", "b/2.WAV", "linked/1.wav"]
    with pytest.raises(AudioError, match="nowhere"):
        find_audio(tmp_path / "nowhere")


N = 20_000  # samples at 16 kHz
X = 0.2 * np.sin(np.arange(N) * 0.05) + 0.02 * np.random.default_rng(0).standard_normal(N)
PCM = (X * 32767).astype("<i2").tobytes()


def sound_bytes(kind, x=X, sr=16000, **options):
    memory = io.BytesIO()
    soundfile.write(memory, x, sr, format=kind, **options)
    return memory.getvalue()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (Path.touch, "0 bytes"),
        (Path.mkdir, "cannot be opened"),
        (lambda path: path.write_bytes(sound_bytes("WAV")[:44]), "cut short"),
        (lambda path: path.write_bytes(sound_bytes("WAV", np.zeros(0))), "no samples"),
        (lambda path: path.write_bytes(wav_bytes(0, b"LIST\4\0\0\0INFO")), "no samples"),  # metadata are not played
        (lambda path: path.write_bytes(doubles(np.nan)), "NaN or infinite"),
        (lambda path: path.write_bytes(doubles(np.inf)), "NaN or infinite"),
        (lambda path: path.write_bytes(doubles(1e300)), "infinite"),
        (lambda path: path.write_bytes(doubles(3e38)), r"3e\+38"),
    ],
)
def test_a_bad_file_is_named_in_one_line(make, message, tmp_path):
    path = tmp_path / "a.wav"
    make(path)
    with pytest.raises(AudioError, match=message) as caught:
        load_audio(path)
    assert str(path) in str(caught.value) and str(caught.value).split(": ")[-1]  # the remedy


def doubles(value):
    return sound_bytes("WAV", np.full(N, value), subtype="DOUBLE")


def wav_bytes(size, data=PCM, magic=b"RIFF"):
    order = ">" if magic == b"RIFX" else "<"
    data = np.frombuffer(data, "<i2").astype(order + "i2").tobytes()
    head = struct.pack(order + "4sI4s4sIHHIIHH", magic, 36, b"WAVE", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16)
    return head + struct.pack(order + "4sI", b"data", size) + data


def with_size(kind, mark, skip, size, **options):
    """A sound file with other bytes `skip` after a mark."""
    data = bytearray(sound_bytes(kind, **options))
    at = data.index(mark) + skip
    data[at : at + len(size)] = size
    return bytes(data)


def without_length(flac):
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


TAG = b"TAG" + bytes(125)  # ID3v1
ID3 = b"ID3\4\0\0\0\0\x10\0" + bytes(2048)
APE = bytes(100) + b"APETAGEX" + struct.pack("<4I", 2000, 132, 1, 0) + bytes(8)


@pytest.mark.parametrize(
    "data",
    [
        *(wav_bytes(size) for size in (0, 0x7FFF0000, 0x7FFFF000, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)),
        wav_bytes(0, magic=b"RIFX"),
        wav_bytes(len(PCM)) + b"LIST" + struct.pack("<I", 6000) + bytes(6000),
        with_size("RF64", b"ds64", 16, bytes(8)),
        sound_bytes("RF64").replace(b"RF64", b"BW64", 1),
        with_size("W64", b"data\xf3", 16, bytes(8)),
        sound_bytes("W64") + bytes(64),
        with_size("AIFF", b"SSND", 4, bytes(4)),
        with_size("CAF", b"data", 4, bytes(8)),
        with_size("CAF", b"data", 4, b"\xff" * 8),
        with_size("AU", b".snd", 8, bytes(4)),
        with_size("AU", b".snd", 8, b"\xff" * 4),
        without_length(sound_bytes("FLAC")),
        without_length(sound_bytes("FLAC")) + TAG,
        with_size("FLAC", b"fLaC", 22, struct.pack(">I", 500)),
        ID3 + sound_bytes("FLAC") + bytes(9000),
        ID3 + ID3 + sound_bytes("MP3") + TAG,
        bytes(3000) + sound_bytes("MP3") + APE,
        with_size("MP3", b"Xing", 8, struct.pack(">I", 5)),
        sound_bytes("OGG", subtype="OPUS"),
    ],
)
def test_every_sample_is_read_whatever_the_header_says(tmp_path, data, capsys):
    (tmp_path / "x").write_bytes(data)
    x = load_audio(tmp_path / "x")
    assert len(x) == N
    assert np.corrcoef(x, X)[0, 1] > 0.99
    assert not capsys.readouterr().err


@pytest.mark.parametrize("header", ["none", "VBRI"])
def test_an_mp3_of_variable_bit_rate_is_as_long_as_its_frames(tmp_path, header):
    loud = 0.3 * np.random.default_rng(0).standard_normal(480_000)
    loud[144_000:] = 0.3 * np.sin(np.arange(336_000) * 0.05)
    data = sound_bytes("MP3", loud, 48_000, bitrate_mode="VARIABLE")
    frames = data.find(b"\xff\xfb", data.find(b"Xing"))
    vbri = data[:36] + struct.pack(">4sHHHII", b"VBRI", 1, 0, 0, 0, 418)
    (tmp_path / "x.mp3").write_bytes((vbri.ljust(frames, b"\0") if header == "VBRI" else b"") + data[frames:])
    x = load_audio(tmp_path / "x.mp3")
    assert abs(len(x) - 160_000) < 2 * 1152  # an encoder's delay and padding: nothing states them
    assert x[100_000:150_000].std() == pytest.approx(0.3 / np.sqrt(2), rel=0.01)


@pytest.mark.parametrize("kind", ["WAV", "RF64", "W64", "AIFF", "CAF", "AU", "FLAC", "OGG", "MP3"])
def test_streams_that_follow_each_other_are_all_read(tmp_path, kind):
    (tmp_path / "x").write_bytes(sound_bytes(kind) + sound_bytes(kind, X.repeat(3), 48_000))
    x = load_audio(tmp_path / "x")
    assert abs(len(x) - 2 * N) <= 1
    assert np.corrcoef(x[N : 2 * N - 1], X[:-1])[0, 1] > 0.95


@pytest.mark.parametrize("kind", ["WAV", "RF64", "W64", "AIFF", "SVX", "CAF", "AU", "FLAC", "OGG", "MP3"])
def test_a_cut_file_of_every_container_is_an_error(tmp_path, kind):
    data = sound_bytes(kind)
    (tmp_path / "x").write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(AudioError, match=r"cut short.*: copy it again"):
        load_audio(tmp_path / "x")


@pytest.mark.parametrize(
    ("data", "n", "said"),
    [
        (wav_bytes(len(PCM) + 16), N, "40000 of 40016 bytes"),
        (sound_bytes("AIFF")[:-10], N - 5, "of 40000 bytes"),
        (sound_bytes("CAF")[:-10], N - 5, "of 40000 bytes"),
        (with_size("AU", b".snd", 8, struct.pack(">I", 1000)), N, "states 1000 bytes of sound and holds 40000"),
        (wav_bytes(1000), N, "states 1000 bytes of sound and holds 40000"),
        (wav_bytes(len(PCM)) + bytes(5000), N, "5000 bytes after the sound"),
    ],
)
def test_a_few_missing_bytes_and_bytes_too_many_are_warned_of_once(tmp_path, data, n, said, capsys):
    (tmp_path / "x").write_bytes(data)
    assert len(load_audio(tmp_path / "x")) == len(load_audio(tmp_path / "x")) == n
    err = capsys.readouterr().err
    assert err.count("warning") == 1 and str(tmp_path / "x") in err and said in err


@pytest.mark.parametrize("kind", ["VOC", "NIST", "IRCAM", "PAF", "AVR", "MAT5", "PVF", "SD2"])
def test_a_container_whose_end_is_not_checked_is_refused(tmp_path, kind):
    (tmp_path / "x.wav").write_bytes(sound_bytes(kind) if kind != "SD2" else bytes(range(256)) * 50)
    with pytest.raises(AudioError, match=r"x\.wav .*(no WAV, AIFF, .*|text): (replace it, or )?convert it to WAV"):
        load_audio(tmp_path / "x.wav")


def test_junk_after_a_joined_header_keeps_the_first_stream(tmp_path, capsys):
    (tmp_path / "x.wav").write_bytes(sound_bytes("WAV") + b"RIFF\0\0\0\0AVI ")
    assert len(load_audio(tmp_path / "x.wav")) == N
    assert "stream 2 of 2 in one file is left out: " in capsys.readouterr().err


def test_floats_of_the_size_of_integers_are_named(tmp_path, capsys):
    soundfile.write(tmp_path / "x.wav", X * 32767, 16000, subtype="FLOAT")
    load_audio(tmp_path / "x.wav")
    assert "x.wav has samples of" in capsys.readouterr().err
    soundfile.write(tmp_path / "y.wav", X * 8, 16000, subtype="FLOAT")
    load_audio(tmp_path / "y.wav")
    assert not capsys.readouterr().err


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "MP3"])
def test_channels_that_cancel_each_other_are_an_error(tmp_path, kind):
    (tmp_path / "x").write_bytes(sound_bytes(kind, np.stack([X, -X], axis=1)))
    with pytest.raises(AudioError, match="2 channels cancel each other"):
        load_audio(tmp_path / "x")
    (tmp_path / "y").write_bytes(sound_bytes(kind, np.stack([X, np.zeros(N)], axis=1)))
    assert load_audio(tmp_path / "y").std() == pytest.approx(X.std() / 2, rel=0.05)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0\0\0\x20ftypM4A " + bytes(100), "M4A"),
        (b"<!DOCTYPE html><title>404</title>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        ("Grüße".encode(), "text"),
        (("text " * 30).encode("utf-16"), "text"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"PK\x03\x04" + bytes(50), "ZIP"),
        (b"\xff\xf1\x50\x80" + bytes(range(256)), "AAC"),
        (b"\x00\x05\x16\x07" + bytes(100), "resource fork"),
        (bytes(9000), "nothing but zeros"),
    ],
)
def test_a_file_of_another_kind_is_called_that(tmp_path, data, kind):
    (tmp_path / "x.wav").write_bytes(data)
    with pytest.raises(AudioError, match=rf"x\.wav is not audio that can be read, but .*{kind}.*: convert it"):
        load_audio(tmp_path / "x.wav")


def test_memory_follows_what_is_kept_and_not_what_a_file_unpacks_to(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "x.flac", np.zeros((655_350, 2), np.int16), 655_350)
    assert len(load_audio(tmp_path / "x.flac")) == 16000
    (tmp_path / "y.flac").write_bytes(without_length((tmp_path / "x.flac").read_bytes()))
    monkeypatch.setattr(wav, "MOST_NUMBERS", 1_000_000)
    for name, said in (("x.flac", "2 x 655350 samples a second"), ("y.flac", "2 x 655350")):
        with pytest.raises(AudioError, match=rf"{name}.*{said}"):
            load_audio(tmp_path / name)


@pytest.mark.parametrize("name", [b"caf\xe9.wav", b"a\nb\x1b[31m.wav"])
def test_a_strange_name_is_read_and_printed_harmlessly(tmp_path, name):
    path = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
    soundfile.write(open(path, "wb"), X, 16000, format="WAV")  # noqa: SIM115
    assert find_audio(tmp_path) == [Path(path)]
    assert log_mel(load_audio(path)).shape[1] == 128
    with open(path, "wb"):
        pass
    with pytest.raises(AudioError, match="is empty") as caught:
        load_audio(path)
    assert str(caught.value).isprintable()


def test_what_a_folder_leaves_out_is_counted_and_named(tmp_path, monkeypatch, capsys):
    for name in ("a.OPUS", "b.oga", "c.AifC", "._a.wav", ".hidden/d.wav", "e.M4A", "f.wma", "cover.jpg", ".DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "broken.wav").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "private").mkdir()
    listing = os.scandir

    def scandir(path):  # as root, permissions do not hold
        if os.path.basename(path) == "private":
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [path.name for path in find_audio(tmp_path)] == ["a.OPUS", "b.oga", "c.AifC"]
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and f"{tmp_path}: 3 usable" in err
    for said in (
        "hidden: 2 (._a.wav, d.wav)",
        ".m4a, which must be converted to FLAC or WAV: 1 (e.M4A)",
        ".wma, which must be converted to FLAC or WAV: 1 (f.wma)",
        "broken links or no regular files: 2 (broken.wav, pipe.wav)",
        "folders that cannot be opened: 1 (private)",
    ):
        assert said in err
    assert "jpg" not in err


def test_no_c_function_waits_for_its_first_call(tmp_path, monkeypatch):
    """`libsndfile` calls all that reading, writing and failing need: first calls in two threads abort the process."""
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
