"""The network that a configuration names: what training and sampling need of it, whichever it is.

A network is a tree {"params", "statistics"}; with statistics {} it normalises without running ones.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from ..audio.contract import N_MELS
from ..networks.frames import blocks_of, frames, frames_backward, init_frames
from ..networks.transformer import Condition, init_transformer, transformer, transformer_backward
from ..networks.unet import batch_statistics, init_unet, unet, unet_backward
from ..nn.dense import init_linear
from ..runtime.backend import Array, array_module
from ..runtime.tree import Tree
from .config import Config

PLANES = 2  # of the features, over the mel axis, for a network that has planes


def init(config: Config, rng: np.random.Generator) -> Tree:
    """A fresh network."""
    channels, features = 1 + config.context, config.features
    if config.network == "frames":
        inputs = channels * N_MELS + features
        return {
            "params": init_frames(rng, inputs, N_MELS, config.frame_width, config.frame_blocks),
            "statistics": {},
        }
    if config.network == "transformer":
        sizes = config.frame_width, config.frame_blocks, config.vocabulary
        return {"params": init_transformer(rng, *sizes, config.context, features, N_MELS), "statistics": {}}
    channels += PLANES * (features > 0)
    params, statistics = init_unet(rng, config.widths, config.block_depth, config.attention, channels, config.norm)
    if features:
        params["planes"] = init_linear(rng, features, PLANES * N_MELS)
    return {"params": params, "statistics": statistics}


def output(
    config: Config,
    network: Tree,
    x: Array,
    told: Array,
    conditions: tuple[Array, ...],
    layers: ModuleType,
    training: bool = False,
) -> tuple[Array, Tree]:
    """What it predicts of x (N, frames, 128, 1), as large, and the cache. told: the noise level, (N,).

    conditions: the `context_channel`, like x, if the configuration has a context; then, if it has features,
    (N, frames, features); then, if it has a vocabulary, tokens (N, any number). None at all is no past.
    """
    xp, params, beside = array_module(x), network["params"], list(conditions)
    if config.context and not beside:
        beside = [xp.zeros_like(x)]
    if config.network == "frames":
        numbers = [array.reshape(*x.shape[:2], -1) for array in (x, *beside)]
        predicted, cache = frames(params, xp.concatenate(numbers, axis=-1), told, layers, training)
        return predicted[..., None], cache
    if config.network == "transformer":
        context = beside.pop(0)[..., 0] if config.context else None
        roll = beside.pop(0) if config.features else None
        mask = None if context is None else (context != 0).any(axis=2)  # where there is no past, it is 0
        condition = Condition(context, mask, beside.pop() if beside else None, roll)
        predicted, cache = transformer(params, x[..., 0], told, condition, layers)
        return predicted[..., None], cache
    planes = None
    if config.features:
        drawn, planes = layers.linear(beside.pop(), **params["planes"])
        beside.append(drawn.reshape(*x.shape[:3], PLANES))
    x = xp.concatenate([x, *beside], axis=-1) if beside else x
    predicted, cache = unet(params, network["statistics"], x, told, layers, training)
    return predicted, cache | ({"planes": planes} if planes else {})


def gradient(config: Config, d_output: Array, cache: Tree, layers: ModuleType) -> Tree:
    """Of the parameters. Empties the cache."""
    if config.network == "frames":
        return frames_backward(d_output[..., 0], cache, layers)[1]
    if config.network == "transformer":
        return transformer_backward(d_output[..., 0], cache, layers)[1]
    planes = cache.pop("planes", None)
    dx, grads = unet_backward(d_output, cache, layers)
    if planes:
        d_drawn = dx[..., -PLANES:].reshape(*dx.shape[:2], -1)
        _, grads["planes"] = layers.linear_backward(d_drawn, planes)
    return grads


def statistics(config: Config, cache: Tree) -> Tree:
    """The moments that each normalisation of the U-Net has used."""
    if config.network != "unet":
        return {}
    return batch_statistics({part: kept for part, kept in cache.items() if part != "planes"})


def other_size(config: Config, params: Tree) -> str | None:
    """The part of params that has not the configuration's width or number of blocks; None if all have."""
    if config.network == "frames":
        if (blocks := blocks_of(params)) != config.frame_blocks:
            return f"it has {blocks} blocks"
        wrong = [i for i in range(blocks) if params[f"block{i}"]["film"]["w"].shape[-1] != 2 * config.frame_width]
        return f"block{wrong[0]}/film/w" if wrong else None
    if config.network == "transformer":
        stack = params["decoder"]["stack"]
        if (blocks := len(stack) - 1) != config.frame_blocks:
            return f"decoder/stack has {blocks} blocks"
        return None if stack["norm"]["scale"].shape == (config.frame_width,) else "decoder/stack/norm/scale"
    halvings = range(len(config.widths) - 1)
    widths = {f"{part}{i}": config.widths[i] for i in halvings for part in ("down", "up")}
    for block, width in (widths | {"bottom": config.widths[-1]}).items():
        if len(params[block]) != config.block_depth:
            return f"{block} has {len(params[block])} blocks"
        for name, layers in params[block].items():
            if layers["conv2"]["w"].shape[2:] != (width, width):
                return f"{block}/{name}/conv2/w"
    return None
