"""Solutions of lesson 01, as a reader of the lesson might write them. The package's own are faster."""

import numpy as np
import scipy.fft


def hann(n: int) -> np.ndarray:
    """The periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)


def overlap_add(frames: np.ndarray, hop_length: int) -> np.ndarray:
    """Add frames up, each a hop after the one before."""
    *batch, count, frame_length = frames.shape
    y = np.zeros((*batch, (count - 1) * hop_length + frame_length), frames.dtype)
    for m in range(count):
        y[..., m * hop_length : m * hop_length + frame_length] += frames[..., m, :]
    return y


def stft(
    samples: np.ndarray, frame_length: int = 640, hop_length: int = 320, n_fft: int = 1024, pad_end: bool = True
) -> np.ndarray:
    """Cut into frames, window, transform."""
    n = samples.shape[-1]
    count = -(-n // hop_length) if pad_end else 1 + (n - frame_length) // hop_length
    padded = np.zeros((*samples.shape[:-1], n + frame_length), samples.dtype)
    padded[..., :n] = samples
    window = hann(frame_length).astype(samples.dtype)
    frames = [padded[..., m * hop_length : m * hop_length + frame_length] * window for m in range(count)]
    return scipy.fft.rfft(np.stack(frames, axis=-2), n=n_fft)


def istft(
    spectrum: np.ndarray,
    frame_length: int = 640,
    hop_length: int = 320,
    n_fft: int = 1024,
    length: int | None = None,
    floor: float = 0.0,
) -> np.ndarray:
    """The least-squares inverse."""
    y = scipy.fft.irfft(spectrum, n=n_fft)[..., :frame_length]
    window = hann(frame_length).astype(y.dtype)
    covered = (spectrum.shape[-2] - 1) * hop_length + frame_length
    total = overlap_add(y * window, hop_length)[..., :covered]
    weight = overlap_add(np.tile(window**2, (spectrum.shape[-2], 1)), hop_length)[:covered]
    samples = total / np.maximum(weight, max(floor, np.finfo(y.dtype).tiny))
    length = covered if length is None else length
    result = np.zeros((*samples.shape[:-1], length), samples.dtype)
    result[..., :covered] = samples[..., :length]
    return result


def test_hann(hann):
    """Ends, middle, symmetry, the sum of two, and the spectrum: the FFT of a raised cosine has three lines."""
    w = hann(16)
    assert w.shape == (16,)
    assert np.isclose(w[0], 0) and np.isclose(w[8], 1)
    assert np.allclose(w[1:], w[:0:-1])
    assert np.allclose(w[:8] + w[8:], 1)
    assert np.allclose(np.fft.rfft(w)[2:], 0)  # a triangle has all of the above
