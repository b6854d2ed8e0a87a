"""Solutions of lesson 03, as a reader of the lesson might write them."""

import numpy as np


def linear_schedule(T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> np.ndarray:
    """The product of what each step leaves."""
    beta = np.linspace(beta_start, beta_end, T)
    return np.append(1.0, np.cumprod(1 - beta))


def rates(x, alpha_bar):
    """signal_rate and noise_rate, of x's dtype, with an axis for each of x's if there is one for each sample."""
    alpha_bar = np.asarray(alpha_bar, np.float64)
    if alpha_bar.ndim:
        alpha_bar = alpha_bar.reshape(-1, *[1] * (x.ndim - 1))
    return np.sqrt(alpha_bar).astype(x.dtype), np.sqrt(1 - alpha_bar).astype(x.dtype)


def q_sample(x0, alpha_bar, eps):
    """Signal and noise, each times its rate."""
    signal_rate, noise_rate = rates(x0, alpha_bar)
    return signal_rate * x0 + noise_rate * eps


def predict_x0(x_t, alpha_bar, eps):
    """q_sample, solved for x0."""
    signal_rate, noise_rate = rates(x_t, alpha_bar)
    return (x_t - noise_rate * eps) / signal_rate


def posterior(x0, x_t, ab_t: float, ab_s: float):
    """Bayes' rule for two Gaussians."""
    alpha = ab_t / ab_s
    beta = 1 - alpha
    mean = ab_s**0.5 * beta / (1 - ab_t) * x0 + alpha**0.5 * (1 - ab_s) / (1 - ab_t) * x_t
    return mean, (1 - ab_s) / (1 - ab_t) * beta


def test_posterior(posterior):
    """Bayes' rule: prior times likelihood is a constant times the posterior, at every x_s."""
    x0, x_t, ab_t, ab_s = 1.0, -0.5, 0.4, 0.6
    mean, variance = posterior(x0, x_t, ab_t, ab_s)
    x_s, alpha = np.linspace(-3, 3, 50), ab_t / ab_s
    log_prior = -((x_s - ab_s**0.5 * x0) ** 2) / (2 * (1 - ab_s))
    log_likelihood = -((x_t - alpha**0.5 * x_s) ** 2) / (2 * (1 - alpha))
    log_posterior = -((x_s - mean) ** 2) / (2 * variance)
    assert np.ptp(log_prior + log_likelihood - log_posterior) < 1e-9
