"""New sound in a recording that otherwise stays as it is."""

import numpy as np
import pytest
import soundfile

from ddim_from_scratch.audio import load_audio
from ddim_from_scratch.audio.splice import FADE_SECONDS, Recording, rms


@pytest.fixture(params=[(16000, 1, "PCM_16"), (44100, 2, "PCM_24"), (48000, 6, "FLOAT"), (22050, 2, "PCM_U8")])
def recording(request, tmp_path, rng):
    """Ten seconds; each channel has a level of its own."""
    rate, channels, subtype = request.param
    samples = 0.2 * rng.standard_normal((10 * rate, channels)) / np.arange(1, channels + 1)
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype=subtype)
    return Recording.read(tmp_path / "a.wav")


@pytest.mark.parametrize(("start", "stop"), [(4, 6), (0, 2), (8, 10), (10, 13)])
def test_outside_the_gap_every_sample_is_the_files_own_and_inside_is_as_loud(recording, start, stop, tmp_path, rng):
    begins = max(start - 1, 0)
    sound = 0.03 * rng.standard_normal((stop + 1 - begins) * 16000).astype(np.float32)
    out = recording.spliced(sound, begins, start, stop)
    assert out.shape == (max(stop, 10) * recording.rate, recording.samples.shape[1])
    recording.write(tmp_path / "b.wav", out)
    read, rate = soundfile.read(tmp_path / "b.wav", dtype="float32", always_2d=True)
    a, b, fade = start * rate, stop * rate, round(FADE_SECONDS * rate)
    assert rate == recording.rate
    np.testing.assert_array_equal(read[: max(a - fade, 0)], recording.samples[: max(a - fade, 0)])
    np.testing.assert_array_equal(read[b + fade :], recording.samples[b + fade :])
    within = rms(read[a + fade : b - fade]) / rms(recording.samples)
    np.testing.assert_allclose(within, 0.98, atol=0.1)  # the new sound has nothing above 8 kHz, but is as loud


def test_a_seam_is_a_cross_fade_of_equal_power(rng):
    """Steps from one sample to the next are no larger at a seam than elsewhere."""
    t = np.arange(4 * 16000) / 16000
    own = Recording(np.sin(2 * np.pi * 100 * t)[:, None].astype(np.float32) / 2, 16000, "PCM_16")
    new = np.sin(2 * np.pi * 130 * t + 1).astype(np.float32) / 2
    out = own.spliced(new, 0, 1, 2)[:, 0]
    assert np.abs(np.diff(out)).max() < 1.5 * np.abs(np.diff(new)).max()


def test_what_is_added_is_not_louder_than_full_scale(rng):
    own = Recording((0.9 * np.sign(rng.standard_normal((32000, 1)))).astype(np.float32), 16000, "PCM_16")
    new = np.zeros(32000, np.float32)
    new[::100] = 0.5
    assert np.abs(own.spliced(new, 0, 0.5, 1.5)[9000:23000]).max() <= 1
    quiet = own.spliced(np.zeros(32000, np.float32), 0, 0.5, 1.5)
    assert np.isfinite(quiet).all() and not quiet[9000:23000].any()


def test_a_file_whose_own_samples_cannot_be_had_is_kept_as_mono(tmp_path, monkeypatch, rng):
    samples = (0.1 * rng.standard_normal(32000)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    monkeypatch.setattr("ddim_from_scratch.audio.splice.load_audio", lambda path: samples[:20000])
    recording = Recording.read(tmp_path / "a.wav")
    assert recording.samples.shape == (20000, 1) and recording.rate == 16000
    assert len(load_audio(tmp_path / "a.wav")) == 32000
