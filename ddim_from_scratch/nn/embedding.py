"""Numbers as vectors: sinusoids of a noise level or a position, and a learnt vector for each token."""

from __future__ import annotations

import numpy as np

from ..runtime.backend import Array, array_module
from ..runtime.tree import Tree

DIMENSIONS = 32
MAX_FREQUENCY = 1000.0
LONGEST_PERIOD = 10_000  # positions


def sinusoidal_embedding(noise_variance: Array, dimensions: int = DIMENSIONS) -> Array:
    """[sin(2 pi f v), cos(2 pi f v)] for frequencies f spaced evenly in logarithm from 1 to MAX_FREQUENCY.

    noise_variance: float64 (N,), v = 1 - alpha_bar. Returns float64 (N, dimensions), on its device: an angle of
    6000 radians needs float64, in float32 its rounding alone moves gradients by 1e-3.
    """
    xp = array_module(noise_variance)
    return _sinusoids(noise_variance, 2 * np.pi * xp.exp(xp.linspace(0.0, np.log(MAX_FREQUENCY), dimensions // 2)))


def sinusoidal_positions(length: int, dimensions: int, like: Array) -> Array:
    """Row p is [sin(f p), cos(f p)] for frequencies f from 1 to 1 / LONGEST_PERIOD (Vaswani et al. 2017, section 3.5).

    Returns (length, dimensions) in `like`'s dtype, on its device.
    """
    xp = array_module(like)
    frequencies = xp.exp(-xp.linspace(0.0, np.log(LONGEST_PERIOD), dimensions // 2))
    return _sinusoids(xp.arange(length), frequencies).astype(like.dtype)


def _sinusoids(values: Array, frequencies: Array) -> Array:
    angles = frequencies * values[:, None]
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def embed(tokens: Array, table: Array) -> tuple[Array, tuple]:
    """Row `token` of the table for each token.  tokens: whole numbers (N, L). table: (V, C). Returns (N, L, C)."""
    return table[tokens], (tokens, len(table))


def embed_backward(dy: Array, cache: tuple) -> Tree:
    """A lookup is the product of the table with vectors that have a 1 at the token: d_table = one_hot^T dy."""
    tokens, size = cache
    one_hot = array_module(dy).arange(size)[:, None] == tokens.reshape(-1)  # (V, N L)
    return {"table": one_hot.astype(dy.dtype) @ dy.reshape(-1, dy.shape[-1])}
