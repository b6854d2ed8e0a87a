"""How far a sound's magnitudes are from those of the recording that it should be, at several window lengths.

The log-mel error compares one kind of frame, and sees little of wrong phases. Windows of other lengths do: short ones
see attacks that are smeared, long ones see a held pitch that flutters. Unlike a difference of waveforms, both distances
ignore phases that nobody hears.
"""

from __future__ import annotations

import numpy as np

from ..runtime.backend import Array, array_module, parallel
from .stft import stft

WINDOWS = (256, 1024, 4096)  # samples: 16, 64 and 256 ms
SMALLEST = 1e-4  # magnitudes below count as this before the logarithm, as in auraloss


def spectral_distances(sound: Array, recording: Array, window: int) -> tuple[float, float]:
    """Spectral convergence and log-magnitude distance (Arik et al. 2018) of two signals, at one window length.

    || |S| - |R| || / || R ||, and the mean of | ln |S| - ln |R| |, where S and R are the STFTs of sound and recording.

    sound, recording: (n,) floats of one length. window: of the STFT, in samples, at most n; the hop is a quarter of it.
    Raises ValueError for other lengths.
    """
    if sound.shape != recording.shape:
        raise ValueError(f"sound {sound.shape} and recording {recording.shape} must have the same length")
    xp = array_module(sound)
    s, r = (xp.abs(stft(x, window, window // 4, window, pad_end=False)) for x in (sound, recording))
    logarithms = [xp.log(xp.maximum(magnitude, SMALLEST)) for magnitude in (s, r)]
    loudness = max(float(xp.linalg.norm(r)), SMALLEST)  # of a silent recording
    return float(xp.linalg.norm(s - r)) / loudness, float(xp.abs(logarithms[0] - logarithms[1]).mean())


def distances_from_recordings(sound: np.ndarray, recordings: np.ndarray) -> dict[str, float]:
    """{"sc_256": ..., "lm_256": ..., "sc_1024": ...}: `spectral_distances` at each of WINDOWS, means over the clips.

    sound, recordings: (clips, n) at 16 kHz, n at least 4096.
    """

    def of_clip(i: int) -> list[tuple[float, float]]:
        return [spectral_distances(sound[i], recordings[i], window) for window in WINDOWS]

    means = np.mean(parallel(of_clip, range(len(sound))), axis=0)  # (windows, 2)
    return {
        f"{name}_{window}": float(value)
        for window, pair in zip(WINDOWS, means, strict=True)
        for name, value in zip(("sc", "lm"), pair, strict=True)
    }
