"""Noise schedules against the papers' numbers."""

import numpy as np
import pytest

from ddim_from_scratch.diffusion import continuous_cosine_schedule, cosine_schedule, linear_schedule

SCHEDULES = [linear_schedule, cosine_schedule, continuous_cosine_schedule]


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
