"""Attention: every position of a picture looks at every position of another (Vaswani et al. 2017)."""

from __future__ import annotations

import numpy as np

from ..runtime.backend import Array
from ..runtime.tree import Tree
from .dense import linear, linear_backward

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


def multi_head_attention(
    x: Array, memory: Array, params: Tree, heads: int, mask: Array | None = None
) -> tuple[Array, Tree]:
    """Positions of x look at positions of memory, through `heads` attentions side by side.

    x: (N, H, W, C), or (N, L, C) for a sequence. memory: (N, H', W', C') or (N, M, C'). Returns x's shape.
    mask: bool (N, M), which positions of memory may be looked at.
    params: {"query": {"w": (C, heads D), "b"}, "key", "value": {"w": (C', heads D), "b"},
    "output": {"w": (heads D, C), "b"}}; "b" may be left out.
    """
    cache = {}
    q, cache["query"] = linear(x, **params["query"])  # (N, H, W, heads D)
    k, cache["key"] = linear(memory, **params["key"])
    v, cache["value"] = linear(memory, **params["value"])
    split = split_heads(q, heads), split_heads(k, heads), split_heads(v, heads)
    o, cache["attention"] = attention(*split, split_mask(mask, heads))
    y, cache["output"] = linear(merge_heads(o, q.shape), **params["output"])
    return y, cache | {"heads": heads, "shapes": (q.shape, k.shape)}


def multi_head_attention_backward(dy: Array, cache: Tree) -> tuple[Array, Array, Tree]:
    """Returns dx, dmemory and the gradients of params. memory was read twice, as keys and as values."""
    grads, (of_x, of_memory) = {}, cache["shapes"]
    do, grads["output"] = linear_backward(dy, cache["output"])
    dq, dk, dv = attention_backward(split_heads(do, cache["heads"]), cache["attention"])
    dx, grads["query"] = linear_backward(merge_heads(dq, of_x), cache["query"])
    d_keys, grads["key"] = linear_backward(merge_heads(dk, of_memory), cache["key"])
    d_values, grads["value"] = linear_backward(merge_heads(dv, of_memory), cache["value"])
    return dx, d_keys + d_values, grads


def split_heads(a: Array, heads: int) -> Array:
    """(N, H, W, heads D) to (N heads, H W, D)."""
    n, d = len(a), a.shape[-1] // heads
    return a.reshape(n, -1, heads, d).swapaxes(1, 2).reshape(n * heads, -1, d)


def merge_heads(a: Array, shape: tuple[int, ...]) -> Array:
    """(N heads, H W, D) to `shape`, (N, H, W, heads D)."""
    n, d = shape[0], a.shape[2]
    return a.reshape(n, -1, a.shape[1], d).swapaxes(1, 2).reshape(shape)


def split_mask(mask: Array | None, heads: int) -> Array | None:
    """(N, M) to (N heads, M)."""
    return None if mask is None else mask.repeat(heads, axis=0)
