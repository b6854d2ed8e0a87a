"""Resizing by two, and channels side by side: resize.cu's kernels, for float32 of a multiple of four channels.

The rest is the textbook's own.
"""

from __future__ import annotations

from collections.abc import Sequence

from .... import nn
from ....runtime.backend import Array
from .kernels import by_fours, contiguous, empty


def average_pool(x: Array) -> Array:
    if not _fits(x):
        return nn.average_pool(x)
    n, height, width, c = x.shape
    y = empty((n, height // 2, width // 2, c))
    return by_fours("resize.cu", "average_pool", y, contiguous(x), y, width // 2, c // 4)


def average_pool_backward(dy: Array) -> Array:
    if not _fits(dy):
        return nn.average_pool_backward(dy)
    n, height, width, c = dy.shape
    dx = empty((n, 2 * height, 2 * width, c))
    return by_fours("resize.cu", "average_pool_backward", dx, contiguous(dy), dx, width, c // 4)


def upsample(x: Array) -> Array:
    if not _fits(x):
        return nn.upsample(x)
    n, height, width, c = x.shape
    y = empty((n, 2 * height, 2 * width, c))
    return by_fours("resize.cu", "upsample", y, contiguous(x), y, height, width, c // 4)


def upsample_backward(dy: Array) -> Array:
    if not _fits(dy):
        return nn.upsample_backward(dy)
    n, height, width, c = dy.shape
    dx = empty((n, height // 2, width // 2, c))
    return by_fours("resize.cu", "upsample_backward", dx, contiguous(dy), dx, height // 2, width // 2, c // 4)


def concatenate(parts: Sequence[Array]) -> Array:
    if not all(map(_fits, parts)):
        return nn.concatenate(parts)
    y = empty((*parts[0].shape[:3], sum(part.shape[3] for part in parts)))
    _move(y, [contiguous(part) for part in parts], back=0)
    return y


def split(dy: Array, widths: Sequence[int]) -> list[Array]:
    if not _fits(dy) or any(width % 4 for width in widths):
        return nn.split(dy, widths)
    parts = [empty((*dy.shape[:3], width)) for width in widths]
    _move(contiguous(dy), parts, back=1)
    return parts


def _move(whole: Array, parts: Sequence[Array], back: int) -> None:
    start = 0
    for part in parts:
        quads = part.shape[3] // 4
        by_fours("resize.cu", "move_channels", part, whole, part, whole.shape[3] // 4, quads, start, back)
        start += quads


def _fits(x: Array) -> bool:
    return x.dtype == "float32" and x.shape[3] % 4 == 0
