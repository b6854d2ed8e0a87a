"""Solutions of lesson 08, as a reader of the lesson might write them. The package's own use several threads."""

import numpy as np


def eps_of_velocity(x_t: np.ndarray, alpha_bar: np.ndarray | float, v: np.ndarray) -> np.ndarray:
    """Turn (x_t, v) back."""
    alpha_bar = np.asarray(alpha_bar)
    if alpha_bar.ndim:
        alpha_bar = alpha_bar.reshape(-1, *[1] * (x_t.ndim - 1))
    signal_rate, noise_rate = np.sqrt(alpha_bar).astype(x_t.dtype), np.sqrt(1 - alpha_bar).astype(x_t.dtype)
    return signal_rate * v + noise_rate * x_t


def update_average(average: np.ndarray, current: np.ndarray, decay: float) -> None:
    """In place."""
    average *= decay
    average += (1 - decay) * current


def adamw(
    params: np.ndarray, grads: np.ndarray, moments: dict, step: int, learning_rate: float, weight_decay: float
) -> None:
    """Both corrections as one factor of the learning rate; epsilon is so small that it does not matter here."""
    m, v = moments["m"], moments["v"]
    m *= 0.9
    m += 0.1 * grads
    v *= 0.999
    v += 0.001 * grads * grads
    params *= 1 - learning_rate * weight_decay
    params -= learning_rate * float(np.sqrt(1 - 0.999**step)) / (1 - 0.9**step) * m / (np.sqrt(v) + 1e-7)
