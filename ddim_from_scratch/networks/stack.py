"""Residual blocks over a sequence, one after the other (Vaswani et al. 2017), with the norm before each part.

    h + attention(film(norm(h)))                   positions look at each other
    h + cross(norm(h))                             they look at memory
    h + geglu(film(norm(h)))                       each by itself

A block has those of the parts that its parameters have, and a part has FiLM if it has parameters for it. Linear layers
have no bias. The text is written on `layers`, a namespace of them. Parameters are nested dicts,
params["block0"]["mlp"]["film"]["w"]; the cache and the gradients have the same paths.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..nn.dense import init_projection
from ..nn.embedding import sinusoidal_positions
from ..runtime.backend import Array
from ..runtime.tree import Tree, blocks

HEADS = 4
PARTS = "attention", "cross", "mlp"  # of a block, in this order


class Seen(NamedTuple):
    """The other inputs of a stack's blocks, beside h (N, L, C).

    mask: bool (N, L), positions of h to look at. level: (N, E), for FiLM. memory: (N, M, C), with its mask.
    """

    mask: Array | None = None
    level: Array | None = None
    memory: Array | None = None
    memory_mask: Array | None = None


def init_stack(rng: np.random.Generator, width: int, depth: int, parts: tuple[str, ...], film: bool = False) -> Tree:
    """Blocks of these parts, and the last norm. film: modulated by a level (N, width), but for cross; at first not."""

    def part(name: str) -> Tree:
        params = {"norm": _ones(width)}
        if film and name != "cross":
            params["film"] = {"w": np.zeros((width, 2 * width), np.float32)}
        if name != "mlp":
            names = "query", "key", "value", "output"
            return params | {"layer": {each: init_projection(rng, width, width) for each in names}}
        shapes = {"gate": (width, 2 * width), "value": (width, 2 * width), "output": (2 * width, width)}
        return params | {"layer": {each: init_projection(rng, *shape) for each, shape in shapes.items()}}

    blocks: Tree = {f"block{i}": {name: part(name) for name in parts} for i in range(depth)}
    return blocks | {"norm": _ones(width)}


def stack(h: Array, params: Tree, seen: Seen, layers: ModuleType) -> tuple[Array, Tree]:
    """Positions, blocks, and a norm.  h: (N, L, C). Returns the same shape."""
    cache: Tree = {}
    h = h + sinusoidal_positions(h.shape[1], h.shape[2], h)
    for name in blocks(params):
        h, cache[name] = block(h, params[name], seen, layers)
    h, cache["norm"] = layers.rms_norm(h, **params["norm"])
    return h, cache


def stack_backward(dh: Array, cache: Tree, layers: ModuleType) -> tuple[Array, Array, Array, Tree]:
    """Returns dh, d_level, d_memory (0 where the stack has seen none) and grads. All blocks saw the last two: sums."""
    grads: Tree = {}
    d_level: Any = 0
    d_memory: Any = 0
    dh, grads["norm"] = layers.rms_norm_backward(dh, cache["norm"])
    for name in reversed(blocks(cache)):
        dh, of_level, of_memory, grads[name] = block_backward(dh, cache[name], layers)
        d_level, d_memory = d_level + of_level, d_memory + of_memory
    return dh, d_level, d_memory, grads


def block(h: Array, params: Tree, seen: Seen, layers: ModuleType) -> tuple[Array, Tree]:
    """h + attention, + cross, + mlp: each of the norm of what is there so far."""
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


def _ones(width: int) -> Tree:
    return {"scale": np.ones(width, np.float32)}
