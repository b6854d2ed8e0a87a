"""What the exercises of lesson 03 are held to, and the mistakes that are known."""

import numpy as np

from lessons.tool.check import Exercise

SCHEDULE, PROCESS = "tests/diffusion/test_schedule.py::", "tests/diffusion/test_process.py::"
X0 = np.array([[1.0, -1.0, 2.0], [0.0, 1.0, -2.0]])
EPS = np.array([[0.5, 1.0, -1.0], [2.0, 0.0, 1.0]])
MANY = np.array([0.9, 0.2])  # a noise level for each row
PLANES = np.arange(24.0).reshape(2, 3, 4) / 8


def betas(T, beta_start, beta_end):
    return np.linspace(beta_start, beta_end, T)


def column(alpha_bar, x):
    return np.reshape(alpha_bar, (-1,) + (1,) * (x.ndim - 1)) if np.ndim(alpha_bar) else alpha_bar


def noised(x0, ab, eps):
    return ab**0.5 * x0 + (1 - ab) ** 0.5 * eps


def both(posterior):
    """Mean and variance in one array."""
    mean, variance = posterior(1.0, -0.5, 0.4, 0.6)
    return np.array([mean, variance])


def at_the_data(posterior):
    mean, variance = posterior(1.0, -0.5, 0.9, 1.0)
    return np.array([mean, variance])


EXERCISES = [
    Exercise(
        "ddim_from_scratch.diffusion.schedule.linear_schedule",
        tests=(
            *(SCHEDULE + f"test_alpha_bar_falls_from_one[{T}-linear_schedule]" for T in (1, 10, 1000)),
            SCHEDULE + "test_linear_schedule_has_the_values_of_ddpm",
            "tests/diffusion/test_golden.py::test_ddim",
        ),
        examples={
            "linear_schedule(3, 0.1, 0.5)": lambda linear_schedule: linear_schedule(3, 0.1, 0.5),
            "linear_schedule()[[0, 1, 500, 1000]]": lambda linear_schedule: linear_schedule()[[0, 1, 500, 1000]],
        },
        mistakes={
            "the 1 in front is missing: alpha_bar_0, the clean data": lambda *a: np.cumprod(1 - betas(*a)),
            "these are the alpha_t, each step's own: multiply them up, np.cumprod": (
                lambda *a: np.append(1.0, 1 - betas(*a))
            ),
            "this is the product of the betas: what remains is 1 - beta": lambda *a: np.append(
                1.0, np.cumprod(betas(*a))
            ),
            "the betas are added up: shares of what is left multiply": (
                lambda *a: np.append(1.0, 1 - np.cumsum(betas(*a)))
            ),
            "these are signal rates, the roots of alpha_bar": (
                lambda *a: np.append(1.0, np.sqrt(np.cumprod(1 - betas(*a))))
            ),
            "the betas lie on a line in their roots, which is latent diffusion's schedule": (
                lambda T, start, end: np.append(1.0, np.cumprod(1 - np.linspace(start**0.5, end**0.5, T) ** 2))
            ),
            "the betas end one step early: np.linspace includes the end by itself": (
                lambda T, start, end: np.append(1.0, np.cumprod(1 - np.linspace(start, end, T, endpoint=False)))
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.diffusion.process.q_sample",
        tests=tuple(
            PROCESS + name
            for name in (
                "test_predict_x0_undoes_q_sample_with_one_noise_level_a_sample",
                "test_the_ends_are_the_data_and_the_noise",
                "test_noisy_data_of_unit_variance_have_unit_variance",
                "test_one_noise_level_for_all_is_that_of_each",
            )
        ),
        examples={
            "q_sample(x0 (2, 3), 0.36, eps)": lambda q_sample: q_sample(X0, 0.36, EPS),
            "q_sample(x0 (2, 3), [0.9, 0.2], eps)": lambda q_sample: q_sample(X0, MANY, EPS),
            "q_sample(x0 (2, 3, 4), [0.9, 0.2], eps)": lambda q_sample: q_sample(PLANES, MANY, 1 - PLANES),
            "q_sample(float32 x0, float64 [0.9, 0.2], float32 eps)": (
                lambda q_sample: q_sample(X0.astype(np.float32), MANY, EPS.astype(np.float32))
            ),
        },
        mistakes={
            "the roots are missing: alpha_bar is a share of the variance": (
                lambda x0, alpha_bar, eps: column(alpha_bar, x0) * x0 + (1 - column(alpha_bar, x0)) * eps
            ),
            "the noise's root is missing: its rate is sqrt(1 - alpha_bar)": (
                lambda x0, alpha_bar, eps: column(alpha_bar, x0) ** 0.5 * x0 + (1 - column(alpha_bar, x0)) * eps
            ),
            "the rates don't share one circle: it is sqrt(1 - alpha_bar), not 1 - sqrt(alpha_bar)": (
                lambda x0, alpha_bar, eps: column(alpha_bar, x0) ** 0.5 * x0 + (1 - column(alpha_bar, x0) ** 0.5) * eps
            ),
            "signal and noise are exchanged": lambda x0, alpha_bar, eps: noised(eps, column(alpha_bar, x0), x0),
            "every row has the first one's noise level": (
                lambda x0, alpha_bar, eps: noised(x0, np.ravel(alpha_bar)[0], eps)
            ),
            "alpha_bar[:, None] has two axes: give it as many as x0 has": (
                lambda x0, alpha_bar, eps: noised(
                    x0, np.resize(alpha_bar, x0.shape[1])[:, None] if x0.ndim > 2 else column(alpha_bar, x0), eps
                )
            ),
            "a float32 x0 has become float64: turn the rates into its dtype": (
                lambda x0, alpha_bar, eps: noised(x0, column(alpha_bar, x0), eps)
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.diffusion.process.predict_x0",
        tests=(
            PROCESS + "test_predict_x0_undoes_q_sample_with_one_noise_level_a_sample",
            PROCESS + "test_one_noise_level_for_all_is_that_of_each",
            "tests/diffusion/test_golden.py::test_ddim",
        ),
        examples={
            "predict_x0(x_t (2, 3), 0.36, eps)": lambda predict_x0: predict_x0(X0, 0.36, EPS),
            "predict_x0(x_t (2, 3), [0.9, 0.2], eps)": lambda predict_x0: predict_x0(X0, MANY, EPS),
        },
        mistakes={
            "the division by the signal rate is missing": lambda x_t, ab, eps: x_t - (1 - column(ab, x_t)) ** 0.5 * eps,
            "divide by the root, sqrt(alpha_bar)": (
                lambda x_t, ab, eps: (x_t - (1 - column(ab, x_t)) ** 0.5 * eps) / column(ab, x_t)
            ),
            "the noise's root is missing: its rate is sqrt(1 - alpha_bar)": (
                lambda x_t, ab, eps: (x_t - (1 - column(ab, x_t)) * eps) / column(ab, x_t) ** 0.5
            ),
            "the noise is added: take it away": (
                lambda x_t, ab, eps: (x_t + (1 - column(ab, x_t)) ** 0.5 * eps) / column(ab, x_t) ** 0.5
            ),
            "only x_t is divided: put the difference into brackets": (
                lambda x_t, ab, eps: x_t / column(ab, x_t) ** 0.5 - (1 - column(ab, x_t)) ** 0.5 * eps
            ),
            "this divides by the noise rate: the signal rate, sqrt(alpha_bar), is what x0 was multiplied by": (
                lambda x_t, ab, eps: (x_t - (1 - column(ab, x_t)) ** 0.5 * eps) / (1 - column(ab, x_t)) ** 0.5
            ),
            "this is the way into the noise: solve it for x0": lambda x_t, ab, eps: noised(x_t, column(ab, x_t), eps),
            "every row has the first one's noise level": (
                lambda x_t, ab, eps: (x_t - (1 - np.ravel(ab)[0]) ** 0.5 * eps) / np.ravel(ab)[0] ** 0.5
            ),
            "all of eps is taken away: times the noise rate": lambda x_t, ab, eps: (x_t - eps) / column(ab, x_t) ** 0.5,
        },
    ),
    Exercise(
        "ddim_from_scratch.diffusion.process.posterior",
        tests=(
            PROCESS + "test_posterior_is_bayes_rule",
            "tests/diffusion/test_samplers.py::test_ddpm_is_its_algorithm_2",
            "tests/diffusion/test_samplers.py::test_ddim_with_eta_one_is_ddpm",
        ),
        examples={
            "posterior(x0=1, x_t=-0.5, ab_t=0.4, ab_s=0.6)": both,
            "posterior(x0=1, x_t=-0.5, ab_t=0.9, ab_s=1)": at_the_data,
        },
        mistakes={
            "x0 and x_t are exchanged": (
                lambda x0, x_t, ab_t, ab_s: (
                    (ab_s**0.5 * (1 - ab_t / ab_s) * x_t + (ab_t / ab_s) ** 0.5 * (1 - ab_s) * x0) / (1 - ab_t),
                    (1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s),
                )
            ),
            "the variance is beta: times (1 - ab_s) / (1 - ab_t)": (
                lambda x0, x_t, ab_t, ab_s: (
                    (ab_s**0.5 * (1 - ab_t / ab_s) * x0 + (ab_t / ab_s) ** 0.5 * (1 - ab_s) * x_t) / (1 - ab_t),
                    1 - ab_t / ab_s,
                )
            ),
            "this is the standard deviation: return the variance": (
                lambda x0, x_t, ab_t, ab_s: (
                    (ab_s**0.5 * (1 - ab_t / ab_s) * x0 + (ab_t / ab_s) ** 0.5 * (1 - ab_s) * x_t) / (1 - ab_t),
                    ((1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s)) ** 0.5,
                )
            ),
            "beta is 1 - ab_t, all noise since the data: the step's own is 1 - ab_t / ab_s": (
                lambda x0, x_t, ab_t, ab_s: (
                    ab_s**0.5 * x0 + (ab_t / ab_s) ** 0.5 * (1 - ab_s) / (1 - ab_t) * x_t,
                    1 - ab_s,
                )
            ),
            "x0 has the rate of the time t: it is sqrt(ab_s)": (
                lambda x0, x_t, ab_t, ab_s: (
                    (ab_t**0.5 * (1 - ab_t / ab_s) * x0 + (ab_t / ab_s) ** 0.5 * (1 - ab_s) * x_t) / (1 - ab_t),
                    (1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s),
                )
            ),
            "the root of alpha is missing in front of x_t": (
                lambda x0, x_t, ab_t, ab_s: (
                    (ab_s**0.5 * (1 - ab_t / ab_s) * x0 + ab_t / ab_s * (1 - ab_s) * x_t) / (1 - ab_t),
                    (1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s),
                )
            ),
        },
        test_to_write=True,
    ),
]
