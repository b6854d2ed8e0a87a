"""Exercises of lesson 03: the way into the noise, and a step back.

Write the four functions; they stand on their own. `make check-03` puts each in the package's place, shows what it
answers beside what is expected, and runs the package's tests on it. A test to write comes last.
"""

import numpy as np


def linear_schedule(T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> np.ndarray:
    """alpha_bar_t = (1 - beta_1) (1 - beta_2) ... (1 - beta_t), and alpha_bar_0 = 1.

    beta_1 .. beta_T are T numbers at equal distances, from beta_start to beta_end, both included. np.linspace and
    np.cumprod help.

    Returns float64 (T + 1,), with T = 3 for example [1, 1 - beta_1, (1 - beta_1) (1 - beta_2), ...].

          1 |--..                        1 at t = 0, where nothing has happened yet;
            |     '.
            |       '.._                 then ever less
          0 +------------'--- t
    """
    raise NotImplementedError


def q_sample(x0, alpha_bar, eps):
    """x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps (DDPM eq. 4).

    x0, eps: (N, ...), float32 or float64. alpha_bar: a number for all of them, or float64 (N,), one for each; an array
    has to be given N x 1 x 1 ... values, as many axes as x0 has.
    Returns x_t of the shape and the dtype of x0: float64 factors would turn a float32 x0 into float64.

          alpha_bar 1.0 |  /\\  /\\  |       one row of the batch may be clean
          alpha_bar 0.5 |  /'\\.-/\\ |       while the next
          alpha_bar 0.0 | .,:'-.';, |       is nothing but noise
    """
    raise NotImplementedError


def predict_x0(x_t, alpha_bar, eps):
    """The x0 that `q_sample` would turn into x_t with the noise eps (DDIM eq. 9): solve its equation for x0.

    Shapes and dtypes as in `q_sample`.

          x_t ----- minus the noise in it -----> signal rate times x0 ----- divide -----> x0
    """
    raise NotImplementedError


def posterior(x0, x_t, ab_t: float, ab_s: float):
    """Mean and variance of q(x_s | x_t, x_0), for a time s before t (DDPM eq. 6 and 7).

    ab_t, ab_s: alpha_bar at the two times. With alpha = ab_t / ab_s and beta = 1 - alpha, those of the whole step,

        mean = sqrt(ab_s) beta / (1 - ab_t) x0 + sqrt(alpha) (1 - ab_s) / (1 - ab_t) x_t
        variance = (1 - ab_s) / (1 - ab_t) beta

    x0, x_t: numbers or arrays. Returns (mean, variance): the mean has their shape, the variance is a number.

                     .-.  q(x_s | x_t, x_0): between the two, and narrower than either
             .--.   /   \\  .---.
            /    \\ /     \\/     \\
        ---x_t---------------x_0-----> x_s
    """
    raise NotImplementedError


def test_posterior(posterior):
    """A test of `posterior`: assertions that hold for the right function, and fail for wrong ones.

    `make check-03` calls it with the right function, which it must accept, and with six wrong ones. It says how many of
    them your test finds, and describes the others. Assert Bayes' rule, not the formula: for fixed x0 and x_t,
    q(x_s | x0) q(x_t | x_s) is a constant times q(x_s | x_t, x0), at every x_s.
    """
    raise NotImplementedError


EXPERIMENT = """
| schedule | signal rate at t = T | signal rate at t = 1 | spread of the levels |
|---|---|---|---|
| tuned | 0.195 | 0.932 | ? |
| tuned, shifted | ? | ? | 0.4 |

The formula for the signal rate at t = T: ?
What does the shift cost at t = 1? ?
"""
