"""Layers that treat each position by itself: convolutions of one pixel, products of rows, and rows.cu's kernels."""

from __future__ import annotations

from .... import nn
from ....runtime.backend import Array
from ....runtime.tree import Tree
from ...dense import GELU_CUBE, GELU_SCALE
from ...norm import ROW_EPSILON
from .conv import conv2d, conv2d_backward, sum_rows
from .kernels import THREADS, contiguous, empty, kernel

ROWS, LANES = 8, 32  # of a block: as in rows.cu


def linear(x: Array, w: Array, b: Array | None = None) -> tuple[Array, tuple]:
    """At every pixel of a picture: a 1x1 convolution. For sequences, and without b, a product of matrices.

    One product: of x (N, L, C) cuBLAS would make N small ones.
    """
    if x.ndim == 4 and b is not None:
        return conv2d(x, w[None, None], b)
    y, cache = nn.linear(x.reshape(-1, x.shape[-1]), w, b)
    return y.reshape(*x.shape[:-1], -1), cache


def linear_backward(dy: Array, cache: tuple) -> tuple[Array, Tree]:
    if len(cache) == 3:  # the textbook's
        dx, grads = nn.linear_backward(dy.reshape(-1, dy.shape[-1]), cache)
        return dx.reshape(*dy.shape[:-1], -1), grads
    dx, grads = conv2d_backward(dy, cache)
    return dx, {"w": grads["w"][0, 0], "b": grads["b"]}


def geglu(x: Array, gate: Tree, value: Tree, output: Tree) -> tuple[Array, Tree]:
    """As the textbook's: the gate is one kernel, for float32; any other type is the textbook's own."""
    if x.dtype != "float32":
        return nn.geglu(x, gate, value, output)
    cache: Tree = {}
    g, cache["gate"] = linear(x, **gate)
    v, cache["value"] = linear(x, **value)
    h = empty(g.shape)
    _pointwise("gated", g.size, g, v, h)
    y, cache["output"] = linear(h, **output)
    return y, cache | {"g": g, "v": v}


def geglu_backward(dy: Array, cache: Tree) -> tuple[Array, Tree]:
    if "factors" in cache:  # the textbook's
        return nn.geglu_backward(dy, cache)
    grads, g, v = {}, cache["g"], cache["v"]
    dh, grads["output"] = linear_backward(dy, cache["output"])
    dg, dv = empty((2, *g.shape))
    _pointwise("gated_backward", g.size, dh, g, v, dg, dv)
    dx_gate, grads["gate"] = linear_backward(dg, cache["gate"])
    dx_value, grads["value"] = linear_backward(dv, cache["value"])
    return dx_gate + dx_value, grads


def _pointwise(name: str, size: int, *arrays: Array) -> None:
    kernel("rows.cu", name)((-(-size // THREADS),), (THREADS,), *arrays, GELU_SCALE, GELU_CUBE, size)


def rms_norm(x: Array, scale: Array) -> tuple[Array, tuple]:
    """As the textbook's, for float32."""
    if x.dtype != "float32":
        return nn.rms_norm(x, scale)
    x, scale, channels = contiguous(x), contiguous(scale), x.shape[-1]
    rows = x.size // channels
    y, rms = empty(x.shape), empty(rows)
    _by_rows("rms_norm", rows, x, scale, y, rms, rows, channels, ROW_EPSILON)
    return y, (x, rms, scale, rows)


def rms_norm_backward(dy: Array, cache: tuple) -> tuple[Array, Tree]:
    if len(cache) == 3:  # the textbook's
        return nn.rms_norm_backward(dy, cache)
    x, rms, scale, rows = cache
    channels, dx, products = x.shape[-1], empty(x.shape), empty(x.shape)
    _by_rows("rms_norm_backward", rows, contiguous(dy), x, scale, rms, dx, products, rows, channels)
    return dx, {"scale": sum_rows(products, rows, channels)}


def _by_rows(name: str, rows: int, *arguments: Array | float) -> None:
    kernel("rows.cu", name)((-(-rows // ROWS),), (LANES, ROWS), *arguments)
