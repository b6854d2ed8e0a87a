"""The activation function."""

from __future__ import annotations

import numpy as np

from ..runtime.backend import Array


def swish(x: Array) -> tuple[Array, Array]:
    """y = x s(x) with the sigmoid s(x) = 1 / (1 + exp(-x)) (Ramachandran et al. 2017). Any shape."""
    return x * _sigmoid(x), x


def swish_backward(dy: Array, cache: Array) -> Array:
    """dx = dy s (1 + x (1 - s)), since s' = s (1 - s)."""
    x = cache
    s = _sigmoid(x)
    return dy * s * (1 + x * (1 - s))


def _sigmoid(x: Array) -> Array:
    return (1 + np.tanh(x / 2)) / 2  # which is 1 / (1 + exp(-x)), and cannot overflow
