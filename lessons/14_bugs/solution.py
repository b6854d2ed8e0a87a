"""Solutions of lesson 14, as a reader of the lesson might write them."""

import numpy as np

from ddim_from_scratch.diffusion import predict_x0


def uniform_tau(T, steps):
    """Equal steps, rounded at the end, not at the beginning."""
    if not 1 <= steps <= T:
        raise ValueError(f"steps is {steps}: give 1 to {T}")
    return np.round(np.arange(steps + 1) * T / steps).astype(int)


def clipped(eps_model, alpha_bar, limit=1.0):
    """Who changes x0 must change eps."""

    def changed(x, t):
        ab = float(alpha_bar[t])
        x0 = predict_x0(x, ab, eps_model(x, t)).clip(-limit, limit)
        return (x - ab**0.5 * x0) / (1 - ab) ** 0.5

    return changed


def eps_of_velocity(x_t, alpha_bar, v):
    """The rotation, undone."""
    ab = np.asarray(alpha_bar, np.float64)
    if ab.ndim:
        ab = ab.reshape(-1, *[1] * (x_t.ndim - 1))
    return np.sqrt(ab).astype(x_t.dtype) * v + np.sqrt(1 - ab).astype(x_t.dtype) * x_t


def update_average(average, current, decay):
    """In place."""
    average *= decay
    average += (1 - decay) * current


def test_uniform_tau(uniform_tau):
    """Both ends, the number of times, and no time further than half a step of rounding from where it should be."""
    for T, steps in ((1000, 8), (1000, 7), (10, 7)):
        tau = uniform_tau(T, steps)
        assert len(tau) == steps + 1 and tau[0] == 0 and tau[-1] == T
        assert np.all(np.abs(tau - np.linspace(0, T, steps + 1)) <= 0.5)
