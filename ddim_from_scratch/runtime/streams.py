"""Random numbers that do not depend on what else was drawn."""

from __future__ import annotations

import numpy as np


def stream(seed: int, *key: int) -> np.random.Generator:
    """A generator that depends on nothing but the seed and the key: what the numbers are for, which step, which clip.

    As `SeedSequence.spawn` makes its children, so that streams of different keys are independent.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
