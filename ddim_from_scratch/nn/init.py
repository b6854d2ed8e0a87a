"""Initial weights: Glorot-uniform filters and zero biases, as Keras begins."""

from __future__ import annotations

import numpy as np

from ..runtime.tree import Tree


def glorot_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16), float32.

    shape: (..., C_in, C_out); leading axes are kernel positions and count into both fans.
    """
    positions = int(np.prod(shape[:-2]))
    limit = np.sqrt(6 / (positions * (shape[-2] + shape[-1])))
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def init_linear(rng: np.random.Generator, *shape: int) -> Tree:
    """w of this shape, (C, D), or (k, k, C, D) for a convolution, and b (D,)."""
    return init_projection(rng, *shape) | {"b": np.zeros(shape[-1], np.float32)}


def init_projection(rng: np.random.Generator, *shape: int) -> Tree:
    """A linear layer without b."""
    return {"w": glorot_uniform(rng, shape)}


def init_residual_block(rng: np.random.Generator, inputs: int, outputs: int) -> Tree:
    """A residual block from so many channels to so many."""
    shortcut = {"shortcut": init_linear(rng, 1, 1, inputs, outputs)} if inputs != outputs else {}
    convolutions = {"conv1": init_linear(rng, 3, 3, inputs, outputs), "conv2": init_linear(rng, 3, 3, outputs, outputs)}
    return shortcut | convolutions


def init_multi_head_attention(rng: np.random.Generator, channels: int, memory_channels: int, inner: int) -> Tree:
    """`multi_head_attention` of heads that have `inner` dimensions together; its output has the query's channels."""
    return {
        "query": init_linear(rng, channels, inner),
        "key": init_linear(rng, memory_channels, inner),
        "value": init_linear(rng, memory_channels, inner),
        "output": init_linear(rng, inner, channels),
    }
