"""Average pooling and bilinear upsampling by two, the U-Net's way down and up."""

from __future__ import annotations

from ..backend import Array, empty, parallel


def average_pool(x: Array) -> Array:
    """The mean of each 2 x 2 square. x: (N, H, W, C) with even H and W. Returns (N, H/2, W/2, C)."""
    n, height, width, channels = x.shape
    y = empty((n, height // 2, width // 2, channels), x)

    def sample(i: int) -> None:
        rows = x[i, 0::2] + x[i, 1::2]
        y[i] = rows[:, 0::2]
        y[i] += rows[:, 1::2]
        y[i] *= 0.25

    parallel(sample, range(n))
    return y


def average_pool_backward(dy: Array) -> Array:
    """Each pixel of a square receives a quarter. dy: (N, H, W, C). Returns (N, 2H, 2W, C)."""
    n, height, width, channels = dy.shape
    dx = empty((n, 2 * height, 2 * width, channels), dy)

    def sample(i: int) -> None:
        quarter = dy[i] * 0.25
        for row in (0, 1):
            for column in (0, 1):
                dx[i, row::2, column::2] = quarter

    parallel(sample, range(n))
    return dx


def upsample_bilinear(x: Array) -> Array:
    """Twice the height and width, by linear interpolation between pixel centres, clamped at the borders.

    x: (N, H, W, C). Returns (N, 2H, 2W, C). Along one axis, as in Keras' UpSampling2D and PyTorch's
    interpolate(align_corners=False):
        y[2i] = 3/4 x[i] + 1/4 x[i-1]        y[2i+1] = 3/4 x[i] + 1/4 x[i+1]
    """
    n, height, width, channels = x.shape
    y = empty((n, 2 * height, 2 * width, channels), x)

    def sample(i: int) -> None:
        tall = _double_rows(x[i], empty((2 * height, width, channels), x))
        _double_rows(tall.swapaxes(0, 1), y[i].swapaxes(0, 1))

    parallel(sample, range(n))
    return y


def upsample_bilinear_backward(dy: Array) -> Array:
    """The transpose of `upsample_bilinear`. dy: (N, 2H, 2W, C). Returns (N, H, W, C)."""
    n, height, width, channels = dy.shape
    dx = empty((n, height // 2, width // 2, channels), dy)

    def sample(i: int) -> None:
        narrow = empty((height, width // 2, channels), dy)
        _halve_rows(dy[i].swapaxes(0, 1), narrow.swapaxes(0, 1))
        _halve_rows(narrow, dx[i])

    parallel(sample, range(n))
    return dx


def _double_rows(x: Array, y: Array) -> Array:
    quarter = x * 0.25
    even, odd = y[0::2], y[1::2]
    even[...] = x
    even -= quarter
    odd[...] = even
    even[1:] += quarter[:-1]
    even[:1] += quarter[:1]
    odd[:-1] += quarter[1:]
    odd[-1:] += quarter[-1:]
    return y


def _halve_rows(dy: Array, dx: Array) -> Array:
    even, odd = dy[0::2], dy[1::2]
    dx[...] = even
    dx += odd
    dx *= 3
    dx[:-1] += even[1:]
    dx[:1] += even[:1]
    dx[1:] += odd[:-1]
    dx[-1:] += odd[-1:]
    dx *= 0.25
    return dx
