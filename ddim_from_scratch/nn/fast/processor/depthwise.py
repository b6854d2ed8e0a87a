"""Convolution of each channel by itself: a sample stays in a core's cache while its taps are added up."""

from __future__ import annotations

import numpy as np

from ....runtime.backend import Array, empty, parallel
from ....runtime.tree import Tree


def depthwise_conv(x: Array, w: Array, b: Array, dilation: int = 1) -> tuple[Array, tuple]:
    """y[i] = b + sum over taps u of x[i + (u - k // 2) dilation] w[u].  x: (N, L, C). w: (k, C). b: (C,)."""
    y = empty(x.shape, x)
    y[...] = b
    parallel(lambda n: _correlate(x[n], w, dilation, y[n]), range(len(x)))
    return y, (x, w, dilation)


def depthwise_conv_backward(dy: Array, cache: tuple) -> tuple[Array, Tree]:
    """dx is the correlation of dy with w read backwards."""
    x, w, dilation = cache
    dx = empty(x.shape, x)
    dx[...] = 0

    def sample(n: int) -> Array:
        _correlate(dy[n], w[::-1], dilation, dx[n])
        product, ones = empty(dy[n].shape, x), np.ones(dy.shape[1], x.dtype)
        shifted = _shifted(x[n], len(w), dilation)
        return np.stack([ones @ np.multiply(part, dy[n], out=product) for part in shifted] + [ones @ dy[n]])

    *dw, db = np.sum(parallel(sample, range(len(x))), axis=0)
    return dx, {"w": np.stack(dw), "b": db}


def _correlate(x: Array, w: Array, dilation: int, y: Array) -> None:
    """Adds a sample's correlation, (L, C), to y."""
    product = empty(x.shape, x)
    for shifted, of_tap in zip(_shifted(x, len(w), dilation), w, strict=True):
        y += np.multiply(shifted, of_tap, out=product)


def _shifted(x: Array, k: int, dilation: int) -> list[Array]:
    """The rows of x (L, C), with zeros around it, that each tap reads."""
    length, border = len(x), k // 2 * dilation
    padded = empty((length + 2 * border, x.shape[1]), x)
    padded[:border] = padded[border + length :] = 0
    padded[border : border + length] = x
    return [padded[u * dilation : u * dilation + length] for u in range(k)]
