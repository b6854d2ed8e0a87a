"""AdamW, its learning rate, the gradient's clipping before it, and the moving average (EMA) of the weights.

All work in place on vectors: the weights of a whole network as one (`tree.pack`).
"""

from __future__ import annotations

import math

from ..runtime.backend import Array, elementwise

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7  # Keras' defaults
WARM_UP = 0.05  # share of the steps


def norm(vector: Array) -> Array:
    """The length of a vector, a float64 scalar on its device.

    NaN or infinite if any number is, or if the square of one is too large for float32, as it would be in AdamW.
    """
    return (vector * vector).sum(dtype="float64") ** 0.5


def clip_gradient(grads: Array, length: float, limit: float) -> None:
    """Shorten a gradient of this finite length to the length `limit` if it is longer; 0 is no limit. In place.

        g = g min(1, limit / |g|)

    (Pascanu, Mikolov and Bengio 2013, algorithm 1.)
    """
    if 0 < limit < length:
        grads *= limit / length


def warmup_cosine(step: int, total: int) -> float:
    """The share of the learning rate that step 1..total takes: up to 1 by a straight line, down to 0 by half a cosine.

    Loshchilov and Hutter (2017), equation 5, without restarts, after a warm-up as in Goyal et al. (2017).
    """
    warm_up = WARM_UP * total
    return min(step / warm_up, 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (total - warm_up))))


def warmup_decay(decay: float, step: int) -> float:
    """The decay of a moving average after step 1, 2, ...: it covers at most the last ninth or so of the steps.

        min(decay, (1 + step) / (10 + step))

    As TensorFlow's ExponentialMovingAverage with num_updates. A constant decay of 0.999 still holds a third of the
    untrained weights after 1000 steps.
    """
    return min(decay, (1 + step) / (10 + step))


def adamw(
    params: Array,
    grads: Array,
    moments: dict[str, Array],
    step: int,
    learning_rate: float,
    weight_decay: float,
    epsilon: float = EPSILON,
) -> None:
    """One step of Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2), as Keras writes it.

    step: 1 at the first call. moments: {"m", "v"}, zeros before it. Changes `params` and `moments`.
        m = beta_1 m + (1 - beta_1) g        v = beta_2 v + (1 - beta_2) g^2
        p = p - rate decay p - rate sqrt(1 - beta_2^step) / (1 - beta_1^step) m / (sqrt(v) + epsilon)
    """
    rate = learning_rate * math.sqrt(1 - BETA_2**step) / (1 - BETA_1**step)
    _adamw(params, grads, moments["m"], moments["v"], rate, 1 - learning_rate * weight_decay, epsilon)


@elementwise
def _adamw(p: Array, g: Array, m: Array, v: Array, rate: float, kept: float, epsilon: float) -> None:
    m *= BETA_1
    m += (1 - BETA_1) * g
    v *= BETA_2
    v += (1 - BETA_2) * g * g
    p *= kept
    p -= rate * m / (v**0.5 + epsilon)


@elementwise
def update_average(average: Array, current: Array, decay: float) -> None:
    """average = decay average + (1 - decay) current = current + decay (average - current), in place."""
    average -= current
    average *= decay
    average += current
