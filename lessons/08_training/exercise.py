"""Exercises of lesson 08: the noise in a velocity, the moving average, AdamW.

Write the three functions. `make check-08` puts each in the package's place, on its own, shows what it answers
beside what is expected, and runs the package's tests on it. The weights of the whole network are one vector.
"""

import numpy as np


def eps_of_velocity(x_t: np.ndarray, alpha_bar: np.ndarray | float, v: np.ndarray) -> np.ndarray:
    """The noise in x_t if its velocity is v: eps = sqrt(alpha_bar) v + sqrt(1 - alpha_bar) x_t.

    Derive it: x_t = a x0 + b eps and v = a eps - b x0 are two equations for x0 and eps, with a^2 + b^2 = 1.

    x_t, v: (N, ...). alpha_bar: one number, or (N,), one a sample, to be reshaped so that it is broadcast over
        all other axes. Returns (N, ...) of the dtype of `x_t`: turn the rates into that, or float32 becomes
        float64.

            eps ^   . x_t            (x_t, v) is (x0, eps) turned by one angle:
                |  /                 turn it back
                | /
                |/_________> x0
    """
    raise NotImplementedError


def update_average(average: np.ndarray, current: np.ndarray, decay: float) -> None:
    """average = decay average + (1 - decay) current.

    In place: the vector `average` is changed, as by `average *= ...`; nothing is returned. `current` is left as it
    was. decay is 0.99, say: most of the old average stays.

        current   /\\/\\  /\\/\\/\\     jitters from step to step
                 /    \\/
        average  ____-----------     follows, 1 / (1 - decay) steps behind
    """
    raise NotImplementedError


def adamw(
    params: np.ndarray, grads: np.ndarray, moments: dict, step: int, learning_rate: float, weight_decay: float
) -> None:
    """One step of AdamW, for every weight p of `params` and its gradient g, with beta_1 = 0.9, beta_2 = 0.999:

        m = beta_1 m + (1 - beta_1) g                    n = step, 1 at the first call
        v = beta_2 v + (1 - beta_2) g^2
        p = p - learning_rate weight_decay p
        p = p - learning_rate m_hat / (sqrt(v_hat) + 1e-7),
                m_hat = m / (1 - beta_1^n),  v_hat = v / (1 - beta_2^n)

    moments: {"m": vector, "v": vector}, as long as `params`, zeros before the first step.
    In place: the vectors `params` and in `moments` are changed; nothing is returned, and `grads` is left as it was.

        g         ......|......        a gradient that comes but once
        p         ------.              moves the weight for some ten steps (beta_1),
                         '-..__        less and less
    """
    raise NotImplementedError


def test_adamw(adamw):
    """A test of `adamw`: assertions that hold for the right optimizer, and fail for wrong ones.

    `make check-08` calls it with the right function, which it must accept, and with wrong ones, and says how many of
    them your test finds. You need not compute what the right one answers. Think of what must be true: how far a weight
    moves in its first step, whether its gradient is large or small; which way it moves; what the decay does where
    there is no gradient; what happens in a second step that has no gradient at all.

    The right one that it is called with adds 1e-7 to sqrt(v), as Keras does, not to sqrt(v_hat). For gradients of
    0.0005 or more this changes a step by less than a hundredth: compare steps no more closely.
    """
    raise NotImplementedError


EXPERIMENT = """
How long should the memory of the average be? 120 steps on the short clips, noise loss at alpha_bar = 0.4.

| decay | remembers (steps) | noise loss |
|---|---|---|
| 0 (the last weights) | 1 | ? |
| 0.9 | ? | ? |
| 0.97 | ? | ? |
| 0.99 | ? | ? |
| 0.999 | ? | ? |

The share of the untrained start in the average of decay d after n steps is: ?
The memory should be about this part of the run: ?
Why: ?
"""
