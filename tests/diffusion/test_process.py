"""The forward process, its inverse and its posterior; what networks predict; x0 kept in its range."""

import numpy as np
import pytest

from ddim_from_scratch.diffusion import (
    PREDICTIONS,
    clipped,
    ddim,
    eps_of_velocity,
    linear_schedule,
    posterior,
    predict_x0,
    q_sample,
    slerp,
    thresholded,
    velocity,
)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-4), (np.float64, 1e-12)])
def test_predict_x0_undoes_q_sample_with_one_noise_level_a_sample(dtype, tolerance, rng):
    x0, eps = rng.standard_normal((2, 4, 3, 5, 1)).astype(dtype)
    alpha_bar = linear_schedule(1000)[[1, 200, 500, 700]]
    x_t = q_sample(x0, alpha_bar, eps)
    assert x_t.dtype == dtype
    for i, ab in enumerate(alpha_bar.tolist()):
        np.testing.assert_allclose(x_t[i], ab**0.5 * x0[i] + (1 - ab) ** 0.5 * eps[i], rtol=1e-5, atol=1e-6)
    back = predict_x0(x_t, alpha_bar, eps)
    assert back.dtype == dtype
    np.testing.assert_allclose(back, x0, atol=tolerance)


def test_the_ends_are_the_data_and_the_noise(rng):
    x0, eps = rng.standard_normal((2, 1, 6))
    np.testing.assert_array_equal(q_sample(x0, np.array([1.0]), eps), x0)
    np.testing.assert_array_equal(q_sample(x0, np.array([0.0]), eps), eps)


def test_noisy_data_of_unit_variance_have_unit_variance(rng):
    x0, eps = rng.standard_normal((2, 3, 100_000))
    x_t = q_sample(x0, np.array([0.9, 0.5, 0.1]), eps)
    np.testing.assert_allclose(x_t.var(axis=1), 1, atol=0.02)


def test_velocity_and_noise_say_the_same(rng):
    x0, eps = rng.standard_normal((2, 3, 4, 5))
    alpha_bar = np.array([0.01, 0.5, 0.99])
    x_t = q_sample(x0, alpha_bar, eps)
    v = velocity(x0, alpha_bar, eps)
    np.testing.assert_allclose(eps_of_velocity(x_t, alpha_bar, v), eps, rtol=1e-12)
    # x_t and v are x0 and eps turned by one angle.
    np.testing.assert_allclose(x_t**2 + v**2, x0**2 + eps**2, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_noise_level_for_all_is_that_of_each(dtype, rng):
    x0, eps = rng.standard_normal((2, 3, 4)).astype(dtype)
    for function in (q_sample, predict_x0, velocity, eps_of_velocity, PREDICTIONS["x0"].eps):
        for level in (0.3, np.float64(0.3)):
            one = function(x0, level, eps)
            assert one.dtype == dtype
            np.testing.assert_allclose(one, function(x0, np.full(3, 0.3), eps), rtol=2e-6)


@pytest.mark.parametrize(("t", "s"), [(1, 0), (2, 1), (500, 499), (500, 20), (1000, 0)])
def test_posterior_is_bayes_rule(t, s, rng):
    """Walking from x_0 to x_s to x_t, or to x_t at once and back to x_s, gives one joint distribution."""
    alpha_bar = linear_schedule(1000)
    ab_t, ab_s = alpha_bar[t], alpha_bar[s]
    mean_at, variance = posterior(0.7, np.array([0.0, 1.0]), ab_t, ab_s)
    slope = mean_at[1] - mean_at[0]
    assert mean_at[0] + slope * ab_t**0.5 * 0.7 == pytest.approx(ab_s**0.5 * 0.7, rel=1e-12)  # E x_s
    assert variance + slope**2 * (1 - ab_t) == pytest.approx(1 - ab_s, abs=1e-12)  # var x_s
    assert slope * (1 - ab_t) == pytest.approx((ab_t / ab_s) ** 0.5 * (1 - ab_s), abs=1e-12)  # cov(x_s, x_t)


ALPHA_BAR = linear_schedule(100)


def wild(x, t):
    return x * np.linspace(-1, 1, x.shape[-1], dtype=x.dtype)


def test_clipping_keeps_x0_in_range_and_x_consistent(rng):
    x = rng.standard_normal((4, 200))
    free = predict_x0(x, ALPHA_BAR[60], wild(x, 60))
    eps = clipped(wild, ALPHA_BAR, 0.8)(x, 60)
    x0 = predict_x0(x, ALPHA_BAR[60], eps)
    np.testing.assert_allclose(x0, free.clip(-0.8, 0.8), atol=1e-12)
    np.testing.assert_allclose(q_sample(x0, ALPHA_BAR[60], eps), x, atol=1e-12)
    np.testing.assert_allclose(clipped(wild, ALPHA_BAR, 1e3)(x, 60), wild(x, 60), atol=1e-12)


def test_thresholding_scales_each_sample_by_its_own_percentile(rng):
    x = rng.standard_normal((3, 10, 20)) * np.array([0.01, 1, 3])[:, None, None]
    ab = ALPHA_BAR[60]
    free = predict_x0(x, ab, wild(x, 60))
    x0 = predict_x0(x, ab, thresholded(wild, ALPHA_BAR, 90, 0.5)(x, 60))
    for one, its in zip(x0, free, strict=True):
        s = max(np.sort(np.abs(its).ravel())[178:181].mean(), 0.5)  # the 90th of 200 lies between the 179th and 180th
        np.testing.assert_allclose(one, its.clip(-s, s) / s * 0.5, rtol=0.02, atol=1e-9)
    assert np.abs(x0).max() <= 0.5 + 1e-12
    np.testing.assert_allclose(x0[0], free[0], atol=1e-12)  # within the limit nothing changes


@pytest.mark.parametrize("wrap", [clipped, thresholded])
def test_a_wrapped_model_goes_with_a_sampler_and_keeps_float32(wrap, rng):
    x_T = rng.standard_normal((2, 8)).astype(np.float32)
    *_, x = ddim(wrap(wild, ALPHA_BAR), x_T, ALPHA_BAR, np.arange(0, 101, 20))
    assert x.dtype == np.float32 and np.abs(x).max() <= 1 + 1e-5


@pytest.mark.parametrize("wrap", [clipped, thresholded])
def test_numbers_as_numpy_returns_them_leave_float32(wrap, rng):
    x_T, one = rng.standard_normal((2, 8)).astype(np.float32), np.float64(1)
    *_, x = ddim(wrap(wild, ALPHA_BAR, limit=one), x_T, ALPHA_BAR, np.arange(0, 101, 20), one, rng)
    assert x.dtype == np.float32


def test_a_blend_of_noise_is_noise_and_its_ends_are_the_two(rng):
    a, b = rng.standard_normal((2, 100, 100)).astype(np.float32)
    for share in (0.2, 0.5):
        blend = slerp(a, b, share)
        assert blend.dtype == np.float32 and blend.std() == pytest.approx(1, abs=0.02)
        angles = [np.arccos((x * blend).sum() / np.sqrt((x**2).sum() * (blend**2).sum())) for x in (a, b)]
        assert angles[0] / sum(angles) == pytest.approx(share, abs=3e-3)  # equal lengths up to 1 %
    np.testing.assert_allclose(slerp(a, b, 0), a, atol=1e-6)
    np.testing.assert_allclose(slerp(a, b, 1), b, atol=1e-6)
    np.testing.assert_allclose(slerp(a, a, 0.3), a, rtol=1e-6)
