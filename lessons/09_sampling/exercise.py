"""Exercises of lesson 09: two walks down the schedule, and the way from a clip back to its noise.

Write the three functions. `make check-09` puts each in the package's place, on its own, shows what it answers
beside what is expected, and runs the package's tests on it. `q_sample` and `predict_x0`, from
ddim_from_scratch.diffusion, may be imported.
"""

from collections.abc import Callable, Iterator

import numpy as np


def uniform_tau(T: int, steps: int) -> np.ndarray:
    """The walk in equal steps: tau_i = T i / steps for i = 0 .. steps, rounded (np.round) to integers.

    Returns int (steps + 1,), from 0 to T inclusive.
    Raises ValueError with a message that contains f"steps is {steps}:" unless 1 <= steps <= T.

        uniform_tau(1000, 4):   0 ------ 250 ------ 500 ------ 750 ------ 1000
    """
    raise NotImplementedError


def quadratic_tau(T: int, steps: int) -> np.ndarray:
    """The walk with small steps near the data: tau_i = T i^2 / steps^2, rounded, for i = 0 .. steps.

    Where rounding would make two times equal, tau_i is moved up to tau_{i-1} + 1, from left to right. At T = 1000,
    steps = 100 the first times are therefore 0, 1, 2, 3, ... and not 0, 0, 0, 1, ... (T is never passed: show it.)

    Returns int (steps + 1,), rising from 0 to T.
    Raises ValueError with a message that contains f"steps is {steps}:" unless 1 <= steps <= T.

        quadratic_tau(1000, 4):   0 - 62 --- 250 -------- 562 -------------- 1000
    """
    raise NotImplementedError


def ddim_inversion(
    eps_model: Callable[[np.ndarray, int], np.ndarray],
    x0: np.ndarray,
    alpha_bar: np.ndarray,
    tau: np.ndarray,
    evaluations: int = 1,
) -> Iterator[np.ndarray]:
    """The noise from which the deterministic `ddim` makes x0. A generator: yields x0, then x at tau_1, tau_2, ...

    A step down from t = tau_i to s = tau_{i-1} is x_s = sqrt(ab_s) x0' + sqrt(1 - ab_s) eps, where eps =
    eps_model(x_t, t) and x0' is what x_t and eps imply (eq. 9). The step up has x_s and looks for x_t:

        guess = x_s
        `evaluations` times:
            eps   = eps_model(guess, t)                   at time t, where the step down asks, not s
            x0'   = (x_s - sqrt(1 - ab_s) eps) / sqrt(ab_s)
            guess = sqrt(ab_t) x0' + sqrt(1 - ab_t) eps
        x_t = guess

    alpha_bar: (T + 1,). tau: rising integers from 0. Make Python numbers of alpha_bar's values, float(ab), so that
    a float32 x stays float32. Raises ValueError if evaluations is less than 1 (message: f"evaluations is
    {evaluations}:").

        x_T <---- x_t <---- x_s <---- x0         the same road as ddim's, the other way
    """
    raise NotImplementedError
    yield


EXPERIMENT = """
At which noise level is a piece decided? Log-mel errors.

| t | signal rate | result from the clip | two results from each other |
|---|---|---|---|
| 100 | ? | ? | ? |
| 300 | ? | ? | ? |
| 500 | ? | ? | ? |
| 700 | ? | ? | ? |
| 900 | ? | ? | ? |
| 1000 | ? | ? | ? |

Two different training clips are apart by: ?
From this t on the result is another piece: ?
What that says about the end of this schedule: ?
"""
