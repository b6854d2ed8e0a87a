"""The linear layer: a matrix product along the channels."""

from __future__ import annotations

from ..runtime.backend import Array
from ..runtime.tree import Tree


def linear(x: Array, w: Array, b: Array) -> tuple[Array, tuple]:
    """y = x w + b.  x: (..., C). w: (C, D). b: (D,). Returns (..., D)."""
    return x @ w + b, (x, w)


def linear_backward(dy: Array, cache: tuple) -> tuple[Array, Tree]:
    """dx = dy w^T. Every row of x has met w and b, so dw = x^T dy and db are sums over all rows."""
    x, w = cache
    rows_x, rows_dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])  # (rows, C), (rows, D)
    return dy @ w.T, {"w": rows_x.T @ rows_dy, "b": rows_dy.sum(axis=0)}
