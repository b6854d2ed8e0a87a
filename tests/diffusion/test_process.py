"""The forward process and its inverse."""

import numpy as np
import pytest

from ddim_from_scratch.diffusion import eps_of_velocity, linear_schedule, predict_x0, q_sample, velocity


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
