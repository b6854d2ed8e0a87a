"""DDIM against the DDPM posterior, the loop of the Keras DDIM example, and the paper's own text."""

import numpy as np
import pytest
from helpers import last

from ddim_from_scratch.diffusion import (
    continuous_cosine_schedule,
    ddim,
    gaussian_eps_model,
    linear_schedule,
    posterior,
    predict_x0,
    q_sample,
    uniform_tau,
)

M, V = 1.5, 0.25  # the data: N(M, V)


class RecordedNoise:
    """Stands in for a generator, and remembers what it gave."""

    def __init__(self, rng):
        self.rng, self.given = rng, []

    def standard_normal(self, size=None, dtype=np.float64):
        self.given.append(self.rng.standard_normal(size, dtype=dtype))
        return self.given[-1]


def test_eta_one_with_every_step_is_the_ddpm_posterior(rng):
    T = 1000
    alpha_bar, seen = linear_schedule(T), {}

    def eps_model(x, t):
        seen[t] = x, np.sin(3 * x + t)
        return seen[t][1]

    noise = RecordedNoise(rng)
    xs = list(ddim(eps_model, rng.standard_normal(5), alpha_bar, np.arange(T + 1), 1.0, noise))
    assert len(noise.given) == T - 1  # the last step adds none
    for t, z in zip(range(T, 0, -1), [*noise.given, np.zeros(5)], strict=True):
        x_t, eps = seen[t]
        np.testing.assert_array_equal(x_t, xs[T - t])
        ab_t, ab_s = alpha_bar[t], alpha_bar[t - 1]
        alpha, beta = ab_t / ab_s, 1 - ab_t / ab_s
        x0 = (x_t - np.sqrt(1 - ab_t) * eps) / np.sqrt(ab_t)
        mean = (np.sqrt(ab_s) * beta * x0 + np.sqrt(alpha) * (1 - ab_s) * x_t) / (1 - ab_t)  # DDPM eq. 7
        variance = beta * (1 - ab_s) / (1 - ab_t)
        scale = max(1, np.abs(x0).max())  # at the noisiest times x0 is 150 times x_t
        np.testing.assert_allclose(xs[T - t + 1], mean + np.sqrt(variance) * z, atol=1e-12 * scale, rtol=0)


# Three places where the paper's text, read literally, is not DDIM.


def paper_sigma(alpha_bar, t, s, eta):
    """sigma_t^2 = eta beta_tilde_t, in which beta_t is the schedule's, of the one step from t to t - 1."""
    beta_t = 1 - alpha_bar[t] / alpha_bar[t - 1]
    return (eta * (1 - alpha_bar[s]) / (1 - alpha_bar[t]) * beta_t) ** 0.5


def ddim_sigma(alpha_bar, t, s, eta, rng):
    """The noise that our step from t to s adds: from x = 0 with eps = 0, all there is."""
    noise = RecordedNoise(rng)
    xs = ddim(lambda x, t: 0 * x, np.zeros(4), alpha_bar, np.array([0, s, t]), eta, noise)
    next(xs)
    return (next(xs) / noise.given[0]).mean()


def test_slip_1_noise_grows_with_eta_not_with_its_root(rng):
    alpha_bar = linear_schedule(1000)
    ratios = {}
    for eta in (0.25, 0.5, 1.0):
        ours = ddim_sigma(alpha_bar, 500, 499, eta, rng)
        assert ours == pytest.approx(eta * ddim_sigma(alpha_bar, 500, 499, 1.0, rng), rel=1e-6)
        ratios[eta] = paper_sigma(alpha_bar, 500, 499, eta) / ours
    assert ratios == pytest.approx({0.25: 2, 0.5: 2**0.5, 1.0: 1}, rel=1e-6)  # they agree at the ends only


def test_slip_2_a_long_step_needs_the_beta_of_the_whole_step(rng):
    """At S = 100, in the middle: t = 500 if counted from 0."""
    alpha_bar = linear_schedule(1000)
    assert ddim_sigma(alpha_bar, 501, 491, 1.0, rng) == pytest.approx(0.307, abs=5e-4)
    assert ddim_sigma(alpha_bar, 501, 491, 0.5, rng) == pytest.approx(0.154, abs=5e-4)
    assert paper_sigma(alpha_bar, 501, 491, 1.0) == pytest.approx(0.0999, abs=5e-5)
    assert paper_sigma(alpha_bar, 501, 491, 0.5) == pytest.approx(0.0706, abs=5e-5)
    # At eta 1 a step is a draw from q(x_s | x_t, x_0), whatever its length: the literal one is not.
    _, variance = posterior(0.0, 0.0, alpha_bar[501], alpha_bar[491])
    assert ddim_sigma(alpha_bar, 501, 491, 1.0, rng) == pytest.approx(variance**0.5, rel=1e-6)


def test_slip_3_a_step_goes_to_the_time_before_in_tau_not_to_t_minus_1(rng):
    """With the literal index all but the S visited times' noise stays in x, at S = 100 it hides the data."""
    alpha_bar, tau = linear_schedule(1000), uniform_tau(1000, 100)
    eps_model, ab_T = gaussian_eps_model(M, V, alpha_bar), alpha_bar[-1]
    x_T = ab_T**0.5 * M + (ab_T * V + 1 - ab_T) ** 0.5 * rng.standard_normal(10_000)
    x = last(ddim(eps_model, x_T, alpha_bar, tau))
    assert (x.mean(), x.var()) == pytest.approx((M, V), abs=0.02)
    for t in tau[:0:-1]:
        eps = eps_model(x_T, t)
        x_T = q_sample(predict_x0(x_T, alpha_bar[t], eps), alpha_bar[t - 1], eps)
    assert x_T.mean() < M / 5 and x_T.var() > 3 * V


@pytest.mark.parametrize("S", [1, 2, 7, 50])
def test_ddim_on_the_continuous_schedule_is_the_loop_of_the_keras_example(S, rng):
    start, end = np.arccos(0.95), np.arccos(0.02)

    def eps_of(x, noise_variance):
        return np.tanh(x + noise_variance)

    noise, x0 = rng.standard_normal((2, 3)), None
    for step in range(S):
        time = 1 - step / S
        signal_rate, noise_rate = np.cos(start + time * (end - start)), np.sin(start + time * (end - start))
        eps = eps_of(noise, noise_rate**2)
        x0 = (noise - noise_rate * eps) / signal_rate
        next_angle = start + (time - 1 / S) * (end - start)
        noise = np.cos(next_angle) * x0 + np.sin(next_angle) * eps

    rng = np.random.default_rng(0)
    alpha_bar = continuous_cosine_schedule(S, 0.02, 0.95)
    x = last(ddim(lambda x, t: eps_of(x, 1 - alpha_bar[t]), rng.standard_normal((2, 3)), alpha_bar, np.arange(S + 1)))
    np.testing.assert_allclose(x, x0, rtol=1e-10)


def test_without_noise_the_result_depends_on_x_T_only(rng):
    alpha_bar = linear_schedule(100)
    runs = [
        last(ddim(gaussian_eps_model(M, V, alpha_bar), np.ones(3), alpha_bar, uniform_tau(100, 5), 0.0, r))
        for r in (None, rng)
    ]
    np.testing.assert_array_equal(*runs)


@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan")])
def test_an_impossible_eta_is_refused(eta, rng):
    with pytest.raises(ValueError, match="eta"):
        next(ddim(lambda x, t: x, np.ones(2), linear_schedule(10), np.arange(11), eta, rng))


def test_noise_needs_a_generator():
    with pytest.raises(ValueError, match="rng"):
        next(ddim(lambda x, t: x, np.ones(2), linear_schedule(10), np.arange(11), 0.5))
