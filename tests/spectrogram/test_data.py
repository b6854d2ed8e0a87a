"""Windows of recordings: which are cut, what is skipped, and the statistics they are standardised with."""

import os

import numpy as np
import pytest
import soundfile

from ddim_from_scratch.audio import load_audio, log_mel
from ddim_from_scratch.runtime.backend import threads
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.spectrogram.compose import read_log_mel
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.data import LOG_MIN, augmented, load_windows


def config(folder, **options):
    return Config(data=str(folder), window_seconds=0.64, window_hop_seconds=0.2, widths=(4, 4, 4), **options)


@pytest.fixture
def recordings(tmp_path, rng):
    for name, seconds in (("a/b/long.wav", 3.0), ("a/short.flac", 1.0)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        loudness = 0.05 * np.exp(np.sin(3 * np.arange(int(seconds * 16000)) / 16000))  # as music's, it changes
        soundfile.write(tmp_path / name, loudness * rng.standard_normal(len(loudness)), 16000)
    return tmp_path


def log_mel_of(path):
    """As `load_windows` makes it, with one thread of BLAS: on some processors two round otherwise."""
    with threads():
        return log_mel(load_audio(path))


def test_windows_are_slices_of_each_tracks_log_mel(recordings):
    windows = load_windows(config(recordings))
    track = log_mel_of(recordings / "a/b/long.wav")
    assert windows.frames == 32
    assert windows.starts.tolist() == [[0, s] for s in range(0, 150 - 31, 10)] + [[1, 0], [1, 10]]
    np.testing.assert_array_equal(windows.take([3])[0], track[30:62])


def test_before_a_window_is_what_precedes_it_in_its_track(recordings):
    windows = load_windows(config(recordings))
    track = log_mel_of(recordings / "a/b/long.wav")
    for past, start in zip(windows.some([0, 2, 5, 12]).before(), (0, 20, 50, 0), strict=True):
        np.testing.assert_array_equal(past, track[max(start - 32, 0) : start])


def test_the_sound_of_windows_has_their_log_mel(recordings):
    windows = load_windows(config(recordings))
    chosen = [13, 3]
    sound = windows.sound(chosen)
    assert sound.shape == (2, 32 * 320)
    # Their last frame looks beyond the window.
    for samples, expected in zip(sound, windows.take(chosen), strict=True):
        np.testing.assert_allclose(log_mel(samples)[:-1], expected[:-1], atol=1e-4)


def test_limit_counts_recordings_that_can_be_used(recordings, capsys):
    (recordings / "a/a.wav").write_bytes(b"RIFF")
    soundfile.write(recordings / "a/aa.wav", np.ones(100), 16000)
    assert [path.name for path in load_windows(config(recordings, limit=1)).paths] == ["long.wav"]
    assert "unusable: 2 (a.wav, aa.wav); beyond --limit: 1 (short.flac)" in capsys.readouterr().err


def test_a_full_band_recording_stays_in_range_of_narrow_ones_and_is_warned_of(tmp_path, rng, capsys):
    """Nothing above 4 kHz was trained on: bins had a deviation of 0.001, another recording was 14 748 away."""
    for name, band in (("narrow/0", 2), ("narrow/1", 2), ("wide", 1)):
        spectrum = np.fft.rfft(rng.standard_normal(6 * 16000))
        spectrum[len(spectrum) // band :] = 0
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * np.fft.irfft(spectrum), 16000)
    windows = load_windows(config(tmp_path / "narrow"))
    scaler, wide = windows.scaler(), log_mel_of(tmp_path / "wide.wav")
    assert 6 < abs(scaler.standardise(wide)).max() < 12
    capsys.readouterr()
    read_log_mel(tmp_path / "wide.wav", scaler)
    assert f"{tmp_path / 'wide.wav'} is unlike the training music" in capsys.readouterr().err
    for track in windows.tracks:
        assert scaler.unusual(track) is None
    np.testing.assert_allclose(scaler.restore(scaler.standardise(wide)), wide, atol=1e-4)


def test_standardised_windows_have_zero_mean_and_unit_variance(recordings):
    windows = load_windows(config(recordings))
    scaler = windows.scaler()
    x = scaler.standardise(windows.take(range(len(windows))))
    np.testing.assert_allclose(x.mean(axis=(0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(x.std(axis=(0, 1)), 1, atol=1e-4)
    assert x.dtype == np.float32
    log_mels = windows.take(range(len(windows)))
    np.testing.assert_allclose(scaler.restore(x), log_mels, atol=1e-4)
    np.testing.assert_array_equal(scaler.limits, [log_mels.min(axis=(0, 1)), log_mels.max(axis=(0, 1))])


def test_one_standardisation_for_all_bins_keeps_their_differences(recordings):
    windows = load_windows(config(recordings))
    scaler = windows.scaler("global")
    every = windows.take(range(len(windows)))
    x = scaler.standardise(every)
    assert x.mean() == pytest.approx(0, abs=1e-4) and x.std() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(scaler.mean, every.mean(), rtol=1e-5)
    assert len(set(scaler.std)) == 1 and scaler.std.shape == (128,)


def test_random_crops_are_windows_of_the_same_tracks_from_any_frame_on(recordings):
    windows = load_windows(config(recordings))
    indices = np.arange(len(windows)).repeat(200)
    crops = windows.some(indices, np.random.default_rng(0))
    np.testing.assert_array_equal(crops.starts[:, 0], windows.starts[indices, 0])
    for t, track in enumerate(windows.tracks):
        assert set(crops.starts[crops.starts[:, 0] == t, 1]) == set(range(len(track) - windows.frames + 1))
    np.testing.assert_array_equal(windows.some([3]).take([0]), windows.take([3]))


def test_augmented_windows_are_louder_softer_or_two_at_once_and_silence_stays_silent(recordings):
    windows = load_windows(config(recordings))
    log_mels = np.tile(windows.take([3]), (400, 1, 1))
    log_mels[:, 5] = LOG_MIN
    assert augmented(log_mels, windows, "none", np.random.default_rng(0)) is log_mels
    gain = (augmented(log_mels, windows, "gain", np.random.default_rng(0)) - log_mels).astype(np.float64)
    assert gain.dtype == np.float64 and (gain[:, 5] == 0).all()
    decibels = 20 / np.log(10) * gain[:, 7]
    np.testing.assert_allclose(decibels, decibels[:, :1].repeat(128, axis=1), atol=1e-3)
    assert -6 <= decibels.min() < -5.9 and 5.9 < decibels.max() <= 6
    mix = augmented(log_mels, windows, "mix", np.random.default_rng(0))
    assert mix.dtype == np.float32 and mix.min() >= LOG_MIN
    mixed = (mix != log_mels).any(axis=(1, 2))
    assert mixed.mean() == pytest.approx(0.5, abs=0.08)
    assert (mix[mixed, 5] > LOG_MIN).any()  # the other window sounds there
    quieter = log_mels[mixed] - 6 * np.log(10) / 20 - 1e-4
    assert (mix[mixed] >= quieter).all()  # a sum of magnitudes is no less than either


def test_restore_stays_within_the_contract(recordings):
    scaler = load_windows(config(recordings)).scaler()
    wild = scaler.restore(np.array([[-1e9] * 128, [1e9] * 128], np.float32))
    np.testing.assert_allclose(wild[:, 0], np.log([1e-5, 1e8]), rtol=1e-6)


def test_unusable_tracks_are_skipped_and_named(recordings, capsys):
    (recordings / "empty.wav").write_bytes(b"")
    (recordings / "text.mp3").write_text("not audio")
    whole = (recordings / "a/b/long.wav").read_bytes()
    (recordings / "cut.wav").write_bytes(whole[: len(whole) // 2])
    soundfile.write(recordings / "silent.wav", np.zeros(32000), 16000)
    soundfile.write(recordings / "brief.wav", np.ones(1000), 16000)
    soundfile.write(recordings / "nan.wav", np.full(32000, np.nan, np.float32), 16000, subtype="FLOAT")
    assert len(load_windows(config(recordings)).tracks) == 2
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    for name in ("empty.wav", "text.mp3", "cut.wav", "silent.wav", "brief.wav", "nan.wav"):
        assert sum(name in line for line in warnings) == 1


def test_one_line_says_what_is_used_and_what_is_left_out(recordings, capsys):
    (recordings / "empty.wav").touch()
    (recordings / "._x.wav").write_bytes(b"\0\5\x16\7")
    (recordings / "y.m4a").touch()
    (recordings / "z.wav").write_bytes((recordings / "a/b/long.wav").read_bytes())
    load_windows(config(recordings, limit=3, windows_per_track=2))
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == (
        f"{recordings}: 2 recordings used, the first 2 s of 4 s (see --windows-per-track); left out: "
        "hidden: 1 (._x.wav); .m4a, which must be converted to FLAC or WAV: 1 (y.m4a); copies: 1 (z.wav); "
        "unusable: 1 (empty.wav)"
    )
    load_windows(config(recordings, limit=2, hold_out=0.5))
    line = capsys.readouterr().err.splitlines()[-1]
    assert "1 recording used" in line and "1 held out" in line and "beyond --limit: 1 (empty.wav)" in line


def test_an_unreadable_file_does_not_stop_the_search_for_copies(recordings, monkeypatch, capsys):
    """As root, permissions do not hold: opening fails."""
    whole = (recordings / "a/b/long.wav").read_bytes()
    for name in ("locked.wav", "z.wav"):
        (recordings / name).write_bytes(whole)
    opened = os.open

    def locked(path, *arguments, **options):
        if str(path).endswith("locked.wav"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", locked)
    assert [path.name for path in load_windows(config(recordings)).paths] == ["long.wav", "short.flac"]
    err = capsys.readouterr().err
    assert "z.wav is a copy of" in err and "locked.wav cannot be opened (Permission denied)" in err


@pytest.mark.parametrize("content", ["absent", "nothing", "no audio", "silence"])
def test_a_folder_without_music_is_an_error(content, tmp_path):
    folder = tmp_path / content
    if content != "absent":
        folder.mkdir()
    if content == "no audio":
        (folder / "notes.txt").write_text("")
    if content == "silence":
        soundfile.write(folder / "silent.wav", np.zeros(32000), 16000)
    with pytest.raises(UserError, match=str(folder)):
        load_windows(config(folder))
