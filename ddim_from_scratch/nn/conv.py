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


def _pad(x: Array, r: int) -> Array:
    return np.pad(x, ((0, 0), (r, r), (r, r), (0, 0)))


def _taps(x: Array, k: int) -> list:
    """Each tap (u, v) of k x k, and the part of the padded input that it reads, of x's height and width."""
    H, W = x.shape[1:3]
    return [((u, v), (slice(None), slice(u, u + H), slice(v, v + W))) for u, v in np.ndindex(k, k)]


def depthwise_conv(x: Array, w: Array, b: Array, dilation: int = 1) -> tuple[Array, tuple]:
    """y[i] = b + sum over taps u of x[i + (u - r) dilation] w[u], each channel by itself, r = k // 2, zeros around x.

    x: (N, L, C). w: (k, C), k odd. b: (C,). Returns (N, L, C).
    """
    padded, taps = _sequence(x, len(w), dilation)
    return b + sum(padded[tap] * w[u] for u, tap in enumerate(taps)), (x, w, dilation)


def depthwise_conv_backward(dy: Array, cache: tuple) -> tuple[Array, Tree]:
    """As above, where a product of matrices is one of numbers. Returns dx (N, L, C) and {"w", "b"}."""
    x, w, dilation = cache
    padded, taps = _sequence(x, len(w), dilation)
    dx, dw = np.zeros_like(padded), np.zeros_like(w)
    for u, tap in enumerate(taps):
        dx[tap] += dy * w[u]
        dw[u] = (padded[tap] * dy).sum(axis=(0, 1))
    return dx[taps[len(w) // 2]], {"w": dw, "b": dy.sum(axis=(0, 1))}


def _sequence(x: Array, k: int, dilation: int) -> tuple[Array, list]:
    """x padded in time, and the part of it that each tap reads."""
    padded = np.pad(x, ((0, 0), (k // 2 * dilation, k // 2 * dilation), (0, 0)))
    return padded, [(slice(None), slice(u * dilation, u * dilation + x.shape[1])) for u in range(k)]
