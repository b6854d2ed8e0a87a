"""Convolution on tensor cores: conv.cu's kernels, with a prologue (what is done to x) and an epilogue (to y)."""

from __future__ import annotations

import os

from .... import nn
from ....runtime.backend import Array
from ....runtime.tree import Tree
from .kernels import aligned, contiguous, empty, kernel, multiprocessors

# CuPy's own setting for products of float32: 1 lets tensor cores round the factors to 11 bits, else they are exact.
EXACT = os.environ.get("CUPY_TF32") != "1"

COLUMNS, OUTPUTS, FILTER_ROWS = 16, 32, 8  # pixels of a tile's row; channels and rows of a block: as in conv.cu
IDENTITY, SWISH = (0, None, None, 0), (2, None, None, 0)  # prologues


def normalising(mean: Array, scale: Array) -> tuple:
    """The prologue (x - mean) scale. mean, scale: (sets, C): a set is a sample, or all samples together."""
    sets, channels = mean.shape
    return 1, mean, scale, channels if sets > 1 else 0


def conv2d(x: Array, w: Array, b: Array) -> tuple[Array, tuple]:
    """As the textbook's; the kernels take float32, and any other type is the textbook's own."""
    if x.dtype != "float32":
        return nn.conv2d(x, w, b)
    x = contiguous(x)
    return convolve(x, w, b), (x, w)


def conv2d_backward(dy: Array, cache: tuple) -> tuple[Array, Tree]:
    if dy.dtype != "float32":
        return nn.conv2d_backward(dy, cache)
    x, w = cache
    dy = contiguous(dy)
    return convolve(dy, mirrored(w)), filter_gradient(x, dy, len(w))


def mirrored(w: Array) -> Array:
    """The filter of the gradient: taps in reverse, channels exchanged."""
    return contiguous(w[::-1, ::-1].swapaxes(2, 3))


def convolve(
    x: Array,
    w: Array,
    b: Array | None = None,
    prologue: tuple = IDENTITY,
    added: Array | None = None,
    activated: Array | None = None,
) -> Array:
    """y = prologue(x) * w + b; then + added, or times swish'(activated). All contiguous float32."""
    n, height, width, c = x.shape
    k, _, _, d = w.shape
    w, b = aligned(w), aligned(b)
    across, outputs = -(-width // COLUMNS), -(-d // OUTPUTS)

    def blocks(m: int) -> int:
        return n * outputs * across * -(-height // (4 * m))

    m = next((m for m in (4, 2) if blocks(m) >= 2 * multiprocessors()), 1)  # rows a warp: many, while all are busy
    chunk = 32 if k == 1 else 16
    shared = 4 * ((4 * m + k - 1) * (COLUMNS + k - 1) * (chunk + 8) + k * k * chunk * (OUTPUTS + 4))
    y = empty((n, height, width, d))
    run = kernel("conv.cu", f"convolve<{k}, {m}, {_flag()}>", shared)
    grid = across * -(-height // (4 * m)), outputs, n
    run(grid, (128,), x, w, b, *prologue, added, activated, y, height, width, c, d)
    return y


def filter_gradient(x: Array, dy: Array, k: int, prologue: tuple = IDENTITY) -> Tree:
    """{"w": (k, k, C, D), "b": (D,)} of y = prologue(x) * w + b."""
    n, height, width, c = x.shape
    d = dy.shape[3]
    pairs = -(-c // OUTPUTS), -(-d // OUTPUTS)
    tiles = n * -(-height // FILTER_ROWS) * -(-width // COLUMNS)
    at_once = multiprocessors() * (3 if k == 1 else 2)  # blocks, by their registers
    splits = min(tiles, max(at_once // (pairs[0] * pairs[1]), 1))
    size = k * k * c * d + d
    partial = empty((2 * splits, size))
    shared = 4 * (OUTPUTS + 8) * ((FILTER_ROWS + k - 1) * (COLUMNS + k - 1) + FILTER_ROWS * COLUMNS)
    run = kernel("conv.cu", f"filter_gradient<{k}, {_flag()}>", shared)
    run((*pairs, splits), (256,), x, dy, *prologue, partial, n, height, width, c, d)
    total = sum_rows(partial, 2 * splits, size)
    return {"w": total[:-d].reshape(k, k, c, d), "b": total[-d:]}


def sum_rows(numbers: Array, rows: int, size: int) -> Array:
    """The sum (size,) of numbers (rows, size)."""
    total = empty(size)
    kernel("conv.cu", "sum_rows")((-(-size // 32),), (32, 8), numbers, total, rows, size)
    return total


def _flag() -> str:
    return str(EXACT).lower()
