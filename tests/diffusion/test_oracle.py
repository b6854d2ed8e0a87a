"""The oracles against what defines them: Bayes' rule by brute force, and the score."""

import numpy as np
import pytest

from ddim_from_scratch.diffusion import (
    correlated_gaussian_eps_model,
    gaussian_eps_model,
    linear_schedule,
    mixture_eps_model,
    q_sample,
)

ALPHA_BAR = linear_schedule(1000)
MEANS, VARIANCES, WEIGHTS = np.array([[-1.0, 0.5], [1.5, 0.0], [0.0, 3.0]]), np.array([0.1, 0.3, 1.0]), [0.2, 0.5, 0.3]


@pytest.mark.parametrize("t", [20, 300, 900])
def test_gaussian_eps_is_the_mean_noise_in_x(t, rng):
    """A straight-line fit of eps on x, over draws: for Gaussians it is the conditional mean."""
    mean, variance, ab = 1.5, 0.25, ALPHA_BAR[t]
    eps = rng.standard_normal(200_000)
    x = q_sample(mean + variance**0.5 * rng.standard_normal(200_000), ab, eps)
    slope, intercept = np.polyfit(x, eps, 1)
    points = np.array([-1.0, 0.0, 2.0])
    oracle = gaussian_eps_model(mean, variance, ALPHA_BAR)(points, t)
    np.testing.assert_allclose(oracle, slope * points + intercept, atol=0.03)


@pytest.mark.parametrize("t", [1, 20, 300, 1000])
def test_mixture_eps_is_the_score(t, rng):
    """eps = -sqrt(1 - alpha_bar) grad log p(x_t), the gradient by central differences."""
    ab, x = ALPHA_BAR[t], rng.standard_normal((4, 3, 2))

    def log_p(x):
        spread = ab * VARIANCES + 1 - ab
        away = x[..., None, :] - ab**0.5 * MEANS
        return np.log((WEIGHTS * np.exp(-(away**2).sum(-1) / (2 * spread)) / spread).sum(-1))

    h = 1e-5 * np.eye(2)
    score = np.stack([(log_p(x + d) - log_p(x - d)) / 2e-5 for d in h], axis=-1)
    eps = mixture_eps_model(MEANS, VARIANCES, np.array(WEIGHTS), ALPHA_BAR)(x, t)
    np.testing.assert_allclose(eps, -((1 - ab) ** 0.5) * score, rtol=1e-5, atol=1e-7)


def test_a_mixture_of_one_is_a_gaussian(rng):
    x, mean = rng.standard_normal((2, 5, 3))
    one = mixture_eps_model(mean[:1], np.array([0.3]), np.ones(1), ALPHA_BAR)(x, 400)
    np.testing.assert_allclose(one, gaussian_eps_model(mean[0], 0.3, ALPHA_BAR)(x, 400), rtol=1e-12)


@pytest.mark.parametrize("t", [20, 300, 900])
def test_correlated_eps_is_the_score(t, rng):
    """eps = -sqrt(1 - alpha_bar) grad log p(x_t), of a Gaussian: (x - mean_t) over the covariance_t."""
    root, mean, x = rng.standard_normal((3, 3)), rng.standard_normal(3), rng.standard_normal((2, 5, 3))
    ab, covariance = ALPHA_BAR[t], root @ root.T
    expected = (1 - ab) ** 0.5 * np.linalg.solve(
        ab * covariance + (1 - ab) * np.eye(3), (x - ab**0.5 * mean)[..., None]
    )
    eps_model = correlated_gaussian_eps_model(mean, covariance, ALPHA_BAR)
    np.testing.assert_allclose(eps_model(x, t), expected[..., 0], rtol=1e-9)
    assert eps_model(x.astype(np.float32), t).dtype == np.float32


def test_far_from_all_clouds_the_nearest_decides():
    """Where every density underflows."""
    eps = mixture_eps_model(MEANS, VARIANCES * 0 + 1e-6, np.array(WEIGHTS), ALPHA_BAR)(np.array([60.0, 0.0]), 1)
    ab = ALPHA_BAR[1]
    expected = (np.array([60.0, 0.0]) - ab**0.5 * MEANS[1]) * (1 - ab) ** 0.5 / (ab * 1e-6 + 1 - ab)
    np.testing.assert_allclose(eps, expected, rtol=1e-9)
