"""Exercises of lesson 04: an oracle and two samplers.

Write the four functions. `make check-04` puts each in the package's place, on its own, shows what it answers beside
what is expected, and runs the package's tests on it. The package's `predict_x0`, `eps_of_x0` and `q_sample` of lesson
03 may be imported, from ddim_from_scratch.diffusion.
"""

import numpy as np  # noqa: F401


def gaussian_eps_model(mean, variance, alpha_bar):
    """The oracle for data N(mean, variance): a function eps_model(x, t) that returns E[eps | x_t = x],

        sqrt(1 - ab) (x - sqrt(ab) mean) / (ab variance + 1 - ab),    ab = alpha_bar[t].

    mean, variance: numbers, or arrays that are broadcast over x. alpha_bar: float64 (T + 1,). Turn ab into a Python
    float, so that a float32 x stays float32.

          eps |          /
              |        /          a straight line, 0 where x is the mean of x_t
              |------/-------- x
              |    /
    """
    raise NotImplementedError


def ddim(eps_model, x_T, alpha_bar, tau, eta=0.0, rng=None):
    """DDIM: a generator that yields x at every time of tau, x_T first, the sample last.

    For each step from t = tau[i] to s = tau[i - 1], from the end of tau down, with ab_t = alpha_bar[t] and ab_s =
    alpha_bar[s],

        eps = eps_model(x, t)
        x0 = (x - sqrt(1 - ab_t) eps) / sqrt(ab_t)                                    (eq. 9)
        sigma = eta sqrt((1 - ab_s) / (1 - ab_t)) sqrt(1 - ab_t / ab_s)               (eq. 16)
        x = sqrt(ab_s) x0 + sqrt(1 - ab_s - sigma^2) eps + sigma z                    (eq. 12)

    with z = rng.standard_normal(x.shape, dtype=np.float32) of x's dtype, drawn only where sigma > 0 (the last step has
    sigma = 0 exactly). Rounding can make 1 - ab_s - sigma^2 a tiny bit negative: take 0 then.

    x_T: any shape; x keeps its dtype, so the factors have to be Python floats, and the t for eps_model an int. tau:
    integers that increase from 0. Each x is a new array.

          x_T *                       len(tau) arrays in all
               \\_
                 *-.
                    '*----* sample
             t ---------> 0
    """
    raise NotImplementedError


def clipped(eps_model, alpha_bar, limit=1.0):
    """A function of x and t: `eps_model`, but with the x0 that it implies clipped to -limit .. limit.

    Find x0 from x and eps, clip it, and return the eps that belongs to x and the clipped x0: for
    x = sqrt(ab) x0 + sqrt(1 - ab) eps must still hold.

          x0 in     ----------/          x0 out   _________
                          /                              /-------- limit
                      /                                /
                  /                       -limit -----/
    """
    raise NotImplementedError


def heun(eps_model, x_T, alpha_bar, tau):
    """Heun's rule on DDIM's differential equation: a generator like `ddim`, without noise.

    Each step from t to s = the time before it in tau:

        eps = eps_model(x, t)
        x_try = sqrt(ab_s) x0 + sqrt(1 - ab_s) eps, x0 being that of x and eps: the deterministic DDIM step
        eps = the mean of eps and eps_model(x_try, s); unless s = 0, where there is no noise to ask for
        x = the same step from x again, with this eps (and the x0 that belongs to it)

    Shapes, dtypes and what is yielded as in `ddim`.

           x *
             |\\  first try: straight on
             | \\
             |  * asks for the slope here, too
              \\
               * goes with the mean of both
    """
    raise NotImplementedError


EXPERIMENT = """
| evaluations | mean error of DDIM | mean error of Heun |
|---|---|---|
| 40 | ? | ? |
| 160 | ? | ? |
| 640 | ? | ? |

From how many evaluations on is Heun no better? ?
What does this mean for a trained network? ?
"""
