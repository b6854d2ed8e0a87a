"""Solutions of lesson 04, as a reader of the lesson might write them."""

import numpy as np

from ddim_from_scratch.diffusion import eps_of_x0, predict_x0, q_sample


def gaussian_eps_model(mean, variance, alpha_bar):
    """A straight line in x."""

    def eps_model(x, t):
        ab = float(alpha_bar[t])
        return (1 - ab) ** 0.5 * (x - ab**0.5 * mean) / (ab * variance + 1 - ab)

    return eps_model


def ddim(eps_model, x_T, alpha_bar, tau, eta=0.0, rng=None):
    """Equation 12, down tau."""
    x = x_T
    yield x
    for i in range(len(tau) - 1, 0, -1):
        t, s = int(tau[i]), int(tau[i - 1])
        ab_t, ab_s = float(alpha_bar[t]), float(alpha_bar[s])
        eps = eps_model(x, t)
        x0 = (x - (1 - ab_t) ** 0.5 * eps) / ab_t**0.5
        sigma = eta * ((1 - ab_s) / (1 - ab_t)) ** 0.5 * (1 - ab_t / ab_s) ** 0.5
        x = ab_s**0.5 * x0 + max(1 - ab_s - sigma**2, 0) ** 0.5 * eps
        if sigma > 0:
            x = x + sigma * rng.standard_normal(x.shape, dtype=np.float32).astype(x.dtype)
        yield x


def clipped(eps_model, alpha_bar, limit=1.0):
    """x0 within its range, and the eps that goes with it."""

    def model(x, t):
        ab = float(alpha_bar[t])
        x0 = predict_x0(x, ab, eps_model(x, t))
        return eps_of_x0(x, ab, np.clip(x0, -limit, limit))

    return model


def heun(eps_model, x_T, alpha_bar, tau):
    """Try the step, then take it with the mean of two slopes."""
    x = x_T
    yield x
    for i in range(len(tau) - 1, 0, -1):
        t, s = int(tau[i]), int(tau[i - 1])
        ab_t, ab_s = float(alpha_bar[t]), float(alpha_bar[s])
        eps = eps_model(x, t)
        if s > 0:
            x_try = q_sample(predict_x0(x, ab_t, eps), ab_s, eps)
            eps = (eps + eps_model(x_try, s)) / 2
        x = q_sample(predict_x0(x, ab_t, eps), ab_s, eps)
        yield x
