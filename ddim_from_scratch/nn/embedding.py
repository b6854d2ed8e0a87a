"""The sinusoidal embedding of the noise level (after Vaswani et al. 2017, section 3.5)."""

from __future__ import annotations

import numpy as np

DIMENSIONS = 32
MAX_FREQUENCY = 1000.0


def sinusoidal_embedding(noise_variance: np.ndarray, dimensions: int = DIMENSIONS) -> np.ndarray:
    """[sin(2 pi f v), cos(2 pi f v)] for frequencies f spaced evenly in logarithm from 1 to MAX_FREQUENCY.

    noise_variance: (N,), v = 1 - alpha_bar. Returns float64 (N, dimensions), on the host: an angle of
    6000 radians needs float64, in float32 its rounding alone moves gradients by 1e-3.
    """
    frequencies = np.exp(np.linspace(0.0, np.log(MAX_FREQUENCY), dimensions // 2))
    angles = 2 * np.pi * frequencies * np.asarray(noise_variance, np.float64)[:, None]
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
