"""A denoiser that is told what to play: Hawthorne et al.'s (2022) Transformer over frames, notes and earlier frames.

    tokens  -- embedding -- note encoder ---.
    context -- linear ---- context encoder --+-- memory, at which each block of the decoder looks

Differences from their network: no dropout, narrower, scores divided by sqrt(D), the noise level's features, and the
decoder's path around its stack. With a roll, a picture of the notes frame by frame is added to the decoder's input (as
in Maman et al. 2024), and the note encoder can be left out.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..nn.dense import init_projection
from ..runtime.backend import Array
from ..runtime.tree import Tree
from .decoder import Sizes, decode, decode_backward, init_decoder
from .stack import PARTS, Seen, init_stack, stack, stack_backward

PAD = 0  # the token that stands for none
ENCODER_DEPTH = 1  # blocks; the paper has as many as in the decoder


class Condition(NamedTuple):
    """The conditions of a segment, all on one device. A dropped condition is hidden as a whole.

    context: (N, M, mels), the frames before. context_mask: bool (N, M), those that there are.
    tokens: whole numbers (N, T), filled up with PAD. roll: (N, frames, features). Each for a network that has it.
    """

    context: Any = None
    context_mask: Any = None
    tokens: Any = None
    roll: Any = None


def init_transformer(rng: np.random.Generator, sizes: Sizes) -> Tree:
    """Parameters of a fresh network."""

    def encoder(inputs: Tree) -> Tree:
        return {"input": inputs, "stack": init_stack(rng, sizes.width, ENCODER_DEPTH, ("attention", "mlp"))}

    table = {"table": rng.standard_normal((sizes.vocabulary, sizes.width)).astype(np.float32)}
    encoders = {"notes": encoder(table)} if sizes.vocabulary else {}
    encoders |= {"context": encoder(init_projection(rng, sizes.mels, sizes.width))} if sizes.context else {}
    return encoders | {"decoder": init_decoder(rng, sizes, PARTS if encoders else ("attention", "mlp"))}


def transformer(params: Tree, x: Array, told: Array, condition: Condition, layers: ModuleType) -> tuple[Array, Tree]:
    """The network's prediction, and the cache.  x: (N, frames, mels). told: the noise level, from 0 to 1, (N,)."""
    seen, cache = encode(params, condition, layers)
    output, cache["decoder"] = decode(params["decoder"], x, told, seen, condition.roll, layers)
    return output, cache


def transformer_backward(d_output: Array, cache: Tree, layers: ModuleType) -> tuple[Array, Tree]:
    """d_output: (N, frames, mels). Returns dx and the gradients of params."""
    dx, d_memory, of_decoder = decode_backward(d_output, cache["decoder"], layers)
    return dx, encode_backward(d_memory, cache, layers) | {"decoder": of_decoder}


def encode(params: Tree, condition: Condition, layers: ModuleType) -> tuple[Seen, Tree]:
    """The decoder's memory: the encoded notes and the encoded context, side by side. The same at every step."""
    L, cache, memory, masks = layers, {}, [], []
    for name in _encoders(params):
        if name == "notes":
            mask = condition.tokens != PAD
            h, read = L.embed(condition.tokens, **params[name]["input"])
        else:
            mask = condition.context_mask
            h, read = L.linear(condition.context, **params[name]["input"])
        h, blocks = stack(h, params[name]["stack"], Seen(mask), L)
        cache[name] = {"input": read, "stack": blocks, "length": h.shape[1]}
        memory.append(h)
        masks.append(mask)
    if not memory:
        return Seen(), cache
    return Seen(memory=np.concatenate(memory, axis=1), memory_mask=np.concatenate(masks, axis=1)), cache


def encode_backward(d_memory: Array, cache: Tree, layers: ModuleType) -> Tree:
    """The gradients of the encoders' parameters."""
    L, grads, start = layers, {}, 0
    for name in _encoders(cache):
        stop = start + cache[name]["length"]
        dh, _, _, of_stack = stack_backward(d_memory[:, start:stop], cache[name]["stack"], L)
        if name == "notes":
            of_input = L.embed_backward(dh, cache[name]["input"])
        else:
            _, of_input = L.linear_backward(dh, cache[name]["input"])
        grads[name], start = {"input": of_input, "stack": of_stack}, stop
    return grads


def _encoders(tree: Tree) -> list[str]:
    """Those of params or of a cache, in the order of memory."""
    return [name for name in ("notes", "context") if name in tree]
