"""Qualities of clips that the Frechet distance does not show: variety, the beginnings of notes, a beat, and copies of
the training music.

Each number means something beside the same number of real music only.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from ..audio.contract import FRAMES_PER_SECOND
from ..spectrogram.data import Scaler

DECIBELS = 20 / np.log(10)  # in one unit of a log-mel
BEATS_HZ = (0.8, 3.5)  # 48 to 210 beats a minute

MEANING = {
    "variance": "of the standardised spectrogram, mean of the mel bins",
    "spread": "deviation of the clips' means: how much their loudness differs",
    "difference": "mean change from one frame to the next",
    "grain": "median change of a change, over time and mel bins: noise that is left",
    "onsets": "mean rise from one frame to the next, dB: how notes begin",
    "beat": "regularity of the onsets, from 0 to 1 of a metronome",
}


def heard(log_mels: np.ndarray, scaler: Scaler) -> dict[str, float]:
    """The numbers of MEANING. log_mels: (n, frames, 128). scaler: of the training music."""
    x = scaler.standardise(log_mels)
    onsets = [onset_strength(clip) for clip in log_mels]
    return {
        "variance": float(x.var(axis=(0, 1)).mean()),
        "spread": float(x.mean(axis=(1, 2)).std()),
        "difference": float(np.abs(np.diff(x, axis=1)).mean()),
        "grain": float(np.median(np.abs(np.diff(np.diff(x, axis=1), axis=2)))),
        "onsets": float(np.mean(onsets)),
        "beat": float(np.mean([beat_regularity(envelope) for envelope in onsets])),
    }


def onset_strength(log_mel: np.ndarray) -> np.ndarray:
    """Spectral flux: how many dB the mel bins rise from each frame to the next, on average. (frames - 1,)."""
    return DECIBELS * np.maximum(np.diff(log_mel, axis=0), 0).mean(axis=1)


def beat_regularity(onsets: np.ndarray) -> float:
    """The highest autocorrelation of the onset strength in BEATS_HZ: pulse clarity (Lartillot et al. 2008)."""
    centred = onsets - onsets.mean()
    energy = np.correlate(centred, centred, "full")[len(centred) - 1 :]  # by lag, in frames
    pairs = np.arange(len(centred), 0, -1)  # of numbers that far apart
    shortest, longest = (round(FRAMES_PER_SECOND / hz) for hz in BEATS_HZ[::-1])
    of_lag = (energy / pairs)[shortest : min(longest, len(centred) // 2) + 1]
    return float(max(of_lag.max(initial=0) / max(energy[0] / pairs[0], 1e-12), 0))


def nearest(
    music: list[np.ndarray], tracks: np.ndarray, clips: list[np.ndarray], copies: list[np.ndarray]
) -> dict[str, float] | None:
    """Median distances to the nearest training clip: from generated clips, from copies, and between tracks ("real").

    music, clips, copies: embeddings (patches, D) of each clip, which are averaged over the patches. tracks: the track
    of each training clip. copies: training clips that went through the inverter. Returns None for a single track.
    """
    real, generated, copied = (np.stack([clip.mean(axis=0) for clip in side]) for side in (music, clips, copies))
    if len(set(tracks)) < 2:
        return None
    between = np.where(tracks[:, None] == tracks, np.inf, cdist(real, real))
    return {
        "generated": float(np.median(cdist(generated, real).min(axis=1))),
        "copies": float(np.median(cdist(copied, real).min(axis=1))),
        "real": float(np.median(between.min(axis=1))),
    }


def memorises(near: dict[str, float] | None) -> bool:
    """Whether generated clips are more like copies than like another track: what `nearest` found, if anything."""
    return near is not None and near["generated"] < (near["copies"] + near["real"]) / 2
