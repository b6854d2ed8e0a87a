"""The log-mel spectrogram: the picture of sound that the diffusion model draws.

The numbers are those of the GAN that turns such pictures back into sound (TF-Hub
google/soundstream/mel/decoder/music/1), so both vocoders, it and Griffin-Lim, read the same spectrogram.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..backend import Array, array_module, empty, parallel
from .stft import blocks, frame, windowed_rfft

SR = 16000  # samples a second
FRAME_LENGTH = 640  # samples: 40 ms
HOP_LENGTH = 320  # samples: 20 ms, 50 frames a second
N_FFT = 1024
N_MELS = 128
F_MIN_HZ = 0.0
F_MAX_HZ = 8000.0
MEL_MIN = 1e-5  # mel magnitudes are clipped to this range before the logarithm
MEL_MAX = 1e8


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
    """The matrix that sums FFT bins into mel bins, as `tf.signal.linear_to_mel_weight_matrix` makes it.

    Column i is a triangle over the mel scale: 0 at edge i, 1 at edge i + 1, 0 at edge i + 2, of n_mels + 2
    edges equally spaced in mel from f_min_hz to f_max_hz. Its area is not normalised. Row 0, the constant
    part, is 0, since no triangle begins below 0 Hz. The lowest triangles are about as narrow as FFT bins:
    each holds one or two.

    Returns float64 (n_fft // 2 + 1, n_mels), cached and read-only.
    Raises ValueError unless 0 <= f_min_hz < f_max_hz <= sr / 2.
    """
    if not 0 <= f_min_hz < f_max_hz <= sr / 2:
        raise ValueError(f"mel range {f_min_hz}..{f_max_hz} Hz must be increasing and within 0..{sr / 2} Hz")
    bins = hz_to_mel(np.linspace(0, sr / 2, n_fft // 2 + 1))[:, None]
    edges = np.linspace(hz_to_mel(f_min_hz), hz_to_mel(f_max_hz), n_mels + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins - left) / (centre - left)
    falling = (right - bins) / (right - centre)
    matrix = np.maximum(0, np.minimum(rising, falling))  # (n_fft // 2 + 1, n_mels)
    matrix.flags.writeable = False
    return matrix


def to_mel(magnitude: Array) -> Array:
    """magnitude (..., 513) @ mel_matrix() -> (..., 128), in the precision of `magnitude`.

    Each quarter of the mel bins looks at its own stretch of FFT bins only: a quarter of the arithmetic.
    """
    xp = array_module(magnitude)
    result = empty((*magnitude.shape[:-1], N_MELS), magnitude)
    for mels, bins in mel_bands():
        result[..., mels] = magnitude[..., bins] @ xp.asarray(mel_matrix()[bins, mels], magnitude.dtype)
    return result


@lru_cache
def mel_bands() -> list[tuple[slice, slice]]:
    """Quarters of the mel bins, each with the FFT bins in which any of them is not 0."""
    bands = []
    for start in range(0, N_MELS, N_MELS // 4):
        mels = slice(start, start + N_MELS // 4)
        bins = np.flatnonzero(mel_matrix()[:, mels].any(axis=1))
        bands.append((mels, slice(bins[0], bins[-1] + 1)))
    return bands


def log_mel(samples: Array) -> Array:
    """ln(clip(|STFT(samples)| @ mel_matrix, 1e-5, 1e8)).

    samples: (n,) float32 or float64 (computed in that precision), mono, `SR` Hz, in [-1, 1].
    Returns float32 (ceil(n / 320), 128); silence is ln(1e-5) = -11.51.
    Raises ValueError if samples are not one-dimensional, floating point, non-empty and finite.
    """
    if samples.ndim != 1:
        raise ValueError(f"samples have shape {samples.shape}, not (n,): pass one mono signal at a time")
    xp = array_module(samples)
    frames = frame(samples, FRAME_LENGTH, HOP_LENGTH, pad_end=True)
    if not xp.isfinite(samples).all():
        raise ValueError("samples contain NaN or infinity: repair the recording or leave it out")
    result = empty((len(frames), N_MELS), samples, np.float32)

    def transform(rows: slice) -> None:
        magnitude = xp.abs(windowed_rfft(frames[rows], N_FFT))  # (rows, 513)
        result[rows] = xp.log(xp.clip(to_mel(magnitude), MEL_MIN, MEL_MAX))

    parallel(transform, blocks(len(frames)))
    return result
