"""Where sampling starts: x_T has the mean and the covariance that training had at the noisiest time."""

from dataclasses import replace

import numpy as np
import pytest

from ddim_from_scratch.diffusion import q_sample
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.data import COMPONENTS, Scaler, Windows
from ddim_from_scratch.spectrogram.model import Model

FRAMES = 32
CONFIG = Config(data="x", window_seconds=0.64, widths=(4, 4), min_signal_rate=0.195, max_signal_rate=0.933)


@pytest.fixture
def windows(rng):
    """Windows of three outlines in varying shares, and noise."""
    outlines = np.array([3.0, 2.0, 1.0])[:, None, None] * rng.standard_normal((3, FRAMES, 128))
    shares = rng.standard_normal((200, 3))
    tracks = [np.tensordot(share, outlines, 1) + 0.5 * rng.standard_normal((FRAMES, 128)) - 4 for share in shares]
    starts = np.stack([np.arange(200), np.zeros(200, int)], axis=1)
    return Windows([track.astype(np.float32) for track in tracks], starts, FRAMES, [])


@pytest.fixture
def model(windows):
    scaler = windows.scaler()
    return Model({}, CONFIG, replace(scaler, outline=windows.outline(scaler)))


def rngs(n, first=0):
    return [np.random.default_rng(seed) for seed in range(first, first + n)]


def test_a_start_has_the_variances_of_noised_windows_along_every_direction(windows, model, rng):
    kept, standardised = model.scaler.outline, model.scaler.standardise(windows.take(range(len(windows))))
    assert kept.shape == (1 + COMPONENTS, FRAMES, 128) and kept.dtype == np.float32
    drawn = model.start(FRAMES, rngs(400)).reshape(400, -1)
    eps = rng.standard_normal(standardised.shape, dtype=np.float32)
    trained = q_sample(standardised, float(model.alpha_bar[-1]), eps).reshape(200, -1)
    assert drawn.dtype == np.float32
    assert drawn.var() == pytest.approx(trained.var(), rel=0.01)
    directions = np.linalg.svd(standardised.reshape(200, -1), full_matrices=False)[2][:3]
    expected, found = (np.var(x @ directions.T, axis=0) for x in (trained, drawn))
    assert expected.min() > 10  # noise has 1
    np.testing.assert_allclose(found, expected, rtol=0.35)  # standard errors: 7 % of 400 draws, 10 % of 200 windows


@pytest.mark.parametrize("length", [FRAMES, FRAMES - 1])
def test_a_longer_start_is_several_outlines_that_fade_into_each_other(length, rng):
    outline = np.concatenate([np.full((1, length, 128), 5), 0.9 * np.ones((1, length, 128))]).astype(np.float32)
    scaler, frames = Scaler(np.zeros(128), np.ones(128), outline), 3 * FRAMES - 5
    x, none = np.zeros((4000, frames, 128), np.float32), np.zeros(frames, bool)
    drawn = scaler.draw_outlines([np.random.default_rng(seed) for seed in range(4000)], x, none)[..., 0]
    assert drawn.shape == (4000, frames) and drawn.dtype == np.float32
    np.testing.assert_allclose(drawn.var(axis=0), 0.81, rtol=0.12)  # a standard error is 2.2 %
    np.testing.assert_allclose(drawn.mean(axis=0), 5, atol=0.08)
    assert abs(np.diff(drawn)).max() < 0.6  # independent ones side by side differ by up to 6
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, -1])[0, 1]) < 0.08


def test_a_start_goes_on_from_what_is_known(windows, model):
    """A window of its first half: the outline's rest is nearer to the window's than another's is."""
    x, known = model.scaler.standardise(windows.take()), np.arange(FRAMES) < FRAMES // 2
    drawn = model.scaler.draw_outlines(rngs(len(x)), x, known)[:, ~known]
    errors = [np.square(drawn - other[:, ~known]).mean() for other in (x, np.roll(x, 1, axis=0))]
    assert errors[0] < 1.3 * model.scaler.white and errors[1] > 1.5


def test_a_start_does_not_depend_on_the_others(model):
    together = model.start(FRAMES, rngs(3))
    for i in range(3):
        np.testing.assert_array_equal(model.start(FRAMES, rngs(1, i))[0], together[i])


def test_a_run_without_an_outline_starts_from_noise():
    model = Model({}, CONFIG, Scaler(np.zeros(128, np.float32), np.ones(128, np.float32)))
    noise = np.random.default_rng(0).standard_normal((FRAMES, 128, 1), dtype=np.float32)
    np.testing.assert_array_equal(model.start(FRAMES, rngs(1))[0], noise)
