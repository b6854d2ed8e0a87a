"""Resizing by two, and channels side by side: resize.cu's kernels, for float32 of a multiple of four channels.

The rest is the textbook's own.
"""

from __future__ import annotations

from collections.abc import Sequence

from .... import nn
from ....runtime.backend import Array, cupy
from .kernels import by_fours


def average_pool(x: Array) -> Array:
    if not _fits(x):
        return nn.average_pool(x)
    n, height, width, c = x.shape
    y = cupy.empty((n, height // 2, width // 2, c), x.dtype)
    return by_fours("resize.cu", "average_pool", y, cupy.ascontiguousarray(x), y, width // 2, c // 4)


def average_pool_backward(dy: Array) -> Array:
    if not _fits(dy):
        return nn.average_pool_backward(dy)
    n, height, width, c = dy.shape
    dx = cupy.empty((n, 2 * height, 2 * width, c), dy.dtype)
    return by_fours("resize.cu", "average_pool_backward", dx, cupy.ascontiguousarray(dy), dx, width, c // 4)


def upsample(x: Array) -> Array:
    if not _fits(x):
        return nn.upsample(x)
    n, height, width, c = x.shape
    y = cupy.empty((n, 2 * height, 2 * width, c), x.dtype)
    return by_fours("resize.cu", "upsample", y, cupy.ascontiguousarray(x), y, height, width, c // 4)


def upsample_backward(dy: Array) -> Array:
    if not _fits(dy):
        return nn.upsample_backward(dy)
    n, height, width, c = dy.shape
    dx = cupy.empty((n, height // 2, width // 2, c), dy.dtype)
    return by_fours("resize.cu", "upsample_backward", dx, cupy.ascontiguousarray(dy), dx, height // 2, width // 2, c // 4)


def concatenate(parts: Sequence[Array]) -> Array:
    if not all(map(_fits, parts)):
        return nn.concatenate(parts)
    y = cupy.empty((*parts[0].shape[:3], sum(part.shape[3] for part in parts)), parts[0].dtype)
    _move(y, [cupy.ascontiguousarray(part) for part in parts], back=0)
    return y


def split(dy: Array, widths: Sequence[int]) -> list[Array]:
    if not _fits(dy) or any(width % 4 for width in widths):
        return nn.split(dy, widths)
    parts = [cupy.empty((*dy.shape[:3], width), dy.dtype) for width in widths]
    _move(cupy.ascontiguousarray(dy), parts, back=1)
    return parts


def _move(whole: Array, parts: Sequence[Array], back: int) -> None:
    start = 0
    for part in parts:
        quads = part.shape[3] // 4
        by_fours("resize.cu", "move_channels", part, whole, part, whole.shape[3] // 4, quads, start, back)
        start += quads


def _fits(x: Array) -> bool:
    return x.dtype == "float32" and x.shape[3] % 4 == 0
