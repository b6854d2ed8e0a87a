"""The short-time Fourier transform and its least-squares inverse.

`stft` makes exactly the frames of `tf.signal.stft`: frame m covers samples m*hop .. m*hop + frame_length and is not
centred. It is multiplied by a periodic Hann window and zero-padded at its end to n_fft points. With `pad_end` zeros
follow the signal, so that there are ceil(n / hop) frames.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..runtime.backend import Array, array_module, constant, empty, fft_module, parallel
from .contract import FRAME_LENGTH, HOP_LENGTH, N_FFT

FRAMES_AT_ONCE = 256  # per thread: a MiB of spectra stays in cache, and Python's overhead per call stays small


@lru_cache
def hann(n: int) -> np.ndarray:
    """The periodic Hann window w[i] = 1/2 - 1/2 cos(2 pi i / n): float64 (n,), read-only. w[0] is 0."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
    window.flags.writeable = False
    return window


def stft(
    samples: Array,
    frame_length: int = FRAME_LENGTH,
    hop_length: int = HOP_LENGTH,
    n_fft: int = N_FFT,
    pad_end: bool = True,
) -> Array:
    """S[m, k] = sum_i w[i] x[m hop + i] exp(-2 pi j k i / n_fft), for k = 0 .. n_fft / 2.

    samples: (..., n) float32 or float64; leading axes are a batch.
    Returns (..., frames, n_fft // 2 + 1), complex64 for float32 and complex128 for float64.
    frames is ceil(n / hop) with `pad_end`, else the number of whole frames, 1 + (n - frame_length) // hop.
    Raises ValueError for samples that are not floating point, or lengths that do not fit together.
    """
    check_lengths(frame_length, hop_length, n_fft)
    frames = frame(samples, frame_length, hop_length, pad_end)
    dtype = np.result_type(samples.dtype, np.complex64)
    spectrum = empty((*frames.shape[:-1], n_fft // 2 + 1), samples, dtype)

    def transform(rows: slice) -> None:
        spectrum[..., rows, :] = windowed_rfft(frames[..., rows, :], n_fft)

    parallel(transform, frame_slices(frames.shape[-2]))
    return spectrum


def istft(
    spectrum: Array,
    frame_length: int = FRAME_LENGTH,
    hop_length: int = HOP_LENGTH,
    n_fft: int = N_FFT,
    length: int | None = None,
    floor: float = 0.0,
) -> Array:
    """x = sum_m w y_m / sum_m w^2: the signal whose STFT is nearest to `spectrum` (Griffin & Lim 1984, eq. 6).

    y_m is the inverse FFT of frame m, cut to the window's length. It and the window w are shifted to the frame's place.

    spectrum: (..., frames, n_fft // 2 + 1) complex; need not be the STFT of any signal.
    length: number of samples to return, cut or zero-padded; default (frames - 1) * hop_length + frame_length.
    floor: smallest divisor. With the default 0, istft(stft(x)) is x, except for samples where all windows are 0. These
        are 0, and always include x[0], since w[0] = 0. The windows of the next few samples are about 1e-5; if
        `spectrum` is not the STFT of a signal, a floor of about 0.1 keeps these samples from becoming huge.
    Returns (..., length), float32 for complex64 and float64 for complex128.
    """
    check_lengths(frame_length, hop_length, n_fft)
    if spectrum.shape[-1] != n_fft // 2 + 1:
        raise ValueError(f"spectrum has {spectrum.shape[-1]} bins, not {n_fft // 2 + 1}: pass the n_fft that stft had")
    count = spectrum.shape[-2]
    frames = empty((*spectrum.shape[:-1], frame_length), spectrum, spectrum.real.dtype)
    window = constant(hann, frame_length, like=frames)

    def transform(rows: slice) -> None:
        y = fft_module(spectrum).irfft(spectrum[..., rows, :], n=n_fft)
        frames[..., rows, :] = y[..., :frame_length] * window

    parallel(transform, frame_slices(count))
    covered = (count - 1) * hop_length + frame_length
    samples = overlap_add(frames, hop_length)
    samples /= constant(
        _weights, count, frame_length, hop_length, max(floor, np.finfo(frames.dtype).tiny), like=samples
    )
    return fit(samples[..., :covered], covered if length is None else length)


def _weights(count: int, frame_length: int, hop_length: int, least: float) -> np.ndarray:
    """The sum of the squared windows at each sample, or `least`."""
    return np.maximum(overlap_add(np.broadcast_to(hann(frame_length) ** 2, (count, frame_length)), hop_length), least)


def frame(samples: Array, frame_length: int, hop_length: int, pad_end: bool) -> Array:
    """Overlapping frames (..., frames, frame_length) of samples (..., n), as a view."""
    check_float(samples)
    n = samples.shape[-1]
    if n == 0 or (n < frame_length and not pad_end):
        raise ValueError(f"{n} samples hold no frame of {frame_length}: pass a longer signal")
    count = -(-n // hop_length) if pad_end else 1 + (n - frame_length) // hop_length
    padded = fit(samples, (count - 1) * hop_length + frame_length)
    *batch, step = padded.strides
    return array_module(samples).lib.stride_tricks.as_strided(
        padded, (*padded.shape[:-1], count, frame_length), (*batch, hop_length * step, step)
    )


def windowed_rfft(frames: Array, n_fft: int) -> Array:
    """The spectra (..., n_fft // 2 + 1) of frames (..., frame_length), Hann-windowed and padded to n_fft."""
    xp, length = array_module(frames), frames.shape[-1]
    padded = empty((*frames.shape[:-1], n_fft), frames)
    xp.multiply(frames, constant(hann, length, like=frames), out=padded[..., :length])
    padded[..., length:] = 0
    return fft_module(frames).rfft(padded)


def overlap_add(frames: Array, hop_length: int) -> Array:
    """Sum of frames (..., count, frame_length) placed hop_length apart. Returns (..., at least the samples they cover).

    Each frame is cut into pieces of one hop. Piece i of frame m belongs to hop m + i of the signal, so the i-th pieces
    of all frames are added in one operation.
    """
    *batch, count, frame_length = frames.shape
    pieces = -(-frame_length // hop_length)
    signal = array_module(frames).zeros((*batch, count + pieces - 1, hop_length), frames.dtype)
    for i in range(pieces):
        piece = frames[..., i * hop_length : (i + 1) * hop_length]
        signal[..., i : i + count, : piece.shape[-1]] += piece
    return signal.reshape(*batch, -1)


def fit(samples: Array, length: int) -> Array:
    """samples (..., n) cut or padded with zeros at the end to (..., length)."""
    missing = length - samples.shape[-1]
    if missing <= 0:
        return samples[..., :length]
    return array_module(samples).pad(samples, [(0, 0)] * (samples.ndim - 1) + [(0, missing)])


def frame_slices(count: int) -> list[slice]:
    """Slices of at most FRAMES_AT_ONCE frames that cover 0 .. count."""
    return [slice(start, min(start + FRAMES_AT_ONCE, count)) for start in range(0, count, FRAMES_AT_ONCE)]


def check_float(samples: Array) -> None:
    """Raise ValueError unless samples are floating point."""
    if samples.dtype.kind != "f":
        raise ValueError(f"samples are {samples.dtype}, not float: scale them to [-1, 1], e.g. int16 / 32768")


def check_lengths(frame_length: int, hop_length: int, n_fft: int) -> None:
    """Raise ValueError unless 0 < frame_length <= n_fft and 0 < hop_length."""
    if not 0 < frame_length <= n_fft or hop_length < 1:
        raise ValueError(
            f"frame_length {frame_length}, hop_length {hop_length}, n_fft {n_fft} do not fit together: "
            "a frame must be no longer than the FFT and the hop at least 1"
        )
