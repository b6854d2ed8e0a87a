"""What the exercises of lesson 09 are held to, and the mistakes that are known."""

import numpy as np

from ddim_from_scratch.diffusion import linear_schedule, predict_x0, q_sample
from lessons.tool.check import Exercise

SCHEDULE, SAMPLERS = "tests/diffusion/test_schedule.py::", "tests/diffusion/test_samplers.py::"
ALPHA_BAR = linear_schedule(1000)
TAU = np.array([0, 100, 400, 1000])
X0 = np.random.default_rng(1).standard_normal((2, 3))


def bent(x, t):
    """A network of one line that is not linear and knows the time."""
    return np.tanh(x) * (0.5 + float(t) / 2000)


def rounded(times):
    return lambda T, steps: np.round(times(T, np.arange(steps + 1), steps)).astype(int)


def climb(dtype=np.float64, evaluations=1):
    return lambda inversion: np.stack([*inversion(bent, X0.astype(dtype), ALPHA_BAR, TAU, evaluations)])


def wrong(ask_at_s=False, from_guess=False, always=None, downwards=False, last_only=False, first=True, exchanged=False):
    """A `ddim_inversion` with one thing or another wrong."""

    def mistaken(eps_model, x0, alpha_bar, tau, evaluations=1):
        x, found = x0, [x0] if first else []
        pairs = list(zip(tau[:-1].tolist(), tau[1:].tolist(), strict=True))
        for s, t in pairs[::-1] if downwards else pairs:
            ab_s, ab_t = float(alpha_bar[s]), float(alpha_bar[t])
            guess = x
            for _ in range(always or evaluations):
                eps = eps_model(guess, s if ask_at_s else t)
                if exchanged:
                    guess = q_sample(predict_x0(x, ab_t, eps), ab_s, eps)
                else:
                    guess = q_sample(predict_x0(guess if from_guess else x, ab_s, eps), ab_t, eps)
            x = guess
            found.append(x)
        yield from (found[-1:] if last_only else found)

    return mistaken


EXERCISES = [
    Exercise(
        "ddim_from_scratch.diffusion.schedule.uniform_tau",
        tests=(
            SCHEDULE + "test_uniform_steps_are_equal_up_to_rounding",
            SCHEDULE + "test_a_walk_rises_from_zero_to_T_in_the_asked_steps[uniform]",
            SCHEDULE + "test_more_steps_than_times_or_none_are_refused[-1-uniform]",
            SCHEDULE + "test_more_steps_than_times_or_none_are_refused[0-uniform]",
            SCHEDULE + "test_more_steps_than_times_or_none_are_refused[11-uniform]",
        ),
        examples={
            "uniform_tau(10, 5)": lambda uniform_tau: uniform_tau(10, 5),
            "uniform_tau(1000, 7)": lambda uniform_tau: uniform_tau(1000, 7),
        },
        mistakes={
            "the walk ends before T, so that sampling begins where there is signal already: "
            "tau_i = T i / steps, with i up to steps": lambda T, steps: np.arange(steps) * (T // steps),
            "T is missing at the end, and 0 twice or 1 at the start: t = 1 .. T, and tau_0 = 0 is the data": (
                rounded(lambda T, i, steps: np.maximum(T * i / steps - 1, 0))
            ),
            "0 is missing: the last step goes to the data, tau_0 = 0": (
                lambda T, steps: np.round(T * np.arange(1, steps + 1) / steps).astype(int)
            ),
            "the walk goes downhill: tau rises from 0 to T, samplers walk it backwards": (
                lambda T, steps: np.round(T * np.arange(steps, -1, -1) / steps).astype(int)
            ),
            "the steps are T // steps long, and do not reach T where steps doesn't divide it: round T i / steps": (
                lambda T, steps: np.arange(steps + 1) * (T // steps)
            ),
            "the fractions are cut, not rounded: np.round": (
                lambda T, steps: (T * np.arange(steps + 1) / steps).astype(int)
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.diffusion.schedule.quadratic_tau",
        tests=(
            SCHEDULE + "test_quadratic_steps_are",
            SCHEDULE + "test_a_walk_rises_from_zero_to_T_in_the_asked_steps[quadratic]",
            SCHEDULE + "test_more_steps_than_times_or_none_are_refused[-1-quadratic]",
            SCHEDULE + "test_more_steps_than_times_or_none_are_refused[11-quadratic]",
        ),
        examples={
            "quadratic_tau(100, 5)": lambda quadratic_tau: quadratic_tau(100, 5),
            "quadratic_tau(1000, 70)": lambda quadratic_tau: quadratic_tau(1000, 70),  # nothing lies half-way
        },
        mistakes={
            "the steps are equal: i is squared": rounded(lambda T, i, steps: T * i / steps),
            "the root is taken: the steps must be small near 0": rounded(lambda T, i, steps: T * (i / steps) ** 0.5),
            "steps is not squared": rounded(lambda T, i, steps: T * i**2 / steps),
            "the small steps are at the noisy end: they belong near 0": (
                rounded(lambda T, i, steps: T * (1 - (1 - i / steps) ** 2))
            ),
            "0 is missing": lambda T, steps: np.round(T * np.arange(1, steps + 1) ** 2 / steps**2).astype(int),
            "times repeat: move each up to one more than the last": rounded(lambda T, i, steps: T * i**2 / steps**2),
            "equal times are dropped, so that there are too few steps: move them up": (
                lambda T, steps: np.unique(np.round(T * np.arange(steps + 1) ** 2 / steps**2).astype(int))
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.diffusion.samplers.ddim_inversion",
        tests=(
            SAMPLERS + "test_inversion_finds_the_noise_from_which_ddim_makes_the_data",
            SAMPLERS + "test_other_senseless_values_are_refused",
        ),
        examples={
            "ddim_inversion(eps_model, x0 (2, 3), alpha_bar, tau of 3 steps)": climb(),
            "... with 4 evaluations a step": climb(evaluations=4),
            "... of float32": climb(np.float32, 2),
        },
        mistakes={
            "the network is asked at the time s that the step leaves; the step down asks at t": wrong(ask_at_s=True),
            "x_s is forgotten: each evaluation goes from x_s again, only eps comes from the guess": (
                wrong(from_guess=True)
            ),
            "evaluations is not used": wrong(always=1),
            "the steps are in the order of sampling: go up, from 0 to T": wrong(downwards=True),
            "only the last x is given: yield every x on the way": wrong(last_only=True),
            "x0 itself is not given: yield it first": wrong(first=False),
            "t and s are exchanged: the step leaves ab_s and comes to ab_t": wrong(exchanged=True),
        },
        tolerance=1e-5,
    ),
]
