"""Noise schedules against the papers' numbers, and the walks through them."""

import numpy as np
import pytest
from helpers import last
from hypothesis import given
from hypothesis import strategies as st

from ddim_from_scratch.diffusion import SCHEDULES as REGISTRY
from ddim_from_scratch.diffusion import (
    SPACINGS,
    Sampling,
    Schedule,
    T,
    alpha_bar_of_log_snr,
    continuous_cosine_schedule,
    cosine_schedule,
    ddim,
    linear_schedule,
    log_snr,
    log_snr_schedule,
    log_snr_tau,
    quadratic_tau,
    uniform_tau,
)

SCHEDULES = [linear_schedule, cosine_schedule, continuous_cosine_schedule, log_snr_schedule]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("T", [1, 10, 1000])
def test_alpha_bar_falls_from_one(schedule, T):
    alpha_bar = schedule(T)
    assert alpha_bar.shape == (T + 1,) and alpha_bar.dtype == np.float64
    assert alpha_bar[0] == 1 and alpha_bar[-1] > 0
    assert np.all(np.diff(alpha_bar) < 0)


def test_linear_schedule_has_the_values_of_ddpm():
    alpha_bar = linear_schedule(1000)
    assert alpha_bar[-1] == pytest.approx(4.04e-5, rel=2e-3)
    beta = 1 - alpha_bar[1:] / alpha_bar[:-1]
    assert (beta[0], beta[-1]) == pytest.approx((1e-4, 0.02), rel=1e-9)
    np.testing.assert_allclose(np.diff(beta), (0.02 - 1e-4) / 999, rtol=1e-6)


def test_cosine_schedule_has_the_values_of_nichol_and_dhariwal():
    alpha_bar = cosine_schedule(1000)
    assert 1 - alpha_bar[1] == pytest.approx(4.13e-5, rel=2e-3)
    assert alpha_bar[-1] == pytest.approx(2.4e-9, rel=2e-2)
    assert np.all(1 - alpha_bar[1:] / alpha_bar[:-1] <= 0.999 + 1e-12)


@pytest.mark.parametrize("rates", [(0.02, 0.95), (0.1952300533, 0.9326085839)])
def test_continuous_cosine_schedule_is_linear_in_the_angle_between_its_rates(rates):
    T, (least, most) = 50, rates
    angle = np.arccos(np.sqrt(continuous_cosine_schedule(T, least, most)[1:]))
    start, end = np.arccos(most), np.arccos(least)
    np.testing.assert_allclose(angle, start + (end - start) * np.arange(1, T + 1) / T, rtol=1e-12)


def test_log_snr_schedule_is_linear_in_log_snr_between_its_rates():
    levels = log_snr(log_snr_schedule(50, 0.003, 0.95)[1:])
    ends = log_snr(0.95**2), log_snr(0.003**2)
    np.testing.assert_allclose(levels, ends[0] + (ends[1] - ends[0]) * np.arange(1, 51) / 50, rtol=1e-9)


def test_log_snr_is_twice_the_log_of_the_rates(rng):
    alpha_bar = cosine_schedule(100)
    signal_rate, noise_rate = np.sqrt(alpha_bar[1:]), np.sqrt(1 - alpha_bar[1:])
    np.testing.assert_allclose(log_snr(alpha_bar[1:]), 2 * np.log(signal_rate / noise_rate), rtol=1e-9)
    np.testing.assert_allclose(alpha_bar_of_log_snr(log_snr(alpha_bar)), alpha_bar, rtol=1e-12)
    assert log_snr(1.0) == np.inf and log_snr(0.0) == -np.inf


WALKS = {
    "uniform": uniform_tau,
    "quadratic": quadratic_tau,
    "log-snr, linear": lambda T, steps: log_snr_tau(linear_schedule(T), steps),
    "log-snr, cosine": lambda T, steps: log_snr_tau(continuous_cosine_schedule(T), steps),
}


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
@given(sizes=st.integers(1, 1000).flatmap(lambda T: st.tuples(st.just(T), st.integers(1, T))))
def test_a_walk_rises_from_zero_to_T_in_the_asked_steps(walk, sizes):
    T, steps = sizes
    tau = walk(T, steps)
    assert tau.shape == (steps + 1,) and np.issubdtype(tau.dtype, np.integer)
    assert tau[0] == 0 and tau[-1] == T and np.all(np.diff(tau) > 0)


def test_uniform_steps_are_equal_up_to_rounding():
    np.testing.assert_array_equal(uniform_tau(1000, 8), np.arange(0, 1001, 125))
    assert np.ptp(np.diff(uniform_tau(1000, 7))) == 1


def test_quadratic_steps_are():
    np.testing.assert_array_equal(quadratic_tau(1000, 10), 10 * np.arange(11) ** 2)
    np.testing.assert_array_equal(quadratic_tau(1000, 100)[:6], np.arange(6))  # 0.1 i^2 would stand still


def test_log_snr_steps_are_equal_where_the_schedule_is_fine_enough():
    alpha_bar = linear_schedule(100_000, 1e-6, 2e-4)  # a hundred times as fine as DDPM's
    tau = log_snr_tau(alpha_bar, 20)
    assert tau[1] == 1
    steps = np.diff(log_snr(alpha_bar[tau[1:]]))
    np.testing.assert_allclose(steps[3:], np.ptp(log_snr(alpha_bar[[1, -1]])) / -19, rtol=0.02)
    np.testing.assert_array_equal(log_snr_tau(alpha_bar, 1), [0, 100_000])


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
@pytest.mark.parametrize("steps", [0, -1, 11, 2.5])
def test_more_steps_than_times_or_none_are_refused(walk, steps):
    with pytest.raises(ValueError, match=f"steps is {steps}:"):
        walk(10, steps)


def test_equal_steps_to_an_infinite_log_snr_are_refused():
    with pytest.raises(ValueError, match=r"alpha_bar\[2\] is 0.0"):
        log_snr_tau(np.array([1.0, 0.5, 0.0]), 2)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [7, 30, 250])
def test_the_continuous_schedule_is_walked_at_exact_times(spacing, steps):
    schedule = Schedule()
    times = schedule.times(spacing, steps)
    assert times.shape == (steps + 1,) and times[0] == 0 and times[-1] == T and np.all(np.diff(times) > 0)
    if spacing == "uniform":
        np.testing.assert_allclose(times, T * np.arange(steps + 1) / steps, rtol=1e-15)
    if spacing == "quadratic":
        np.testing.assert_allclose(times, T * (np.arange(steps + 1) / steps) ** 2, rtol=1e-15)
    angle = np.arccos(0.95) + times[1:] / T * (np.arccos(0.02) - np.arccos(0.95))
    levels = schedule.at(times)
    assert levels[0] == 1
    np.testing.assert_allclose(levels[1:], np.cos(angle) ** 2, rtol=1e-12)


def test_at_whole_times_the_levels_are_the_table_s():
    for name in REGISTRY:
        schedule = Schedule(name)
        np.testing.assert_array_equal(schedule.at(schedule.times("uniform", 50)), schedule.alpha_bar[::20])
    rounded = Schedule("linear").times("uniform", 7)
    np.testing.assert_array_equal(rounded, uniform_tau(T, 7))


@pytest.mark.parametrize("steps", [7, 30])
def test_ddim_at_exact_times_walks_a_table_of_as_many_times(steps, rng):
    """And so is the loop of the paper's code: test_ddim.py."""

    def eps_model(alpha_bar):
        return lambda x, t: np.tanh(x * (1 - alpha_bar[t]) ** 0.5)

    x_T, alpha_bar = rng.standard_normal((2, 5)), continuous_cosine_schedule(steps, 0.02, 0.95)
    expected = last(ddim(eps_model(alpha_bar), x_T, alpha_bar, np.arange(steps + 1)))
    found = last(Sampling(steps=steps).walk(eps_model, Schedule(), rng)(x_T))
    np.testing.assert_allclose(found, expected, rtol=1e-10)
