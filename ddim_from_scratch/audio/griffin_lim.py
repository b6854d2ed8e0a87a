"""Griffin-Lim: from a log-mel spectrogram to sound, without training.

A log-mel spectrogram lacks the phases, and the distribution of a mel bin's magnitude over its FFT bins. Both follow
from one constraint: because frames overlap, only few spectra are the STFT of a signal. The algorithm alternates between
spectra that satisfy this constraint and spectra that have the wanted mel bins.
"""

from __future__ import annotations

import math

import numpy as np

from ..runtime.backend import Array, array_module, threads, worker_count
from .contract import HOP_LENGTH, MEL_MAX, MEL_MIN, N_FFT, N_MELS
from .mel import mel_matrix, to_mel
from .stft import istft, stft

OVERSHOOT = 1.3  # exponent of the mel correction: neighbouring bins share FFT bins, which weakens a correction
FLOOR = 0.1  # of istft: keeps the first samples of a clip small, where the window is near 0


def griffin_lim(
    log_mel: Array,
    iterations: int = 64,
    momentum: float = 0.99,
    rng: np.random.Generator | int = 0,
    begun: Array | None = None,
) -> Array:
    """Sound whose log-mel spectrogram is close to `log_mel`: fast Griffin-Lim (Perraudin et al. 2013).

    Each iteration projects the spectrum onto the STFTs of signals, extrapolates the last change (`momentum`; 0 is
    Griffin & Lim 1984), and rescales the magnitudes towards the wanted mel bins. The published algorithm knows the
    magnitudes; here only their mel bins are known. Rescaling in every iteration, instead of inverting the mel matrix
    once, reduces the mean log-mel error of classical music from 0.037 to 0.023 (64 iterations). OVERSHOOT reduces it
    to 0.0215.

    log_mel: (..., frames, 128), natural logarithms as returned by `mel.log_mel`. Leading axes are a batch.
    momentum: in [0, 1); from 1 on the iteration does not converge.
    rng: a generator, or a seed, for the initial phases. All clips of a batch get the same phases, so that a clip does
        not depend on its batch.
    begun: (..., k * 320), the sound of the first k frames, if it is known. The frames within it keep their spectra, so
        that the result continues this sound.
    Returns float32 (..., frames * 320), 16 kHz. Values can exceed [-1, 1]: see `full_scale`.
    Raises ValueError for another shape or momentum, NaN or infinity.
    """
    xp = array_module(log_mel)
    if log_mel.ndim < 2 or log_mel.shape[-1] != N_MELS or 0 in log_mel.shape:
        raise ValueError(f"log_mel has shape {log_mel.shape}, not (..., frames, {N_MELS}): transpose it?")
    if not xp.isfinite(log_mel).all():
        raise ValueError("log_mel contains NaN or infinity: the model that made it has diverged")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum is {momentum}: give 0 or more, and less than 1")
    target = xp.exp(xp.clip(log_mel, math.log(MEL_MIN), math.log(MEL_MAX)).astype(np.float32))
    length = log_mel.shape[-2] * HOP_LENGTH
    matrix = mel_matrix()  # (513, 128)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-9)  # rows sum to 1, or to 0
    share = xp.asarray(share.T, np.float32)  # an FFT bin's factor: the mean over its mel bins
    flat = xp.asarray((matrix / matrix.sum(axis=0)).T, np.float32)  # a mel bin, evenly over its FFT bins

    phase = 2 * np.pi * np.random.default_rng(rng).random((log_mel.shape[-2], N_FFT // 2 + 1))
    spectrum = (target @ flat) * xp.asarray(np.exp(1j * phase), np.complex64)  # (..., frames, 513)
    previous: Array | float = 0.0
    known = spectrum[..., :0, :] if begun is None else stft(begun, pad_end=False)
    with threads(worker_count()):
        for _ in range(iterations):
            consistent = stft(istft(spectrum, length=length, floor=FLOOR))
            spectrum = consistent + float(momentum) * (consistent - previous)
            magnitude = xp.abs(consistent)
            magnitude *= (target / xp.maximum(to_mel(magnitude), MEL_MIN)) ** OVERSHOOT @ share
            spectrum *= magnitude / xp.maximum(xp.abs(spectrum), MEL_MIN)
            spectrum[..., : known.shape[-2], :] = known
            previous = consistent
    return istft(spectrum, length=length, floor=FLOOR)
