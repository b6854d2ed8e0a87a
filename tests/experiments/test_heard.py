"""What is heard in clips: each measure on clips of which it is known, and librosa's onsets."""

import librosa
import numpy as np
import pytest

from ddim_from_scratch.audio import log_mel
from ddim_from_scratch.experiments.heard import DECIBELS, beat_regularity, heard, memorises, nearest, onset_strength
from ddim_from_scratch.spectrogram.data import Scaler


def test_variance_spread_and_difference_are_those_of_gaussian_clips(rng):
    scaler = Scaler(np.linspace(-5, 0, 128, dtype=np.float32), np.full(128, 2, np.float32))
    loudness = rng.standard_normal((400, 1, 1))
    still = scaler.restore(0.5 * loudness + np.zeros((1, 64, 128)))
    found = heard(still.astype(np.float32), scaler)
    spread = 0.5 * loudness.std()
    assert (found["spread"], found["variance"]) == pytest.approx((spread, spread**2), rel=1e-3)
    assert found["difference"] == found["grain"] == found["onsets"] == found["beat"] == 0
    restless = scaler.restore(0.5 * rng.standard_normal((20, 64, 128))).astype(np.float32)
    found = heard(restless, scaler)
    assert found["variance"] == pytest.approx(0.25, rel=0.02) and found["spread"] < 0.02
    assert found["difference"] == pytest.approx(0.5 * 2 / np.pi**0.5, rel=0.02)  # E |a - b| of unit Gaussians
    assert found["grain"] == pytest.approx(0.5 * 2 * 0.6745, rel=0.02)  # a sum of four; a Gaussian's median is 0.6745


def test_onset_strength_and_autocorrelation_are_librosas(rng):
    clip = log_mel(rng.standard_normal(32000).astype(np.float32) * (rng.random(32000) < 0.001))
    theirs = librosa.onset.onset_strength(S=DECIBELS * clip.T, center=False, detrend=False)
    np.testing.assert_allclose(onset_strength(clip), theirs[1:], rtol=1e-4, atol=1e-4)
    centred = theirs[1:] - theirs[1:].mean()
    of_lag = librosa.autocorrelate(centred) / np.arange(len(centred), 0, -1)
    best = (of_lag[14 : len(centred) // 2 + 1] / of_lag[0]).max()  # 14 frames: 210 beats a minute
    assert beat_regularity(onset_strength(clip)) == pytest.approx(max(best, 0), rel=1e-3)


def test_a_metronome_has_a_beat_and_chance_has_none(rng):
    samples = np.arange(5 * 16000)
    metronome = np.where(samples % 8000 < 400, np.sin(samples), 0).astype(np.float32)  # 120 beats a minute
    scattered = np.zeros_like(metronome)
    for start in rng.integers(0, len(samples) - 400, 10):
        scattered[start : start + 400] = np.sin(samples[:400])
    beats = [beat_regularity(onset_strength(log_mel(sound))) for sound in (metronome, scattered)]
    assert beats[0] > 0.9 and beats[1] < 0.5


def test_nearest_tells_memorising_from_music(rng):
    centres = rng.standard_normal((6, 8))
    music = [centre + 0.01 * rng.standard_normal((3, 8)) for centre in np.repeat(centres, 2, axis=0)]
    tracks, copies = np.repeat(np.arange(6), 2), [clip + 0.1 for clip in music]
    copied = nearest(music, tracks, [clip - 0.1 for clip in music], copies)
    assert copied["generated"] == pytest.approx(copied["copies"], rel=0.1) and copied["copies"] < 0.3 * copied["real"]
    assert memorises(copied)
    new = nearest(music, tracks, music[:2] + [rng.standard_normal((3, 8)) for _ in range(6)], copies)
    assert new["real"] == copied["real"] and not memorises(new)
    assert nearest(music[:2], tracks[:2], music, copies) is None and not memorises(None)
