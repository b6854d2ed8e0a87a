"""Convolution of N H W C arrays, SAME padding, stride 1 (the cross-correlation that Keras and PyTorch compute).

    y[n, i, j] = b + sum over ky, kx of  x[n, i + ky - k//2, j + kx - k//2] @ w[ky, kx]

Each tap (ky, kx) is one matrix product over all pixels, on a view of the input shifted by that tap:
nothing is gathered into columns. Shifting needs a border of zeros, so a tile of rows is copied into a
padded buffer first. Tiles are small enough to stay in a core's cache while its k*k products run, and
are spread over threads.

In the padded buffer rows lie end to end, with k//2 zero pixels between them, which border one on its right and the
next on its left. So a shift by (ky, kx) is an offset of ky * (W + k//2) + kx pixels, and every shifted view is one
contiguous matrix. The price is k//2 meaningless pixels at the end of each row, which are dropped.

The convolution of f(x), where f works on each pixel by itself (a normalisation, an activation), can do f while it
copies a tile: its prologue. Then there is no pass over memory for f, and no array of f(x) to keep.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....runtime.backend import Array, blocks, cache_bytes, empty, parallel, rows, worker_count
from ....runtime.tree import Tree

TILE_PIXELS = cache_bytes() // 2 // (32 * 4)  # half of the cache at 32 channels: 4096 for one of 1 MB

Prologue = Callable[[Array, Array, int | slice], None]  # (x, out, n): f of some rows of the samples n, into out


def copy(x: Array, out: Array, n: int | slice) -> None:
    """The prologue that changes nothing."""
    out[...] = x


def after(prologue: Prologue, x: Array) -> Array:
    """The prologue's result for all of x."""
    if prologue is copy:
        return x
    y = empty(x.shape, x)
    parallel(lambda part: prologue(x[part], y[part], part[0]), rows(x))
    return y


def conv2d(x: Array, w: Array, b: Array, prologue: Prologue = copy) -> tuple[Array, tuple]:
    """Convolve x, or what the prologue makes of it, with an odd square kernel.

    x: (N, H, W, C). w: (k, k, C, D). b: (D,). Returns y: (N, H, W, D) and the cache for the backward pass.
    """
    if len(w) == 1:
        return _pointwise(after(prologue, x), w, b), (x, w, prologue)
    n_samples, height, width, _ = x.shape
    k, _, _, d = w.shape
    row = width + k // 2
    y = empty((n_samples, height, width, d), x)

    def tile(n: int, top: int, bottom: int) -> None:
        pixels = (bottom - top) * row
        padded = padded_rows(x, n, top, bottom - top, k, prologue)
        total, product = empty((pixels, d), x), empty((pixels, d), x)
        for ky in range(k):
            for kx in range(k):
                offset = ky * row + kx
                first = ky == kx == 0
                np.matmul(padded[offset : offset + pixels], w[ky, kx], out=total if first else product)
                if not first:
                    total += product
        np.add(total.reshape(bottom - top, row, d)[:, :width], b, out=y[n, top:bottom])

    parallel(lambda t: tile(*t), _tiles(x, k))
    return y, (x, w, prologue)


def conv2d_backward(dy: Array, cache: tuple) -> tuple[Array, Tree]:
    """dy: (N, H, W, D). Returns dx (N, H, W, C), the gradient of what is convolved, and {"w", "b"}.

    With p an output pixel and p + s the input pixel that tap s reads:
        dx[p] = sum over s of  dy[p - s] @ w[s].T        dw[s] = sum over p of  x[p].T @ dy[p - s]
    Both read the same shifted views of dy, so both are done while the tile is in cache.
    """
    x, w, prologue = cache
    k, _, c, d = w.shape
    if k == 1:
        return _pointwise_backward(dy, after(prologue, x), w)
    _, _, width, _ = x.shape
    row = width + k // 2
    dx = empty(x.shape, x)

    def tile(n: int, top: int, bottom: int) -> tuple[Array, Array]:
        pixels = (bottom - top) * row
        dy_padded = padded_rows(dy, n, top, bottom - top, k)
        x_rows = empty((bottom - top, row, c), x)
        prologue(x[n, top:bottom], x_rows[:, :width], n)
        x_rows[:, width:] = 0
        x_rows = x_rows.reshape(pixels, c)
        dx_rows, product = empty((pixels, c), x), empty((pixels, c), x)
        dw = empty(w.shape, w)
        for ky in range(k):
            for kx in range(k):
                offset = (k - 1 - ky) * row + (k - 1 - kx)  # the tap mirrored: p - s
                shifted = dy_padded[offset : offset + pixels]
                first = ky == kx == 0
                np.matmul(shifted, w[ky, kx].T, out=dx_rows if first else product)
                if not first:
                    dx_rows += product
                np.matmul(x_rows.T, shifted, out=dw[ky, kx])
        dx[n, top:bottom] = dx_rows.reshape(bottom - top, row, c)[:, :width]
        return dw, sum_of_pixels(as_rows(dy[n, top:bottom]), d)

    dw, db = zip(*parallel(lambda t: tile(*t), _tiles(dy, k)), strict=True)
    return dx, {"w": sum(dw[1:], dw[0]), "b": sum(db[1:], db[0])}


def _pointwise(x: Array, w: Array, b: Array) -> Array:
    """k = 1: one product, which needs no border."""
    y = empty((*x.shape[:3], w.shape[3]), x)
    rows_x, rows_y = (a.reshape(-1, *a.shape[2:]) for a in (x, y))
    b_row = row_of(b, x)

    def block(part: slice) -> None:
        np.matmul(rows_x[part], w[0, 0], out=rows_y[part])
        out = rows_y[part].reshape(-1, len(b_row))
        out += b_row

    parallel(block, blocks(rows_x))
    return y


def _pointwise_backward(dy: Array, x: Array, w: Array) -> tuple[Array, Tree]:
    c, d = w.shape[2:]
    dx = empty(x.shape, x)
    rows_x, rows_dy, rows_dx = (a.reshape(-1, *a.shape[2:]) for a in (x, dy, dx))
    w_transposed = np.ascontiguousarray(w[0, 0].T)

    def block(part: slice) -> tuple[Array, Array]:
        np.matmul(rows_dy[part], w_transposed, out=rows_dx[part])
        dw = rows_x[part].reshape(-1, c).T @ rows_dy[part].reshape(-1, d)
        return dw, sum_of_pixels(as_rows(rows_dy[part]), d)

    dw, db = zip(*parallel(block, blocks(rows_x)), strict=True)
    return dx, {"w": sum(dw[1:], dw[0]).reshape(w.shape), "b": sum(db[1:], db[0])}


def padded_rows(x: Array, n: int, top: int, rows: int, k: int, prologue: Prologue = copy) -> Array:
    """`rows` rows of sample n from `top` on, with the k//2 rows and columns around them, zero outside the array.

    Returns ((rows + k - 1) (W + k//2) + k - 1, C): the border of the first row, all rows with their zeros behind them,
    and as many more as the last shifted view reaches.
    """
    _, height, width, c = x.shape
    border = k // 2
    row = width + border
    flat = empty(((rows + 2 * border) * row + 2 * border, c), x)
    flat[:border] = 0
    flat[-border:] = 0
    padded = flat[border:-border].reshape(-1, row, c)
    first, last = max(top - border, 0), min(top + rows + border, height)
    above, inside = first - (top - border), last - first
    padded[:above] = 0
    padded[above + inside :] = 0
    filled = padded[above : above + inside]
    filled[:, width:] = 0
    prologue(x[n, first:last], filled[:, :width], n)
    return flat


def _tiles(x: Array, k: int) -> list[tuple[int, int, int]]:
    """(sample, first row, last row + 1) of each tile, at least one a thread."""
    n_samples, height, width, _ = x.shape
    per_thread = -(-n_samples * height // worker_count())
    rows = max(1, min(height, per_thread, TILE_PIXELS // (width + k // 2)))
    return [(n, top, min(top + rows, height)) for n in range(n_samples) for top in range(0, height, rows)]


# Numbers of channels beside pixels, a whole row of pixels at a time: loops over a few channels are short, and slow.


def as_rows(x: Array) -> Array:
    """(N, H, W, C) as (N H, W C)."""
    return x.reshape(-1, x.shape[-2] * x.shape[-1])


def row_of(channels: Array, x: Array) -> Array:
    """(..., C) as a row of x: (N, H, W, C), which is (..., W C): the channels again and again."""
    return np.tile(channels, x.shape[-2])


def sum_of_pixels(rows: Array, channels: int) -> Array:
    """(n, W C) to (C,). A sum over rows is a product with a vector of ones."""
    return (np.ones(len(rows), rows.dtype) @ rows).reshape(-1, channels).sum(axis=0)
