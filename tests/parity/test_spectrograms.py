"""The spectrogram against PyTorch's STFT, which torchaudio's transforms are made with; what is made of it, too."""

import numpy as np
import pytest
from helpers import reference

from ddim_from_scratch.audio import stft
from ddim_from_scratch.audio.distance import spectral_distances
from ddim_from_scratch.audio.phase import QUIET, integrate


@pytest.mark.parametrize("n", [640, 10_001, 81_920])
def test_same_as_torch(n, rng):
    """torch.stft lays the window in the middle of the FFT, (1024 - 640) / 2 = 192 samples later than tf.signal."""
    torch = reference("torch")
    x = rng.standard_normal(n)
    padded = torch.from_numpy(np.pad(x, (192, 1024)))
    window = torch.hann_window(640, dtype=torch.float64)
    expected = torch.stft(padded, 1024, 320, 640, window, center=False, return_complex=True).numpy().T
    ours = stft(x) * np.exp(-2j * np.pi * np.arange(513) * 192 / 1024)
    np.testing.assert_allclose(ours, expected[: len(ours)], atol=1e-10)


@pytest.mark.parametrize("window", [256, 1024, 4096])
def test_distances_are_auraloss_s(window, rng):
    """auraloss mirrors half a window at both ends; so do we here."""
    torch, auraloss = reference("torch"), reference("auraloss")
    sound, recording = rng.standard_normal((2, 20_480)) * np.array([[0.5], [1.0]])
    loss = auraloss.freq.STFTLoss(window, window // 4, window, w_phs=0.0, output="full")
    loss.window = loss.window.double()
    theirs = loss(*(torch.from_numpy(x)[None, None] for x in (sound, recording)))[1:3]
    ours = spectral_distances(*(np.pad(x, window // 2, mode="reflect") for x in (sound, recording)), window)
    np.testing.assert_allclose(ours, [float(x) for x in theirs], rtol=1e-6)


def test_phases_are_pghipy_s(rng):
    """In all loud bins, with a Gaussian window. pghipy counts time from the frame's first sample: half a turn a bin."""
    pghipy = reference("pghipy")
    t = np.arange(16_000) / 16_000
    music = sum(np.sin(2 * np.pi * hz * t) * np.exp(-t) for hz in (440, 554.4, 660)) + 0.01 * rng.standard_normal(
        len(t)
    )
    window, gamma = pghipy.get_default_window(1024)
    magnitude = np.abs(pghipy.stft(music, 1024, 128, window))
    theirs = pghipy.pghi(magnitude, 1024, 128, gamma, QUIET)
    ours = integrate(magnitude, np.zeros(magnitude.shape), gamma=gamma, hop_length=128, n_fft=1024)
    island, loud = magnitude > QUIET * magnitude.max(), magnitude > 0.1 * magnitude.max()
    assert island.sum() > loud.sum() > 300
    off = np.exp(1j * (ours - theirs - np.pi * np.arange(513)))
    steps = [
        np.angle(off[1:] / off[:-1])[loud[1:] & loud[:-1]],
        np.angle(off[:, 1:] / off[:, :-1])[loud[:, 1:] & loud[:, :-1]],
    ]
    np.testing.assert_allclose(np.concatenate(steps), 0, atol=1e-8)
