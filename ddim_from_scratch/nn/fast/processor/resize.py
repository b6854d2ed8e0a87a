"""Average pooling and bilinear upsampling by two, the U-Net's way down and up; max pooling for pretrained networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....runtime.backend import Array, empty, parallel, rows


def average_pool(x: Array) -> Array:
    """The mean of each 2 x 2 square. x: (N, H, W, C) with even H and W. Returns (N, H/2, W/2, C)."""
    count, height, width, channels = x.shape
    y = empty((count, height // 2, width // 2, channels), x)

    def sample(n: int) -> None:
        rows = x[n, 0::2] + x[n, 1::2]
        out = np.add(rows[:, 0::2], rows[:, 1::2], out=y[n])
        out *= 0.25

    parallel(sample, range(len(x)))
    return y


def average_pool_backward(dy: Array) -> Array:
    """Each pixel of a square receives a quarter. dy: (N, H, W, C). Returns (N, 2H, 2W, C)."""
    count, height, width, channels = dy.shape
    dx = empty((count, 2 * height, 2 * width, channels), dy)

    def sample(n: int) -> None:
        quarter = dy[n] * 0.25
        for row in (0, 1):
            for column in (0, 1):
                dx[n, row::2, column::2] = quarter

    parallel(sample, range(len(dy)))
    return dx


def max_pool(x: Array, size: tuple[int, int] = (2, 2), stride: tuple[int, int] = (2, 2)) -> Array:
    """The largest value in each window of `size`, windows `stride` apart and none over the edge (VALID).

    x: (N, H, W, C). Returns (N, (H - size[0]) // stride[0] + 1, (W - size[1]) // stride[1] + 1, C).
    Forward only: it serves networks that were trained elsewhere.
    """
    count, *plane, channels = x.shape
    height, width = ((length - k) // step + 1 for length, k, step in zip(plane, size, stride, strict=True))
    y = empty((count, height, width, channels), x)

    def sample(n: int) -> None:
        for i, j in np.ndindex(size):
            place = x[n, i :: stride[0], j :: stride[1]][:height, :width]
            if i == j == 0:
                y[n] = place
            else:
                np.maximum(y[n], place, out=y[n])

    parallel(sample, range(len(x)))
    return y


def upsample(x: Array) -> Array:
    """Twice the height and width, by linear interpolation between pixel centres, clamped at the borders.

    x: (N, H, W, C). Returns (N, 2H, 2W, C): D x along the height and along the width, D as in `_doubling`, as Keras'
    UpSampling2D and PyTorch's interpolate(align_corners=False).
    """
    n, height, width, channels = x.shape
    y = empty((n, 2 * height, 2 * width, channels), x)
    of_height, of_width = _doubling(height, x), _doubling(width, x)

    def some(part: tuple[slice, slice]) -> None:
        which, out = part[0], slice(2 * part[1].start, 2 * part[1].stop)
        read = slice(max(part[1].start - 1, 0), part[1].stop + 1)  # and the neighbours
        tall = empty((*y[which, out].shape[:2], width, channels), x)
        np.matmul(of_height[out, read], _flat(x[which, read]), out=_flat(tall))
        np.matmul(of_width, tall, out=y[which, out])

    parallel(some, rows(x))
    return y


def upsample_backward(dy: Array) -> Array:
    """The transpose of `upsample`. dy: (N, 2H, 2W, C). Returns (N, H, W, C)."""
    n, height, width, channels = dy.shape
    dx = empty((n, height // 2, width // 2, channels), dy)
    of_height, of_width = _doubling(height // 2, dy).T, _doubling(width // 2, dy).T

    def some(part: tuple[slice, slice]) -> None:
        which, out = part
        read = slice(max(2 * out.start - 1, 0), 2 * out.stop + 1)
        narrow = empty((*dy[which, read].shape[:2], width // 2, channels), dy)
        np.matmul(of_width, dy[which, read], out=narrow)
        np.matmul(of_height[out, read], _flat(narrow), out=_flat(dx[which, out]))

    parallel(some, rows(dx))
    return dx


def _doubling(n: int, like: Array) -> Array:
    """(2n, n), the matrix D of
    y[2i] = 3/4 x[i] + 1/4 x[i-1]        y[2i+1] = 3/4 x[i] + 1/4 x[i+1]
    """
    this = np.eye(n, dtype=like.dtype)
    before, behind = np.concatenate([this[:1], this[:-1]]), np.concatenate([this[1:], this[-1:]])
    return np.stack([0.75 * this + 0.25 * before, 0.75 * this + 0.25 * behind], axis=1).reshape(2 * n, n)


def _flat(x: Array) -> Array:
    """(N, H, W, C) as (N, H, W C)."""
    return x.reshape(*x.shape[:2], -1)


def concatenate(parts: Sequence[Array]) -> Array:
    """(N, H, W, C_1), (N, H, W, C_2) ... to (N, H, W, C_1 + C_2 + ...)."""
    whole = empty((*parts[0].shape[:3], sum(a.shape[3] for a in parts)), parts[0])

    parallel(lambda piece: np.concatenate([a[piece] for a in parts], axis=3, out=whole[piece]), rows(whole))
    return whole


def split(dy: Array, widths: Sequence[int]) -> list[Array]:
    """The backward pass of `concatenate`: parts of `widths` channels."""
    parts, ends = [empty((*dy.shape[:3], width), dy) for width in widths], np.cumsum(widths[:-1])

    def copy(piece: tuple[slice, slice]) -> None:
        for part, channels in zip(parts, np.split(dy[piece], ends, axis=3), strict=True):
            part[piece] = channels

    parallel(copy, rows(dy))
    return parts


def add(a: Array, b: Array) -> Array:
    """a + b."""
    y = empty(a.shape, a)
    parallel(lambda piece: np.add(a[piece], b[piece], out=y[piece]), rows(y))
    return y


def add_in_place(a: Array, b: Array) -> Array:
    """a += b. Returns a."""
    parallel(lambda piece: np.add(a[piece], b[piece], out=a[piece]), rows(a))
    return a
