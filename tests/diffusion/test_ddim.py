"""DDIM against closed forms, the DDPM posterior, and the loop of the Keras DDIM example."""

import numpy as np
import pytest

from ddim_from_scratch.diffusion import continuous_cosine_schedule, ddim, linear_schedule, uniform_tau

M, V = 1.5, 0.25  # the data: N(M, V)


def oracle(alpha_bar):
    """The exact eps of Gaussian data."""

    def eps_model(x, t):
        ab = float(alpha_bar[t])
        return (1 - ab) ** 0.5 * (x - ab**0.5 * M) / (ab * V + 1 - ab)

    return eps_model


def last(generator):
    *_, x = generator
    return x


def smooth_schedule(S):
    """alpha_bar on a grid that is smooth up to the clean data, so that the order of a method shows."""
    return np.cos(np.pi / 2 * 0.98 * np.arange(S + 1) / S) ** 2


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_gaussian_data_come_out_with_their_mean_and_variance(eta, rng):
    alpha_bar, errors = linear_schedule(1000), []
    for S in (10, 40, 160):
        noise = rng.standard_normal(40_000)
        x_T = alpha_bar[-1] ** 0.5 * M + (alpha_bar[-1] * V + 1 - alpha_bar[-1]) ** 0.5 * noise
        x = last(ddim(oracle(alpha_bar), x_T, alpha_bar, uniform_tau(1000, S), eta, rng))
        errors.append(max(abs(x.mean() - M), abs(x.var() - V)))
    assert errors[2] < 0.03 and errors[2] < errors[0] / 3


def test_ddim_converges_to_the_exact_solution_at_order_one():
    x_T = np.linspace(-2, 2, 9)
    errors = []
    for S in (20, 40, 80, 160):
        alpha_bar = smooth_schedule(S)
        ab = alpha_bar[-1]
        exact = M + (V / (ab * V + 1 - ab)) ** 0.5 * (x_T - ab**0.5 * M)
        x = last(ddim(oracle(alpha_bar), x_T, alpha_bar, np.arange(S + 1)))
        errors.append(np.abs(x - exact).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert errors[-1] < 0.02
    np.testing.assert_allclose(orders, 1, atol=0.1)


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


def test_sigma_of_a_long_step_is_that_of_the_whole_step(rng):
    """At S = 100, t = 500: 0.307 for eta 1 and half of it for eta 0.5; with one step's beta it would be 0.0999."""
    alpha_bar = linear_schedule(1000)
    for eta, sigma in [(1.0, 0.307), (0.5, 0.154)]:
        noise = RecordedNoise(rng)
        moved = last(ddim(lambda x, t: 0 * x, np.zeros(4), alpha_bar, np.array([0, 490, 500]), eta, noise))
        # From x = 0 and eps = 0 the first step gives sigma z, the second divides it by the signal rate.
        np.testing.assert_allclose(moved * alpha_bar[490] ** 0.5, sigma * noise.given[0], rtol=4e-3)


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


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_x_keeps_its_dtype_and_every_step_is_yielded(eta, dtype, rng):
    x_T = rng.standard_normal((2, 3)).astype(dtype)
    times = []

    def eps_model(x, t):
        assert x.dtype == dtype and type(t) is int
        times.append(t)
        return 0.1 * x

    before = x_T.copy()
    xs = list(ddim(eps_model, x_T, linear_schedule(100), uniform_tau(100, 4), eta, rng))
    assert times == [100, 75, 50, 25]
    assert [x.dtype for x in xs] == [dtype] * 5 and xs[0] is x_T
    np.testing.assert_array_equal(x_T, before)
    assert len({id(x) for x in xs}) == 5


def test_without_noise_the_result_depends_on_x_T_only(rng):
    alpha_bar = linear_schedule(100)
    runs = [last(ddim(oracle(alpha_bar), np.ones(3), alpha_bar, uniform_tau(100, 5), 0.0, r)) for r in (None, rng)]
    np.testing.assert_array_equal(*runs)


@pytest.mark.parametrize(
    "tau",
    [[], [0], [1, 5], [0, 5, 5], [0, 5, 3], [0, 11], [0, -1], [0, 2.5, 5]],
)
def test_an_impossible_tau_is_refused(tau):
    with pytest.raises(ValueError, match="tau"):
        next(ddim(lambda x, t: x, np.ones(2), linear_schedule(10), np.array(tau)))


@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan")])
def test_an_impossible_eta_is_refused(eta, rng):
    with pytest.raises(ValueError, match="eta"):
        next(ddim(lambda x, t: x, np.ones(2), linear_schedule(10), np.arange(11), eta, rng))


def test_noise_needs_a_generator():
    with pytest.raises(ValueError, match="rng"):
        next(ddim(lambda x, t: x, np.ones(2), linear_schedule(10), np.arange(11), 0.5))


@pytest.mark.parametrize(("T", "S"), [(1000, 1000), (1000, 7), (10, 1), (3, 2)])
def test_uniform_tau_walks_from_zero_to_T(T, S):
    tau = uniform_tau(T, S)
    assert tau.shape == (S + 1,) and tau[0] == 0 and tau[-1] == T
    assert np.issubdtype(tau.dtype, np.integer)
    assert np.ptp(np.diff(tau)) <= 1 and np.all(np.diff(tau) > 0)


@pytest.mark.parametrize("S", [0, -1, 11])
def test_more_steps_than_times_or_none_are_refused(S):
    with pytest.raises(ValueError, match=str(S)):
        uniform_tau(10, S)
