"""The activation function, a block of numbers at a time, over threads."""

from __future__ import annotations

import numpy as np

from ....runtime.backend import Array, blocks, empty, parallel


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
