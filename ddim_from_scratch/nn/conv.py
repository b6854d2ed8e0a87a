"""Convolution with stride 1 and SAME padding; what Keras and PyTorch call so is a cross-correlation."""

from __future__ import annotations

import numpy as np

from ..runtime.backend import Array
from ..runtime.tree import Tree


def conv2d(x: Array, w: Array, b: Array) -> tuple[Array, tuple]:
    """y[i, j] = b + sum over taps (u, v) of x[i + u - r, j + v - r] w[u, v], with r = k // 2 and zeros around x.

    x: (N, H, W, C). w: (k, k, C, D), k odd. b: (D,). Returns (N, H, W, D).
    """
    padded = _pad(x, len(w) // 2)
    return b + sum(padded[tap] @ w[uv] for uv, tap in _taps(x, len(w))), (x, w)


def conv2d_backward(dy: Array, cache: tuple) -> tuple[Array, Tree]:
    """A tap is a linear layer that reads a shifted x: dw = shifted^T dy, and dy w^T goes to where it was read.

    dy: (N, H, W, D). Returns dx (N, H, W, C) and {"w", "b"}.
    """
    x, w = cache
    r, (H, W) = len(w) // 2, dy.shape[1:3]
    padded = _pad(x, r)
    dx, dw = np.zeros_like(padded), np.zeros_like(w)
    for uv, tap in _taps(dy, len(w)):
        dx[tap] += dy @ w[uv].T
        dw[uv] = np.tensordot(padded[tap], dy, axes=([0, 1, 2], [0, 1, 2]))  # (C, D): summed over all pixels
    return dx[:, r : r + H, r : r + W], {"w": dw, "b": dy.sum(axis=(0, 1, 2))}


def depthwise_conv(x: Array, w: Array, b: Array, dilation: int = 1) -> tuple[Array, tuple]:
    """y[l] = b + sum over taps u of x[l + (u - r) dilation] w[u], with r = k // 2 and zeros around: no channels mixed.

    x: (N, L, C), a sequence. w: (k, C), k odd. b: (C,). Returns (N, L, C).
    """
    r, length = len(w) // 2 * dilation, x.shape[1]
    padded = np.pad(x, ((0, 0), (r, r), (0, 0)))
    return b + sum(padded[:, tap : tap + length] * w[u] for u, tap in _steps(w, dilation)), (x, w, dilation)


def depthwise_conv_backward(dy: Array, cache: tuple) -> tuple[Array, Tree]:
    """As in `conv2d_backward`, with products of numbers in place of those of matrices.  dy: (N, L, C)."""
    x, w, dilation = cache
    r, length = len(w) // 2 * dilation, x.shape[1]
    padded = np.pad(x, ((0, 0), (r, r), (0, 0)))
    dx, dw = np.zeros_like(padded), np.zeros_like(w)
    for u, tap in _steps(w, dilation):
        dx[:, tap : tap + length] += dy * w[u]
        dw[u] = (padded[:, tap : tap + length] * dy).sum(axis=(0, 1))
    return dx[:, r : r + length], {"w": dw, "b": dy.sum(axis=(0, 1))}


def _steps(w: Array, dilation: int) -> list[tuple[int, int]]:
    """Each tap, and where in the padded input it begins to read."""
    return [(u, u * dilation) for u in range(len(w))]


def _pad(x: Array, r: int) -> Array:
    return np.pad(x, ((0, 0), (r, r), (r, r), (0, 0)))


def _taps(x: Array, k: int) -> list:
    """Each tap (u, v) of k x k, and the part of the padded input that it reads, of x's height and width."""
    H, W = x.shape[1:3]
    return [((u, v), (slice(None), slice(u, u + H), slice(v, v + W))) for u, v in np.ndindex(k, k)]
