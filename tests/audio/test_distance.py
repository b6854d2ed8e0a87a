"""Distances from a recording: zero, one, and blind to phases that nobody hears."""

import numpy as np
import pytest

from ddim_from_scratch.audio.distance import WINDOWS, distances_from_recordings, spectral_distances


@pytest.fixture
def noise(rng):
    return rng.standard_normal(16000)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_gain_is_its_distance(noise, window):
    """Twice as loud: || 2R - R || = || R ||, and ln 2 everywhere. Upside down is the same sound."""
    np.testing.assert_allclose(spectral_distances(2 * noise, noise, window), (1, np.log(2)), rtol=1e-9)
    np.testing.assert_allclose(spectral_distances(-noise, noise, window), 0, atol=1e-9)


def test_short_windows_see_attacks_and_long_ones_pitch():
    """Two clicks moved by 4 ms, and a tone that is 5 Hz sharp: each is wrong at the window that can tell."""
    clicks, late = np.zeros(16000), np.zeros(16000)
    clicks[4000::4000], late[4064::4000] = 1, 1
    t = 2 * np.pi * np.arange(16000) / 16000
    attack = [spectral_distances(late, clicks, window)[0] for window in WINDOWS]
    pitch = [spectral_distances(np.sin(445 * t), np.sin(440 * t), window)[0] for window in WINDOWS]
    assert attack[0] > 2 * attack[2] and pitch[2] > 5 * pitch[0]


def test_clips_are_averaged(noise):
    found = distances_from_recordings(np.stack([noise, 3 * noise]), np.stack([noise, noise]))
    assert set(found) == {f"{name}_{window}" for name in ("sc", "lm") for window in WINDOWS}
    assert found["sc_256"] == pytest.approx(1) and found["lm_4096"] == pytest.approx(np.log(3) / 2)


def test_silence_is_finite(noise):
    assert np.isfinite([spectral_distances(noise, 0 * noise, 256), spectral_distances(0 * noise, noise, 256)]).all()


def test_lengths_must_agree(noise):
    with pytest.raises(ValueError, match=r"\(15999,\) and recording \(16000,\)"):
        spectral_distances(noise[:-1], noise, 256)
