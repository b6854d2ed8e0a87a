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
from ..runtime.backend import Array, array_module
from ..runtime.tree import Tree
from .config import Config


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
    channels += -(-features // N_MELS)
    params, statistics = init_unet(rng, config.widths, config.block_depth, config.attention, channels, config.norm)
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
    if config.features:  # a plane for each 128, and one for what is left
        features = beside.pop()
        whole = features.shape[-1] // N_MELS
        for i in range(whole):
            beside.append(features[..., i * N_MELS : (i + 1) * N_MELS, None])
        beside.append(xp.broadcast_to(features[..., whole * N_MELS :, None], x.shape))
    x = xp.concatenate([x, *beside], axis=-1) if beside else x
    return unet(params, network["statistics"], x, told, layers, training)


def gradient(config: Config, d_output: Array, cache: Tree, layers: ModuleType) -> Tree:
    """Of the parameters. Empties the cache."""
    if config.network == "frames":
        return frames_backward(d_output[..., 0], cache, layers)[1]
    if config.network == "transformer":
        return transformer_backward(d_output[..., 0], cache, layers)[1]
    return unet_backward(d_output, cache, layers)[1]


def statistics(config: Config, cache: Tree) -> Tree:
    """The moments that each normalisation of the U-Net has used."""
    return batch_statistics(cache) if config.network == "unet" else {}


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
