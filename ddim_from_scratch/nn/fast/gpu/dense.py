"""Layers that treat each position by itself: convolutions of one pixel, or the textbook's with all positions as rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .... import nn
from ....runtime.backend import Array
from ....runtime.tree import Tree
from .conv import conv2d, conv2d_backward


def by_rows(
    forward: Callable[..., tuple[Array, Any]], backward: Callable[[Array, Any], tuple[Array, Tree]]
) -> tuple[Callable[..., tuple[Array, Any]], Callable[[Array, Any], tuple[Array, Tree]]]:
    """A layer of x (..., C) as one of rows, (positions, C). Of x (N, L, C) cuBLAS would make N small products."""

    def layer(x: Array, **params: Any) -> tuple[Array, Any]:
        y, cache = forward(x.reshape(-1, x.shape[-1]), **params)
        return y.reshape(*x.shape[:-1], -1), cache

    def layer_backward(dy: Array, cache: Any) -> tuple[Array, Tree]:
        dx, grads = backward(dy.reshape(-1, dy.shape[-1]), cache)
        return dx.reshape(*dy.shape[:-1], -1), grads

    return layer, layer_backward


_of_rows, _of_rows_backward = by_rows(nn.linear, nn.linear_backward)
geglu, geglu_backward = by_rows(nn.geglu, nn.geglu_backward)


def linear(x: Array, w: Array, b: Array | None = None) -> tuple[Array, tuple]:
    """At every pixel of a picture: a 1x1 convolution. For sequences, and without b, a product of matrices."""
    return _of_rows(x, w=w, b=b) if x.ndim != 4 or b is None else conv2d(x, w[None, None], b)


def linear_backward(dy: Array, cache: tuple) -> tuple[Array, Tree]:
    if len(cache) == 3:  # the textbook's
        return _of_rows_backward(dy, cache)
    dx, grads = conv2d_backward(dy, cache)
    return dx, {"w": grads["w"][0, 0], "b": grads["b"]}
