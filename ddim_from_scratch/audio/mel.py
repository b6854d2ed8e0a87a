"""The log-mel spectrogram, which the diffusion model generates.

Its parameters are those of the GAN that turns such spectrograms into sound (TF-Hub
google/soundstream/mel/decoder/music/1), so both inverters, the GAN and Griffin-Lim, read the same spectrogram.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..runtime.backend import Array, array_module, constant, empty, parallel
from .contract import F_MAX_HZ, F_MIN_HZ, FRAME_LENGTH, HOP_LENGTH, MEL_MAX, MEL_MIN, N_FFT, N_MELS, SR
from .stft import check_float, frame, frame_slices, windowed_rfft


def hz_to_mel(hz: float | Array) -> float | Array:
    """HTK's mel scale, mel = 1127 ln(1 + hz / 700): nearly linear below 700 Hz, logarithmic above."""
    return 1127.0 * np.log1p(hz / 700.0)


def mel_to_hz(mel: float | Array) -> float | Array:
    """The inverse of `hz_to_mel`."""
    return 700.0 * np.expm1(mel / 1127.0)


@lru_cache
def mel_matrix(
    n_fft: int = N_FFT,
    n_mels: int = N_MELS,
    sr: int = SR,
    f_min_hz: float = F_MIN_HZ,
    f_max_hz: float = F_MAX_HZ,
) -> np.ndarray:
    """The matrix that sums FFT bins into mel bins, equal to that of `tf.signal.linear_to_mel_weight_matrix`.

    Column i is a triangle over the mel scale: 0 at edge i, 1 at edge i + 1, 0 at edge i + 2, of n_mels + 2
    edges equally spaced in mel from f_min_hz to f_max_hz. Areas are not normalised. Row 0 (0 Hz) is 0, since no
    triangle begins below 0 Hz. The lowest triangles are about as narrow as FFT bins: each contains one or two.

    Returns float64 (n_fft // 2 + 1, n_mels), cached and read-only.
    Raises ValueError unless 0 <= f_min_hz < f_max_hz <= sr / 2.
    """
    check_range(f_min_hz, f_max_hz, sr)
    bins = np.asarray(hz_to_mel(np.linspace(0, sr / 2, n_fft // 2 + 1)))
    edges = np.linspace(hz_to_mel(f_min_hz), hz_to_mel(f_max_hz), n_mels + 2)
    matrix = triangles(bins, edges)
    matrix.flags.writeable = False
    return matrix


def mel_bin(hz: np.ndarray) -> np.ndarray:
    """Where a frequency lies among the contract's mel bins: i for the peak of triangle i."""
    low, high = hz_to_mel(F_MIN_HZ), hz_to_mel(F_MAX_HZ)
    return np.asarray((hz_to_mel(hz) - low) / (high - low) * (N_MELS + 1) - 1)


def triangles(bins: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Column i rises from 0 at edges[i] to 1 at edges[i + 1] and falls to 0 at edges[i + 2].

    bins: (n,), where to read the triangles. edges: (m + 2,), increasing, on the same scale. Returns (n, m).
    """
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - left) / (centre - left)
    falling = (right - bins[:, None]) / (right - centre)
    return np.maximum(0, np.minimum(rising, falling))


def check_range(f_min_hz: float, f_max_hz: float, sr: int) -> None:
    """Raise ValueError unless 0 <= f_min_hz < f_max_hz <= sr / 2."""
    if not 0 <= f_min_hz < f_max_hz <= sr / 2:
        raise ValueError(f"mel range {f_min_hz}..{f_max_hz} Hz must be increasing and within 0..{sr / 2} Hz")


# The other common mel scale, of Slaney's Auditory Toolbox (1998) and librosa: 3 mel per 200 Hz up to 1000 Hz, which is
# 15 mel, and above it 27 mel per factor of 6.4.
SLANEY_KNEE_HZ, SLANEY_KNEE = 1000.0, 15.0
SLANEY_RATE = 27 / np.log(6.4)


def hz_to_slaney_mel(hz: float | np.ndarray) -> np.ndarray:
    """Slaney's mel scale, in float64."""
    above = SLANEY_KNEE + SLANEY_RATE * np.log(np.maximum(hz, SLANEY_KNEE_HZ) / SLANEY_KNEE_HZ)
    return np.where(np.less(hz, SLANEY_KNEE_HZ), np.multiply(hz, 3 / 200), above)


def slaney_mel_to_hz(mel: float | np.ndarray) -> np.ndarray:
    """The inverse of `hz_to_slaney_mel`."""
    above = SLANEY_KNEE_HZ * np.exp((np.maximum(mel, SLANEY_KNEE) - SLANEY_KNEE) / SLANEY_RATE)
    return np.where(np.less(mel, SLANEY_KNEE), np.multiply(mel, 200 / 3), above)


@lru_cache
def slaney_mel_matrix(n_fft: int, n_mels: int, sr: int, f_min_hz: float, f_max_hz: float) -> np.ndarray:
    """The matrix that sums FFT bins into Slaney mel bins, equal to that of `librosa.filters.mel`.

    The edges are equally spaced in mel, the triangles are linear in Hz, and each has area 1 Hz, so that white noise is
    equally loud in wide and narrow bins. Returns and raises as `mel_matrix` does.
    """
    check_range(f_min_hz, f_max_hz, sr)
    bins_hz = np.linspace(0, sr / 2, n_fft // 2 + 1)
    edges_hz = slaney_mel_to_hz(np.linspace(hz_to_slaney_mel(f_min_hz), hz_to_slaney_mel(f_max_hz), n_mels + 2))
    matrix = triangles(bins_hz, edges_hz) * (2 / (edges_hz[2:] - edges_hz[:-2]))
    matrix.flags.writeable = False
    return matrix


def to_mel(magnitude: Array) -> Array:
    """magnitude (..., 513) @ mel_matrix() -> (..., 128), in the precision of `magnitude`.

    Each quarter of the mel bins reads only its own range of FFT bins, which takes a quarter of the arithmetic.
    """
    result = empty((*magnitude.shape[:-1], N_MELS), magnitude)
    for mels, bins in mel_bands():
        matrix = constant(_band, mels.start, mels.stop, bins.start, bins.stop, like=magnitude)
        result[..., mels] = magnitude[..., bins] @ matrix
    return result


@lru_cache
def mel_bands() -> list[tuple[slice, slice]]:
    """Quarters of the mel bins, each with the range of its FFT bins."""
    bands = []
    for start in range(0, N_MELS, N_MELS // 4):
        mels = slice(start, start + N_MELS // 4)
        used = np.flatnonzero(mel_matrix()[:, mels].any(axis=1))
        bands.append((mels, slice(int(used[0]), int(used[-1]) + 1)))
    return bands


def _band(first_mel: int, last_mel: int, first_bin: int, last_bin: int) -> np.ndarray:
    """That part of the mel matrix: up to, not including, the last ones."""
    return mel_matrix()[first_bin:last_bin, first_mel:last_mel]


def check_samples(samples: Array) -> None:
    """Raise ValueError unless samples are one mono signal (n,), floating point and finite."""
    if samples.ndim != 1:
        raise ValueError(f"samples have shape {samples.shape}, not (n,): pass one mono signal at a time")
    check_float(samples)
    if not array_module(samples).isfinite(samples).all():
        raise ValueError("samples contain NaN or infinity: repair the recording or leave it out")


def log_mel(samples: Array) -> Array:
    """ln(clip(|STFT(samples)| @ mel_matrix, 1e-5, 1e8)).

    samples: (n,) float32 or float64 (computed in that precision), mono, `SR` Hz, in [-1, 1].
    Returns float32 (ceil(n / 320), 128); silence is ln(1e-5) = -11.51.
    Raises ValueError if samples are not one-dimensional, floating point, non-empty and finite.
    """
    check_samples(samples)
    xp = array_module(samples)
    frames = frame(samples, FRAME_LENGTH, HOP_LENGTH, pad_end=True)
    result = empty((len(frames), N_MELS), samples, np.float32)

    def transform(rows: slice) -> None:
        magnitude = xp.abs(windowed_rfft(frames[rows], N_FFT))  # (rows, 513)
        mel = to_mel(magnitude)
        xp.log(xp.clip(mel, MEL_MIN, MEL_MAX, out=mel), out=result[rows])

    parallel(transform, frame_slices(len(frames)))
    return result
