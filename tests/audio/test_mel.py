"""The log-mel spectrogram keeps the contract of the GAN inverter, number for number."""

import numpy as np
import pytest
from helpers import reference

from ddim_from_scratch.audio import log_mel, mel_matrix
from ddim_from_scratch.audio.mel import (
    hz_to_mel,
    hz_to_slaney_mel,
    mel_to_hz,
    slaney_mel_matrix,
    slaney_mel_to_hz,
    to_mel,
)
from ddim_from_scratch.backend import threads

SECOND = np.arange(16000) / 16000


def test_mel_scale():
    """1000 Hz is 1000 mel, near enough: that is how Stevens, Volkmann and Newman fixed the scale."""
    np.testing.assert_allclose(hz_to_mel(1000.0), 1000, atol=0.05)
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
    tf = pytest.importorskip("tensorflow", reason="tensorflow is not installed: pip install '.[test]'")
    ours, theirs = (
        mel_matrix(),
        tf.signal.linear_to_mel_weight_matrix(128, 513, 16000, 0.0, 8000.0, tf.float64),
    )
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-12)
    ours, theirs = (
        mel_matrix(512, 64, 16000, 125.0, 7500.0),
        tf.signal.linear_to_mel_weight_matrix(64, 257, 16000, 125.0, 7500.0, tf.float64),
    )
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-12)


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


def test_same_log_mel_as_tensorflow():
    tf = pytest.importorskip("tensorflow", reason="tensorflow is not installed: pip install '.[test]'")
    x = 0.1 * np.random.default_rng(0).standard_normal(30_000).astype(np.float32)
    magnitude = tf.abs(tf.signal.stft(x, 640, 320, 1024, pad_end=True))
    matrix = tf.signal.linear_to_mel_weight_matrix(128, 513, 16000, 0.0, 8000.0)
    expected = tf.math.log(tf.clip_by_value(magnitude @ matrix, 1e-5, 1e8)).numpy()
    np.testing.assert_allclose(log_mel(x), expected, atol=5e-5)  # TensorFlow's matrix itself is 2e-5 off
    matrix = tf.cast(tf.signal.linear_to_mel_weight_matrix(128, 513, 16000, 0.0, 8000.0, tf.float64), tf.float32)
    expected = tf.math.log(tf.clip_by_value(magnitude @ matrix, 1e-5, 1e8)).numpy()
    np.testing.assert_allclose(log_mel(x), expected, rtol=1e-5, atol=5e-6)


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
