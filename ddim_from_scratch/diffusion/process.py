"""The forward process: from data to noise, in one step."""

from __future__ import annotations

from ..backend import Array, array_module


def q_sample(x0: Array, alpha_bar: Array, eps: Array) -> Array:
    """x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps, a draw from q(x_t | x_0) (DDPM eq. 4).

    x0, eps: (N, ...). alpha_bar: (N,), one noise level a sample. Keeps x0's dtype.
    """
    signal_rate, noise_rate = _rates(x0, alpha_bar)
    return signal_rate * x0 + noise_rate * eps


def predict_x0(x_t: Array, alpha_bar: Array, eps: Array) -> Array:
    """The data that `q_sample` would turn into x_t with the noise eps (DDIM eq. 9). Shapes as there."""
    signal_rate, noise_rate = _rates(x_t, alpha_bar)
    return (x_t - noise_rate * eps) / signal_rate


def velocity(x0: Array, alpha_bar: Array, eps: Array) -> Array:
    """v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x0 (Salimans and Ho 2022, appendix D). Shapes as in `q_sample`."""
    signal_rate, noise_rate = _rates(x0, alpha_bar)
    return signal_rate * eps - noise_rate * x0


def eps_of_velocity(x_t: Array, alpha_bar: Array, v: Array) -> Array:
    """The noise in x_t if its velocity is v: eps = sqrt(alpha_bar) v + sqrt(1 - alpha_bar) x_t."""
    signal_rate, noise_rate = _rates(x_t, alpha_bar)
    return signal_rate * v + noise_rate * x_t


def _rates(x: Array, alpha_bar: Array) -> tuple[Array, Array]:
    """signal_rate and noise_rate in x's dtype, shaped to be broadcast over all axes but the first."""
    xp = array_module(x)
    shape = (-1,) + (1,) * (x.ndim - 1)
    alpha_bar = alpha_bar.reshape(shape)
    return tuple(xp.asarray(r**0.5, dtype=x.dtype) for r in (alpha_bar, 1 - alpha_bar))
