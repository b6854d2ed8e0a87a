"""DDIM against the loop of the Keras DDIM example and the paper's own text; against DDPM: test_samplers.py."""

import numpy as np
import pytest
from helpers import last

from ddim_from_scratch.diffusion import (
    continuous_cosine_schedule,
    ddim,
    gaussian_eps_model,
    linear_schedule,
    noise_like,
    posterior,
    predict_x0,
    q_sample,
    uniform_tau,
)

M, V = 1.5, 0.25  # the data: N(M, V)


# Three places where the paper's text, read literally, is not DDIM.


def paper_sigma(alpha_bar, t, s, eta):
    """sigma_t^2 = eta beta_tilde_t, in which beta_t is the schedule's, of the one step from t to t - 1."""
    beta_t = 1 - alpha_bar[t] / alpha_bar[t - 1]
    return (eta * (1 - alpha_bar[s]) / (1 - alpha_bar[t]) * beta_t) ** 0.5


def ddim_sigma(alpha_bar, t, s, eta):
    """The noise that our step from t to s adds: from x = 0 with eps = 0, all there is."""
    x_T, tau = np.zeros(4), np.array([0, s, t])
    _, x, _ = ddim(lambda x, t: 0 * x, x_T, alpha_bar, tau, eta, np.random.default_rng(1))
    return (x / noise_like(x_T, np.random.default_rng(1))).mean()


def test_slip_1_noise_grows_with_eta_not_with_its_root():
    alpha_bar = linear_schedule(1000)
    ratios = {}
    for eta in (0.25, 0.5, 1.0):
        ours = ddim_sigma(alpha_bar, 500, 499, eta)
        assert ours == pytest.approx(eta * ddim_sigma(alpha_bar, 500, 499, 1.0), rel=1e-6)
        ratios[eta] = paper_sigma(alpha_bar, 500, 499, eta) / ours
    assert ratios == pytest.approx({0.25: 2, 0.5: 2**0.5, 1.0: 1}, rel=1e-6)  # they agree at the ends only


def test_slip_2_a_long_step_needs_the_beta_of_the_whole_step():
    """At S = 100, in the middle: t = 500 if counted from 0."""
    alpha_bar = linear_schedule(1000)
    assert ddim_sigma(alpha_bar, 501, 491, 1.0) == pytest.approx(0.307, abs=5e-4)
    assert ddim_sigma(alpha_bar, 501, 491, 0.5) == pytest.approx(0.154, abs=5e-4)
    assert paper_sigma(alpha_bar, 501, 491, 1.0) == pytest.approx(0.0999, abs=5e-5)
    assert paper_sigma(alpha_bar, 501, 491, 0.5) == pytest.approx(0.0706, abs=5e-5)
    # At eta 1 a step is a draw from q(x_s | x_t, x_0), whatever its length: the literal one is not.
    _, variance = posterior(0.0, 0.0, alpha_bar[501], alpha_bar[491])
    assert ddim_sigma(alpha_bar, 501, 491, 1.0) == pytest.approx(variance**0.5, rel=1e-6)


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


@pytest.mark.parametrize(("eta", "named"), [(-0.1, "eta"), (1.1, "eta"), (float("nan"), "eta"), (0.5, "rng")])
def test_an_impossible_eta_and_noise_without_a_generator_are_refused(eta, named):
    with pytest.raises(ValueError, match=named):
        next(ddim(lambda x, t: x, np.ones(2), linear_schedule(10), np.arange(11), eta))


def test_a_seed_is_no_generator_and_is_not_passed_over():
    with pytest.raises(ValueError, match="rng is 0: pass a generator"):
        last(ddim(lambda x, t: x, np.ones(2), linear_schedule(10), np.arange(11), 1, 0))
