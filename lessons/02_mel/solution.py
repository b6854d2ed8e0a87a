"""Solutions of lesson 02, as a reader of the lesson might write them. The package's own are faster."""

import numpy as np

from ddim_from_scratch.audio import istft, stft


def hz_to_mel(hz):
    """HTK's mel scale."""
    return 1127 * np.log(1 + hz / 700)


def mel_matrix(
    n_fft: int = 1024, n_mels: int = 128, sr: int = 16000, f_min_hz: float = 0.0, f_max_hz: float = 8000.0
) -> np.ndarray:
    """Triangles over the mel scale."""
    m = hz_to_mel(np.arange(n_fft // 2 + 1) * sr / n_fft)[:, None]
    e = np.linspace(hz_to_mel(f_min_hz), hz_to_mel(f_max_hz), n_mels + 2)
    rising = (m - e[:-2]) / (e[1:-1] - e[:-2])
    falling = (e[2:] - m) / (e[2:] - e[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Magnitudes, mel bins, logarithm."""
    mel = np.abs(stft(samples)) @ mel_matrix().astype(samples.dtype)
    return np.log(np.clip(mel, 1e-5, 1e8)).astype(np.float32)


def plain_griffin_lim(log_mel: np.ndarray, iterations: int = 64, momentum: float = 0.99, rng=0) -> np.ndarray:
    """Back and forth between the spectra of sounds and those with the wanted mel bins."""
    target = np.clip(np.exp(log_mel), 1e-5, 1e8).astype(np.float32)
    frames = log_mel.shape[-2]
    matrix = mel_matrix()
    spread = (matrix / matrix.sum(axis=0)).T.astype(np.float32)
    average = (matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-9)).T.astype(np.float32)
    matrix = matrix.astype(np.float32)

    phase = 2 * np.pi * np.random.default_rng(rng).random((frames, 513))
    spectrum = (target @ spread) * np.exp(1j * phase).astype(np.complex64)
    previous = 0
    for _ in range(iterations):
        consistent = stft(istft(spectrum, length=frames * 320, floor=0.1))
        spectrum = consistent + momentum * (consistent - previous)
        magnitude = np.abs(consistent)
        magnitude = magnitude * ((target / np.maximum(magnitude @ matrix, 1e-5)) ** 1.3 @ average)
        spectrum = spectrum * (magnitude / np.maximum(np.abs(spectrum), 1e-5))
        previous = consistent
    return istft(spectrum, length=frames * 320, floor=0.1)
