"""The linear layer, a matrix product along the channels, and the two that a Transformer makes of it."""

from __future__ import annotations

import numpy as np

from ..runtime.backend import Array
from ..runtime.tree import Tree
from .activation import gelu, gelu_backward


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
