"""The forward process from data to noise, its posterior, and the three things a network can be asked to predict.

alpha_bar is an array (N,), one noise level a sample, or one number for all of them. x is of any float dtype, which
everything keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from math import acos, sin
from typing import NamedTuple

import numpy as np

from ..runtime.backend import Array, array_module

EpsModel = Callable[[Array, int], Array]  # eps_model(x, t): the noise in x at time t, an int in 1..T
Rng = np.random.Generator | list[np.random.Generator]  # for a batch, or one for each of its rows: see `draw_noise`


def q_sample(x0: Array, alpha_bar: Array | float, eps: Array) -> Array:
    """x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps, a draw from q(x_t | x_0) (DDPM eq. 4).

    x0, eps: (N, ...).
    """
    signal_rate, noise_rate = _rates(x0, alpha_bar)
    return signal_rate * x0 + noise_rate * eps


def posterior(x0: Array, x_t: Array, ab_t: float, ab_s: float) -> tuple[Array, float]:
    """Mean and variance of q(x_s | x_t, x_0) for a time s before t (DDPM eq. 6 and 7, where s = t - 1).

    ab_t, ab_s: alpha_bar at the two times. beta is 1 - ab_t / ab_s, the noise that the whole step adds. The
    variance is the papers' beta_tilde.
    """
    ab_t, ab_s = float(ab_t), float(ab_s)
    alpha, beta = ab_t / ab_s, 1 - ab_t / ab_s
    of_x0 = ab_s**0.5 * beta / (1 - ab_t)
    of_x_t = alpha**0.5 * (1 - ab_s) / (1 - ab_t)
    return of_x0 * x0 + of_x_t * x_t, (1 - ab_s) / (1 - ab_t) * beta


def predict_x0(x_t: Array, alpha_bar: Array | float, eps: Array) -> Array:
    """The data that `q_sample` would turn into x_t with the noise eps (DDIM eq. 9). Needs alpha_bar above 0."""
    signal_rate, noise_rate = _rates(x_t, alpha_bar)
    return (x_t - noise_rate * eps) / signal_rate


def eps_of_x0(x_t: Array, alpha_bar: Array | float, x0: Array) -> Array:
    """The noise with which `q_sample` would turn x0 into x_t. Needs alpha_bar below 1."""
    signal_rate, noise_rate = _rates(x_t, alpha_bar)
    return (x_t - signal_rate * x0) / noise_rate


def velocity(x0: Array, alpha_bar: Array | float, eps: Array) -> Array:
    """v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x0 (Salimans and Ho 2022, appendix D). Shapes as in `q_sample`."""
    signal_rate, noise_rate = _rates(x0, alpha_bar)
    return signal_rate * eps - noise_rate * x0


def eps_of_velocity(x_t: Array, alpha_bar: Array | float, v: Array) -> Array:
    """The noise in x_t if its velocity is v: eps = sqrt(alpha_bar) v + sqrt(1 - alpha_bar) x_t."""
    signal_rate, noise_rate = _rates(x_t, alpha_bar)
    return signal_rate * v + noise_rate * x_t


def stream(seed: int, *key: int) -> np.random.Generator:
    """A generator that depends on nothing but the seed and the key: what the numbers are for, which step, which clip.

    As `SeedSequence.spawn` makes its children, so that streams of different keys are independent.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def draw_noise(shape: tuple[int, ...], rng: Rng) -> np.ndarray:
    """Unit Gaussian noise, float32, on the host. From a list of generators each row comes from its own."""
    if not isinstance(rng, np.random.Generator | list):
        raise ValueError(f"rng is {rng!r}: pass a generator, as numpy.random.default_rng(seed) is, or a list of them")
    if not isinstance(rng, list):
        return rng.standard_normal(shape, dtype=np.float32)
    if len(rng) != shape[0]:
        raise ValueError(f"{len(rng)} generators for {shape[0]} rows: give one a row")
    return np.stack([one.standard_normal(shape[1:], dtype=np.float32) for one in rng])


def noise_like(x: Array, rng: Rng) -> Array:
    """Unit Gaussian noise for x, the same on every device and for every dtype. See `draw_noise`."""
    return array_module(x).asarray(draw_noise(x.shape, rng), dtype=x.dtype)


def slerp(a: Array, b: Array, share: float) -> Array:
    """From a (share 0) to b (share 1) along the great circle (Shoemake 1985; Song et al. 2021, appendix D.5).

    a, b: (...), noise of one sample each. In so many dimensions two draws are nearly orthogonal and equally long:
    halfway along the straight line between them is noise of half the variance, which no network was trained on.
    """
    cosine = float((a * b).sum() / ((a * a).sum() * (b * b).sum()) ** 0.5)
    share, angle = float(share), acos(np.clip(cosine, -1, 1))
    if sin(angle) < 1e-6:  # the same direction, or opposite ones: no circle, or too many
        return (1 - share) * a + share * b
    return sin((1 - share) * angle) / sin(angle) * a + sin(share * angle) / sin(angle) * b


class Prediction(NamedTuple):
    """The output that a network is trained on for q_sample(x0, alpha_bar, eps), and how it is read as eps again."""

    target: Callable[[Array, Array | float, Array], Array]  # of x0, alpha_bar, eps
    eps: Callable[[Array, Array | float, Array], Array]  # of x_t, alpha_bar, the output


PREDICTIONS = {
    "eps": Prediction(lambda x0, alpha_bar, eps: eps, lambda x_t, alpha_bar, output: output),
    "v": Prediction(velocity, eps_of_velocity),
    "x0": Prediction(lambda x0, alpha_bar, eps: x0, eps_of_x0),
}


# Data have a range, a network's idea of them may leave it. These wrap an eps_model, so they go with every sampler.


def clipped(eps_model: EpsModel, alpha_bar: np.ndarray, limit: float = 1.0) -> EpsModel:
    """`eps_model` with the x0 that it implies clipped to -limit..limit, and eps derived from that again.

    Without the second half x0 and eps would no longer add up to x_t.
    """
    return with_x0(eps_model, alpha_bar, lambda x0: x0.clip(-limit, limit))


def thresholded(eps_model: EpsModel, alpha_bar: np.ndarray, percentile: float = 99.5, limit: float = 1.0) -> EpsModel:
    """`clipped` with dynamic thresholding (Saharia et al. 2022, "Imagen", section 2.3).

    The range is where `percentile` percent of a sample's |x0| lie, if that is more than `limit`; what it clips is
    scaled back to -limit..limit. The first axis of x counts the samples.
    """

    def threshold(x0: Array) -> Array:
        xp = array_module(x0)
        most = xp.percentile(abs(x0), percentile, axis=tuple(range(1, x0.ndim)), keepdims=True)
        most = xp.maximum(most, limit).astype(x0.dtype)  # percentile's is float64 in some versions
        return x0.clip(-most, most) * (limit / most)

    return with_x0(eps_model, alpha_bar, threshold)


def with_x0(eps_model: EpsModel, alpha_bar: np.ndarray, change: Callable[[Array], Array]) -> EpsModel:
    """`eps_model` with the x0 that it implies changed, and eps derived from that again, both of x's dtype."""

    def changed(x: Array, t: int) -> Array:
        ab_t = float(alpha_bar[t])
        x0 = change(predict_x0(x, ab_t, eps_model(x, t)))
        return eps_of_x0(x, ab_t, x0.astype(x.dtype, copy=False))

    return changed


def _rates(x: Array, alpha_bar: Array | float) -> tuple[Array | float, Array | float]:
    """signal_rate and noise_rate: Python floats, or arrays of x's dtype that are broadcast over all axes but the first.

    A NumPy float64 scalar would turn a float32 x into float64.
    """
    if isinstance(alpha_bar, float | int):
        return float(alpha_bar) ** 0.5, (1 - float(alpha_bar)) ** 0.5
    xp = array_module(x)
    alpha_bar = alpha_bar.reshape((-1,) + (1,) * (x.ndim - 1))
    return tuple(xp.asarray(r**0.5, dtype=x.dtype) for r in (alpha_bar, 1 - alpha_bar))
