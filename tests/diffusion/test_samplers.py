"""All samplers: lines they must not leave, orders of convergence, one another, and what they refuse."""

import numpy as np
import pytest
from helpers import ODE_SAMPLERS, REGISTRY, SAMPLERS, last
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import ndtr

from ddim_from_scratch.diffusion import (
    Sampling,
    alpha_bar_of_log_snr,
    ddim,
    ddim_inversion,
    ddpm,
    gaussian_eps_model,
    linear_schedule,
    log_snr,
    mixture_eps_model,
    noise_like,
    predict_x0,
    q_sample,
    quadratic_tau,
    uniform_tau,
)
from ddim_from_scratch.runtime.errors import UserError

LINEAR = linear_schedule(1000)
M, V = 1.5, 0.25
CLOUDS = {"means": np.array([[-1.0], [1.5]]), "variances": np.array([0.1, 0.05]), "weights": np.array([0.3, 0.7])}


def log_snr_grid(S):
    """S + 1 levels, equally spaced in log-SNR between the first and the last of the linear schedule."""
    return alpha_bar_of_log_snr(np.linspace(log_snr(LINEAR[1]), log_snr(LINEAR[-1]), S + 1))


walks = st.lists(st.floats(0.001, 0.999), min_size=1, max_size=8, unique=True).flatmap(
    lambda levels: st.tuples(
        st.just(np.array([1.0, *sorted(levels, reverse=True)])),
        st.sets(st.integers(1, len(levels)), min_size=1).map(lambda times: np.array([0, *sorted(times)])),
    )
)


@given(walk=walks, name=st.sampled_from(list(ODE_SAMPLERS)))
def test_with_the_true_eps_every_x_is_on_the_line_from_data_to_noise(walk, name):
    """Whatever the schedule and the walk: nothing is approximated where x0 and eps do not change."""
    alpha_bar, tau = walk
    x0, eps = np.random.default_rng(0).standard_normal((2, 5))
    line = [q_sample(x0, alpha_bar[t], eps) for t in tau[::-1]]
    xs = list(ODE_SAMPLERS[name](lambda x, t: eps, line[0], alpha_bar, tau))
    np.testing.assert_allclose(xs, line, atol=1e-10)
    np.testing.assert_allclose(list(ddim_inversion(lambda x, t: eps, x0, alpha_bar, tau)), line[::-1], atol=1e-10)


def gaussian_error(sampler, S):
    """Of x from x_T = 1 with data N(0, V), on the log-SNR grid; the ODE's exact solution is a scaling."""
    ab = log_snr_grid(S)
    x = last(sampler(gaussian_eps_model(0.0, V, ab), np.ones(1), ab, np.arange(S + 1)))
    exact = ((ab[0] * V + 1 - ab[0]) / (ab[-1] * V + 1 - ab[-1])) ** 0.5
    return abs(x.item() - exact)


def cumulative(x, ab):
    """The distribution function of x_t for data from the two clouds."""
    away = (x - ab**0.5 * CLOUDS["means"][:, 0]) / (ab * CLOUDS["variances"] + 1 - ab) ** 0.5
    return CLOUDS["weights"] @ ndtr(away)


def mixture_error(sampler, S):
    """Of points from -2..2 with two clouds as data: in one dimension the ODE keeps every point's quantile."""
    ab, x_T = log_snr_grid(S), np.linspace(-2, 2, 9)
    x = last(sampler(mixture_eps_model(**CLOUDS, alpha_bar=ab), x_T[:, None], ab, np.arange(S + 1)))
    quantiles = [cumulative(z, ab[-1]) for z in x_T]
    exact = [brentq(lambda y, q=q: cumulative(y, ab[0]) - q, -5, 5, xtol=1e-12) for q in quantiles]
    return np.abs(x[:, 0] - exact).max()


@pytest.mark.parametrize("error", [gaussian_error, mixture_error])
@pytest.mark.parametrize(("name", "order"), [(name, REGISTRY[name].order) for name in ODE_SAMPLERS])
def test_order_of_convergence(name, order, error):
    steps = np.array([80, 160, 320])
    errors = [error(ODE_SAMPLERS[name], S) for S in steps]
    slope, _ = np.polyfit(np.log(steps), np.log(errors), 1)
    assert -slope == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("name", SAMPLERS)
def test_gaussian_data_come_out_with_their_mean_and_variance(name, rng):
    ab_T = LINEAR[-1]
    x_T = ab_T**0.5 * M + (ab_T * V + 1 - ab_T) ** 0.5 * rng.standard_normal(40_000)
    eps_model = gaussian_eps_model(M, V, LINEAR)
    moments = {}
    for S in (5, 160):
        x = last(SAMPLERS[name](eps_model, x_T, LINEAR, quadratic_tau(1000, S), rng))
        moments[S] = abs(x.mean() - M), abs(x.var() - V)
    # 40 000 draws have a mean within 0.0025 and a variance within 0.0018 of theirs (one standard error).
    assert max(moments[160]) < 0.02 and max(moments[160]) < max(moments[5]) / 4


@pytest.mark.parametrize("tau", [np.arange(1001), uniform_tau(1000, 13), np.array([0, 3, 400, 990])])
def test_ddim_with_eta_one_is_ddpm(tau, rng):
    def eps_model(x, t):
        return np.sin(3 * x + t)

    x_T, scale = rng.standard_normal(6), 1.0
    runs = [
        ddim(eps_model, x_T, LINEAR, tau, 1.0, np.random.default_rng(1)),
        ddpm(eps_model, x_T, LINEAR, np.random.default_rng(1), tau=tau),
    ]
    for t, a, b in zip(tau[::-1], *runs, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * scale)
        scale = max(scale, np.abs(predict_x0(a, LINEAR[t], 1.0)).max())  # x0 is 150 times x_T at first


@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_ddpm_is_its_algorithm_2(variance, rng):
    alpha_bar = linear_schedule(50, 1e-3, 0.3)
    beta = np.concatenate([[0], np.linspace(1e-3, 0.3, 50)])
    given, noise = np.random.default_rng(1), np.random.default_rng(1)
    x = rng.standard_normal(4)
    xs = ddpm(lambda x, t: np.cos(x - t), x, alpha_bar, given, variance)
    np.testing.assert_array_equal(next(xs), x)
    for t in range(50, 0, -1):
        z = noise.standard_normal(4, dtype=np.float32) if t > 1 else 0
        beta_tilde = beta[t] * (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t])
        sigma = {"posterior": beta_tilde, "beta": beta[t]}[variance] ** 0.5
        mean = (x - beta[t] / np.sqrt(1 - alpha_bar[t]) * np.cos(x - t)) / np.sqrt(1 - beta[t])  # eq. 11
        x = mean + sigma * z
        np.testing.assert_allclose(next(xs), x, rtol=1e-9)
    assert next(xs, None) is None


def test_inversion_finds_the_noise_from_which_ddim_makes_the_data(rng):
    eps_model, tau = mixture_eps_model(**CLOUDS, alpha_bar=LINEAR), uniform_tau(1000, 200)
    x0 = np.concatenate([-1 + 0.3 * rng.standard_normal((5, 1)), 1.5 + 0.2 * rng.standard_normal((5, 1))])

    def error(evaluations):
        *_, x_T = ddim_inversion(eps_model, x0, LINEAR, tau, evaluations)
        return np.abs(last(ddim(eps_model, x_T, LINEAR, tau)) - x0).max()

    assert error(40) < 1e-9 < 1e-2 < error(1) < 0.3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SAMPLERS)
def test_x_keeps_its_dtype_and_every_step_is_yielded(name, dtype, rng):
    x_T = rng.standard_normal((2, 3)).astype(dtype)
    times = []

    def eps_model(x, t):
        assert x.dtype == dtype and type(t) is int
        times.append(t)
        return 0.1 * x

    before = x_T.copy()
    xs = list(SAMPLERS[name](eps_model, x_T, linear_schedule(100), uniform_tau(100, 4), rng))
    twice = name in REGISTRY and REGISTRY[name].evaluations == 2
    assert times == ([100, 75, 75, 50, 50, 25, 25] if twice else [100, 75, 50, 25])
    assert [x.dtype for x in xs] == [dtype] * 5
    np.testing.assert_array_equal(xs[0], before)
    np.testing.assert_array_equal(x_T, before)
    assert len({id(x) for x in xs}) == 5


def inversion(eps_model, x, alpha_bar, tau, rng):
    return ddim_inversion(eps_model, x, alpha_bar, tau)


REFUSING = pytest.mark.parametrize("sampler", [*SAMPLERS.values(), inversion], ids=[*SAMPLERS, "inversion"])


@REFUSING
@pytest.mark.parametrize("tau", [[], [0], [1, 5], [0, 5, 5], [0, 5, 3], [0, 11], [0, -1], [0, 2.5, 5]])
def test_an_impossible_tau_is_refused(sampler, tau, rng):
    with pytest.raises(ValueError, match="tau"):
        next(sampler(lambda x, t: x, np.ones(2), linear_schedule(10), np.array(tau), rng))


@REFUSING
@pytest.mark.parametrize("alpha_bar", [[1, 0.2, 0.5], [1, 1, 0.5], [1, np.nan, 0.5], [1.1, 0.5, 0.2]])
def test_a_schedule_that_does_not_fall_is_refused(sampler, alpha_bar, rng):
    with pytest.raises(ValueError, match="alpha_bar must fall"):
        next(sampler(lambda x, t: x, np.ones(2), np.array(alpha_bar), np.array([0, 1, 2], np.uint8), rng))


@REFUSING
def test_eps_says_nothing_where_no_signal_is_left(sampler, rng):
    alpha_bar = linear_schedule(10)
    alpha_bar[10] = 0
    with pytest.raises(ValueError, match=r"alpha_bar\[10\] is 0.0: .* np.maximum"):
        next(sampler(lambda x, t: x, np.ones(2), alpha_bar, np.arange(11), rng))
    for fine in (np.maximum(alpha_bar, 1e-4), np.arange(11)), (alpha_bar, np.arange(10)):
        assert np.isfinite(last(sampler(lambda x, t: x, np.ones(2), *fine, rng))).all()


def test_other_senseless_values_are_refused(rng):
    with pytest.raises(ValueError, match="variance is 'large'"):
        next(ddpm(lambda x, t: x, np.ones(2), linear_schedule(10), rng, "large"))
    for seed in (0, None):
        with pytest.raises(ValueError, match=f"rng is {seed}: pass a generator"):
            last(ddpm(lambda x, t: x, np.ones(2), linear_schedule(10), seed))
    with pytest.raises(ValueError, match="evaluations is 0"):
        next(ddim_inversion(lambda x, t: x, np.ones(2), linear_schedule(10), np.arange(11), 0))


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_row_with_a_generator_of_its_own_knows_nothing_of_the_others(name, rng):
    x_T = rng.standard_normal((3, 4))

    def sample(rows):
        rngs = [np.random.default_rng(row) for row in rows]
        return last(SAMPLERS[name](lambda x, t: 0.1 * x, x_T[rows], LINEAR, uniform_tau(1000, 4), rngs))

    np.testing.assert_array_equal(sample([2, 0])[0], sample([0, 1, 2])[2])
    with pytest.raises(ValueError, match="2 generators for 3 rows"):
        noise_like(x_T, [rng, rng])


@pytest.mark.parametrize("name", REGISTRY)
@pytest.mark.parametrize("evaluations", [1, 2, 9, 10])
def test_as_many_steps_as_evaluations_allow(name, evaluations):
    asked = []
    tau = uniform_tau(1000, REGISTRY[name].steps(evaluations))
    last(SAMPLERS[name](lambda x, t: asked.append(t) or x, np.ones(2), LINEAR, tau, np.random.default_rng(0)))
    assert max(1, evaluations - REGISTRY[name].evaluations) < len(asked) + 1 <= evaluations + 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"sampler": "euler"}, "--sampler is 'euler': choose from ddim"),
        ({"spacing": "odd"}, "--spacing is 'odd'"),
        ({"steps": 0}, "--steps is 0"),
        ({"steps": 1001}, "--steps is 1001"),
        ({"steps": 2.5}, "--steps is 2.5"),
        ({"eta": -0.1}, "--eta is -0.1"),
        ({"eta": float("nan")}, "--eta is nan"),
        ({"eta": 1.0, "sampler": "heun"}, "--eta is 1.0, but --sampler heun has none"),
    ],
)
def test_a_way_of_sampling_that_makes_no_sense_is_named(options, named):
    with pytest.raises(UserError, match=named):
        Sampling(**options)
