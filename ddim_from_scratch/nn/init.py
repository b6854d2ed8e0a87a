"""Initial weights."""

from __future__ import annotations

import numpy as np


def glorot_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16), float32.

    shape: (..., C_in, C_out); leading axes are kernel positions and count into both fans.
    """
    positions = int(np.prod(shape[:-2]))
    limit = np.sqrt(6 / (positions * (shape[-2] + shape[-1])))
    return rng.uniform(-limit, limit, shape).astype(np.float32)
