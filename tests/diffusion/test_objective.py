"""The objective: what the losses mean whatever is predicted, the gradient, and what a network that says 0 scores."""

import numpy as np
import pytest

from ddim_from_scratch.diffusion import PREDICTIONS, SCHEDULES, Schedule, T, loss_of_zero, losses, noisy, predict_x0


@pytest.fixture
def example(rng):
    return noisy(rng.standard_normal((6, 5, 4)), Schedule(), rng)


def test_every_row_has_a_level_and_noise_of_its_own(example):
    assert len(set(example.alpha_bar)) == 6
    np.testing.assert_allclose(predict_x0(example.x_t, example.alpha_bar, example.eps), example.x0, atol=1e-10)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_noise_loss_is_that_of_eps_whatever_is_predicted(prediction, example, rng):
    target = PREDICTIONS[prediction].target(example.x0, example.alpha_bar, example.eps)
    noise_loss, reconstruction_loss, d_output = losses(target, example, prediction)
    assert noise_loss == pytest.approx(0, abs=1e-20) and reconstruction_loss == pytest.approx(0, abs=1e-20)
    output = target + rng.standard_normal(target.shape)
    eps_pred = PREDICTIONS[prediction].eps(example.x_t, example.alpha_bar, output)
    x0_pred = predict_x0(example.x_t, example.alpha_bar, eps_pred)
    noise_loss, reconstruction_loss, d_output = losses(output, example, prediction)
    assert noise_loss == pytest.approx(((eps_pred - example.eps) ** 2).mean())
    assert reconstruction_loss == pytest.approx(((x0_pred - example.x0) ** 2).mean())
    direction = rng.standard_normal(output.shape)
    trained = [((output + h * direction - target) ** 2).mean() for h in (1e-6, -1e-6)]
    assert (d_output * direction).sum() == pytest.approx((trained[0] - trained[1]) / 2e-6, rel=1e-6)


@pytest.mark.parametrize(("prediction", "loss"), [("eps", 1.0), ("v", 0.381)])
def test_what_a_network_that_says_nothing_scores(prediction, loss):
    """For v it is the mean of alpha_bar: eps_pred = sqrt(1 - alpha_bar) x_t."""
    assert loss_of_zero(Schedule(), prediction) == pytest.approx(loss, rel=0.02)


@pytest.mark.parametrize("name", SCHEDULES)
def test_what_a_network_is_told_tells_levels_apart(name):
    schedule = Schedule(name, 0.003, 0.95)
    told = schedule.told(schedule.alpha_bar[1:])
    assert told[-1] == pytest.approx(1, abs=1e-4) and np.all(np.diff(told) > 0)
    if name == "log-snr":
        np.testing.assert_allclose(told, (1 + np.arange(1, T + 1) / T) / 2, rtol=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_draws_levels_of_its_table(name, rng):
    schedule = Schedule(name, 0.1, 0.9)
    levels = schedule.draw(5000, rng)
    assert schedule.alpha_bar.shape == (T + 1,) and schedule.alpha_bar[0] == 1
    if schedule.continuous:
        times = np.interp(levels, schedule.alpha_bar[:0:-1], np.arange(T, 0, -1))
        np.testing.assert_allclose(schedule.at(times), levels, atol=1e-3)
    else:
        times = np.searchsorted(-schedule.alpha_bar, -levels)
        np.testing.assert_array_equal(schedule.alpha_bar[times], levels)
        assert times.min() >= 1
    assert times.mean() == pytest.approx(T / 2, abs=4 * T / 12**0.5 / 5000**0.5)
