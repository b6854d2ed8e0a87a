"""What real music loses when it becomes a log-mel spectrogram and sound again: the inverter's part of a distance."""

from __future__ import annotations

import numpy as np

from ..audio.inverter import Inverter
from ..fad import Embedding
from ..runtime.errors import UserError
from ..spectrogram.config import Config
from ..spectrogram.data import load_windows
from .compare import log_mel_error, score


def ceiling(data: str, seconds: float, clips: int, invert: Inverter, embedding: Embedding) -> dict:
    """What an inverter makes of real log-mels: the best that any model which is heard through it can reach.

    clips: in each of two sets of windows of `seconds`, at most. Returns what `score` does, and "log_mel_error".
    """
    no_network = (1, 1)  # any even number of frames will do
    windows = load_windows(Config(data=data, window_seconds=seconds, window_hop_seconds=seconds, widths=no_network))
    chosen = np.random.default_rng(0).permutation(len(windows))
    n = min(clips, len(chosen) // 2)
    if n < 2:
        raise UserError(
            f"{data} has {len(chosen)} clips of {seconds:g} s, 4 are needed: add recordings, or lower --seconds"
        )
    one_half, other_half = chosen[:n], chosen[n : 2 * n]
    log_mels = windows.take(chosen[: 2 * n])
    sound = invert(log_mels, "real music")
    sets = {"ceiling": sound[n:], "real": windows.sound(other_half), "inverted": sound[:n]}
    return score(embedding, windows.sound(one_half), sets) | {"log_mel_error": log_mel_error(sound, log_mels)}
