"""The network that a configuration names: what training and sampling need of it, whichever it is.

A network is a tree {"params", "statistics"}; with statistics {} it normalises without running ones.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from ..audio.contract import N_MELS
from ..networks.frames import blocks_of, frames, frames_backward, init_frames
from ..networks.unet import batch_statistics, init_unet, unet, unet_backward
from ..runtime.backend import Array
from ..runtime.tree import Tree
from .config import Config


def init(config: Config, rng: np.random.Generator) -> Tree:
    """A fresh network."""
    channels = 1 + config.context
    if config.network == "frames":
        params = init_frames(rng, channels * N_MELS, N_MELS, config.frame_width, config.frame_blocks)
        return {"params": params, "statistics": {}}
    params, statistics = init_unet(rng, config.widths, config.block_depth, config.attention, channels, config.norm)
    return {"params": params, "statistics": statistics}


def output(
    config: Config, network: Tree, x: Array, told: Array, layers: ModuleType, training: bool = False
) -> tuple[Array, Tree]:
    """What it predicts of x (N, frames, 128, 1 + context), (N, frames, 128, 1), and the cache. told: (N,)."""
    if config.network == "frames":
        predicted, cache = frames(network["params"], x.reshape(*x.shape[:2], -1), told, layers, training)
        return predicted[..., None], cache
    return unet(network["params"], network["statistics"], x, told, layers, training)


def gradient(config: Config, d_output: Array, cache: Tree, layers: ModuleType) -> Tree:
    """Of the parameters. Empties the cache."""
    if config.network == "frames":
        return frames_backward(d_output[..., 0], cache, layers)[1]
    return unet_backward(d_output, cache, layers)[1]


def statistics(config: Config, cache: Tree) -> Tree:
    """The moments that each normalisation of the U-Net has used."""
    return {} if config.network == "frames" else batch_statistics(cache)


def other_size(config: Config, params: Tree) -> str | None:
    """The part of params that has not the configuration's width or number of blocks; None if all have."""
    if config.network == "frames":
        if (blocks := blocks_of(params)) != config.frame_blocks:
            return f"it has {blocks} blocks"
        wrong = [i for i in range(blocks) if params[f"block{i}"]["film"]["w"].shape[-1] != 2 * config.frame_width]
        return f"block{wrong[0]}/film/w" if wrong else None
    halvings = range(len(config.widths) - 1)
    widths = {f"{part}{i}": config.widths[i] for i in halvings for part in ("down", "up")}
    for block, width in (widths | {"bottom": config.widths[-1]}).items():
        if len(params[block]) != config.block_depth:
            return f"{block} has {len(params[block])} blocks"
        for name, layers in params[block].items():
            if layers["conv2"]["w"].shape[2:] != (width, width):
                return f"{block}/{name}/conv2/w"
    return None
