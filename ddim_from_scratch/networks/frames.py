"""A denoiser that convolves along time: a decoder over frames whose blocks see a few frames on either side.

Its conditions stand beside each frame: the notes that sound, a frame of the segment before.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from ..runtime.backend import Array
from ..runtime.tree import Tree
from .decoder import decode, decode_backward, init_decoder


def init_frames(rng: np.random.Generator, beside: int = 0, width: int = 256, depth: int = 6, mels: int = 128) -> Tree:
    """Parameters of a fresh network. beside: numbers beside each frame."""
    return init_decoder(rng, width, depth, ("mlp",), beside, mels, convolve=True)


def frames(
    params: Tree, x: Array, noise_variance: Array, beside: Array | None, layers: ModuleType
) -> tuple[Array, Tree]:
    """x: (N, frames, mels, 1). noise_variance: (N,). beside: (N, frames, numbers). Returns (N, frames, mels, 1)."""
    return decode(params, x, noise_variance, layers, beside)


def frames_backward(d_output: Array, cache: Tree, layers: ModuleType) -> tuple[Array, Tree]:
    """d_output: (N, frames, mels, 1). Returns dx and the gradients of params."""
    dx, _, grads = decode_backward(d_output, cache, layers)
    return dx, grads
