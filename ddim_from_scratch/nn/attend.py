"""Attention: every position of a picture looks at every position of another (Vaswani et al. 2017)."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from .. import nn
from ..runtime.backend import Array
from ..runtime.tree import Tree
from .dense import init_linear

NEVER = -1e9  # a score whose exp is 0 beside any other's


def attention(q: Array, k: Array, v: Array, mask: Array | None = None) -> tuple[Array, tuple]:
    """o = p v, where each row of p is the softmax of the scores q k^T / sqrt(D).

    q: (B, L, D). k, v: (B, M, D). mask: bool (B, M), which keys may be looked at; None is all of them. Where there is
    none to look at, o is 0. Returns (B, L, D). All L x M scores are held at once.
    """
    q = q / q.shape[2] ** 0.5
    scores = q @ k.swapaxes(1, 2)  # (B, L, M)
    if mask is not None:
        scores = np.where(mask[:, None], scores, NEVER)
    p = np.exp(scores - scores.max(axis=2, keepdims=True))  # less the largest, or exp overflows; p is the same
    p = p / p.sum(axis=2, keepdims=True)
    if mask is not None:
        p = p * mask[:, None]  # which matters where no key may be looked at: the softmax of equal scores is not 0
    return p @ v, (q, k, v, p)


def attention_backward(do: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """dv = p^T do and dp = do v^T. A row of p sums to 1, or is 0: ds = p (dp - p . dp).

    dq = ds k / sqrt(D), dk = ds^T q.
    """
    q, k, v, p = cache
    dp = do @ v.swapaxes(1, 2)  # (B, L, M)
    ds = p * (dp - (p * dp).sum(axis=2, keepdims=True))
    return ds @ k / q.shape[2] ** 0.5, ds.swapaxes(1, 2) @ q, p.swapaxes(1, 2) @ do


def init_multi_head_attention(rng: np.random.Generator, channels: int, memory_channels: int, inner: int) -> Tree:
    """`multi_head_attention` of heads that have `inner` dimensions together; its output has the query's channels."""
    return {
        "query": init_linear(rng, channels, inner),
        "key": init_linear(rng, memory_channels, inner),
        "value": init_linear(rng, memory_channels, inner),
        "output": init_linear(rng, inner, channels),
    }


def multi_head_attention(
    x: Array, memory: Array, params: Tree, heads: int, mask: Array | None = None, layers: ModuleType | None = None
) -> tuple[Array, Tree]:
    """Positions of x look at positions of memory, through `heads` attentions side by side.

    x: (N, H, W, C), or (N, L, C) for a sequence. memory: (N, H', W', C') or (N, M, C'). Returns x's shape.
    mask: bool (N, M), which positions of memory may be looked at.
    params: {"query": {"w": (C, heads D), "b"}, "key", "value": {"w": (C', heads D), "b"},
    "output": {"w": (heads D, C), "b"}}; "b" may be left out. layers: of which it is made; the textbook's by default.
    """
    L = layers or nn
    cache: Tree = {"heads": heads, "layers": L}
    q, cache["query"] = L.linear(x, **params["query"])  # (N, H, W, heads D)
    k, cache["key"] = L.linear(memory, **params["key"])
    v, cache["value"] = L.linear(memory, **params["value"])
    of_heads = None if mask is None else mask.repeat(heads, axis=0)  # (N heads, M)
    o, cache["attention"] = L.attention(*(split_heads(a, heads) for a in (q, k, v)), of_heads)
    y, cache["output"] = L.linear(merge_heads(o, q.shape), **params["output"])
    return y, cache | {"shapes": (q.shape, k.shape)}


def multi_head_attention_backward(dy: Array, cache: Tree) -> tuple[Array, Array, Tree]:
    """Returns dx, dmemory and the gradients of params. memory was read twice, as keys and as values."""
    L, grads, (of_x, of_memory) = cache["layers"], {}, cache["shapes"]
    do, grads["output"] = L.linear_backward(dy, cache["output"])
    dq, dk, dv = L.attention_backward(split_heads(do, cache["heads"]), cache["attention"])
    dx, grads["query"] = L.linear_backward(merge_heads(dq, of_x), cache["query"])
    d_keys, grads["key"] = L.linear_backward(merge_heads(dk, of_memory), cache["key"])
    d_values, grads["value"] = L.linear_backward(merge_heads(dv, of_memory), cache["value"])
    return dx, d_keys + d_values, grads


def split_heads(a: Array, heads: int) -> Array:
    """(N, H, W, heads D) to (N heads, H W, D)."""
    n, d = len(a), a.shape[-1] // heads
    return a.reshape(n, -1, heads, d).swapaxes(1, 2).reshape(n * heads, -1, d)


def merge_heads(a: Array, shape: tuple[int, ...]) -> Array:
    """(N heads, H W, D) to `shape`, (N, H, W, heads D)."""
    n, d = shape[0], a.shape[2]
    return a.reshape(n, -1, a.shape[1], d).swapaxes(1, 2).reshape(shape)
