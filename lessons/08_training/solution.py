"""Solutions of lesson 08, as a reader of the lesson might write them. The package's own use several threads."""

import numpy as np

from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.tree import Tree


def eps_of_velocity(x_t: np.ndarray, alpha_bar: np.ndarray | float, v: np.ndarray) -> np.ndarray:
    """Turn (x_t, v) back."""
    alpha_bar = np.asarray(alpha_bar)
    if alpha_bar.ndim:
        alpha_bar = alpha_bar.reshape(-1, *[1] * (x_t.ndim - 1))
    signal_rate, noise_rate = np.sqrt(alpha_bar).astype(x_t.dtype), np.sqrt(1 - alpha_bar).astype(x_t.dtype)
    return signal_rate * v + noise_rate * x_t


def update_average(average: Tree, current: Tree, decay: float) -> None:
    """Most of the old, a little of the new."""
    for a, c in zip(tree.flatten(average).values(), tree.flatten(current).values(), strict=True):
        a *= decay
        a += (1 - decay) * c


def adamw(params: Tree, grads: Tree, moments: Tree, step: int, learning_rate: float, weight_decay: float) -> None:
    """Two moments, their corrections, decay on the weight itself."""
    leaves = (tree.flatten(t).values() for t in (params, grads, moments["m"], moments["v"]))
    for p, g, m, v in zip(*leaves, strict=True):
        m *= 0.9
        m += 0.1 * g
        v *= 0.999
        v += 0.001 * g**2
        p -= learning_rate * weight_decay * p
        m_hat, v_hat = m / (1 - 0.9**step), v / (1 - 0.999**step)
        p -= learning_rate * m_hat / (np.sqrt(v_hat) + 1e-7)
