"""The linear layer as one matrix product."""

from __future__ import annotations

from ....runtime.backend import Array
from ....runtime.tree import Tree


def linear(x: Array, w: Array, b: Array) -> tuple[Array, tuple]:
    """y = x w + b.  x: (..., C). w: (C, D). b: (D,)."""
    y = x.reshape(-1, x.shape[-1]) @ w
    y += b
    return y.reshape(*x.shape[:-1], -1), (x, w)


def linear_backward(dy: Array, cache: tuple) -> tuple[Array, Tree]:
    """dx = dy w^T, dw = x^T dy, db the sum of dy's rows."""
    x, w = cache
    rows_x, rows_dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, w.shape[1])
    return (rows_dy @ w.T).reshape(x.shape), {"w": rows_x.T @ rows_dy, "b": rows_dy.sum(axis=0)}
