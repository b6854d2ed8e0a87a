"""Exercises of lesson 14: four functions that are shown with their bug. Write them without.

What the buggy code did stands in each docstring. `make check-14` puts yours in the package's place, on its own, shows
what it answers beside what is expected, and runs the package's tests on it. Leave the names and the arguments as they
are.
"""

import numpy as np

from ddim_from_scratch.diffusion import predict_x0  # noqa: F401  predict_x0(x_t, alpha_bar, eps) -> x0


def uniform_tau(T: int, steps: int) -> np.ndarray:
    """The times of a walk from 0 to T in equal steps, rounded to whole numbers: T i / steps for i = 0 .. steps.

    With the bug:  return T - np.arange(steps + 1)[::-1] * (T // steps)

    Returns (steps + 1,) increasing integers, the first 0, the last T.
    Raises ValueError with a text that contains "steps is 11:" (for 11) unless 1 <= steps <= T.

        T = 10, steps = 4     0    2     5     8    10      equal steps of 2.5, rounded
        the bug                    2   4   6   8    10      steps of 2: it never gets to 0
    """
    raise NotImplementedError


def clipped(eps_model, alpha_bar: np.ndarray, limit: float = 1.0):
    """An eps_model(x, t) like the given one, but with the x0 that it implies clipped to -limit..limit.

    With the bug:  def changed(x, t): return eps_model(x, t).clip(-limit, limit)
    or else x0 was clipped by the sampler, and eps left as it was. From the clipped x0 derive eps again, so that
    x = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps still holds.

    alpha_bar: (T + 1,) float64; make alpha_bar[t] a Python float, which leaves a float32 x float32.
    Returns a function of x and t that returns an array like x.

        x0     limit |      .----
                     |    .'            predicted -> clipped, and eps is what is left of x
        -limit  ----'
    """
    raise NotImplementedError


def eps_of_velocity(x_t: np.ndarray, alpha_bar, v: np.ndarray) -> np.ndarray:
    """The noise in x_t, if v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x0 and x_t = sqrt(alpha_bar) x0 + ... eps.

    With the bug:  (v + sqrt(1 - alpha_bar) * x0) / sqrt(alpha_bar), which divides by 0 where no signal is left.
    Solve the two equations for eps without any division.

    x_t, v: (N, ...). alpha_bar: a number, or an array (N,), one level a sample: give it as many axes as x_t.
    Returns (N, ...), of the dtype of x_t: convert the roots to it.

          v  \\    / x_t       x_t and v are x0 and eps, turned by one angle:
              \\  /            turn back
               \\/____
    """
    raise NotImplementedError


def update_average(average: np.ndarray, current: np.ndarray, decay: float) -> None:
    """average = decay average + (1 - decay) current, in place.

    With the bug:  average = decay * current + (1 - decay) * average, which has next to no memory, or a new array,
    which the caller never sees. Change the array itself: `average *= decay`.

    average, current: vectors of all weights. decay: a number from 0 up to 1. float32 stays float32.

        1 |           . - ' ~
          |     . '                of ones, from zero: 1 - decay^n
        0 | .'
          +------------------ n
    """
    raise NotImplementedError


def test_uniform_tau(uniform_tau):
    """A test of `uniform_tau`: assertions that hold for the right walk, and fail for wrong ones.

    `make check-14` calls it with the right function, which it must accept, and with wrong ones, the museum's among
    them, and says how many of them your test finds. State what must be true of a walk; repeat no formula.
    """
    raise NotImplementedError


EXPERIMENT = """
How many points does a test need? The right sampler, tolerance 0.03.

| points | false alarms (%) |
|---|---|
| 50 | ? |
| 200 | ? |
| 1000 | ? |
| 4000 | ? |

The standard deviation of a share of n points is: ?
For a tolerance of d, n should be at least: ?
Does a fixed seed replace enough points? Why? ?
"""
