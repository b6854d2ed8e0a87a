"""Where sampling starts: at what training saw at the noisiest time T, which need not be pure noise.

A schedule that ends at a signal rate of 0.195, as the paper's tuned one does, leaves music in x_T, only 14 dB below the
noise. A network that is given noise alone has never seen so little signal and draws music of half the variance. For
what is heard so faintly a Gaussian serves: the mean of the training windows, their COMPONENTS main directions, and
white noise for the rest of their variance.

Measured on the demo's recipe (12 clips of 3.2 s, two seeds; real music has variance 1.00): from noise, variance 0.53
and 0.57, distance (musicnn) 96 and 90; from here 0.75 and 0.76, 75 and 80; with 64 components 0.78 and 0.78, 77 and 68.
A schedule that ends at 0.02 has 0.79 and 0.88, 78 and 69, from noise and from here alike.
"""

from __future__ import annotations

import numpy as np

from .data import Scaler, Windows

COMPONENTS = 16
MOST_WINDOWS = 512  # a Gaussian is known from so many, and their products fit into memory


def outline(windows: Windows, scaler: Scaler) -> np.ndarray:
    """The Gaussian of standardised windows: their mean, then principal components, float32 (1 + k, frames, 128).

    A component's squares sum to the variance that it explains, over all numbers of a window.
    """
    chosen = np.linspace(0, len(windows) - 1, min(len(windows), MOST_WINDOWS)).astype(int)
    x = scaler.standardise(windows.take(chosen))
    mean = x.mean(axis=0)
    centred = (x - mean).reshape(len(x), -1)
    vectors = np.linalg.eigh(centred @ centred.T)[1][:, -COMPONENTS:]  # of the windows, fewer than the numbers in one
    components = vectors.T @ centred / len(x) ** 0.5
    return np.concatenate([mean[None], components.reshape(-1, *mean.shape)]).astype(np.float32)


def draw_outline(outline: np.ndarray, frames: int, rng: np.random.Generator) -> np.ndarray:
    """A draw of it without the white part, float32 (frames, 128); of more than a window, several side by side."""
    pieces = -(-frames // outline.shape[1])
    weights = rng.standard_normal((pieces, len(outline) - 1), dtype=np.float32)
    drawn = outline[0] + np.tensordot(weights, outline[1:], 1)
    return drawn.reshape(-1, drawn.shape[-1])[:frames]


def white_variance(outline: np.ndarray) -> float:
    """What is missing from the unit variance of standardised music."""
    return max(1 - float(np.square(outline, dtype=np.float64).sum(axis=0).mean()), 0.0)
