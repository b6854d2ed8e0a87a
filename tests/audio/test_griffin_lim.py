"""Griffin-Lim: the sound that comes out has the spectrogram that went in."""

import numpy as np
import pytest
import soxr

from ddim_from_scratch.audio import griffin_lim, log_mel, plain_griffin_lim
from ddim_from_scratch.audio.synth import GENRES, SR, TUNES, play, score


@pytest.fixture(scope="module")
def music() -> np.ndarray:
    """The log-mels (3, 100, 128) of two seconds of each genre of the embedded music."""
    rng = np.random.default_rng(0)
    notes = score(TUNES["Ode to Joy (Beethoven)"], held=False)
    tracks = [play(notes, genre, 0, 100, rng)[: 2 * SR] for genre in GENRES]
    return np.stack([log_mel(soxr.resample(track, SR, 16000)[:32000]) for track in tracks])


def error(target: np.ndarray, samples: np.ndarray) -> float:
    return float(np.mean([np.abs(log_mel(x) - m) for x, m in zip(samples, target, strict=True)]))


def test_error_falls_with_iterations_and_momentum_helps(music):
    errors = [error(music, plain_griffin_lim(music, iterations=n)) for n in (0, 8, 64)]
    assert errors[0] > 2 * errors[1] > 3 * errors[2]
    assert errors[2] < 0.2
    assert errors[2] < 0.8 * error(music, plain_griffin_lim(music, momentum=0))


def test_integrated_phases_are_the_better_start(music):
    for n, gain in ((0, 0.7), (64, 0.95)):
        assert error(music, griffin_lim(music, n)) < gain * error(music, plain_griffin_lim(music, n))


def test_batch_equals_single(music):
    for invert in (griffin_lim, plain_griffin_lim):
        together = invert(music, iterations=3)
        assert together.shape == (3, 100 * 320)
        assert together.dtype == np.float32
        for m, x in zip(music, together, strict=True):
            np.testing.assert_allclose(invert(m, iterations=3), x, atol=1e-5)


def test_seed_decides(music):
    m = music[0]
    for invert in (griffin_lim, plain_griffin_lim):
        np.testing.assert_array_equal(invert(m, 2), invert(m, 2))
        np.testing.assert_array_equal(invert(m, 2, rng=5), invert(m, 2, rng=np.random.default_rng(5)))
        assert not np.allclose(invert(m, 2, rng=5), invert(m, 2))


def test_silence_stays_silent():
    for invert in (griffin_lim, plain_griffin_lim):
        assert np.abs(invert(np.full((20, 128), np.log(1e-5), np.float32))).max() < 1e-5


@pytest.mark.parametrize("value", [-1000.0, 4.0, 1000.0])
def test_any_finite_input_gives_finite_sound(value):
    """What an untrained model may draw; the range is clipped as log_mel's is."""
    assert np.isfinite(griffin_lim(np.full((5, 128), value))).all()


def test_no_click_at_the_start(music):
    """The first samples are seen by one window's first values only, ~ 0, which must not be divided by."""
    for x in (*griffin_lim(music, iterations=16), *plain_griffin_lim(music, iterations=16)):
        assert np.abs(x[:40]).max() < 2 * np.abs(x).max() / 3


@pytest.mark.parametrize(
    ("log_mel", "message"),
    [
        (np.zeros((128, 100)), r"shape \(128, 100\)"),
        (np.zeros(128), r"shape \(128,\)"),
        (np.zeros((0, 128)), r"shape \(0, 128\)"),
        (np.full((3, 128), np.nan), "NaN"),
    ],
)
def test_errors_say_what_was_given(log_mel, message):
    with pytest.raises(ValueError, match=message):
        griffin_lim(log_mel)


@pytest.mark.parametrize("momentum", [-1, -0.01, 1, np.inf, np.nan])
def test_a_momentum_that_does_not_converge_is_refused(momentum):
    with pytest.raises(ValueError, match=f"momentum is {momentum}"):
        griffin_lim(np.zeros((3, 128)), momentum=momentum)
    with pytest.raises(ValueError, match="iterations is -1"):
        griffin_lim(np.zeros((3, 128)), iterations=-1)
