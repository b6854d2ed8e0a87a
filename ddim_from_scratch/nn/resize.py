"""Average pooling and bilinear upsampling by two, the U-Net's way down and up; max pooling for pretrained networks."""

from __future__ import annotations

import numpy as np

from ..backend import Array, array_module, empty, parallel, rows, samples


def average_pool(x: Array) -> Array:
    """The mean of each 2 x 2 square. x: (N, H, W, C) with even H and W. Returns (N, H/2, W/2, C)."""
    n, height, width, channels = x.shape
    y = empty((n, height // 2, width // 2, channels), x)

    def some(part: slice) -> None:
        rows = x[part, 0::2] + x[part, 1::2]
        out = array_module(x).add(rows[:, :, 0::2], rows[:, :, 1::2], out=y[part])
        out *= 0.25

    parallel(some, samples(x))
    return y


def average_pool_backward(dy: Array) -> Array:
    """Each pixel of a square receives a quarter. dy: (N, H, W, C). Returns (N, 2H, 2W, C)."""
    n, height, width, channels = dy.shape
    dx = empty((n, 2 * height, 2 * width, channels), dy)

    def some(part: slice) -> None:
        quarter = dy[part] * 0.25
        for row in (0, 1):
            for column in (0, 1):
                dx[part, row::2, column::2] = quarter

    parallel(some, samples(dy))
    return dx


def max_pool(x: Array, size: tuple[int, int] = (2, 2), stride: tuple[int, int] = (2, 2)) -> Array:
    """The largest value in each window of `size`, windows `stride` apart and none over the edge (VALID).

    x: (N, H, W, C). Returns (N, (H - size[0]) // stride[0] + 1, (W - size[1]) // stride[1] + 1, C).
    Forward only: it serves networks that were trained elsewhere.
    """
    n, *plane, channels = x.shape
    height, width = ((length - k) // step + 1 for length, k, step in zip(plane, size, stride, strict=True))
    y = empty((n, height, width, channels), x)

    def some(part: slice) -> None:
        for i, j in np.ndindex(size):
            place = x[part, i :: stride[0], j :: stride[1]][:, :height, :width]
            if i == j == 0:
                y[part] = place
            else:
                array_module(x).maximum(y[part], place, out=y[part])

    parallel(some, samples(x))
    return y


def upsample_bilinear(x: Array) -> Array:
    """Twice the height and width, by linear interpolation between pixel centres, clamped at the borders.

    x: (N, H, W, C). Returns (N, 2H, 2W, C). Along one axis, as in Keras' UpSampling2D and PyTorch's
    interpolate(align_corners=False):
        y[2i] = 3/4 x[i] + 1/4 x[i-1]        y[2i+1] = 3/4 x[i] + 1/4 x[i+1]
    """
    n, height, width, channels = x.shape
    y = empty((n, 2 * height, 2 * width, channels), x)

    def some(part: tuple[slice, slice]) -> None:
        which, some_rows = part
        start, stop = some_rows.start, some_rows.stop
        first = max(start - 1, 0)
        source = x[which, first : stop + 1]  # and the neighbours
        tall = empty((len(source), 2 * source.shape[1], width, channels), x)
        _double_rows(source, tall)
        tall = tall[:, 2 * (start - first) :][:, : 2 * (stop - start)]
        _double_rows(tall.swapaxes(1, 2), y[which, 2 * start : 2 * stop].swapaxes(1, 2))

    parallel(some, rows(x))
    return y


def upsample_bilinear_backward(dy: Array) -> Array:
    """The transpose of `upsample_bilinear`. dy: (N, 2H, 2W, C). Returns (N, H, W, C)."""
    n, height, width, channels = dy.shape
    dx = empty((n, height // 2, width // 2, channels), dy)

    def some(part: slice) -> None:
        narrow = empty((len(dy[part]), height, width // 2, channels), dy)
        _halve_rows(dy[part].swapaxes(1, 2), narrow.swapaxes(1, 2))
        _halve_rows(narrow, dx[part])

    parallel(some, samples(dy))
    return dx


def _double_rows(x: Array, y: Array) -> None:
    """Interpolate along axis 1, from x into y."""
    quarter = x * 0.25
    even, odd = y[:, 0::2], y[:, 1::2]
    even[...] = x
    even -= quarter
    odd[...] = even
    for target, source in (
        (even[:, 1:], quarter[:, :-1]),
        (even[:, :1], quarter[:, :1]),
        (odd[:, :-1], quarter[:, 1:]),
        (odd[:, -1:], quarter[:, -1:]),
    ):
        target += source


def _halve_rows(dy: Array, dx: Array) -> None:
    """The transpose of `_double_rows`, from dy into dx."""
    even, odd = dy[:, 0::2], dy[:, 1::2]
    dx[...] = even
    dx += odd
    dx *= 3
    for target, source in (
        (dx[:, :-1], even[:, 1:]),
        (dx[:, :1], even[:, :1]),
        (dx[:, 1:], odd[:, :-1]),
        (dx[:, -1:], odd[:, -1:]),
    ):
        target += source
    dx *= 0.25
