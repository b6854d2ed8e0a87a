"""The denoiser: a U-Net over the (time, mel) plane that predicts the noise in a noisy log-mel spectrogram.

    x --1x1 conv--+-- down 0 ---------------- skips --------------- up 0 -- 1x1 conv --> eps
    noise level --+     down 1 -------------- skips ------------- up 1
      (embedded)           down 2 ----------- skips ---------- up 2
                              `------------ bottom ------------'

Every block is `depth` residual blocks. Down blocks push each one's output as a skip and halve the plane;
up blocks double it and pop the skips. Paper section 3.1; widths, depths and the form of a block follow
the Keras DDIM example, from which the paper's network is made.

The text is written on `layers`, a namespace of them: the textbook's (nn) or a faster one (nn/fast). Parameters are
nested dicts, params["down0"]["block1"]["conv2"]["w"]. The running statistics of batch normalisation are a second tree
with the same paths, {} with group normalisation. The cache, which the backward pass needs, is a third, and gradients a
fourth. Each backward pass stands below its forward pass and reads its cache by name.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from ..nn.attend import init_multi_head_attention
from ..nn.block import init_residual_block
from ..nn.dense import init_linear
from ..nn.embedding import DIMENSIONS, sinusoidal_embedding
from ..runtime.backend import Array, array_module
from ..runtime.tree import Tree, blocks, cache_for

HEADS, HEAD_DIM = 4, 1
ATTENTIONS = ("none", "lowest", "all")
NORMS = ("batch", "group")


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

    statistics: Tree = {}

    def block(name: str, i: int, inputs: int, outputs: int) -> Tree:
        if norm == "batch":
            zeros, ones = np.zeros(inputs, np.float32), np.ones(inputs, np.float32)
            statistics.setdefault(name, {})[f"block{i}"] = {"mean": zeros, "variance": ones}
        return init_residual_block(rng, inputs, outputs)

    params: Tree = {"input": init_linear(rng, 1, 1, in_channels, widths[0])}
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
            skip = skips.pop()
            with_attention = attention == "all" or (attention == "lowest" and level == deepest)
            inputs = channels + skip + (channels if with_attention else 0)
            params[f"up{level}"][f"block{i}"] = block(f"up{level}", i, inputs, widths[level])
            if with_attention:
                params[f"up{level}"][f"block{i}"]["attention"] = init_multi_head_attention(
                    rng, channels, skip, HEADS * HEAD_DIM
                )
            channels = widths[level]
    params["output"] = {
        "w": np.zeros((1, 1, channels, 1), np.float32),
        "b": np.zeros(1, np.float32),
    }
    return params, statistics


def unet(
    params: Tree, statistics: Tree, x: Array, told: np.ndarray, layers: ModuleType, training: bool = False
) -> tuple[Array, Tree]:
    """The network's output, by default the predicted noise, and the cache.

    x: (N, time, mel, in_channels); time and mel divisible by `size_divisor(params)`. told: (N,), what
    `Schedule.told` says of each sample's level, 1 - alpha_bar by default. training: batch normalisation takes the
    moments of the batch; without it the cache is empty, so that memory is free again at once.
    Returns (N, time, mel, 1).
    """
    divisor = size_divisor(params)
    if x.shape[1] % divisor or x.shape[2] % divisor:
        raise ValueError(
            f"the network halves the plane {len(_parts(params, 'down'))} times: {x.shape[1]} frames x {x.shape[2]} "
            f"mels must each be divisible by {divisor}"
        )
    L, cache, skips = layers, cache_for(training), []
    h, cache["input"] = L.conv2d(x, **params["input"])
    h = L.concatenate([h, _noise_level(told, h)])
    for name in _parts(params, "down"):
        outputs, cache[name] = residual_blocks(h, params[name], statistics.get(name, {}), L, training)
        skips += outputs
        h = L.average_pool(outputs[-1])
    (*_, h), cache["bottom"] = residual_blocks(h, params["bottom"], statistics.get("bottom", {}), L, training)
    for name in reversed(_parts(params, "up")):
        h, cache[name] = up_blocks(h, skips, params[name], statistics.get(name, {}), L, training)
    output, cache["output"] = L.conv2d(h, **params["output"])
    return output, cache


def unet_backward(d_output: Array, cache: Tree, layers: ModuleType) -> tuple[Array, Tree]:
    """d_output: (N, time, mel, 1). Returns dx and the gradients of `params`. Empties the cache, to free memory."""
    L, grads = layers, {}
    d_skips: list[Array] = []
    dh, grads["output"] = L.conv2d_backward(d_output, cache.pop("output"))
    for name in _parts(cache, "up"):
        dh, grads[name] = up_blocks_backward(dh, d_skips, cache.pop(name), L)
    dh, grads["bottom"] = residual_blocks_backward(dh, [], cache.pop("bottom"), L)
    for name in reversed(_parts(cache, "down")):
        dh = L.average_pool_backward(dh)
        dh, grads[name] = residual_blocks_backward(dh, d_skips, cache.pop(name), L)
    dh, _ = L.split(dh, [dh.shape[3] - DIMENSIONS, DIMENSIONS])  # the embedding has no parameters
    dx, grads["input"] = L.conv2d_backward(dh, cache.pop("input"))
    return dx, grads


def batch_statistics(cache: Tree) -> Tree:
    """The moments that each normalisation of a training step has used: a tree with the paths of `statistics`.

    {} of another network's cache: its norms keep none.
    """
    parts = {name: part for name, part in cache.items() if name.startswith(("down", "bottom", "up"))}
    return {name: {b: block["norm"]["statistics"] for b, block in part.items()} for name, part in parts.items()}


def residual_blocks(
    h: Array, params: Tree, statistics: Tree, layers: ModuleType, training: bool
) -> tuple[list[Array], Tree]:
    """A part of the way down, or the bottom: one residual block after the other. Returns the output of each."""
    outputs, cache = [], cache_for(training)
    for name in blocks(params):
        h, cache[name] = layers.residual_block(h, params[name], statistics.get(name), training)
        outputs.append(h)
    return outputs, cache


def residual_blocks_backward(dh: Array, d_skips: list[Array], cache: Tree, layers: ModuleType) -> tuple[Array, Tree]:
    """dh: of the last output. d_skips: of outputs that were skips, too, the next one last: they are taken from it."""
    grads = {}
    for name in reversed(blocks(cache)):
        dh = layers.add(dh, d_skips.pop()) if d_skips else dh
        dh, grads[name] = layers.residual_block_backward(dh, cache.pop(name))
    return dh, grads


def up_blocks(
    h: Array, skips: list[Array], params: Tree, statistics: Tree, layers: ModuleType, training: bool
) -> tuple[Array, Tree]:
    """A part of the way up: twice the size, then residual blocks, each of what `join` makes of h and the last skip."""
    cache, h = cache_for(training), layers.upsample(h)
    for name in blocks(params):
        h, joint = join(h, skips.pop(), params[name], layers)
        h, block = layers.residual_block(h, params[name], statistics.get(name), training)
        cache[name] = block | {"join": joint}
        del block, joint  # which hold memory that a network without a cache can use again
    return h, cache


def up_blocks_backward(dh: Array, d_skips: list[Array], cache: Tree, layers: ModuleType) -> tuple[Array, Tree]:
    """Returns the gradient of h and those of params, and appends the skips' to d_skips."""
    grads = {}
    for name in reversed(blocks(cache)):
        joint = cache[name].pop("join")
        dh, grads[name] = layers.residual_block_backward(dh, cache.pop(name))
        dh, d_skip, attention_grads = join_backward(dh, joint, layers)
        grads[name] |= attention_grads
        d_skips.append(d_skip)
    return layers.upsample_backward(dh), grads


def join(h: Array, skip: Array, params: Tree, layers: ModuleType) -> tuple[Array, Tree]:
    """h and the skip side by side, and, in a block with attention, the answers of the skip to the queries of h."""
    parts, cache = [h, skip], {}
    if "attention" in params:
        attended, cache["attention"] = layers.multi_head_attention(h, skip, params["attention"], HEADS)
        parts.append(attended)
    return layers.concatenate(parts), cache | {"widths": [part.shape[3] for part in parts]}


def join_backward(dy: Array, cache: Tree, layers: ModuleType) -> tuple[Array, Array, Tree]:
    """Returns the gradients of h, of the skip, and {"attention"}, or {}, of the parameters."""
    dh, d_skip, *d_attended = layers.split(dy, cache["widths"])
    if not d_attended:
        return dh, d_skip, {}
    d_query, d_memory, grads = layers.multi_head_attention_backward(*d_attended, cache["attention"])
    return layers.add(dh, d_query), layers.add(d_skip, d_memory), {"attention": grads}


def size_divisor(params: Tree) -> int:
    """Time and mel sizes must be multiples of this: 2 to the number of halvings."""
    return 2 ** len(_parts(params, "down"))


def _noise_level(told: np.ndarray, h: Array) -> Array:
    """The noise level's embedding at every pixel of h: (N, H, W, DIMENSIONS)."""
    xp = array_module(h)
    embedding = xp.asarray(sinusoidal_embedding(told), dtype=h.dtype)  # (N, DIMENSIONS)
    return xp.broadcast_to(embedding[:, None, None], (*h.shape[:3], DIMENSIONS))


def _parts(tree: Tree, way: str) -> list[str]:
    """The parts of params or of a cache on the way "down" or "up", from the finest level to the coarsest."""
    return [f"{way}{level}" for level in range(sum(name.startswith(way) for name in tree))]
