"""Numbers of channels beside pixels, a whole row of pixels at a time: loops over a few channels are short, and slow."""

from __future__ import annotations

import numpy as np

from ....runtime.backend import Array


def as_rows(x: Array) -> Array:
    """(N, H, W, C) as (N H, W C)."""
    return x.reshape(-1, x.shape[-2] * x.shape[-1])


def row_of(channels: Array, x: Array) -> Array:
    """(..., C) as a row of x: (N, H, W, C), which is (..., W C): the channels again and again."""
    return np.tile(channels, x.shape[-2])


def sum_of_pixels(rows: Array, channels: int) -> Array:
    """(n, W C) to (C,). A sum over rows is a product with a vector of ones."""
    return (np.ones(len(rows), rows.dtype) @ rows).reshape(-1, channels).sum(axis=0)
