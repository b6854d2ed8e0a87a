"""Solutions of lesson 09, as a reader of the lesson might write them."""

from collections.abc import Callable, Iterator

import numpy as np

from ddim_from_scratch.diffusion import predict_x0, q_sample


def uniform_tau(T: int, steps: int) -> np.ndarray:
    """Equal steps."""
    if not 1 <= steps <= T:
        raise ValueError(f"steps is {steps}: give 1 to {T}")
    return np.round(T * np.arange(steps + 1) / steps).astype(int)


def quadratic_tau(T: int, steps: int) -> np.ndarray:
    """Steps that grow."""
    if not 1 <= steps <= T:
        raise ValueError(f"steps is {steps}: give 1 to {T}")
    tau = np.round(T * np.arange(steps + 1) ** 2 / steps**2).astype(int)
    for i in range(1, steps + 1):
        tau[i] = max(tau[i], tau[i - 1] + 1)
    return tau


def ddim_inversion(
    eps_model: Callable[[np.ndarray, int], np.ndarray],
    x0: np.ndarray,
    alpha_bar: np.ndarray,
    tau: np.ndarray,
    evaluations: int = 1,
) -> Iterator[np.ndarray]:
    """DDIM's steps, undone."""
    if evaluations < 1:
        raise ValueError(f"evaluations is {evaluations}: give 1 or more")
    x = x0
    yield x
    for s, t in zip(tau[:-1].tolist(), tau[1:].tolist(), strict=True):
        ab_s, ab_t = float(alpha_bar[s]), float(alpha_bar[t])
        guess = x
        for _ in range(evaluations):
            eps = eps_model(guess, t)
            guess = q_sample(predict_x0(x, ab_s, eps), ab_t, eps)
        x = guess
        yield x
