"""Solutions of lesson 10, as a reader of the lesson might write them."""

from collections.abc import Callable

import numpy as np

from ddim_from_scratch.audio import log_mel
from ddim_from_scratch.runtime.errors import UserError


def log_mel_error(sound: np.ndarray, log_mels: np.ndarray) -> float:
    """Mean absolute difference of the log-mels."""
    heard = np.stack([log_mel(samples) for samples in sound])
    return float(np.mean(np.abs(heard - log_mels)))


def check_log_mels(log_mels: np.ndarray) -> None:
    """Shape, then NaN, then range."""
    if log_mels.ndim != 3 or log_mels.shape[2] != 128 or log_mels.size == 0:
        raise UserError(f"log-mels have shape {log_mels.shape}, not (n, frames, 128)")
    if not np.isfinite(log_mels).all():
        raise UserError("log-mels contain NaN or infinity")
    least, largest = log_mels.min(), log_mels.max()
    if least < np.log(1e-5) - 1e-4 or largest > np.log(1e8) + 1e-4:
        raise UserError(f"log-mels lie within {least:.2f} .. {largest:.2f}, not -11.51 .. 18.42: are they decibels?")


def decode(decoder: Callable[[np.ndarray], np.ndarray], log_mels: np.ndarray) -> np.ndarray:
    """Mirror, chunk, cut, fade."""
    n, frames, _ = log_mels.shape
    context, length, shared = 16, 512, 8
    mirrored = np.pad(log_mels, [(0, 0), (context, context), (0, 0)], mode="reflect")
    sound = np.zeros((n, frames * 320), np.float32)
    fade_in = np.linspace(0, 1, shared * 320)
    for first in range(0, max(frames - shared, 1), length):
        last = min(first + length + shared, frames)
        made = decoder(mirrored[:, first : last + 2 * context])[:, context * 320 : -context * 320]
        weight = np.ones(made.shape[1])
        if first > 0:
            weight[: shared * 320] = fade_in
            sound[:, first * 320 : (first + shared) * 320] *= 1 - fade_in
        sound[:, first * 320 : last * 320] += weight * made
    return sound
