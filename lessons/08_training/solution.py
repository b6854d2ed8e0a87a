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


def test_adamw(adamw):
    """The size of the first step, what decay does alone, and what the moments remember."""

    def moved(params, gradients, weight_decay):
        params = np.array(params)
        moments = {"m": np.zeros_like(params), "v": np.zeros_like(params)}
        for step, gradient in enumerate(gradients, start=1):
            adamw(params, np.array(gradient), moments, step, 0.01, weight_decay)
        return params

    # The first step is as long as the learning rate, against the sign of the gradient, whatever its size.
    first = moved([0.0, 0, 0], [[1e3, -1, 5e-4]], 0.0)
    assert np.allclose(first, [-0.01, 0.01, -0.01], rtol=1e-2)
    # Decay alone shrinks a weight by the rate times the decay; beside a gradient it does not change the other step.
    assert np.allclose(moved([1.0, -2], [[0.0, 0]], 0.1), [0.999, -1.998])
    assert np.allclose(moved([1.0], [[1.0]], 0.1), 0.999 - 0.01, atol=1e-5)
    # A gradient that comes but once goes on moving the weight.
    assert moved([0.0], [[1.0], [0.0]], 0.0) < -0.012
