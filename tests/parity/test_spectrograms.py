"""The spectrogram against PyTorch's STFT, which torchaudio's transforms are made with."""

import numpy as np
import pytest
from helpers import reference

from ddim_from_scratch.audio import stft


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
