"""Embeddings: what places a clip in the space where sets of clips are compared."""

from __future__ import annotations

import numpy as np


def log_mel_statistics(log_mels: np.ndarray) -> np.ndarray:
    """Three numbers for each log-mel bin: (n, frames, 128) to (n, 384).

    Its mean and standard deviation over time, and the standard deviation of its change from frame to frame,
    which tells noise from music of the same spectrum. It needs no pretrained network. It hears loudness,
    timbre and how the sound moves, but no melody.
    """
    change = np.diff(log_mels, axis=1)
    return np.concatenate([log_mels.mean(axis=1), log_mels.std(axis=1), change.std(axis=1)], axis=1)
