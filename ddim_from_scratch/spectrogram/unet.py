"""The denoiser: a U-Net over the (time, mel) plane that predicts the noise in a noisy log-mel spectrogram.

    x --1x1 conv--+-- down 0 ---------------- skips --------------- up 0 -- 1x1 conv --> eps
    noise level --+     down 1 -------------- skips ------------- up 1
      (embedded)           down 2 ----------- skips ---------- up 2
                              `------------ bottom ------------'

Every block is `depth` residual blocks. Down blocks push each one's output as a skip and halve the plane;
up blocks double it and pop the skips. Paper section 3.1; widths, depths and the form of a block follow
the Keras DDIM example, from which the paper's network is made.

Parameters are nested dicts: params["down0"]["block1"]["conv2"]["w"]. The moving statistics of the batch
normalisations are a second tree, `statistics`, with the same paths. Backward passes stand below their
forward passes and read them in reverse.
"""

from __future__ import annotations

import itertools

import numpy as np

from ..nn.embedding import DIMENSIONS, sinusoidal_embedding
from ..nn.fast.activation import swish_backward, swish_prologue
from ..nn.fast.attention import init_multi_head_attention, multi_head_attention, multi_head_attention_backward
from ..nn.fast.norm import (
    batch_moments,
    batch_norm_backward,
    group_moments,
    group_norm_backward,
    norm_cache,
    normaliser,
)
from ..nn.fast.resize import average_pool, average_pool_backward, upsample_bilinear, upsample_bilinear_backward
from ..nn.fast.winograd import conv2d, conv2d_backward
from ..nn.init import glorot_uniform
from ..runtime.backend import Array, array_module, empty, parallel, rows, samples
from ..runtime.tree import Tree
from .config import ATTENTIONS, NORMS

HEADS, HEAD_DIM = 4, 1


def init_unet(
    rng: np.random.Generator,
    widths: tuple[int, ...] = (32, 64, 96, 128),
    block_depth: int = 2,
    attention: str = "lowest",
    in_channels: int = 1,
    norm: str = "batch",
) -> tuple[Tree, Tree]:
    """Parameters and statistics of a fresh network: Glorot-uniform weights, zero biases, zero output layer.

    widths: channels at each level, the last for the bottom. attention: "none"; "lowest", in the deepest up
    block, as the authors' code has it; "all", in every up block, as the paper's text says. in_channels: 1, the noisy
    spectrogram, and one more for each picture that it is to be drawn by. norm: "batch", or "group", which keeps no
    statistics: that tree is empty, and tells `unet` so.
    Raises ValueError for another attention or norm.
    """
    for name, value, choices in (("attention", attention, ATTENTIONS), ("norm", norm, NORMS)):
        if value not in choices:
            raise ValueError(f"{name} is {value!r}: choose from {', '.join(choices)}")

    def conv(k: int, inputs: int, outputs: int) -> Tree:
        w = glorot_uniform(rng, (k, k, inputs, outputs))
        return {"w": w, "b": np.zeros(outputs, np.float32)}

    def residual(inputs: int, outputs: int) -> Tree:
        shortcut = {"shortcut": conv(1, inputs, outputs)} if inputs != outputs else {}
        return shortcut | {"conv1": conv(3, inputs, outputs), "conv2": conv(3, outputs, outputs)}

    statistics: Tree = {}

    def block(name: str, i: int, inputs: int, outputs: int) -> Tree:
        if norm == "batch":
            zeros, ones = np.zeros(inputs, np.float32), np.ones(inputs, np.float32)
            statistics.setdefault(name, {})[f"block{i}"] = {"mean": zeros, "variance": ones}
        return residual(inputs, outputs)

    params: Tree = {"input": conv(1, in_channels, widths[0])}
    channels, skips = widths[0] + DIMENSIONS, []
    for level, width in enumerate(widths[:-1]):
        params[f"down{level}"] = {}
        for i in range(block_depth):
            params[f"down{level}"][f"block{i}"] = block(f"down{level}", i, channels, width)
            channels = width
            skips.append(channels)
    params["bottom"] = {}
    for i in range(block_depth):
        params["bottom"][f"block{i}"] = block("bottom", i, channels, widths[-1])
        channels = widths[-1]
    deepest = len(widths) - 2
    for level in reversed(range(len(widths) - 1)):
        params[f"up{level}"] = {}
        for i in range(block_depth):
            skip, with_attention = (
                skips.pop(),
                attention == "all" or (attention == "lowest" and level == deepest),
            )
            inputs = channels + skip + (channels if with_attention else 0)
            params[f"up{level}"][f"block{i}"] = block(f"up{level}", i, inputs, widths[level])
            if with_attention:
                params[f"up{level}"][f"block{i}"]["attention"] = init_multi_head_attention(
                    rng, channels, skip, HEADS, HEAD_DIM
                )
            channels = widths[level]
    params["output"] = {
        "w": np.zeros((1, 1, channels, 1), np.float32),
        "b": np.zeros(1, np.float32),
    }
    return params, statistics


def unet(
    params: Tree, statistics: Tree, x: Array, noise_variance: np.ndarray, training: bool = False
) -> tuple[Array, list, Tree]:
    """The predicted noise.

    x: (N, time, mel, in_channels), time and mel divisible by `size_divisor(params)`. noise_variance: (N,) on the
    host, 1 - alpha_bar of each sample. training: normalise with the batch's statistics, not with the moving ones.
    Returns eps: (N, time, mel, 1), the caches (empty unless training), and the batch's statistics.
    """
    if x.shape[1] % size_divisor(params) or x.shape[2] % size_divisor(params):
        raise ValueError(
            f"the network halves the plane {_levels(params)} times: {x.shape[1]} frames x {x.shape[2]} mels "
            f"must each be divisible by {size_divisor(params)}"
        )
    caches: list = []
    batch_statistics: Tree = {}

    def residual(name: str, i: int, h: Array) -> Array:
        block = f"block{i}"
        moving = statistics[name][block] if statistics else None
        h, cache, moments = residual_block(params[name][block], moving, h, training)
        batch_statistics.setdefault(name, {})[block] = moments
        keep(cache)
        return h

    def keep(cache: tuple | list) -> None:
        if training:
            caches.append(cache)

    h, cache = conv2d(x, **params["input"])
    keep(cache)
    embedding = array_module(x).asarray(sinusoidal_embedding(noise_variance), dtype=x.dtype)
    h = concatenate_channels(h, array_module(x).broadcast_to(embedding[:, None, None], (*h.shape[:3], DIMENSIONS)))

    skips: list[Array] = []
    for level in range(_levels(params)):
        for i in range(len(params[f"down{level}"])):
            h = residual(f"down{level}", i, h)
            skips.append(h)
        h = average_pool(h)
    for i in range(len(params["bottom"])):
        h = residual("bottom", i, h)
    for level in reversed(range(_levels(params))):
        h = upsample_bilinear(h)
        for i in range(len(params[f"up{level}"])):
            skip, parts = skips.pop(), params[f"up{level}"][f"block{i}"]
            if "attention" in parts:
                attended, cache = multi_head_attention(parts["attention"], h, skip, HEADS)
                keep(cache)
                h = concatenate_channels(h, skip, attended.reshape(h.shape))
            else:
                h = concatenate_channels(h, skip)
            h = residual(f"up{level}", i, h)
    eps, cache = conv2d(h, **params["output"])
    keep(cache)
    return eps, caches, batch_statistics


def unet_backward(d_eps: Array, params: Tree, caches: list) -> tuple[Array, Tree]:
    """d_eps: (N, time, mel, 1). Returns dx and the gradients of `params`; empties `caches`."""
    grads: Tree = {}

    def residual_backward(name: str, i: int, dh: Array) -> Array:
        dh, grads.setdefault(name, {})[f"block{i}"] = residual_block_backward(dh, caches.pop())
        return dh

    dh, *grads_output = conv2d_backward(d_eps, caches.pop())
    grads["output"] = dict(zip("wb", grads_output, strict=True))
    d_skips: list[Array] = []
    for level in range(_levels(params)):
        for i in reversed(range(len(params[f"up{level}"]))):
            parts = params[f"up{level}"][f"block{i}"]
            dh = residual_backward(f"up{level}", i, dh)
            skip_channels = _width(params, f"down{level}")
            if "attention" in parts:
                channels = (dh.shape[-1] - skip_channels) // 2
                dh, d_skip, d_attended = split_channels(dh, channels, skip_channels)
                d_query, d_memory, attention_grads = multi_head_attention_backward(d_attended, caches.pop())
                add_in_place(dh, d_query)
                add_in_place(d_skip, d_memory)
                grads[f"up{level}"][f"block{i}"]["attention"] = attention_grads
            else:
                dh, d_skip = split_channels(dh, dh.shape[-1] - skip_channels)
            d_skips.append(d_skip)
        dh = upsample_bilinear_backward(dh)
    for i in reversed(range(len(params["bottom"]))):
        dh = residual_backward("bottom", i, dh)
    for level in reversed(range(_levels(params))):
        dh = average_pool_backward(dh)
        for i in reversed(range(len(params[f"down{level}"]))):
            dh = residual_backward(f"down{level}", i, add_in_place(dh, d_skips.pop()))

    dh, _ = split_channels(dh, dh.shape[-1] - DIMENSIONS)  # the embedding has no parameters
    dx, *grads_input = conv2d_backward(dh, caches.pop())
    grads["input"] = dict(zip("wb", grads_input, strict=True))
    return dx, grads


def residual_block(params: Tree, statistics: Tree | None, x: Array, training: bool) -> tuple[Array, list, Tree]:
    """shortcut(x) + conv2(swish(conv1(norm(x)))); the shortcut is a 1x1 convolution where the width changes.

    Norm and swish are their convolutions' prologues.
    statistics: the moving ones of the batch normalisation; None normalises groups of channels instead.
    Returns (N, H, W, D), the caches, and the batch's statistics.
    """
    if statistics is None:
        statistics = group_moments(x)
    elif training:
        statistics = batch_moments(x)
    shortcut, shortcut_cache = x, None
    if "shortcut" in params:
        shortcut, shortcut_cache = conv2d(x, **params["shortcut"])
    cache = norm_cache(x, statistics)
    h, conv1_cache = conv2d(x, **params["conv1"], prologue=normaliser(*cache))
    y, conv2_cache = conv2d(h, **params["conv2"], prologue=swish_prologue)
    add_in_place(y, shortcut)
    return y, [shortcut_cache, cache, conv1_cache, h, conv2_cache], statistics


def residual_block_backward(dy: Array, caches: list) -> tuple[Array, Tree]:
    """dy: (N, H, W, D). Returns dx and the parameters' gradients; empties `caches`, whose memory is used again."""
    grads: Tree = {}

    def convolution_backward(name: str, dy: Array, cache: tuple) -> Array:
        dx, w, b = conv2d_backward(dy, cache)
        grads[name] = {"w": w, "b": b}
        return dx

    dh = convolution_backward("conv2", dy, caches.pop())
    dh = swish_backward(dh, caches.pop())
    dh = convolution_backward("conv1", dh, caches.pop())
    _, mean, _ = cache = caches.pop()
    dh = (batch_norm_backward if mean.ndim == 1 else group_norm_backward)(dh, cache)
    shortcut_cache = caches.pop()
    return add_in_place(dh, convolution_backward("shortcut", dy, shortcut_cache) if shortcut_cache else dy), grads


def concatenate_channels(*arrays: Array) -> Array:
    """(N, H, W, C_1), (N, H, W, C_2) ... to (N, H, W, C_1 + C_2 + ...)."""
    y = empty((*arrays[0].shape[:3], sum(a.shape[3] for a in arrays)), arrays[0])

    def copy(part: tuple[slice, slice]) -> None:
        start = 0
        for a in arrays:
            y[part][..., start : start + a.shape[3]] = a[part]
            start += a.shape[3]

    parallel(copy, rows(y))
    return y


def split_channels(dy: Array, *widths: int) -> list[Array]:
    """The backward pass of `concatenate_channels`: parts of the given widths, and the rest as the last one."""
    bounds = [0, *np.cumsum(widths).tolist(), dy.shape[3]]
    parts = [empty((*dy.shape[:3], stop - start), dy) for start, stop in itertools.pairwise(bounds)]

    def copy(part: tuple[slice, slice]) -> None:
        for a, start in zip(parts, bounds[:-1], strict=True):
            a[part] = dy[part][..., start : start + a.shape[3]]

    parallel(copy, rows(dy))
    return parts


def add_in_place(a: Array, b: Array) -> Array:
    """a += b, over threads. a, b: (N, ...) of the same shape. Returns a."""

    def add(part: slice) -> None:
        target = a[part]
        target += b[part].reshape(target.shape)

    parallel(add, samples(a))
    return a


def size_divisor(params: Tree) -> int:
    """What time and mel sizes must be divisible by: 2 to the number of halvings."""
    return 2 ** _levels(params)


def _levels(params: Tree) -> int:
    return sum(name.startswith("down") for name in params)


def _width(params: Tree, name: str) -> int:
    return params[name]["block0"]["conv2"]["b"].shape[0]
