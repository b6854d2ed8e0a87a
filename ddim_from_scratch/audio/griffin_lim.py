"""Griffin-Lim: from a log-mel spectrogram to sound, without training.

A log-mel spectrogram lacks the phases, and the distribution of a mel bin's magnitude over its FFT bins. Both follow
from one constraint: because frames overlap, only few spectra are the STFT of a signal. The algorithm alternates between
spectra that satisfy this constraint and spectra that have the wanted mel bins. `griffin_lim` begins with phases that
`phase` finds from the magnitudes, `plain_griffin_lim` with random ones.
"""

from __future__ import annotations

import math

import numpy as np

from ..runtime.backend import Array, array_module, parallel, threads, to_host, worker_count
from .contract import FRAME_LENGTH, HOP_LENGTH, MEL_MAX, MEL_MIN, N_FFT, N_MELS
from .mel import mel_matrix, to_mel
from .phase import integrate
from .stft import istft, stft

OVERSHOOT = 1.3  # exponent of the mel correction: neighbouring bins share FFT bins, which weakens a correction
ROUNDS = 5  # of the mel correction before there are phases; more make the start worse
FLOOR = 0.1  # of istft: keeps the first samples of a clip small, where the window is near 0


def griffin_lim(
    log_mel: Array,
    iterations: int = 144,
    momentum: float = 0.99,
    rng: np.random.Generator | int = 0,
    begun: Array | None = None,
) -> Array:
    """Sound whose log-mel spectrogram is close to `log_mel`: `refine`, from phases that fit the magnitudes' slopes.

    log_mel: (..., frames, 128), natural logarithms as returned by `mel.log_mel`. Leading axes are a batch.
    momentum: in [0, 1); from 1 on the iteration does not converge.
    rng: a generator, or a seed, for the phases of quiet bins and of each island's loudest bin. All clips of a batch get
        the same, so that a clip does not depend on its batch.
    begun: (..., k * 320), k at least 2: the sound so far, if it is known. The k - 1 frames that lie within it keep
        their spectra, so that the result continues this sound.
    Returns float32 (..., frames * 320), 16 kHz. Values can exceed [-1, 1]: see `full_scale`.
    Raises ValueError for another shape or momentum, fewer iterations than 0, NaN or infinity.
    """
    xp, target = array_module(log_mel), wanted_mel(log_mel)
    spectrum = spread(target)
    known = spectrum[..., :0, :] if begun is None else stft(begun, pad_end=False)
    mean = mean_over_mel_bins(target)
    for _ in range(ROUNDS):
        spectrum = corrected(spectrum, target, mean)
    spectrum = spectrum * xp.exp(1j * xp.asarray(_phases(to_host(spectrum), to_host(known), rng))).astype(np.complex64)
    return refine(target, spectrum, iterations, momentum, known)


def plain_griffin_lim(
    log_mel: Array, iterations: int = 64, momentum: float = 0.99, rng: np.random.Generator | int = 0
) -> Array:
    """The same from random phases, and with each mel bin spread over its FFT bins by their weights."""
    target = wanted_mel(log_mel)
    phase = _random_phases(rng, log_mel.shape[-2])
    spectrum = spread(target) * array_module(target).asarray(np.exp(1j * phase), np.complex64)
    return refine(target, spectrum, iterations, momentum, spectrum[..., :0, :])


def refine(target: Array, spectrum: Array, iterations: int, momentum: float, known: Array) -> Array:
    """Fast Griffin-Lim (Perraudin et al. 2013), for mel bins. Returns sound, float32 (..., frames * 320).

    Each iteration projects the spectrum onto the STFTs of signals, extrapolates the last change (`momentum`; 0 is
    Griffin & Lim 1984), and rescales the magnitudes towards the wanted mel bins. The published algorithm knows the
    magnitudes; here only their mel bins are known. From random phases, rescaling in every iteration, instead of
    inverting the mel matrix once, reduces the mean log-mel error of classical music from 0.037 to 0.023 (64
    iterations). OVERSHOOT reduces it to 0.0215.

    target: (..., frames, 128), mel magnitudes. spectrum: (..., frames, 513) complex64, the start.
    known: (..., k, 513), spectra of the first k frames, which they keep.
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum is {momentum}: give 0 or more, and less than 1")
    if iterations < 0:
        raise ValueError(f"iterations is {iterations}: give 0 or more")
    xp, length = array_module(target), target.shape[-2] * HOP_LENGTH
    mean, previous = mean_over_mel_bins(target), xp.zeros_like(spectrum)
    with threads(worker_count()):
        for _ in range(iterations):
            consistent = stft(istft(spectrum, length=length, floor=FLOOR))
            spectrum = consistent + float(momentum) * (consistent - previous)
            magnitude = corrected(xp.abs(consistent), target, mean)
            spectrum *= magnitude / xp.maximum(xp.abs(spectrum), MEL_MIN)
            spectrum[..., : known.shape[-2], :] = known
            previous = consistent
    return istft(spectrum, length=length, floor=FLOOR)


def wanted_mel(log_mel: Array) -> Array:
    """exp(log_mel) in float32, within the range of `mel.log_mel`. Raises ValueError for other shapes and NaN."""
    xp = array_module(log_mel)
    if log_mel.ndim < 2 or log_mel.shape[-1] != N_MELS or 0 in log_mel.shape:
        raise ValueError(f"log_mel has shape {log_mel.shape}, not (..., frames, {N_MELS}): transpose it?")
    if not xp.isfinite(log_mel).all():
        raise ValueError("log_mel contains NaN or infinity: the model that made it has diverged")
    return xp.exp(xp.clip(log_mel, math.log(MEL_MIN), math.log(MEL_MAX)).astype(np.float32))


def spread(target: Array) -> Array:
    """Magnitudes (..., frames, 513): each mel bin of `target` (..., frames, 128), over its FFT bins by weight."""
    matrix = mel_matrix()
    return target @ array_module(target).asarray((matrix / matrix.sum(axis=0)).T, np.float32)


def mean_over_mel_bins(like: Array) -> Array:
    """The matrix (128, 513), on `like`'s device, that gives each FFT bin the mean over its mel bins. 0 Hz has none."""
    matrix = mel_matrix()
    return array_module(like).asarray((matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-9)).T, np.float32)


def corrected(magnitude: Array, target: Array, mean: Array) -> Array:
    """`magnitude` (..., frames, 513), each FFT bin times the mean of wanted / present over its mel bins."""
    return magnitude * ((target / array_module(target).maximum(to_mel(magnitude), MEL_MIN)) ** OVERSHOOT @ mean)


def _random_phases(rng: np.random.Generator | int, frames: int) -> np.ndarray:
    return 2 * np.pi * np.random.default_rng(rng).random((frames, N_FFT // 2 + 1))


def _phases(magnitude: np.ndarray, known: np.ndarray, rng: np.random.Generator | int) -> np.ndarray:
    """Phases (..., frames, 513) of `stft` for magnitudes, integrated clip by clip, after those of the known frames."""
    to_middle = np.pi * FRAME_LENGTH * np.arange(N_FFT // 2 + 1) / N_FFT  # stft's phases refer to the frame's start
    random, count = _random_phases(rng, magnitude.shape[-2]), known.shape[-2]

    def clip(i: tuple[int, ...]) -> np.ndarray:
        start = random.copy()
        start[:count] = np.angle(known[i]) + to_middle
        return integrate(magnitude[i], start, count) - to_middle

    return np.stack(parallel(clip, np.ndindex(magnitude.shape[:-2]))).reshape(magnitude.shape)
