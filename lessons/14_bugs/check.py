"""What the exercises of lesson 14 are held to, and the mistakes that are known: the museum's own."""

import numpy as np

from ddim_from_scratch.diffusion import linear_schedule, predict_x0
from lessons.tool.check import Exercise

SCHEDULE, PROCESS, OPTIM = (
    "tests/diffusion/test_schedule.py::",
    "tests/diffusion/test_process.py::",
    "tests/training/test_optim.py::",
)
ALPHA_BAR = linear_schedule(100)
X = np.linspace(-3, 3, 7)
PAIR = np.array([[0.5, -1.0], [2.0, 0.0]]), np.array([0.9, 0.1]), np.array([[1.0, 1.0], [-1.0, 3.0]])


def half(x, t):
    """A network that takes half of everything for noise."""
    return 0.5 * x


def averaged(update_average, dtype=np.float64):
    """The average itself, after a step."""
    average = np.array([1.0, 2, 3, 0], dtype)
    update_average(average, np.array([2.0, 0, 3, 1], dtype), 0.9)
    return average


def mistaken(change):
    """An update_average that does something else."""

    def update_average(average, current, decay):
        average[...] = change(average, current, decay)

    return update_average


def rounded_off(T, steps):
    return np.floor(np.arange(steps + 1) * T / steps).astype(int)


def eps_after(x0_of):
    """A clipped eps_model with another idea of what to clip."""
    return lambda eps_model, alpha_bar, limit=1.0: lambda x, t: x0_of(x, float(alpha_bar[t]), eps_model(x, t), limit)


def rates(x, alpha_bar):
    alpha_bar = np.reshape(alpha_bar, (-1, *[1] * (x.ndim - 1)))
    return np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)


def divided(x_t, alpha_bar, v):
    """The museum's: right, but for a division."""
    signal, noise = rates(x_t, alpha_bar)
    with np.errstate(divide="ignore", invalid="ignore"):
        return ((v + noise * (signal * x_t - noise * v)) / signal).astype(x_t.dtype)


def turned(signal=1.0, noise=1.0, swap=False):
    """Some other combination of v and x_t."""

    def eps_of_velocity(x_t, alpha_bar, v):
        s, n = rates(x_t, alpha_bar)
        return signal * (n if swap else s) * v + noise * (s if swap else n) * x_t

    return eps_of_velocity


EXERCISES = [
    Exercise(
        "ddim_from_scratch.diffusion.schedule.uniform_tau",
        tests=(
            SCHEDULE + "test_uniform_steps_are_equal_up_to_rounding",
            SCHEDULE + "test_more_steps_than_times_or_none_are_refused[0-uniform]",
            SCHEDULE + "test_more_steps_than_times_or_none_are_refused[11-uniform]",
            "tests/diffusion/test_ddim.py::test_slip_3_a_step_goes_to_the_time_before_in_tau_not_to_t_minus_1",
        ),
        examples={
            "uniform_tau(1000, 8)": lambda uniform_tau: uniform_tau(1000, 8),
            "uniform_tau(1000, 7)": lambda uniform_tau: uniform_tau(1000, 7),
            "uniform_tau(10, 7)": lambda uniform_tau: uniform_tau(10, 7),
        },
        mistakes={
            "this is the bug of the museum: T // steps is rounded, and steps of it do not reach 0": (
                lambda T, steps: T - np.arange(steps + 1)[::-1] * (T // steps)
            ),
            "strides of T // steps from 0 do not reach T: round T i / steps instead": (
                lambda T, steps: np.arange(steps + 1) * (T // steps)
            ),
            "the times are cut off, not rounded: np.round": rounded_off,
            "there are steps + 1 times, from 0 to T: one is missing": (
                lambda T, steps: np.round(np.linspace(0, T, steps)).astype(int)
            ),
            "0 is missing: a walk ends at the data": lambda T, steps: rounded_off(T, steps)[1:],
            "T is missing: a walk begins at the noise": lambda T, steps: rounded_off(T, steps)[:-1],
            "the walk is upside down: tau increases": (
                lambda T, steps: np.round(T * np.arange(steps + 1) / steps)[::-1].astype(int)
            ),
            "the last time is T - 1: times run from 0 to T": (
                lambda T, steps: np.round(np.linspace(0, T - 1, steps + 1)).astype(int)
            ),
        },
        test_to_write=True,
    ),
    Exercise(
        "ddim_from_scratch.diffusion.process.clipped",
        tests=(
            PROCESS + "test_clipping_keeps_x0_in_range_and_x_consistent",
            PROCESS + "test_a_wrapped_model_goes_with_a_sampler_and_keeps_float32",
        ),
        examples={
            "clipped(eps = x / 2, alpha_bar, 0.8)(-3 .. 3, t = 60)": lambda clipped: clipped(half, ALPHA_BAR, 0.8)(
                X, 60
            ),
            "clipped(eps = x / 2, alpha_bar)(-3 .. 3, t = 20)": lambda clipped: clipped(half, ALPHA_BAR)(X, 20),
        },
        mistakes={
            "eps is left as it was: derive it again from x and the clipped x0": eps_after(
                lambda x, ab, eps, limit: eps
            ),
            "eps is clipped: it is x0 that has a range": eps_after(lambda x, ab, eps, limit: eps.clip(-limit, limit)),
            "this is the clipped x0: return the eps that goes with it": eps_after(
                lambda x, ab, eps, limit: predict_x0(x, ab, eps).clip(-limit, limit)
            ),
            "x0 is clipped to -1..1, whatever the limit": eps_after(
                lambda x, ab, eps, limit: (x - ab**0.5 * predict_x0(x, ab, eps).clip(-1, 1)) / (1 - ab) ** 0.5
            ),
            "the roots of alpha_bar are missing where eps is derived again": eps_after(
                lambda x, ab, eps, limit: (x - ab * predict_x0(x, ab, eps).clip(-limit, limit)) / (1 - ab)
            ),
            "x itself is clipped: it is x0 that has a range": eps_after(
                lambda x, ab, eps, limit: 0.5 * x.clip(-limit, limit)
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.diffusion.process.eps_of_velocity",
        tests=(
            PROCESS + "test_velocity_and_noise_say_the_same",
            PROCESS + "test_one_noise_level_for_all_is_that_of_each",
        ),
        examples={
            "eps_of_velocity(x_t (2, 2), alpha_bar [0.9, 0.1], v)": lambda eps_of_velocity: eps_of_velocity(*PAIR),
            "eps_of_velocity where no signal is left, alpha_bar 0": (
                lambda eps_of_velocity: eps_of_velocity(PAIR[0], np.array([0.0, 0.1]), PAIR[2])
            ),
            "eps_of_velocity of float32": (
                lambda f: f(PAIR[0].astype(np.float32), PAIR[1], PAIR[2].astype(np.float32))
            ),
        },
        mistakes={
            "this is the museum's: it divides by sqrt(alpha_bar), which is 0 where no signal is left": divided,
            "the sign before x_t is wrong": turned(noise=-1.0),
            "the sign before v is wrong": turned(signal=-1.0),
            "signal and noise rate are swapped: this is x0, but for a sign": turned(swap=True),
            "this is x0: signal_rate x_t - noise_rate v; eps has the other two": turned(-1.0, 1.0, swap=True),
            "the roots are missing: signal_rate is the root of alpha_bar": (
                lambda x, ab, v: ab[:, None] * v + (1 - ab[:, None]) * x
            ),
            "alpha_bar is spread along the last axis: it is one level a sample, the first": (
                lambda x, ab, v: np.sqrt(ab) * v + np.sqrt(1 - ab) * x
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.training.optim.update_average",
        tests=(
            OPTIM + "test_the_average_follows_its_formula",
            OPTIM + "test_both_keep_float32_and_the_gradient",
        ),
        examples={
            "average of [1, 2, 3, 0] and [2, 0, 3, 1], decay 0.9": averaged,
            "the same in float32": lambda update_average: averaged(update_average, np.float32),
        },
        mistakes={
            "the shares are swapped: the average keeps decay of itself": mistaken(
                lambda a, c, decay: (1 - decay) * a + decay * c
            ),
            "nothing has changed: write into the array, average *= decay, not into a new one": mistaken(
                lambda a, c, decay: a
            ),
            "the current weights are added whole: only 1 - decay of them": mistaken(lambda a, c, decay: decay * a + c),
            "the average is not made smaller before the new share is added": mistaken(
                lambda a, c, decay: a + (1 - decay) * c
            ),
            "this is a copy of the current weights": mistaken(lambda a, c, decay: c),
            "the shares add up to more than 1: decay and 1 - decay": mistaken(lambda a, c, decay: decay * (a + c)),
        },
    ),
]
