"""What the exercises of lesson 04 are held to, and the mistakes that are known."""

import numpy as np

from ddim_from_scratch.diffusion import eps_of_x0, linear_schedule, predict_x0, q_sample
from lessons.tool.check import Exercise

DDIM, SAMPLERS = "tests/diffusion/test_ddim.py::", "tests/diffusion/test_samplers.py::"
ALPHA_BAR = linear_schedule(1000)
TAU = np.array([0, 100, 300, 500])  # where x0 stays of the size of x
POINTS = np.array([-1.0, 0.0, 2.0])


def waves(x, t):
    """Stands in for a network."""
    return np.sin(2 * x + t / 300)


def line(x, ab, mean, variance):
    return (1 - ab) ** 0.5 * (x - ab**0.5 * mean) / (ab * variance + 1 - ab)


def oracle(formula):
    """gaussian_eps_model with another formula, of x, ab, mean and variance."""

    def gaussian_eps_model(mean, variance, alpha_bar):
        return lambda x, t: formula(x, float(alpha_bar[t]), mean, variance)

    return gaussian_eps_model


def ddim_sigma(ab, t, s, eta):
    return eta * ((1 - ab[s]) / (1 - ab[t])) ** 0.5 * (1 - ab[t] / ab[s]) ** 0.5


def walk(
    sigma=ddim_sigma,
    target=lambda tau, i: tau[i - 1],
    direction=lambda ab, t, s, sigma: max(1 - ab[s] - sigma**2, 0) ** 0.5,
    move=lambda x0, eps, ab, s, of_eps: ab[s] ** 0.5 * x0 + of_eps * eps,
    z=lambda rng, x: rng.standard_normal(x.shape, dtype=np.float32).astype(x.dtype),
    always=False,
    order=-1,
):
    """ddim with one thing or another done wrong."""

    def ddim(eps_model, x_T, alpha_bar, tau, eta=0.0, rng=None):
        x, ab = x_T, alpha_bar.tolist()
        yield x
        for i in range(len(tau) - 1, 0, -1):
            t, s = int(tau[i]), int(target(tau, i))
            eps = eps_model(x, t)
            x0 = predict_x0(x, ab[t], eps)
            deviation = sigma(ab, t, s, eta)
            x = move(x0, eps, ab, s, direction(ab, t, s, deviation))
            if deviation > 0:
                x = x + deviation * z(rng, x)
            yield x

    return ddim


def try_and_take(mean=True, anew=True, at_s=True, from_x=True, at_x=False, half=True):
    """heun with one thing or another done wrong."""

    def heun(eps_model, x_T, alpha_bar, tau):
        x = x_T
        yield x
        for t, s in zip(tau[:0:-1].tolist(), tau[-2::-1].tolist(), strict=True):
            ab_t, ab_s = float(alpha_bar[t]), float(alpha_bar[s])
            eps = first = eps_model(x, t)
            tried = q_sample(predict_x0(x, ab_t, eps), ab_s, eps)
            if s > 0:
                second = eps_model(x if at_x else tried, s if at_s else t)
                eps = (first + second) * (0.5 if half else 1) if mean else second
            start, ab_start = (x, ab_t) if from_x else (tried, ab_s)
            x0 = predict_x0(start, ab_start, eps) if anew else predict_x0(x, ab_t, first)
            x = q_sample(x0, ab_s, eps)
            yield x

    return heun


def steps(sampler, *args):
    return np.array(list(sampler(waves, POINTS, ALPHA_BAR, TAU, *args)))


EXERCISES = [
    Exercise(
        "ddim_from_scratch.diffusion.oracle.gaussian_eps_model",
        tests=(
            "tests/diffusion/test_oracle.py::test_gaussian_eps_is_the_mean_noise_in_x",
            "tests/diffusion/test_oracle.py::test_a_mixture_of_one_is_a_gaussian",
            SAMPLERS + "test_gaussian_data_come_out_with_their_mean_and_variance[ddim]",
            SAMPLERS + "test_order_of_convergence[ddim-1-gaussian_error]",
        ),
        examples={
            "gaussian_eps_model(1.5, 0.25, linear_schedule())([-1, 0, 2], 300)": (
                lambda gaussian_eps_model: gaussian_eps_model(1.5, 0.25, ALPHA_BAR)(POINTS, 300)
            ),
            "the same, of a float32 x": (
                lambda gaussian_eps_model: gaussian_eps_model(1.5, 0.25, ALPHA_BAR)(POINTS.astype(np.float32), 300)
            ),
        },
        mistakes={
            "the mean is not scaled: x_t has the mean sqrt(ab) mean": oracle(
                lambda x, ab, mean, variance: (1 - ab) ** 0.5 * (x - mean) / (ab * variance + 1 - ab)
            ),
            "the root is missing: the covariance of eps and x_t is sqrt(1 - ab)": oracle(
                lambda x, ab, mean, variance: (1 - ab) ** 0.5 * line(x, ab, mean, variance)
            ),
            "this divides by the standard deviation of x_t: divide by the variance": oracle(
                lambda x, ab, mean, variance: line(x, ab, mean, variance) * (ab * variance + 1 - ab) ** 0.5
            ),
            "the variance is squared: it is a variance already, not a deviation": oracle(
                lambda x, ab, mean, variance: line(x, ab, mean, variance**2)
            ),
            "this is the mean of x0, given x: return that of eps": oracle(
                lambda x, ab, mean, variance: (x - (1 - ab) ** 0.5 * line(x, ab, mean, variance)) / ab**0.5
            ),
            "the data's variance is taken for 1": oracle(lambda x, ab, mean, variance: line(x, ab, mean, 1)),
            "the variance is not scaled: x_t has ab variance + 1 - ab": oracle(
                lambda x, ab, mean, variance: (1 - ab) ** 0.5 * (x - ab**0.5 * mean) / (variance + 1 - ab)
            ),
            "this is as if the data were the one point `mean`: its variance is left out": oracle(
                lambda x, ab, mean, variance: line(x, ab, mean, 0)
            ),
            "this is the score, the other way round: eps points away from the data": oracle(
                lambda x, ab, mean, variance: -line(x, ab, mean, variance)
            ),
            "a float32 x has become float64: make alpha_bar[t] a Python float": (
                lambda mean, variance, alpha_bar: lambda x, t: line(x, alpha_bar[t], mean, variance)
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.diffusion.samplers.ddim",
        tests=(
            "tests/diffusion/test_golden.py::test_ddim",
            *(
                DDIM + name
                for name in (
                    "test_slip_1_noise_grows_with_eta_not_with_its_root",
                    "test_slip_2_a_long_step_needs_the_beta_of_the_whole_step",
                    "test_slip_3_a_step_goes_to_the_time_before_in_tau_not_to_t_minus_1",
                    "test_ddim_on_the_continuous_schedule_is_the_loop_of_the_keras_example",
                )
            ),
            SAMPLERS + "test_ddim_with_eta_one_is_ddpm",
            SAMPLERS + "test_order_of_convergence[ddim-1-gaussian_error]",
            *(
                SAMPLERS + f"test_x_keeps_its_dtype_and_every_step_is_yielded[{name}-float32]"
                for name in ("ddim", "ddim, eta 0.5")
            ),
        ),
        examples={
            "ddim(waves, [-1, 0, 2], linear_schedule(), tau = [0, 100, 300, 500])": steps,
            "the same with eta = 0.5 and default_rng(0)": (lambda ddim: steps(ddim, 0.5, np.random.default_rng(0))),
        },
        mistakes={
            "your sigma uses the one-step beta: see equation 16, 1 - ab_t / ab_s": walk(
                sigma=lambda ab, t, s, eta: eta * ((1 - ab[s]) / (1 - ab[t]) * (1 - ab[t] / ab[t - 1])) ** 0.5
            ),
            "your sigma^2 is eta beta_tilde, as in the paper's text: sigma is eta times the root": walk(
                sigma=lambda ab, t, s, eta: ddim_sigma(ab, t, s, eta**0.5)
            ),
            "your sigma is a variance: take the root": walk(
                sigma=lambda ab, t, s, eta: eta * (1 - ab[s]) / (1 - ab[t]) * (1 - ab[t] / ab[s])
            ),
            "the direction term has the wrong sign: eps is added again, scaled down": walk(
                move=lambda x0, eps, ab, s, of_eps: ab[s] ** 0.5 * x0 - of_eps * eps
            ),
            "the direction term makes no room for the new noise: its rate is sqrt(1 - ab_s - sigma^2)": walk(
                direction=lambda ab, t, s, sigma: (1 - ab[s]) ** 0.5
            ),
            "the direction term subtracts sigma, not its square": walk(
                direction=lambda ab, t, s, sigma: max(1 - ab[s] - sigma, 0) ** 0.5
            ),
            "steps go to tau_i - 1: go to the time before in the list, tau_{i-1}": walk(
                target=lambda tau, i: tau[i] - 1
            ),
            "x0 is not scaled: it has the rate sqrt(ab_s) in x_s": walk(
                move=lambda x0, eps, ab, s, of_eps: x0 + of_eps * eps
            ),
            "the direction term has the noise rate of t: it is that of s": walk(
                direction=lambda ab, t, s, sigma: max(1 - ab[t] - sigma**2, 0) ** 0.5
            ),
            "the noise is drawn in 64 bits: give standard_normal dtype=np.float32": walk(
                z=lambda rng, x: rng.standard_normal(x.shape)
            ),
            "x_T is missing: yield it first": lambda *args: list(walk()(*args))[1:],
            "only the sample is yielded: yield x at every step": lambda *args: list(walk()(*args))[-1:],
        },
    ),
    Exercise(
        "ddim_from_scratch.diffusion.process.clipped",
        tests=tuple(
            "tests/diffusion/test_process.py::" + name
            for name in (
                "test_clipping_keeps_x0_in_range_and_x_consistent",
                "test_a_wrapped_model_goes_with_a_sampler_and_keeps_float32[clipped]",
            )
        ),
        examples={
            "clipped(waves, linear_schedule(), 0.5)([-1, 0, 2], 300)": (
                lambda clipped: clipped(waves, ALPHA_BAR, 0.5)(POINTS, 300)
            ),
            "clipped(waves, linear_schedule())([-1, 0, 2], 60)": (
                lambda clipped: clipped(waves, ALPHA_BAR)(POINTS, 60)
            ),
        },
        mistakes={
            "eps is as before: derive it again from x and the clipped x0": lambda eps_model, alpha_bar, limit=1.0: (
                eps_model
            ),
            "this returns the clipped x0: return the eps that belongs to it": (
                lambda eps_model, alpha_bar, limit=1.0: (
                    lambda x, t: predict_x0(x, alpha_bar[t], eps_model(x, t)).clip(-limit, limit)
                )
            ),
            "eps is clipped: it is x0 that has a range": (
                lambda eps_model, alpha_bar, limit=1.0: lambda x, t: eps_model(x, t).clip(-limit, limit)
            ),
            "x is clipped: it is x0 that has a range": (
                lambda eps_model, alpha_bar, limit=1.0: lambda x, t: eps_model(x.clip(-limit, limit), t)
            ),
            "the limit is always 1: use the argument": (
                lambda eps_model, alpha_bar, limit=1.0: (
                    lambda x, t: eps_of_x0(x, alpha_bar[t], predict_x0(x, alpha_bar[t], eps_model(x, t)).clip(-1, 1))
                )
            ),
            "only large values are clipped: x0 also has a lower end, -limit": (
                lambda eps_model, alpha_bar, limit=1.0: (
                    lambda x, t: eps_of_x0(
                        x, alpha_bar[t], np.minimum(predict_x0(x, alpha_bar[t], eps_model(x, t)), limit)
                    )
                )
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.diffusion.samplers.heun",
        tests=(
            SAMPLERS + "test_with_the_true_eps_every_x_is_on_the_line_from_data_to_noise",
            SAMPLERS + "test_order_of_convergence[heun-2-gaussian_error]",
            SAMPLERS + "test_order_of_convergence[heun-2-mixture_error]",
            SAMPLERS + "test_gaussian_data_come_out_with_their_mean_and_variance[heun]",
            SAMPLERS + "test_x_keeps_its_dtype_and_every_step_is_yielded[heun-float32]",
        ),
        examples={"heun(waves, [-1, 0, 2], linear_schedule(), tau = [0, 100, 300, 500])": steps},
        mistakes={
            "this is DDIM: ask again where the step ends": walk(),
            "the second slope alone is used: take the mean of both": try_and_take(mean=False),
            "the second question has the time t: x_try is at s": try_and_take(at_s=False),
            "x0 is still that of the first eps: it has to fit the mean": try_and_take(anew=False),
            "both evaluations are at x: the second one belongs where the step ends, at x_try": try_and_take(at_x=True),
            "the two slopes are added: take their mean": try_and_take(half=False),
            "the second step starts from x_try: start from x again": try_and_take(from_x=False),
            "x_T is missing: yield it first": lambda *args: list(try_and_take()(*args))[1:],
        },
    ),
]
