"""Layers that treat each position by itself: but for swish, the textbook's text, on a block of positions a thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from .... import nn
from ....runtime import tree
from ....runtime.backend import Array, blocks, empty, parallel
from ....runtime.tree import Tree


def by_blocks(
    forward: Callable[..., tuple[Array, Any]], backward: Callable[[Array, Any], tuple[Array, Tree]]
) -> tuple[Callable[..., tuple[Array, list]], Callable[[Array, list], tuple[Array, Tree]]]:
    """A layer and its backward pass, of x (..., C) and parameters, cut into blocks of positions."""

    def layer(x: Array, *params: Any, **named: Any) -> tuple[Array, list]:
        rows = x.reshape(-1, x.shape[-1])
        parts = blocks(rows)
        done = parallel(lambda part: forward(rows[part], *params, **named), parts)
        y = _joined([y for y, _ in done])
        return y.reshape(*x.shape[:-1], -1), [(part, cache) for part, (_, cache) in zip(parts, done, strict=True)]

    def layer_backward(dy: Array, cache: list) -> tuple[Array, Tree]:
        rows = dy.reshape(-1, dy.shape[-1])
        dx, grads = zip(*parallel(lambda one: backward(rows[one[0]], one[1]), cache), strict=True)
        return _joined(dx).reshape(*dy.shape[:-1], -1), reduce(lambda a, b: tree.map(np.add, a, b), grads)

    return layer, layer_backward


def _joined(parts: Any) -> Array:
    return np.concatenate(parts, out=empty((sum(map(len, parts)), parts[0].shape[1]), parts[0]))


linear, linear_backward = by_blocks(nn.linear, nn.linear_backward)
geglu, geglu_backward = by_blocks(nn.geglu, nn.geglu_backward)
layer_norm, layer_norm_backward = by_blocks(nn.layer_norm, nn.layer_norm_backward)
rms_norm, rms_norm_backward = by_blocks(nn.rms_norm, nn.rms_norm_backward)


def swish(x: Array) -> tuple[Array, Array]:
    """y = x s(x) with the sigmoid s, any shape."""
    y = empty(x.shape, x)
    flat_x, flat_y = x.reshape(-1), y.reshape(-1)
    parallel(lambda part: swish_prologue(flat_x[part], flat_y[part]), blocks(flat_x))
    return y, x


def swish_prologue(x: Array, out: Array, n: int | slice = 0) -> None:
    """swish(x) into out: what a convolution can do while it copies a tile (taps.py), for any samples n."""
    _sigmoid(x, out)
    out *= x


def swish_backward(dy: Array, cache: Array) -> Array:
    """dx = dy s (1 + x (1 - s))."""
    x = cache
    dx = empty(x.shape, x)
    flat_x, flat_dx, flat_dy = x.reshape(-1), dx.reshape(-1), dy.reshape(-1)

    def block(part: slice) -> None:
        s = _sigmoid(flat_x[part], out=empty(flat_x[part].shape, x))
        slope = np.subtract(1, s, out=flat_dx[part])
        slope *= flat_x[part]
        slope += 1
        slope *= s
        slope *= flat_dy[part]

    parallel(block, blocks(flat_x))
    return dx


def _sigmoid(x: Array, out: Array) -> Array:
    """1 / (1 + exp(-x)) as (1 + tanh(x/2)) / 2: it cannot overflow, and tanh is twice as fast as exp."""
    np.multiply(x, 0.5, out=out)
    np.tanh(out, out=out)
    out += 1
    out *= 0.5
    return out
