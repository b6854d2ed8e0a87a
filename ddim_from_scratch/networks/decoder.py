"""A decoder over frames: the channels of a position are a frame's mel bins, and a stack of blocks denoises them.

    x_t --- linear (+ linear of what stands beside each frame) --- stack --- norm, film, linear --(+)--> eps
     |                                                               |               |             |
     |            noise level: sinusoids, linear, swish, linear, swish --------------+----------- film
     '-------------------------------------------------------------------------------------------'

The path around the stack lets the noise through, which has as many numbers a frame as the stack is wide, or nearly: a
stack that has to carry it learns three times as slowly. frames.py and transformer.py are such decoders.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from ..nn.embedding import sinusoidal_embedding
from ..nn.init import init_projection
from ..runtime.backend import Array, array_module
from ..runtime.tree import Tree
from .stack import Seen, init_stack, stack, stack_backward


def init_decoder(
    rng: np.random.Generator, width: int, depth: int, parts: tuple[str, ...], beside: int, mels: int, convolve: bool
) -> Tree:
    """Parameters of a fresh decoder, whose output is x. beside: numbers beside each frame, 0 for none."""
    zeros = {name: {"w": np.zeros(shape, np.float32)} for name, shape in _outputs(width, mels).items()}
    return {
        "level": {f"linear{i}": init_projection(rng, width, width) for i in range(2)},
        "input": init_projection(rng, mels, width),
        **({"beside": init_projection(rng, beside, width)} if beside else {}),
        "stack": init_stack(rng, width, depth, parts, film=True, convolve=convolve),
        "output": zeros,
    }


def _outputs(width: int, mels: int) -> dict[str, tuple[int, int]]:
    return {"film": (width, 2 * width), "linear": (width, mels), "around": (width, 2 * mels)}


def decode(
    params: Tree,
    x: Array,
    noise_variance: Array,
    layers: ModuleType,
    beside: Array | None = None,
    seen: Seen = Seen(),  # noqa: B008
) -> tuple[Array, Tree]:
    """The network's output, for example the predicted noise, and the cache.

    x: (N, frames, mels, 1). noise_variance: (N,), 1 - alpha_bar of each sample. beside: (N, frames, numbers), for a
    decoder that has it. seen: what blocks with cross-attention look at. Returns (N, frames, mels, 1).
    """
    L, cache = layers, {}
    level, cache["level"] = noise_level(noise_variance, params["level"], x, L)
    h, cache["input"] = L.linear(x[..., 0], **params["input"])
    if "beside" in params:
        told, cache["beside"] = L.linear(beside, **params["beside"])
        h = h + told
    h, cache["stack"] = stack(h, params["stack"], seen._replace(level=level), L)
    output, cache["output"] = read_out(h, x[..., 0], level, params["output"], L)
    return output[..., None], cache


def decode_backward(d_output: Array, cache: Tree, layers: ModuleType) -> tuple[Array, Array, Tree]:
    """d_output: (N, frames, mels, 1). Returns dx, d_memory (0 without cross-attention) and the gradients of params."""
    L, grads = layers, {}
    dh, dx_around, d_level_out, grads["output"] = read_out_backward(d_output[..., 0], cache["output"], L)
    dh, d_level, d_memory, grads["stack"] = stack_backward(dh, cache["stack"], L)
    if "beside" in cache:
        _, grads["beside"] = L.linear_backward(dh, cache["beside"])
    dx, grads["input"] = L.linear_backward(dh, cache["input"])
    grads["level"] = noise_level_backward(d_level + d_level_out, cache["level"], L)
    return (dx + dx_around)[..., None], d_memory, grads


def noise_level(noise_variance: Array, params: Tree, like: Array, layers: ModuleType) -> tuple[Array, Tree]:
    """The features (N, E) by which FiLM modulates. The angle, unlike the variance, tells levels near 1 apart."""
    L, cache, width = layers, {}, len(params["linear0"]["w"])
    angle = np.arcsin(noise_variance**0.5) / (np.pi / 2)  # 0 for data, 1 for noise
    h = array_module(like).asarray(sinusoidal_embedding(angle, width), dtype=like.dtype)
    for i in range(2):
        h, cache[f"linear{i}"] = L.linear(h, **params[f"linear{i}"])
        h, cache[f"swish{i}"] = L.swish(h)
    return h, cache


def noise_level_backward(dh: Array, cache: Tree, layers: ModuleType) -> Tree:
    """The gradients of its parameters; the sinusoids have none."""
    grads = {}
    for i in reversed(range(2)):
        dh = layers.swish_backward(dh, cache[f"swish{i}"])
        dh, grads[f"linear{i}"] = layers.linear_backward(dh, cache[f"linear{i}"])
    return grads


def read_out(h: Array, x: Array, level: Array, params: Tree, layers: ModuleType) -> tuple[Array, Tree]:
    """linear(film(h)) + film(x), (N, frames, mels)."""
    L, cache = layers, {}
    h, cache["film"] = L.film(h, level, **params["film"])
    output, cache["linear"] = L.linear(h, **params["linear"])
    around, cache["around"] = L.film(x, level, **params["around"])
    return output + around, cache


def read_out_backward(dy: Array, cache: Tree, layers: ModuleType) -> tuple[Array, Array, Array, Tree]:
    """Returns dh, dx, d_level and grads."""
    L, grads = layers, {}
    dh, grads["linear"] = L.linear_backward(dy, cache["linear"])
    dh, d_level, grads["film"] = L.film_backward(dh, cache["film"])
    dx, of_level, grads["around"] = L.film_backward(dy, cache["around"])
    return dh, dx, d_level + of_level, grads
