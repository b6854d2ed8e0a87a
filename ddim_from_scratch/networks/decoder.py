"""A Transformer's decoder over frames: a frame's mel bins are its channels, and blocks of a stack denoise them.

    x_t --- linear (+ linear of a roll) --- stack --- film, linear --(+)--> what is predicted
     |                                        |         |             |
     |       noise level: sinusoids, linear, swish, linear, swish -- film
     '----------------------------------------------------------------'

The path around the stack is for the noise, which has more numbers a frame than a narrow stack can carry beside its own.
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import numpy as np

from ..nn.dense import init_projection
from ..nn.embedding import sinusoidal_embedding
from ..runtime.backend import Array, array_module
from ..runtime.tree import Tree
from .stack import Seen, init_stack, stack, stack_backward


class Sizes(NamedTuple):
    """Of a Transformer.  width: channels, a multiple of HEADS. depth: blocks of the decoder.

    vocabulary: number of tokens; 0 leaves the note encoder out. context: whether there is a context encoder.
    roll_features: numbers of a frame's roll; 0 for a network without.
    """

    width: int = 192
    depth: int = 4
    mels: int = 128
    vocabulary: int = 0
    context: bool = False
    roll_features: int = 0


def init_decoder(rng: np.random.Generator, sizes: Sizes, parts: tuple[str, ...]) -> Tree:
    """Parameters of a fresh decoder, whose output is x. parts: of a block, without "cross" if it looks at nothing."""
    width, mels = sizes.width, sizes.mels
    outputs = {"film": (width, 2 * width), "linear": (width, mels), "around": (width, 2 * mels)}
    return {
        "level": {f"linear{i}": init_projection(rng, width, width) for i in range(2)},
        "input": init_projection(rng, mels, width),
        **({"roll": init_projection(rng, sizes.roll_features, width)} if sizes.roll_features else {}),
        "stack": init_stack(rng, width, sizes.depth, parts, film=True),
        "output": {name: {"w": np.zeros(shape, np.float32)} for name, shape in outputs.items()},
    }


def decode(
    params: Tree, x: Array, told: Array, seen: Seen, roll: Array | None, layers: ModuleType
) -> tuple[Array, Tree]:
    """The network's prediction, and the cache.

    x: (N, frames, mels). told: the noise level, from 0 to 1, (N,). seen: what cross-attention looks at. roll: (N,
    frames, features), for a decoder that has one. Returns (N, frames, mels).
    """
    L, cache = layers, {}
    level, cache["level"] = noise_level(told, params["level"], x, L)
    h, cache["input"] = L.linear(x, **params["input"])
    if "roll" in params:
        of_roll, cache["roll"] = L.linear(roll, **params["roll"])
        h = L.add(h, of_roll)
    h, cache["stack"] = stack(h, params["stack"], seen._replace(level=level), L)
    output, cache["output"] = read_out(h, x, level, params["output"], L)
    return output, cache


def decode_backward(d_output: Array, cache: Tree, layers: ModuleType) -> tuple[Array, Array, Tree]:
    """d_output: (N, frames, mels). Returns dx, d_memory and the gradients of params."""
    L, grads = layers, {}
    dh, dx_around, d_level_out, grads["output"] = read_out_backward(d_output, cache["output"], L)
    dh, d_level, d_memory, grads["stack"] = stack_backward(dh, cache["stack"], L)
    if "roll" in cache:
        _, grads["roll"] = L.linear_backward(dh, cache["roll"])
    dx, grads["input"] = L.linear_backward(dh, cache["input"])
    grads["level"] = noise_level_backward(d_level + d_level_out, cache["level"], L)
    return dx + dx_around, d_memory, grads


def noise_level(told: Array, params: Tree, like: Array, layers: ModuleType) -> tuple[Array, Tree]:
    """The features (N, E) by which FiLM modulates."""
    L, cache = layers, {}
    embedding = sinusoidal_embedding(told, len(params["linear0"]["w"]))
    h = array_module(like).asarray(embedding, dtype=like.dtype)
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
