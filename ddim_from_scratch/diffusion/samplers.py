"""Samplers: from noise back to data. Each is a generator that yields x at every step, x_T first.

A sampler knows the network only as `eps_model(x, t) -> eps`, t an int in 1..T.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..backend import Array, array_module


def uniform_tau(T: int, steps: int) -> np.ndarray:
    """The sub-sequence 0 = tau_0 < tau_1 < ... < tau_S = T in S equal steps, rounded to integers.

    Raises ValueError unless 1 <= steps <= T.
    """
    if not 1 <= steps <= T:
        raise ValueError(f"steps is {steps}: a schedule of T = {T} times can be walked in 1 to {T} steps")
    return np.round(np.linspace(0, T, steps + 1)).astype(int)


def ddim(
    eps_model: Callable[[Array, int], Array],
    x_T: Array,
    alpha_bar: np.ndarray,
    tau: np.ndarray,
    eta: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Iterator[Array]:
    """Song, Meng and Ermon (2021), "Denoising diffusion implicit models".

    x_T: any shape, its dtype is kept. alpha_bar: (T + 1,). tau: increasing ints from 0 to at most T.
    eta: 0 for the deterministic DDIM, 1 for DDPM's noise. rng: needed unless eta is 0.
    Yields len(tau) arrays, the first x_T, the last the sample.
    """
    tau = np.asarray(tau)
    integers = tau.ndim == 1 and tau.dtype.kind in "iu"
    if not integers or len(tau) < 2 or tau[0] != 0 or np.any(np.diff(tau) <= 0) or tau[-1] >= len(alpha_bar):
        raise ValueError(f"tau must be integers that increase from 0 to at most T = {len(alpha_bar) - 1}; it is {tau}")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta}: it must lie between 0 (DDIM) and 1 (DDPM)")
    if eta > 0 and rng is None:
        raise ValueError("eta above 0 adds noise at every step: pass rng, a numpy.random.Generator")
    x = x_T
    yield x
    for t, s in zip(tau[:0:-1].tolist(), tau[-2::-1].tolist(), strict=True):
        # Python floats: a NumPy float64 scalar would turn a float32 x into float64.
        ab_t, ab_s = float(alpha_bar[t]), float(alpha_bar[s])
        sigma = eta * ((1 - ab_s) / (1 - ab_t)) ** 0.5 * (1 - ab_t / ab_s) ** 0.5  # eq. 16
        eps = eps_model(x, t)
        x0 = (x - (1 - ab_t) ** 0.5 * eps) / ab_t**0.5  # eq. 9, "predicted x0"
        x = ab_s**0.5 * x0 + max(1 - ab_s - sigma**2, 0.0) ** 0.5 * eps  # eq. 12, "direction pointing to x_t"
        if sigma > 0:
            noise = rng.standard_normal(x.shape, dtype=np.float32)
            x = x + sigma * array_module(x).asarray(noise, dtype=x.dtype)
        yield x
