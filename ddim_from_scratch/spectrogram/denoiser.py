"""The networks that a configuration can name, and what training and sampling need of each: an entry of NETWORKS.

A network is a tree {"params", "statistics"}; with statistics {} it normalises without running ones.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..audio.contract import N_MELS
from ..networks.frames import frames, frames_backward, init_frames
from ..networks.transformer import Condition, Sizes, init_transformer, transformer, transformer_backward
from ..networks.unet import init_unet, unet, unet_backward
from ..runtime.backend import Array, array_module
from ..runtime.tree import Tree

if TYPE_CHECKING:
    from .config import Config


class Inputs(NamedTuple):
    """A network's inputs: x (N, frames, 128, 1), the noise level told (N,), and others by its configuration."""

    x: Array
    told: Array
    context: Array | None  # the `context_channel`, like x
    features: Any  # (N, frames, features)
    tokens: Array | None  # (N, any number)

    @classmethod
    def of(cls, config: Config, x: Array, told: Array, conditions: tuple[Array, ...]) -> Inputs:
        """conditions: those that the configuration has, in this order. None at all is no past."""
        given = iter(conditions or [array_module(x).zeros_like(x)])
        has = config.context, config.features, config.vocabulary
        context, features, tokens = (next(given) if each else None for each in has)
        return cls(x, told, context, features, tokens)


def init_by_plane(config: Config, rng: np.random.Generator) -> tuple[Tree, Tree]:
    channels = 1 + config.context + -(-config.features // N_MELS) + config.frame_planes
    params, statistics = init_unet(rng, config.widths, config.block_depth, config.attention, channels, config.norm)
    if config.frame_planes:
        weights = rng.standard_normal((N_MELS, N_MELS * config.frame_planes), dtype=np.float32)
        params["frames"] = {"w": weights * np.float32(N_MELS**-0.5)}  # a sum varies as a bin does
    return params, statistics


def by_plane(network: Tree, seen: Inputs, layers: ModuleType, training: bool) -> tuple[Array, Tree]:
    """The U-Net. It is shown features as planes, one for each 128, and one for what is left; and sums over each frame.

    A convolution treats all mel bins alike and sees a bin's neighbours. The sums tell it where it is, and what sounds
    elsewhere.
    """
    xp, planes = array_module(seen.x), [seen.x] if seen.context is None else [seen.x, seen.context]
    if seen.features is not None:
        parts = xp.split(seen.features[..., None], [*range(N_MELS, seen.features.shape[-1], N_MELS)], axis=2)
        planes += [xp.broadcast_to(part, seen.x.shape) for part in parts]
    whole = None
    if "frames" in network["params"]:
        sums, whole = layers.linear(seen.x[..., 0], **network["params"]["frames"])
        planes.append(sums.reshape(*seen.x.shape[:3], -1))
    x = xp.concatenate(planes, axis=-1) if len(planes) > 1 else seen.x
    output, cache = unet(network["params"], network["statistics"], x, seen.told, layers, training)
    if whole is not None:
        cache["frames"] = whole, planes[-1].shape[3]
    return output, cache


def by_plane_backward(d_output: Array, cache: Tree, layers: ModuleType) -> tuple[Array, Tree]:
    """`unet_backward`, and back through the sums: they have seen x, too."""
    whole, planes = cache.pop("frames", (None, 0))
    dx, grads = unet_backward(d_output, cache, layers)
    if planes:
        d_sums = dx[..., -planes:].reshape(*dx.shape[:2], -1)
        d_frames, grads["frames"] = layers.linear_backward(d_sums, whole)
        dx[..., 0] += d_frames
    return dx, grads


def init_by_frame(config: Config, rng: np.random.Generator) -> tuple[Tree, Tree]:
    inputs = (1 + config.context) * N_MELS + config.features
    return init_frames(rng, inputs, N_MELS, config.frame_width, config.frame_blocks), {}


def by_frame(network: Tree, seen: Inputs, layers: ModuleType, training: bool) -> tuple[Array, Tree]:
    numbers = [
        part.reshape(*seen.x.shape[:2], -1) for part in (seen.x, seen.context, seen.features) if part is not None
    ]
    x = array_module(seen.x).concatenate(numbers, axis=-1)
    return frames(network["params"], x, seen.told, layers, training)


def init_by_attention(config: Config, rng: np.random.Generator) -> tuple[Tree, Tree]:
    sizes = Sizes(config.frame_width, config.frame_blocks, N_MELS, config.vocabulary, config.context, config.features)
    return init_transformer(rng, sizes), {}


def by_attention(network: Tree, seen: Inputs, layers: ModuleType, training: bool) -> tuple[Array, Tree]:
    past = None if seen.context is None else seen.context[..., 0]
    mask = None if past is None else (past != 0).any(axis=2)  # where there is no past, it is 0
    condition = Condition(past, mask, seen.tokens, seen.features)
    return transformer(network["params"], seen.x[..., 0], seen.told, condition, layers)


class Network(NamedTuple):
    init: Callable[[Config, np.random.Generator], tuple[Tree, Tree]]  # fresh params and statistics
    output: Callable[
        [Tree, Inputs, ModuleType, bool], tuple[Array, Tree]
    ]  # the numbers that it predicts of x; the cache
    backward: Callable[[Array, Tree, ModuleType], tuple[Array, Tree]]  # dx and the gradients of params
    least: Callable[[Config], int] = lambda c: c.frame_blocks * c.frame_width**2  # numbers in params, at least


NETWORKS = {
    "unet": Network(
        init_by_plane, by_plane, by_plane_backward, lambda c: 9 * c.block_depth * sum(width**2 for width in c.widths)
    ),
    "frames": Network(init_by_frame, by_frame, frames_backward),
    "transformer": Network(init_by_attention, by_attention, transformer_backward),
}
