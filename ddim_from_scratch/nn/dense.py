"""Layers that treat each position by itself: the linear layer, activations, and what a Transformer makes of them."""

from __future__ import annotations

import numpy as np

from ..runtime.backend import Array
from ..runtime.tree import Tree

GELU_SCALE, GELU_CUBE = (2 / np.pi) ** 0.5, 0.044715


def glorot_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16), float32.

    shape: (..., C_in, C_out); leading axes are kernel positions and count into both fans.
    """
    positions = int(np.prod(shape[:-2]))
    limit = np.sqrt(6 / (positions * (shape[-2] + shape[-1])))
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def init_linear(rng: np.random.Generator, *shape: int) -> Tree:
    """w of this shape, (C, D), or (k, k, C, D) for a convolution, and b (D,)."""
    return init_projection(rng, *shape) | {"b": np.zeros(shape[-1], np.float32)}


def init_projection(rng: np.random.Generator, *shape: int) -> Tree:
    """A linear layer without b."""
    return {"w": glorot_uniform(rng, shape)}


def linear(x: Array, w: Array, b: Array | None = None) -> tuple[Array, tuple]:
    """y = x w + b.  x: (..., C). w: (C, D). b: (D,), or None, which adds nothing. Returns (..., D)."""
    y = x @ w
    return (y if b is None else y + b), (x, w, b)


def linear_backward(dy: Array, cache: tuple) -> tuple[Array, Tree]:
    """dx = dy w^T. Every row of x has met w and b, so dw = x^T dy and db are sums over all rows."""
    x, w, b = cache
    rows_x, rows_dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])  # (rows, C), (rows, D)
    grads = {"w": rows_x.T @ rows_dy} | ({} if b is None else {"b": rows_dy.sum(axis=0)})
    return dy @ w.T, grads


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


def film(x: Array, condition: Array, w: Array) -> tuple[Array, tuple]:
    """y = x (1 + s) + b with [s, b] = condition w: feature-wise linear modulation (Perez et al. 2018).

    x: (N, L, C). condition: (N, E), of which every position of a sample sees the same. w: (E, 2 C).
    """
    modulation, cache = linear(condition, w)
    s, b = np.split(modulation[:, None], 2, axis=2)  # (N, 1, C)
    return x * (1 + s) + b, (x, s, cache)


def film_backward(dy: Array, cache: tuple) -> tuple[Array, Array, Tree]:
    """ds and db are sums over positions. Returns dx, d_condition and {"w"}."""
    x, s, of_linear = cache
    d_modulation = np.concatenate([(dy * x).sum(axis=1), dy.sum(axis=1)], axis=1)  # (N, 2 C)
    return dy * (1 + s), *linear_backward(d_modulation, of_linear)


def geglu(x: Array, gate: Tree, value: Tree, output: Tree) -> tuple[Array, Tree]:
    """y = (gelu(x w_gate) * x w_value) w_output: a perceptron with a gate (Shazeer 2020).

    x: (..., C). gate, value: {"w": (C, D)}. output: {"w": (D, C)}. Returns (..., C).
    """
    cache: Tree = {}
    g, cache["gate"] = linear(x, **gate)
    a, cache["gelu"] = gelu(g)
    v, cache["value"] = linear(x, **value)
    y, cache["output"] = linear(a * v, **output)
    return y, cache | {"factors": (a, v)}


def geglu_backward(dy: Array, cache: Tree) -> tuple[Array, Tree]:
    """The derivative of a product goes to each factor, times the other. x was read twice: dx is a sum."""
    grads, (a, v) = {}, cache["factors"]
    dh, grads["output"] = linear_backward(dy, cache["output"])
    dx_gate, grads["gate"] = linear_backward(gelu_backward(dh * v, cache["gelu"]), cache["gate"])
    dx_value, grads["value"] = linear_backward(dh * a, cache["value"])
    return dx_gate + dx_value, grads
