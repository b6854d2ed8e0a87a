"""Embeddings: what places a clip in the space where sets of clips are compared."""

from __future__ import annotations

import numpy as np


def log_mel_statistics(log_mels: np.ndarray) -> np.ndarray:
    """The mean and the standard deviation over time of each log-mel bin: (n, frames, 128) to (n, 256).

    It needs no pretrained network. It hears loudness, timbre and how much the sound moves, but no melody.
    """
    return np.concatenate([log_mels.mean(axis=1), log_mels.std(axis=1)], axis=1)
