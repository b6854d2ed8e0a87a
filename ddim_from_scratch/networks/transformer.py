"""A denoiser that is told what to play: Hawthorne et al.'s (2022) Transformer over frames, notes and earlier frames.

    tokens  -- embedding -- note encoder ----.
    context -- linear ---- context encoder ---+-- memory
                                                     |
    x_t --- linear (+ roll) ---------- decoder over frames -- norm -- linear --> eps
                                                     |
    noise level -- sinusoids -- linear, swish, linear, swish

Every stack adds positions and ends with a norm; no linear layer has a bias. Its blocks add up what their parts make:

    h + attention(film(norm(h)))          frames look at each other
    h + cross(norm(h))                    frames look at memory: the notes and the frames before, side by side
    h + geglu(film(norm(h)))

film, by the noise level, and cross are the decoder's; an encoder's blocks have the other two. Differences from the
paper's network: no dropout, narrower, scores are divided by sqrt(D), and the noise level's features are those of the
U-Net, of the angle whose sine is the noise rate. With a roll, a picture of the notes frame by frame is added to the
decoder's input (as in Maman et al. 2024), and the note encoder can be left out.

The text is written on `layers`, a namespace of them. Parameters are nested dicts, params["decoder"]["block0"]["mlp"];
the cache and the gradients have the same paths.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..nn.dense import init_projection
from ..nn.embedding import sinusoidal_embedding, sinusoidal_positions
from ..runtime.backend import Array, array_module
from ..runtime.tree import Tree

HEADS = 4
PARTS = "attention", "cross", "mlp"  # of a block, in this order
PAD = 0  # the token that stands for none


class Condition(NamedTuple):
    """What a segment is drawn by, all on one device. A dropped condition is one that is all hidden.

    context: (N, M, mels), the frames before. context_mask: bool (N, M), those that there are.
    tokens: whole numbers (N, T), filled up with PAD. roll: (N, frames, features). Each for a network that has it.
    """

    context: Array
    context_mask: Array
    tokens: Array = None  # type: ignore[assignment]
    roll: Array = None  # type: ignore[assignment]


class Seen(NamedTuple):
    """What the blocks of a stack look at beside h (N, L, C).

    mask: bool (N, L), positions of h to look at. level: (N, E). memory: (N, M, C), with its mask.
    """

    mask: Array | None = None
    level: Array | None = None
    memory: Array | None = None
    memory_mask: Array | None = None


def init_transformer(
    rng: np.random.Generator,
    width: int = 192,
    encoder_depth: int = 2,
    decoder_depth: int = 4,
    vocabulary: int = 0,
    roll_features: int = 0,
    mels: int = 128,
) -> Tree:
    """Parameters of a fresh network. FiLM begins as the identity, the output as zero.

    width: channels, a multiple of HEADS. vocabulary: number of tokens; 0 leaves the note encoder out.
    roll_features: numbers a frame of the roll; 0 for a network without.
    """

    def stack(depth: int, names: tuple[str, ...], film: bool, **more: Tree) -> Tree:
        blocks = {f"block{i}": {name: part(name, film and name != "cross") for name in names} for i in range(depth)}
        return more | blocks | {"norm": ones()}

    def part(name: str, film: bool) -> Tree:
        modulation = {"film": {"w": np.zeros((width, 2 * width), np.float32)}} if film else {}
        return {"norm": ones()} | modulation | {"layer": mlp() if name == "mlp" else attention()}

    def attention() -> Tree:
        return {name: init_projection(rng, width, width) for name in ("query", "key", "value", "output")}

    def mlp() -> Tree:
        shapes = {"gate": (width, 2 * width), "value": (width, 2 * width), "output": (2 * width, width)}
        return {name: init_projection(rng, *shape) for name, shape in shapes.items()}

    def ones() -> Tree:
        return {"scale": np.ones(width, np.float32)}

    params = {"level": {f"linear{i}": init_projection(rng, width, width) for i in range(2)}}
    if vocabulary:
        table = {"table": rng.standard_normal((vocabulary, width)).astype(np.float32)}
        params["notes"] = stack(encoder_depth, ("attention", "mlp"), False, input=table)
    params["context"] = stack(encoder_depth, ("attention", "mlp"), False, input=init_projection(rng, mels, width))
    roll = {"roll": init_projection(rng, roll_features, width)} if roll_features else {}
    params["decoder"] = stack(decoder_depth, PARTS, True, input=init_projection(rng, mels, width), **roll)
    return params | {"output": {"w": np.zeros((width, mels), np.float32)}}


def transformer(
    params: Tree, x: Array, noise_variance: Array, condition: Condition, layers: ModuleType
) -> tuple[Array, Tree]:
    """The network's output, for example the predicted noise, and the cache.

    x: (N, frames, mels, 1). noise_variance: (N,), 1 - alpha_bar of each sample. Returns (N, frames, mels, 1).
    """
    memory, mask, memory_cache = encode(params, condition, layers)
    output, cache = decode(params, x, noise_variance, memory, mask, condition.roll, layers)
    return output, cache | memory_cache


def transformer_backward(d_output: Array, cache: Tree, layers: ModuleType) -> tuple[Array, Tree]:
    """d_output: (N, frames, mels, 1). Returns dx and the gradients of params."""
    dx, d_memory, grads = decode_backward(d_output, cache, layers)
    return dx, grads | encode_backward(d_memory, cache, layers)


def encode(params: Tree, condition: Condition, layers: ModuleType) -> tuple[Array, Array, Tree]:
    """Memory (N, M, C), its mask (N, M) and the cache. It is the same at every step of a sampler."""
    L, memory, masks = layers, [], []
    cache: Tree = {}
    for name in _encoders(params):
        cache[name] = {}
        if name == "notes":
            mask = condition.tokens != PAD
            h, cache[name]["input"] = L.embed(condition.tokens, **params[name]["input"])
        else:
            mask = condition.context_mask
            h, cache[name]["input"] = L.linear(condition.context, **params[name]["input"])
        h, blocks = stack(h, params[name], Seen(mask), L)
        cache[name] |= blocks
        memory.append(h)
        masks.append(mask)
    cache["lengths"] = [h.shape[1] for h in memory]
    return np.concatenate(memory, axis=1), np.concatenate(masks, axis=1), cache


def encode_backward(d_memory: Array, cache: Tree, layers: ModuleType) -> Tree:
    """The gradients of the encoders' parameters."""
    L, grads, start = layers, {}, 0
    for name, length in zip(_encoders(cache), cache["lengths"], strict=True):
        dh, _, _, grads[name] = stack_backward(d_memory[:, start : start + length], cache[name], L)
        if name == "notes":
            grads[name]["input"] = L.embed_backward(dh, cache[name]["input"])
        else:
            _, grads[name]["input"] = L.linear_backward(dh, cache[name]["input"])
        start += length
    return grads


def decode(
    params: Tree,
    x: Array,
    noise_variance: Array,
    memory: Array,
    memory_mask: Array,
    roll: Array,
    layers: ModuleType,
) -> tuple[Array, Tree]:
    """The network's output, (N, frames, mels, 1), of x, of the same shape, and of what `encode` has made; the cache."""
    L, part, cache = layers, params["decoder"], {}
    level, level_cache = noise_level(noise_variance, params["level"], x, L)
    h, cache["input"] = L.linear(x[..., 0], **part["input"])
    if "roll" in part:
        pictured, cache["roll"] = L.linear(roll, **part["roll"])
        h = h + pictured
    h, blocks = stack(h, part, Seen(None, level, memory, memory_mask), L)
    output, output_cache = L.linear(h, **params["output"])
    return output[..., None], {"level": level_cache, "decoder": cache | blocks, "output": output_cache}


def decode_backward(d_output: Array, cache: Tree, layers: ModuleType) -> tuple[Array, Array, Tree]:
    """Returns dx, d_memory and the gradients of the parameters that `decode` has read."""
    L, part, grads = layers, cache["decoder"], {}
    dh, grads["output"] = L.linear_backward(d_output[..., 0], cache["output"])
    dh, d_level, d_memory, grads["decoder"] = stack_backward(dh, part, L)
    if "roll" in part:
        _, grads["decoder"]["roll"] = L.linear_backward(dh, part["roll"])
    dx, grads["decoder"]["input"] = L.linear_backward(dh, part["input"])
    grads["level"] = noise_level_backward(d_level, cache["level"], L)
    return dx[..., None], d_memory, grads


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


def stack(h: Array, params: Tree, seen: Seen, layers: ModuleType) -> tuple[Array, Tree]:
    """Positions, blocks, a norm.  h: (N, L, C). Returns the same shape."""
    cache = {}
    h = h + sinusoidal_positions(h.shape[1], h.shape[2], h)
    for name in _blocks(params):
        h, cache[name] = block(h, params[name], seen, layers)
    h, cache["norm"] = layers.rms_norm(h, **params["norm"])
    return h, cache


def stack_backward(dh: Array, cache: Tree, layers: ModuleType) -> tuple[Array, Array, Array, Tree]:
    """Returns dh, d_level, d_memory (0 where the stack has seen none) and grads. All blocks saw the last two: sums."""
    grads: Tree = {}
    d_level: Any = 0
    d_memory: Any = 0
    dh, grads["norm"] = layers.rms_norm_backward(dh, cache["norm"])
    for name in reversed(_blocks(cache)):
        dh, of_level, of_memory, grads[name] = block_backward(dh, cache[name], layers)
        d_level, d_memory = d_level + of_level, d_memory + of_memory
    return dh, d_level, d_memory, grads


def block(h: Array, params: Tree, seen: Seen, layers: ModuleType) -> tuple[Array, Tree]:
    """h + attention, + cross, + mlp: each of the norm of what is there so far, modulated where it has FiLM."""
    L, cache = layers, {}
    for name in (name for name in PARTS if name in params):
        part, kept = params[name], {}
        a, kept["norm"] = L.rms_norm(h, **part["norm"])
        if "film" in part:
            a, kept["film"] = L.film(a, seen.level, **part["film"])
        if name == "mlp":
            a, kept["layer"] = L.geglu(a, **part["layer"])
        else:
            memory, mask = (a, seen.mask) if name == "attention" else (seen.memory, seen.memory_mask)
            a, kept["layer"] = L.multi_head_attention(a, memory, part["layer"], HEADS, mask)
        h, cache[name] = h + a, kept
    return h, cache


def block_backward(dh: Array, cache: Tree, layers: ModuleType) -> tuple[Array, Array, Array, Tree]:
    """Returns dh, d_level, d_memory and grads. Self-attention has read its input twice, as queries and as memory."""
    L, grads = layers, {}
    d_level: Any = 0
    d_memory: Any = 0
    for name in (name for name in reversed(PARTS) if name in cache):
        kept, part = cache[name], {}
        if name == "mlp":
            da, part["layer"] = L.geglu_backward(dh, kept["layer"])
        else:
            da, of_memory, part["layer"] = L.multi_head_attention_backward(dh, kept["layer"])
            if name == "attention":
                da = da + of_memory
            else:
                d_memory = of_memory
        if "film" in kept:
            da, of_level, part["film"] = L.film_backward(da, kept["film"])
            d_level = d_level + of_level
        da, part["norm"] = L.rms_norm_backward(da, kept["norm"])
        dh, grads[name] = dh + da, part
    return dh, d_level, d_memory, grads


def _encoders(tree: Tree) -> list[str]:
    """Those of params or of a cache, in the order of memory."""
    return [name for name in ("notes", "context") if name in tree]


def _blocks(part: Tree) -> list[str]:
    """block0, block1 ... of a stack."""
    return [f"block{i}" for i in range(sum(name.startswith("block") for name in part))]
