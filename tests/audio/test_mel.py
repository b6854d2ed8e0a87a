"""The log-mel spectrogram keeps the contract of the GAN inverter, number for number."""

from functools import cache

import numpy as np
import pytest
import soxr
from helpers import reference, relative_error

from ddim_from_scratch.audio import log_mel, mel_matrix, stft
from ddim_from_scratch.audio.mel import (
    hz_to_mel,
    hz_to_slaney_mel,
    mel_to_hz,
    slaney_mel_matrix,
    slaney_mel_to_hz,
    to_mel,
)
from ddim_from_scratch.audio.synth import TUNES, play, score
from ddim_from_scratch.runtime.backend import threads

SECOND = np.arange(16000) / 16000


def test_mel_scale():
    """1000 Hz is 1000 mel, near enough: that is how Stevens, Volkmann and Newman fixed the scale."""
    np.testing.assert_allclose(hz_to_mel(1000.0), 1000, atol=0.05)


def test_mel_to_hz_is_the_inverse():
    hz = np.linspace(0, 8000, 99)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz)), hz, atol=1e-9)


def test_triangles():
    """Neighbouring triangles add up to 1 between the first peak and the last; the constant is left out."""
    matrix = mel_matrix()
    assert matrix.shape == (513, 128)
    assert matrix.dtype == np.float64
    edges = mel_to_hz(np.linspace(0, hz_to_mel(8000.0), 130))
    hz = np.linspace(0, 8000, 513)
    inside = (edges[1] <= hz) & (hz <= edges[-2])
    np.testing.assert_allclose(matrix[inside].sum(axis=1), 1)
    assert not matrix[0].any()


def test_same_matrix_as_tensorflow():
    tf = reference("tensorflow")
    theirs = tf.signal.linear_to_mel_weight_matrix(128, 513, 16000, 0.0, 8000.0, tf.float64)
    np.testing.assert_allclose(mel_matrix(), theirs.numpy(), atol=1e-12)
    theirs = tf.signal.linear_to_mel_weight_matrix(64, 257, 16000, 125.0, 7500.0, tf.float64)
    np.testing.assert_allclose(mel_matrix(512, 64, 16000, 125.0, 7500.0), theirs.numpy(), atol=1e-12)
    theirs = tf.signal.linear_to_mel_weight_matrix(128, 513, 16000, 0.0, 8000.0)  # float32, its default
    assert 1e-5 < np.abs(mel_matrix() - theirs.numpy()).max() < 2e-5


def test_slaney_mel_scale():
    np.testing.assert_allclose(hz_to_slaney_mel([200.0, 1000.0, 6400.0]), [3, 15, 42], rtol=1e-12)
    hz = np.linspace(0, 8000, 99)
    np.testing.assert_allclose(slaney_mel_to_hz(hz_to_slaney_mel(hz)), hz, atol=1e-9)


@pytest.mark.parametrize("arguments", [(512, 96, 16000, 0.0, 8000.0), (1024, 40, 22050, 125.0, 7500.0)])
def test_same_slaney_matrix_as_librosa(arguments):
    n_fft, n_mels, sr, f_min_hz, f_max_hz = arguments
    expected = reference("librosa").filters.mel(
        sr=sr, n_fft=n_fft, n_mels=n_mels, fmin=f_min_hz, fmax=f_max_hz, dtype=np.float64
    )
    np.testing.assert_allclose(slaney_mel_matrix(*arguments), expected.T, rtol=1e-10, atol=1e-12)


def test_to_mel_is_the_whole_product():
    magnitude = np.random.default_rng(0).random((2, 7, 513))
    np.testing.assert_allclose(to_mel(magnitude), magnitude @ mel_matrix(), rtol=1e-12)


@cache
def music() -> np.ndarray:
    notes = score(TUNES["Ode to Joy (Beethoven)"], held=False)
    return soxr.resample(play(notes, "plucked", 0, 100, np.random.default_rng(0)), 22050, 16000)


def signals(n: int) -> dict[str, np.ndarray]:
    """What spectrograms are made of: float64 (n,) each, of numbers that float32 has."""
    t = np.arange(n) / 16000
    clicks = np.zeros(n)
    clicks[::1000] = 0.9
    made = {
        "noise": 0.1 * np.random.default_rng(0).standard_normal(n),
        "sines": 0.3 * np.sin(2 * np.pi * 440 * t) + 0.1 * np.sin(2 * np.pi * 3000 * t),
        "silence": np.zeros(n),
        "clicks": clicks,
        "music": music()[:n],
    }
    return {name: x.astype(np.float32).astype(np.float64) for name, x in made.items()}


def tensorflow_mel(x, dtype: str) -> np.ndarray:
    """The contract's magnitudes before clip and logarithm, by tf.signal in the precision `dtype`."""
    tf = reference("tensorflow")
    magnitude = tf.abs(tf.signal.stft(tf.constant(x, dtype), 640, 320, 1024, pad_end=True))
    matrix = tf.signal.linear_to_mel_weight_matrix(128, 513, 16000, 0.0, 8000.0, tf.float64)
    return (magnitude @ tf.cast(matrix, dtype)).numpy()


@pytest.mark.parametrize("n", [1, 319, 320, 641, 16000, 81920])
def test_same_log_mel_as_tensorflow(n):
    """In float64 to 1e-7, the rounding of the float32 that log_mel returns.

    In float32 the FFT leaves some 3e-7 of a frame's loudest mel bin in every other bin (TensorFlow's 3e-6 beside
    clicks), so that logarithms can agree only where a bin is not much quieter: beside a pure sine ours are up to
    0.18 and TensorFlow's 0.16 from the float64 ones. So: every bin to 1e-6 (TensorFlow 1e-5) of its frame's
    loudest, and the logarithm to 1e-5 down to 40 dB below.
    """
    tf = reference("tensorflow")
    for name, x in signals(n).items():
        exact = tensorflow_mel(x, "float64")
        expected = tf.math.log(tf.clip_by_value(exact, 1e-5, 1e8)).numpy()
        assert relative_error(log_mel(x), expected) < 1e-7, name
        single = log_mel(x.astype(np.float32))
        loudest = np.maximum(exact.max(axis=1, keepdims=True), 1e-5)
        for mel, tolerance in ((np.exp(single), 1e-6), (tensorflow_mel(x, "float32"), 1e-5)):
            assert (np.abs(np.maximum(mel, 1e-5) - np.maximum(exact, 1e-5)) < tolerance * loudest).all(), name
        heard = exact >= 1e-2 * loudest
        assert (np.abs(single - expected)[heard] < 1e-5).all(), name


def test_librosas_triangles_are_others():
    """librosa's are linear in Hz between edges that are HTK's (htk=True, norm=None): near, not equal."""
    librosa = reference("librosa")
    theirs = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=128, fmax=8000, htk=True, norm=None, dtype=np.float64).T
    assert np.abs(mel_matrix() - theirs).max() == pytest.approx(0.00244, rel=0.01)
    difference = [
        np.abs(np.log(np.maximum(np.abs(stft(x)) @ theirs, 1e-5)) - log_mel(x)).max() for x in signals(81920).values()
    ]
    assert max(difference) == pytest.approx(0.0069, rel=0.05)  # music; the mean is 0.0015


def test_float32_is_as_good_as_float64():
    x = 0.1 * np.random.default_rng(0).standard_normal(80_000)
    assert log_mel(x).dtype == np.float32
    np.testing.assert_allclose(log_mel(x.astype(np.float32)), log_mel(x), atol=2e-5)


@pytest.mark.parametrize(("n", "frames"), [(1, 1), (320, 1), (321, 2), (81920, 256), (163840, 512)])
def test_frame_counts(n, frames):
    assert log_mel(np.zeros(n, np.float32)).shape == (frames, 128)


def test_silence_is_the_floor():
    np.testing.assert_allclose(log_mel(np.zeros(1000, np.float32)), np.log(1e-5), rtol=1e-6)


@pytest.mark.parametrize("hz", [110.0, 440.0, 1000.0, 5000.0])
def test_a_sine_lands_in_its_mel_bin(hz):
    edges = np.linspace(0, hz_to_mel(8000.0), 130)
    nearest = np.abs(edges[1:-1] - hz_to_mel(hz)).argmin()
    loudest = log_mel(np.sin(2 * np.pi * hz * SECOND))[10].argmax()
    assert abs(loudest - nearest) <= 1


def test_twice_as_loud_is_ln_2_more():
    """Magnitudes, not powers: doubling the samples adds ln 2, not 2 ln 2."""
    x = 0.1 * np.random.default_rng(0).standard_normal(5000)
    np.testing.assert_allclose(log_mel(2 * x) - log_mel(x), np.log(2), atol=1e-6)


def test_threads_change_nothing():
    x = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    with threads(2):
        ours = log_mel(x)
    np.testing.assert_allclose(ours, log_mel(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 500)), r"shape \(2, 500\)"),
        (np.zeros(0), "0 samples"),
        (np.array([0.0, np.nan, 0.0]), "NaN"),
        (np.array([0.0, np.inf, 0.0]), "infinity"),
        (np.zeros(500, np.int16), "int16"),
    ],
)
def test_errors_say_what_was_given(samples, message):
    with pytest.raises(ValueError, match=message):
        log_mel(samples)


@pytest.mark.parametrize("matrix", [mel_matrix, slaney_mel_matrix])
def test_mel_matrices_refuse_a_range_above_half_the_rate(matrix):
    with pytest.raises(ValueError, match=r"0\.\.4000\.0 Hz"):
        matrix(512, 64, 8000, 0.0, 8000.0)
