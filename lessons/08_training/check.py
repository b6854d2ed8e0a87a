"""What the exercises of lesson 08 are held to, and the mistakes that are known."""

import numpy as np

from lessons.tool.check import Exercise

OPTIM, PROCESS = "tests/training/test_optim.py::", "tests/diffusion/test_process.py::"
RNG = np.random.default_rng(1)
X_T, V = RNG.standard_normal((2, 2, 3))
X32, V32 = RNG.standard_normal((2, 2, 4, 5, 1)).astype(np.float32)


def read(of_x_t, of_v):
    """An eps_of_velocity with other weights, functions of the signal and the noise rate."""

    def mistaken(x_t, alpha_bar, v):
        alpha_bar = np.reshape(alpha_bar, (-1,) + (1,) * (x_t.ndim - 1))
        rates = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
        return (of_x_t(*rates) * x_t + of_v(*rates) * v).astype(x_t.dtype)

    return mistaken


def by_division(x_t, alpha_bar, v):
    """Through x0, and then a division by the signal rate."""
    alpha_bar = np.reshape(alpha_bar, (-1,) + (1,) * (x_t.ndim - 1))
    signal, noise = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
    with np.errstate(divide="ignore", invalid="ignore"):
        return ((v + noise * (signal * x_t - noise * v)) / signal).astype(x_t.dtype)


def average(update_average, decay=0.9, steps=1):
    """What the average has become."""
    kept = np.array([0.0, 0, 0, 10, 10])
    for _ in range(steps):
        update_average(kept, np.array([1.0, 2, 3, 20, -20]), decay)
    return kept


def mixed(of_old, of_new):
    def mistaken(old, current, decay):
        old[...] = of_old(decay) * old + of_new(decay) * current

    return mistaken


def steps(adamw, count=1, weight_decay=0.1, watched="params", dtype=np.float64):
    """What the weights, or a moment, have become after steps with falling gradients."""
    params = np.array([1.0, -2.0, 0.5, 3.0, 0.0], dtype)
    moments = {name: np.zeros_like(params) for name in ("m", "v")}
    for step in range(1, count + 1):
        grads = np.array([2.0, 30.0, -0.1, 1.0, -0.5], dtype) / step
        adamw(params, grads, moments, step, 0.01, weight_decay)
    return params if watched == "params" else moments[watched]


def small_gradient(adamw):
    """The first step, of learning rate 1, for a gradient of 0.0005: to a tenth, since 1e-7 may come in two places."""
    params, moments = np.zeros(1), {"m": np.zeros(1), "v": np.zeros(1)}
    adamw(params, np.full(1, 5e-4), moments, 1, 1.0, 0.0)
    return np.round(params, 1)


def inside(p, g, moments, step, learning_rate, weight_decay):
    """The small number under the root."""
    m, v = moments["m"], moments["v"]
    m[...], v[...] = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    p *= 1 - learning_rate * weight_decay
    p -= learning_rate * m / (1 - 0.9**step) / np.sqrt(v / (1 - 0.999**step) + 1e-7)


def wrong(decoupled=True, correct_m=True, correct_v=True, root=True, sign=1, decay_rate=True, keep=True, before=0):
    """An AdamW with one thing or another wrong."""

    def mistaken(p, g, moments, step, learning_rate, weight_decay):
        step, m, v = step - before, moments["m"], moments["v"]
        if not decoupled:
            g = g + weight_decay * p
        new_m, new_v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        if keep:
            m[...], v[...] = new_m, new_v
        new_m = new_m / (1 - 0.9**step) if correct_m else new_m
        new_v = new_v / (1 - 0.999**step) if correct_v else new_v
        if decoupled:
            p *= 1 - (learning_rate if decay_rate else 1) * weight_decay
        p -= sign * learning_rate * new_m / ((np.sqrt(new_v) if root else new_v) + 1e-7)

    return mistaken


EXERCISES = [
    Exercise(
        "ddim_from_scratch.diffusion.process.eps_of_velocity",
        tests=(
            PROCESS + "test_velocity_and_noise_say_the_same",
            PROCESS + "test_one_noise_level_for_all_is_that_of_each",
        ),
        examples={
            "eps_of_velocity(x_t (2, 3), 0.36, v)": lambda f: f(X_T, 0.36, V),
            "eps_of_velocity(x_t (2, 3), alpha_bar (2,), v)": lambda f: f(X_T, np.array([0.36, 0.9]), V),
            "eps_of_velocity where no signal is left, alpha_bar 0": lambda f: f(X_T, 0.0, V),
            "eps_of_velocity of float32 (2, 4, 5, 1)": lambda f: f(X32, np.array([0.36, 0.9]), V32),
        },
        mistakes={
            "the sign of x_t is wrong: solve x_t = a x0 + b eps, v = a eps - b x0 for eps: a v + b x_t": (
                read(lambda a, b: -b, lambda a, b: a)
            ),
            "the rates are exchanged: sqrt(alpha_bar) goes with v": read(lambda a, b: a, lambda a, b: b),
            "the square roots are missing: the rates are sqrt(alpha_bar) and sqrt(1 - alpha_bar)": (
                read(lambda a, b: b**2, lambda a, b: a**2)
            ),
            "the sign of v is wrong: solve for eps: a v + b x_t": read(lambda a, b: b, lambda a, b: -a),
            "this is x0 = a x_t - b v": read(lambda a, b: a, lambda a, b: -b),
            "it divides by sqrt(alpha_bar), which may be 0: solve the two equations without a division": by_division,
        },
        tolerance=1e-5,  # the float32 example's rounding
    ),
    Exercise(
        "ddim_from_scratch.training.optim.update_average",
        tests=(
            OPTIM + "test_the_average_follows_its_formula",
            OPTIM + "test_both_keep_float32_and_the_gradient",
        ),
        examples={
            "an average of 0s and 10s, of decay 0.9, after one step": average,
            "... after three steps": lambda update_average: average(update_average, steps=3),
        },
        mistakes={
            "the decay is the wrong way round: it multiplies the old average, 1 - decay the new weights": (
                mixed(lambda d: 1 - d, lambda d: d)
            ),
            "the average is as it was: change its arrays in place, a *= decay, not a = decay * a": (
                lambda average, current, decay: None
            ),
            "the new weights are added whole: times 1 - decay": mixed(lambda d: d, lambda d: 1),
            "the old average is not made smaller before the new share is added": mixed(lambda d: 1, lambda d: 1 - d),
            "both shares are decay: the new weights count 1 - decay": mixed(lambda d: d, lambda d: d),
            "both shares are 1 - decay: the old average counts decay": mixed(lambda d: 1 - d, lambda d: 1 - d),
            "the average is a plain copy of the new weights": mixed(lambda d: 0, lambda d: 1),
        },
    ),
    Exercise(
        "ddim_from_scratch.training.optim.adamw",
        tests=(
            OPTIM + "test_weight_decay_acts_without_a_gradient_and_not_on_the_moments",
            OPTIM + "test_the_first_step_has_the_size_of_the_learning_rate_whatever_the_gradient",
            OPTIM + "test_both_keep_float32_and_the_gradient",
        ),
        examples={
            "params after one step, learning rate 0.01, decay 0.1": steps,
            "... after three steps": lambda adamw: steps(adamw, 3),
            "the moments m after three steps": lambda adamw: steps(adamw, 3, watched="m"),
            "the moments v after three steps": lambda adamw: steps(adamw, 3, watched="v"),
            "the first step of rate 1 for a gradient of 0.0005, to a tenth": small_gradient,
            "float32 params after three steps": lambda adamw: steps(adamw, 3, dtype=np.float32),
        },
        mistakes={
            "1e-7 is under the root: add it to the root, sqrt(v_hat) + 1e-7": inside,
            "the first step counts as step 0 or 2: n is 1 at the first call": wrong(before=-1),
            "the decay went into the gradient, which is Adam with L2, not AdamW: "
            "subtract learning_rate * weight_decay * p from the weight itself": wrong(decoupled=False),
            "both corrections are missing: divide m by 1 - 0.9^n and v by 1 - 0.999^n": (
                wrong(correct_m=False, correct_v=False)
            ),
            "m is not corrected: divide it by 1 - 0.9^n": wrong(correct_m=False),
            "v is not corrected: divide it by 1 - 0.999^n": wrong(correct_v=False),
            "the square root is missing: divide by sqrt(v_hat)": wrong(root=False),
            "the weights go uphill: subtract the step": wrong(sign=-1),
            "the decay is not multiplied by the learning rate": wrong(decay_rate=False),
            "params are as they were: change the arrays in place, p -= ..., not p = p - ...": lambda *a: None,
            "the moments are forgotten from step to step: change them in place, m *= 0.9, not m = 0.9 * m": (
                wrong(keep=False)
            ),
        },
        test_to_write=True,
        tolerance=1e-5,
    ),
]
