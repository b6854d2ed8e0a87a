"""Networks that need no training: the exact eps for data whose distribution is known.

E[eps | x_t] = (x_t - sqrt(alpha_bar) E[x_0 | x_t]) / sqrt(1 - alpha_bar) is what a perfect network would put out.
With it, all that is wrong with a sample is the sampler's fault.
"""

from __future__ import annotations

import numpy as np

from ..runtime.backend import Array, array_module
from .process import EpsModel


def gaussian_eps_model(mean: Array | float, variance: Array | float, alpha_bar: np.ndarray) -> EpsModel:
    """For data N(mean, variance), independent in every element; mean and variance are broadcast over x.

    x_t is N(sqrt(ab) mean, ab variance + 1 - ab): eps is sqrt(1 - ab) times its deviation over its variance.
    """

    def eps_model(x: Array, t: int) -> Array:
        ab = float(alpha_bar[t])
        return (1 - ab) ** 0.5 * (x - ab**0.5 * mean) / (ab * variance + 1 - ab)

    return eps_model


def correlated_gaussian_eps_model(mean: np.ndarray, covariance: np.ndarray, alpha_bar: np.ndarray) -> EpsModel:
    """For points x (..., D) from N(mean, covariance): mean (D,), covariance (D, D), both on the host.

    In the covariance's own axes the elements are independent, and each has the eps of `gaussian_eps_model`.
    """
    variances, axes = np.linalg.eigh(covariance)

    def eps_model(x: Array, t: int) -> Array:
        xp = array_module(x)
        on_device = [xp.asarray(table, dtype=x.dtype) for table in (mean, variances, axes)]
        independent = gaussian_eps_model(0.0, on_device[1], alpha_bar)
        return independent((x - float(alpha_bar[t]) ** 0.5 * on_device[0]) @ on_device[2], t) @ on_device[2].T

    return eps_model


def mixture_eps_model(means: Array, variances: Array, weights: Array, alpha_bar: np.ndarray) -> EpsModel:
    """For points x (..., D) from K round clouds: means (K, D), variances (K,), weights (K,) that sum to 1.

    Each cloud has the eps of a Gaussian; they are averaged with the chance that the point x_t is that cloud's.
    """

    def eps_model(x: Array, t: int) -> Array:
        xp, ab = array_module(x), float(alpha_bar[t])
        spread = ab * variances + 1 - ab
        away = x[..., None, :] - ab**0.5 * means  # (..., K, D)
        log_chance = xp.log(weights) - (away**2).sum(-1) / (2 * spread) - xp.log(spread) * (x.shape[-1] / 2)
        chance = xp.exp(log_chance - log_chance.max(-1, keepdims=True))
        chance = chance / chance.sum(-1, keepdims=True) / spread
        return (1 - ab) ** 0.5 * (chance[..., None] * away).sum(-2)

    return eps_model
