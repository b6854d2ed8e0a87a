"""The activation function."""

from __future__ import annotations

import numpy as np

from ..runtime.backend import Array


def swish(x: Array) -> tuple[Array, tuple]:
    """y = x s(x) with the sigmoid s(x) = 1 / (1 + exp(-x)) (Ramachandran et al. 2017). Any shape."""
    s = (1 + np.tanh(x / 2)) / 2  # the same, and it cannot overflow
    return x * s, (x, s)


def swish_backward(dy: Array, cache: tuple) -> Array:
    """dx = dy s (1 + x (1 - s)), since s' = s (1 - s)."""
    x, s = cache
    return dy * s * (1 + x * (1 - s))
