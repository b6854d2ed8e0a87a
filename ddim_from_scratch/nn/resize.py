"""Half the size and twice the size, the U-Net's way down and up; pictures side by side; max pooling, for musicnn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from ..runtime.backend import Array, array_module


def average_pool(x: Array) -> Array:
    """The mean of each 2 x 2 square.  x: (N, H, W, C), H and W even. Returns (N, H/2, W/2, C)."""
    N, H, W, C = x.shape
    return x.reshape(N, H // 2, 2, W // 2, 2, C).mean(axis=(2, 4))


def average_pool_backward(dy: Array) -> Array:
    """Each pixel of a square gets a quarter.  dy: (N, H, W, C). Returns (N, 2H, 2W, C)."""
    return dy.repeat(2, axis=1).repeat(2, axis=2) / 4


def max_pool(x: Array, size: tuple[int, int] = (2, 2), stride: tuple[int, int] = (2, 2)) -> Array:
    """The largest value in each window of `size`; windows are `stride` apart and end within x (VALID padding).

    x: (N, H, W, C). Returns (N, (H - size[0]) // stride[0] + 1, (W - size[1]) // stride[1] + 1, C). Forward only.
    """
    height, width = ((n - k) // step + 1 for n, k, step in zip(x.shape[1:3], size, stride, strict=True))
    places = (x[:, i :: stride[0], j :: stride[1]][:, :height, :width] for i, j in np.ndindex(*size))
    return reduce(np.maximum, places)


def upsample(x: Array) -> Array:
    """Twice the height and width by linear interpolation: D x D^T.  x: (N, H, W, C). Returns (N, 2H, 2W, C).

    As Keras' UpSampling2D(interpolation="bilinear") and PyTorch's interpolate(align_corners=False).
    """
    return _mix(_doubling(x.shape[1], x), x, _doubling(x.shape[2], x))


def upsample_backward(dy: Array) -> Array:
    """The transpose: D^T dy D.  dy: (N, 2H, 2W, C). Returns (N, H, W, C)."""
    H, W = dy.shape[1] // 2, dy.shape[2] // 2
    return _mix(_doubling(H, dy).T, dy, _doubling(W, dy).T)


def _mix(rows: Array, x: Array, columns: Array) -> Array:
    return np.einsum("ih,nhwc,jw->nijc", rows, x, columns, optimize=True)


def _doubling(n: int, like: Array) -> Array:
    """D, (2n, n): new pixel i lies at (i + 1/2) / 2 - 1/2 among the old ones, and mixes the two next to it.

    Their weights are 3/4 and 1/4, the nearer one's first; beyond a border, the border's pixel stands for both.
    """
    xp = array_module(like)
    at = ((xp.arange(2 * n) + 0.5) / 2 - 0.5).clip(0, n - 1)
    return (1 - abs(at[:, None] - xp.arange(n))).clip(0, 1).astype(like.dtype)


def concatenate(parts: Sequence[Array]) -> Array:
    """(N, H, W, C_1), (N, H, W, C_2) ... to (N, H, W, C_1 + C_2 + ...)."""
    return np.concatenate(parts, axis=3)


def split(dy: Array, widths: Sequence[int]) -> list[Array]:
    """The backward pass of `concatenate`: parts of `widths` channels."""
    ends = [sum(widths[: i + 1]) for i in range(len(widths))]
    return [dy[..., end - width : end] for end, width in zip(ends, widths, strict=True)]


def add(a: Array, b: Array) -> Array:
    """a + b. The backward pass hands dy to both."""
    return a + b
