"""3x3 convolution with half the multiplications: Winograd's F(4, 3) along the height.

Four outputs of a three-tap filter need 12 multiplications when computed one by one. Taken as a product of
polynomials, evaluated at the six points 0, 1, -1, 2, -2 and infinity, they need 6 (Winograd 1980;
Lavin and Gray 2016):

    y = A^T [(G w) * (B^T x)]        x: 6 rows, w: 3 taps, y: 4 rows, * elementwise

B^T takes windows of six rows, four apart, to the six points; G does so with the filter; A^T returns to rows.
Here each "row" is a whole row of pixels and channels, and * is a matrix product over the channels for each
of the six points. The three taps along the width are three shifted products, added up, as in taps.py: 18
products on a quarter of the rows instead of 9 on all of them.

Only one axis is transformed: in both, F(4x4, 3x3) would save another half of the products, but spends it on
transforms at these channel numbers, and loses another decimal digit. This one loses about one to rounding.

The backward pass meets the same six points. The input's gradient is the same algorithm with the filter
mirrored. The filter's three taps are F(3, 4): windows of six rows of dy against groups of four rows of x.
The points decide B, so both read the same B^T dy.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ....runtime.backend import Array, empty, parallel, worker_count
from ....runtime.tree import Tree
from . import taps
from .taps import TILE_PIXELS, Prologue, as_rows, copy, padded_rows, sum_of_pixels

POINTS = (0, 1, -1, 2, -2)  # and infinity
GROUP = 4  # rows of output from a window of 6 rows of input
SMALL = 10**6  # multiplications up to which OpenBLAS takes matrices as they lie; larger ones it copies first


def _evaluation(taps: int) -> np.ndarray:
    """(6, taps): a polynomial with so many coefficients to its values at the points; its last one at infinity."""
    return np.vstack([np.vander(POINTS, taps, increasing=True), np.eye(taps)[-1]])


# A product of polynomials is: evaluate both factors, multiply the values, interpolate. A filter that slides
# over its input is the transpose of that: interpolate^T the input, multiply, evaluate^T.
# SCALE moves the fractions of the interpolation from x, which is large, to w, which is small.
SCALE = np.array([4, -6, -6, 24, 24, 1])[:, None]
B_T = np.linalg.inv(_evaluation(6)).T * SCALE  # (6, 6), integers
G = _evaluation(3) / SCALE  # (6, 3)
A_T = _evaluation(4).T  # (4, 6)


def conv2d(x: Array, w: Array, b: Array, prologue: Prologue = copy) -> tuple[Array, tuple]:
    """`taps.conv2d`, by Winograd's algorithm for k = 3. Shapes and cache as there."""
    if w.shape[0] != 3:
        return taps.conv2d(x, w, b, prologue)
    n_samples, height, width, _ = x.shape
    u = _filter_at_points(w)
    y = empty((n_samples, height, width, w.shape[-1]), x)
    b_row = np.tile(b, width + 1)

    def tile(n: int, top: int, groups: int) -> None:
        x_points = _windows_at_points(x, n, top, groups, prologue)
        _write_rows(y[n, top : top + groups * GROUP], _products(x_points, u, groups), b_row)

    parallel(lambda t: tile(*t), _tiles(x))
    return y, (x, w, prologue)


def conv2d_backward(dy: Array, cache: tuple) -> tuple[Array, Tree]:
    """`taps.conv2d_backward`, by the same choice. Shapes as there."""
    x, w, prologue = (*cache, copy)[:3]  # a cache of x and w alone is one without a prologue
    if w.shape[0] != 3:
        return taps.conv2d_backward(dy, cache)
    _, height, width, c = x.shape
    row, d = width + 1, w.shape[-1]
    u = _filter_at_points(w[::-1, ::-1].swapaxes(2, 3))
    dx = empty(x.shape, x)

    def tile(n: int, top: int, groups: int) -> tuple[Array, Array]:
        rows = min(groups * GROUP, height - top)
        dy_points = _windows_at_points(dy, n, top, groups)
        _write_rows(dx[n, top : top + rows], _products(dy_points, u, groups), None)

        x_rows = empty((groups * GROUP, row, c), x)
        prologue(x[n, top : top + rows], x_rows[:rows, :width], n)
        x_rows[rows:] = 0
        x_rows[:, width:] = 0
        x_points = empty((6, groups * row, c), x)
        x_groups = x_rows.reshape(groups, GROUP, row * c)
        np.matmul(A_T.T.astype(x.dtype), x_groups, out=x_points.reshape(6, groups, row * c).swapaxes(0, 1))
        du = empty((6, 3, c, d), x)
        pieces = _pieces(groups * row, c * d, least=128)
        by_channel = x_points.reshape(6, pieces, -1, c).swapaxes(2, 3)
        partial = empty((6, pieces, c, d), x)
        for kx in range(3):
            shifted = dy_points[:, kx : kx + groups * row].reshape(6, pieces, -1, d)
            np.matmul(by_channel, shifted, out=partial).sum(axis=1, out=du[:, kx])
        return du, sum_of_pixels(as_rows(dy[n, top : top + rows]), d)

    du, db = (sum(s[1:], s[0]) for s in zip(*parallel(lambda t: tile(*t), _tiles(x)), strict=True))
    # F(3, 4): its filter is x, so SCALE, which _windows_at_points has put into dy, is taken out here.
    dw = (G.T.astype(x.dtype) @ du.reshape(6, -1)).reshape(w.shape)
    return dx, {"w": np.ascontiguousarray(dw[::-1, ::-1]), "b": db}


def _filter_at_points(w: Array) -> Array:
    """G w along the height: (3, 3, C, D) to (6, 3 taps along the width, C, D)."""
    return (G.astype(w.dtype) @ w.reshape(3, -1)).reshape(6, *w.shape[1:])


def _windows_at_points(x: Array, n: int, top: int, groups: int, prologue: Prologue = copy) -> Array:
    """B^T x of the windows that start at rows top - 1, top + 3, ...: (6, groups * (W + 1) + 2, C).

    The last two pixels are there to be shifted over: the last row's border, and one for a pixel that is dropped.
    """
    padded = padded_rows(x, n, top, groups * GROUP, 3, prologue)
    row, c = x.shape[2] + 1, x.shape[3]
    points = empty((6, groups * row + 2, c), x)
    points[:, groups * row :] = 0
    line, item = row * c * x.itemsize, x.itemsize
    windows = as_strided(padded, (groups, 6, row * c), (GROUP * line, line, item), writeable=False)
    out = points[:, : groups * row].reshape(6, groups, row * c)
    np.matmul(B_T.astype(x.dtype), windows, out=out.swapaxes(0, 1))
    return points


def _products(points: Array, u: Array, groups: int) -> Array:
    """The sum over the width's taps of shifted products: (6, groups, W + 1, D)."""
    pixels, (c, d) = points.shape[1] - 2, u.shape[-2:]
    pieces = _pieces(pixels, c * d, least=16)
    total, product = (empty((6, pieces, pixels // pieces, d), points) for _ in range(2))
    for kx in range(3):
        shifted = points[:, kx : kx + pixels].reshape(6, pieces, -1, c)
        np.matmul(shifted, u[:, kx, None], out=product if kx else total)
        if kx:
            total += product
    return total.reshape(6, groups, -1, d)


@lru_cache
def _pieces(pixels: int, work: int, least: int) -> int:
    """Into how many pieces to cut so many pixels, of `work` multiplications each, for products that are SMALL.

    One if a piece would have fewer than `least` pixels.
    """
    sizes = [n for n in range(least, pixels) if pixels % n == 0 and n * work <= SMALL]
    return pixels // max(sizes, default=pixels)


def _write_rows(y: Array, products: Array, b_row: Array | None) -> None:
    """y = A^T products + b, dropping the meaningless pixel of each row, and rows beyond y's."""
    rows, width, d = y.shape
    _, groups, row, _ = products.shape
    out = empty((groups, GROUP, row * d), products)
    np.matmul(A_T.astype(products.dtype), products.reshape(6, groups, row * d).swapaxes(0, 1), out=out)
    if b_row is not None:
        out += b_row
    y[...] = out.reshape(groups * GROUP, row, d)[:rows, :width]


def _tiles(x: Array) -> list[tuple[int, int, int]]:
    """(sample, first row, groups of rows) of each tile, at least one a thread."""
    n_samples, height, width, _ = x.shape
    all_groups = -(-height // GROUP)
    per_thread = -(-n_samples * all_groups // worker_count())
    groups = max(1, min(all_groups, per_thread, TILE_PIXELS // (GROUP * (width + 1))))
    return [
        (n, first * GROUP, min(groups, all_groups - first))
        for n in range(n_samples)
        for first in range(0, all_groups, groups)
    ]
