"""The sinusoidal embedding of the noise level (after Vaswani et al. 2017, section 3.5)."""

from __future__ import annotations

import numpy as np

from ..runtime.backend import Array, array_module

DIMENSIONS = 32
MAX_FREQUENCY = 1000.0


def sinusoidal_embedding(noise_variance: Array, dimensions: int = DIMENSIONS) -> Array:
    """[sin(2 pi f v), cos(2 pi f v)] for frequencies f spaced evenly in logarithm from 1 to MAX_FREQUENCY.

    noise_variance: float64 (N,), v = 1 - alpha_bar. Returns float64 (N, dimensions), on its device: an angle of
    6000 radians needs float64, in float32 its rounding alone moves gradients by 1e-3.
    """
    xp = array_module(noise_variance)
    frequencies = xp.exp(xp.linspace(0.0, np.log(MAX_FREQUENCY), dimensions // 2))
    angles = 2 * np.pi * frequencies * noise_variance[:, None]
    return xp.concatenate([xp.sin(angles), xp.cos(angles)], axis=1)
