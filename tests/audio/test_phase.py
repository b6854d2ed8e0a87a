"""Phases from magnitudes: right where theory says so. What Griffin-Lim gains by them: test_griffin_lim.py."""

import numpy as np
import pytest

from ddim_from_scratch.audio import griffin_lim
from ddim_from_scratch.audio.phase import GAMMA, gradient, integrate

N, HOP, GAUSS = 512, 8, 8000.0  # a short hop: the theory is of derivatives


def gaussian_stft(x):
    """With a Gaussian window, and phases that refer to its middle."""
    t = np.arange(N) - N // 2
    frames = np.lib.stride_tricks.sliding_window_view(x, N)[::HOP] * np.exp(-np.pi * t**2 / GAUSS)
    return np.fft.rfft(np.fft.ifftshift(frames, axes=1))


def sweep(seconds=0.25):
    """A tone that rises from 1 to 3 kHz."""
    t = np.arange(int(16000 * seconds)) / 16000
    return np.cos(2 * np.pi * (1000 * t + 1000 / seconds * t**2))


def wrapped(angle):
    return np.abs(np.angle(np.exp(1j * angle)))


def test_the_gradient_is_the_phase_s_for_a_gaussian_window():
    S = gaussian_stft(sweep())
    loud = np.abs(S) > 0.01 * np.abs(S).max()
    turn, slope = gradient(np.abs(S), GAUSS, HOP, N)
    middle = (turn[1:] + turn[:-1]) / 2, (slope[:, 1:] + slope[:, :-1]) / 2
    by_frame = wrapped(np.angle(S[1:] / S[:-1]) - middle[0]) * (loud[1:] & loud[:-1])
    by_bin = wrapped(np.angle(S[:, 1:] / S[:, :-1]) - middle[1]) * (loud[:, 1:] & loud[:, :-1])
    assert by_frame.max() < 1e-8 and by_bin[1:-1].max() < 1e-8
    assert by_bin[[0, -1]].max() > 0.1  # the first and the last frame lack a neighbour


def test_integration_finds_all_phases_but_one():
    S = gaussian_stft(sweep())
    loud = np.abs(S) > 0.01 * np.abs(S).max()
    off = integrate(np.abs(S), np.zeros(S.shape), gamma=GAUSS, hop_length=HOP, n_fft=N) - np.angle(S)
    off -= np.angle(np.exp(1j * off[loud]).mean())  # no magnitude tells a sound from its opposite
    assert wrapped(off)[1:-1][loud[1:-1]].max() < 0.01


def test_known_frames_keep_their_phases_and_are_continued():
    S = gaussian_stft(sweep())
    start = np.where(np.arange(len(S))[:, None] < 100, np.angle(S), 0.0)
    phases = integrate(np.abs(S), start, known=100, gamma=GAUSS, hop_length=HOP, n_fft=N)
    np.testing.assert_array_equal(phases[:99], start[:99])
    loud = np.abs(S) > 0.01 * np.abs(S).max()
    assert wrapped(phases - np.angle(S))[:-1][loud[:-1]].max() < 0.01


def test_quiet_bins_keep_their_phases():
    magnitude = np.full((6, 9), 1e-4)
    magnitude[2:4, 3:6] = 1
    start = np.random.default_rng(0).random((6, 9))
    same = integrate(magnitude, start, n_fft=16) == start
    assert same[magnitude < 1].all() and same[magnitude == 1].sum() == 1


def test_hann_s_gamma_is_that_of_the_nearest_gaussian():
    """Over the middle half of the window."""
    t = np.arange(-160, 161)
    np.testing.assert_allclose(np.exp(-np.pi * t**2 / GAMMA), 0.5 + 0.5 * np.cos(2 * np.pi * t / 640), atol=0.05)


@pytest.mark.parametrize("frames", [1, 2])
def test_one_frame_has_phases(frames):
    assert np.isfinite(griffin_lim(np.zeros((frames, 128), np.float32), iterations=1)).all()
