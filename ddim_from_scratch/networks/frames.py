"""The denoiser that reads a spectrogram frame by frame: a frame's mel bins are its channels, and time is one axis.

    x --+-- linear -- block 0 -- block 1 -- ... -- layer norm -- linear --(+)--> what is predicted
        |                ^          ^                                      |
    noise level -- linear, swish ---'-----.                                |
        |                                 v                                |
        '------------------------------- FiLM -- linear -------------------'

    block:  h + MLP(FiLM(layer norm(depthwise convolution(h)), noise level))

A U-Net over the (time, mel) plane looks for the same shapes at every pitch. Here every bin has weights of its own, and
a block is two large matrix products a frame. The block is ConvNeXt's (Liu et al. 2022) along time, with FiLM (Perez et
al. 2018); the convolutions' dilations take turns, so that six blocks see 42 frames either way. A part of what is
predicted is x itself, scaled as the noise level says: it goes around the blocks, and leaves them the music.

Each backward pass stands below its forward pass; parameters, gradients and cache have the same names.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from ..nn.dense import init_linear, init_projection
from ..nn.embedding import DIMENSIONS, sinusoidal_embedding
from ..runtime.backend import Array, array_module
from ..runtime.tree import Tree, blocks, cache_for

TAPS, DILATIONS = 7, (1, 2, 4)
LEVEL = 128  # dimensions of what the blocks are told of the noise level
EXPANSION = 4  # of the MLP


def init_frames(
    rng: np.random.Generator, inputs: int = 128, outputs: int = 128, width: int = 256, depth: int = 6
) -> Tree:
    """Parameters of a fresh network, whose blocks change nothing and whose output is zero.

    inputs: numbers of a frame, those of the noisy spectrogram and of whatever else it is to be drawn by. depth: blocks.
    """
    params: Tree = {"input": init_linear(rng, inputs, width), "level": init_linear(rng, DIMENSIONS, LEVEL)}
    for i in range(depth):
        params[f"block{i}"] = {
            "convolution": {
                "w": rng.uniform(-(TAPS**-0.5), TAPS**-0.5, (TAPS, width)).astype(np.float32),
                "b": np.zeros(width, np.float32),
            },
            "norm": _init_norm(width),
            "film": init_projection(rng, LEVEL, 2 * width),
            "expand": init_linear(rng, width, EXPANSION * width),
            "shrink": _zeros(EXPANSION * width, width),
        }
    around = {"film": init_projection(rng, LEVEL, 2 * inputs), "linear": _zeros(inputs, outputs)}
    return params | {"norm": _init_norm(width), "output": _zeros(width, outputs), "around": around}


def frames(params: Tree, x: Array, told: Array, layers: ModuleType, training: bool = False) -> tuple[Array, Tree]:
    """The network's prediction, and the cache.  x: (N, L, inputs), any L. told: the noise level, from 0 to 1, (N,).

    training: without it the cache is empty. Returns (N, L, outputs).
    """
    L, cache = layers, cache_for(training)
    embedding = array_module(x).asarray(sinusoidal_embedding(told), dtype=x.dtype)  # (N, DIMENSIONS)
    level, cache["level"] = L.linear(embedding, **params["level"])
    level, cache["swish"] = L.swish(level)
    h, cache["input"] = L.linear(x, **params["input"])
    for i, name in enumerate(blocks(params)):
        h, cache[name] = block(h, level, params[name], DILATIONS[i % len(DILATIONS)], L, training)
    h, cache["norm"] = L.layer_norm(h, **params["norm"])
    output, cache["output"] = L.linear(h, **params["output"])
    around, cache["around"] = by_level(x, level, params["around"], L)
    return L.add(output, around), cache


def frames_backward(d_output: Array, cache: Tree, layers: ModuleType) -> tuple[Array, Tree]:
    """d_output: (N, L, outputs). Returns dx and the gradients of `params`. Empties the cache, to free memory."""
    L, grads = layers, {}
    dx, *d_levels, grads["around"] = by_level_backward(d_output, cache.pop("around"), L)
    dh, grads["output"] = L.linear_backward(d_output, cache.pop("output"))
    dh, grads["norm"] = L.layer_norm_backward(dh, cache.pop("norm"))
    for name in reversed(blocks(cache)):
        dh, d_level, grads[name] = block_backward(dh, cache.pop(name), L)
        d_levels.append(d_level)
    d_input, grads["input"] = L.linear_backward(dh, cache.pop("input"))
    _, grads["level"] = L.linear_backward(L.swish_backward(sum(d_levels), cache.pop("swish")), cache.pop("level"))
    return L.add(dx, d_input), grads


def block(
    h: Array, level: Array, params: Tree, dilation: int, layers: ModuleType, training: bool
) -> tuple[Array, Tree]:
    """h: (N, L, C). level: (N, LEVEL)."""
    L, cache = layers, cache_for(training)
    y, cache["convolution"] = L.depthwise_conv(h, **params["convolution"], dilation=dilation)
    y, cache["norm"] = L.layer_norm(y, **params["norm"])
    y, cache["film"] = L.film(y, level, **params["film"])
    y, cache["expand"] = L.linear(y, **params["expand"])  # (N, L, EXPANSION C)
    y, cache["swish"] = L.swish(y)
    y, cache["shrink"] = L.linear(y, **params["shrink"])
    return L.add(h, y), cache


def block_backward(dh: Array, cache: Tree, layers: ModuleType) -> tuple[Array, Array, Tree]:
    """Returns the gradients of h, of level, and of params."""
    L, grads = layers, {}
    dy, grads["shrink"] = L.linear_backward(dh, cache["shrink"])
    dy = L.swish_backward(dy, cache["swish"])
    dy, grads["expand"] = L.linear_backward(dy, cache["expand"])
    dy, d_level, grads["film"] = L.film_backward(dy, cache["film"])
    dy, grads["norm"] = L.layer_norm_backward(dy, cache["norm"])
    dy, grads["convolution"] = L.depthwise_conv_backward(dy, cache["convolution"])
    return L.add(dh, dy), d_level, grads


def by_level(x: Array, level: Array, params: Tree, layers: ModuleType) -> tuple[Array, Tree]:
    """x (N, L, inputs), scaled as the noise level says, as a part of the output."""
    cache: Tree = {}
    y, cache["film"] = layers.film(x, level, **params["film"])
    y, cache["linear"] = layers.linear(y, **params["linear"])
    return y, cache


def by_level_backward(dy: Array, cache: Tree, layers: ModuleType) -> tuple[Array, Array, Tree]:
    """Returns the gradients of x, of level, and of params."""
    grads = {}
    dy, grads["linear"] = layers.linear_backward(dy, cache["linear"])
    dx, d_level, grads["film"] = layers.film_backward(dy, cache["film"])
    return dx, d_level, grads


def _init_norm(width: int) -> Tree:
    return {"scale": np.ones(width, np.float32), "centre": np.zeros(width, np.float32)}


def _zeros(*shape: int) -> Tree:
    return {"w": np.zeros(shape, np.float32), "b": np.zeros(shape[-1], np.float32)}
