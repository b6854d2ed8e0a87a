"""The activation functions."""

from __future__ import annotations

import numpy as np

from ..runtime.backend import Array

GELU_SCALE, GELU_CUBE = (2 / np.pi) ** 0.5, 0.044715


def swish(x: Array) -> tuple[Array, Array]:
    """y = x s(x) with the sigmoid s(x) = 1 / (1 + exp(-x)) (Ramachandran et al. 2017). Any shape."""
    return x * _sigmoid(x), x


def swish_backward(dy: Array, cache: Array) -> Array:
    """dx = dy s (1 + x (1 - s)), since s' = s (1 - s)."""
    x = cache
    s = _sigmoid(x)
    return dy * s * (1 + x * (1 - s))


def gelu(x: Array) -> tuple[Array, Array]:
    """y = x (1 + tanh u) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3), any shape.

    Hendrycks and Gimpel's (2016) approximation of x times the Gaussian's distribution function, as T5 has it.
    """
    return x * (1 + np.tanh(_gelu_argument(x))) / 2, x


def gelu_backward(dy: Array, cache: Array) -> Array:
    """dx = dy (1 + t + x (1 - t^2) u') / 2 with t = tanh u, since t' = (1 - t^2) u'."""
    x = cache
    t = np.tanh(_gelu_argument(x))
    slope = GELU_SCALE * (1 + 3 * GELU_CUBE * x * x)
    return dy * (1 + t + x * (1 - t * t) * slope) / 2


def _gelu_argument(x: Array) -> Array:
    return GELU_SCALE * (x + GELU_CUBE * x * x * x)


def _sigmoid(x: Array) -> Array:
    return (1 + np.tanh(x / 2)) / 2  # which is 1 / (1 + exp(-x)), and cannot overflow
