"""Convolution as one matrix product over a buffer of columns: the text for a GPU.

Every output pixel gets a row with the k x k x C numbers that it reads; the product with the filter as a
(k k C, D) matrix is the convolution. The buffer is k k times the size of x. A CPU is better off without it
(conv.py), but cuBLAS is fast on few, large, contiguous matrices, and CuPy hands it views only as copies.
The buffer is filled for some samples at a time, which bounds its size.
"""

from __future__ import annotations

from ...runtime.backend import Array, array_module, empty, samples
from .conv import Prologue, after, cache_of, copy


def conv2d(x: Array, w: Array, b: Array, prologue: Prologue = copy) -> tuple[Array, tuple]:
    """`conv.conv2d`: shapes and cache as there."""
    k, _, c, d = w.shape
    y = empty((*x.shape[:3], d), x)
    read = after(prologue, x)
    for part in _parts(x, k):
        array_module(x).matmul(_columns(read[part], k), w.reshape(k * k * c, d), out=y[part].reshape(-1, d))
    y += b
    return y, cache_of(x, w, prologue)


def conv2d_backward(dy: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """`conv.conv2d_backward`: shapes as there. Both gradients read the same columns of dy, by its equations."""
    return _backward(dy, *cache)


def _backward(dy: Array, x: Array, w: Array, prologue: Prologue = copy) -> tuple[Array, Array, Array]:
    x = after(prologue, x)
    xp = array_module(x)
    k, _, c, d = w.shape
    mirrored = xp.ascontiguousarray(w[::-1, ::-1].swapaxes(2, 3)).reshape(k * k * d, c)
    dx, dw = empty(x.shape, x), xp.zeros((c, k * k * d), x.dtype)
    for part in _parts(dy, k):
        columns = _columns(dy[part], k)
        xp.matmul(columns, mirrored, out=dx[part].reshape(-1, c))
        dw += x[part].reshape(-1, c).T @ columns
    dw = dw.reshape(c, k, k, d)[:, ::-1, ::-1].transpose(1, 2, 0, 3)
    return dx, xp.ascontiguousarray(dw), dy.reshape(-1, d).sum(axis=0)


def _columns(x: Array, k: int) -> Array:
    """(N, H, W, C) to (N H W, k k C): what each output pixel reads, zero outside the array."""
    if k == 1:
        return x.reshape(-1, x.shape[3])
    xp = array_module(x)
    n, height, width, c = x.shape
    border = k // 2
    padded = xp.zeros((n, height + 2 * border, width + 2 * border, c), x.dtype)
    padded[:, border : border + height, border : border + width] = x
    of_sample, of_row, of_pixel, of_channel = padded.strides
    windows = xp.lib.stride_tricks.as_strided(
        padded, (n, height, width, k, k, c), (of_sample, of_row, of_pixel, of_row, of_pixel, of_channel)
    )
    return xp.ascontiguousarray(windows).reshape(n * height * width, k * k * c)


def _parts(x: Array, k: int) -> list[slice]:
    return samples(x, k * k * x.nbytes // max(len(x), 1))
