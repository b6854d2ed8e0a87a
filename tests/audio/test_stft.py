"""The transform and its inverse: what each frame holds, and that nothing is lost."""

import numpy as np
import pytest
import scipy.signal
from helpers import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from ddim_from_scratch.audio import istft, stft
from ddim_from_scratch.audio.stft import hann
from ddim_from_scratch.runtime.backend import threads


def noise(*shape: int, seed: int = 0, dtype: type = np.float64) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def test_hann_is_periodic():
    np.testing.assert_allclose(hann(640), scipy.signal.get_window("hann", 640, fftbins=True), atol=1e-15)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 3000), frame_length=st.integers(8, 300), data=st.data())
def test_istft_undoes_stft(n, frame_length, data):
    hop_length = data.draw(st.integers(1, frame_length - 1), label="hop_length")
    n_fft = data.draw(st.integers(frame_length, 400), label="n_fft")
    x = noise(n)
    spectrum = stft(x, frame_length, hop_length, n_fft)
    assert spectrum.shape == (-(-n // hop_length), n_fft // 2 + 1)
    back = istft(spectrum, frame_length, hop_length, n_fft, length=n)
    np.testing.assert_allclose(back[1:], x[1:], atol=1e-8)  # x[0] is multiplied by w[0] = 0
    assert back[0] == 0


def test_istft_is_the_nearest_signal():
    """Of a spectrum that no signal has, istft is the least-squares solution: no other signal is nearer."""
    spectrum = noise(9, 33) + 1j * noise(9, 33, seed=1)
    spectrum[:, [0, -1]] = spectrum[:, [0, -1]].real

    def distance(x: np.ndarray) -> float:
        error = np.abs(stft(x, 40, 20, 64, pad_end=False) - spectrum) ** 2
        return 2 * error[:, 1:-1].sum() + error[:, [0, -1]].sum()  # an inner bin stands for two

    best = istft(spectrum, 40, 20, 64)
    assert len(best) == 8 * 20 + 40
    for seed in range(5):
        step = 1e-3 * noise(len(best), seed=seed)
        assert distance(best) < min(distance(best + step), distance(best - step))


def test_parseval():
    """The energy of a frame's spectrum, each inner bin counted twice, is n_fft times the windowed frame's."""
    x = noise(640)
    energy = np.abs(stft(x, pad_end=False)[0]) ** 2
    twice = energy[0] + 2 * energy[1:-1].sum() + energy[-1]
    np.testing.assert_allclose(twice, 1024 * np.sum((x * hann(640)) ** 2))


def test_frames_by_definition():
    """S[m, k] = sum_i w[i] x[m hop + i] exp(-2 pi j k i / n_fft), zeros after the end of x."""
    x = noise(1500)
    padded = np.concatenate([x, np.zeros(1000)])
    i, k = np.arange(640), np.arange(513)
    basis = np.exp(-2j * np.pi * np.outer(i, k) / 1024)
    expected = [(hann(640) * padded[320 * m :][:640]) @ basis for m in range(5)]
    np.testing.assert_allclose(stft(x), expected, atol=1e-10)


@pytest.mark.parametrize(("real", "complex_"), [(np.float32, np.complex64), (np.float64, np.complex128)])
def test_precision_is_kept(real, complex_):
    spectrum = stft(noise(2000, dtype=real))
    assert spectrum.dtype == complex_
    assert istft(spectrum).dtype == real


def test_batch_equals_single_and_threads_change_nothing():
    x = noise(2, 3, 100_000, dtype=np.float32)
    with threads(2):
        together = stft(x)
        back = istft(together, length=100_000)
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(together[index], stft(x[index]))
        np.testing.assert_array_equal(back[index], istft(stft(x[index]), length=100_000))


def test_same_as_tensorflow():
    tf = reference("tensorflow")
    x = noise(2, 10_001)
    expected = tf.signal.stft(x, 640, 320, 1024, pad_end=True).numpy()
    np.testing.assert_allclose(stft(x), expected, atol=1e-10)
    expected = tf.signal.stft(x, 640, 320, 1024, pad_end=False).numpy()
    np.testing.assert_allclose(stft(x, pad_end=False), expected, atol=1e-10)


def any_spectrum(frames: int) -> np.ndarray:
    """The STFT of no signal, but with real first and last bins, as rfft has them."""
    spectrum = noise(frames, 513) + 1j * noise(frames, 513, seed=1)
    spectrum[:, [0, -1]] = spectrum[:, [0, -1]].real
    return spectrum


@pytest.mark.parametrize("n", [640, 10_001, 81_920])
def test_same_as_scipy(n):
    """scipy.signal.stft divides by the window's sum, 320; the rest agrees, and the inverse for any spectrum."""
    options = {"window": "hann", "nperseg": 640, "noverlap": 320, "nfft": 1024}
    _, _, expected = scipy.signal.stft(noise(n), **options, boundary=None, padded=False)
    np.testing.assert_allclose(stft(noise(n), pad_end=False), 320 * expected.T, atol=1e-10)
    spectrum = any_spectrum(expected.shape[1])
    with pytest.warns(UserWarning, match="NOLA"):  # of the first and last samples, which w ~ 0 hides
        _, expected = scipy.signal.istft(spectrum.T / 320, **options, boundary=False)
    np.testing.assert_allclose(istft(spectrum)[4:-4], expected[4:-4], atol=1e-9)


@pytest.mark.parametrize("n", [640, 10_001, 81_920])
def test_same_as_librosa(n):
    """librosa lays the window in the middle of the FFT, (1024 - 640) / 2 = 192 samples later than tf.signal."""
    librosa = reference("librosa")
    options = {"n_fft": 1024, "hop_length": 320, "win_length": 640, "center": False}
    delay = np.exp(-2j * np.pi * np.arange(513) * 192 / 1024)
    ours = stft(noise(n))
    padded = np.pad(noise(n), (192, 1024))
    expected = librosa.stft(padded, **options).T[: len(ours)]
    np.testing.assert_allclose(ours * delay, expected, atol=1e-10)
    spectrum = any_spectrum(len(ours))
    expected = librosa.istft((spectrum * delay).T, **options, dtype=np.float64)
    back = istft(spectrum)
    np.testing.assert_allclose(back[4:-4], expected[196 : 188 + len(back)], atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stft(np.zeros(0)), "0 samples"),
        (lambda: stft(np.zeros(639), pad_end=False), "639 samples"),
        (lambda: stft(np.zeros(999, np.int16)), "int16 / 32768"),
        (lambda: stft(np.zeros(999), frame_length=2048), "frame_length 2048"),
        (lambda: stft(np.zeros(999), hop_length=0), "hop_length 0"),
        (lambda: istft(np.zeros((4, 257), complex)), "257 bins"),
    ],
)
def test_errors_say_what_was_given(call, message):
    with pytest.raises(ValueError, match=message):
        call()
