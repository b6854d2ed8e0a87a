"""Multi-head attention over positions (Vaswani et al. 2017), in tiles, with memory linear in their number.

    scores = scale q k^T        p = softmax of each row        o = p v

At the network's full resolution there are 32 768 positions and a score matrix has a thousand million
entries. It is never held: tiles of it are computed, used and forgotten (Milakov and Gimelshein 2018;
Dao et al. 2022). Walking along a row, the softmax keeps the largest score m so far and sums relative to
it; when a new tile brings a larger m', what has been summed is rescaled by exp(m - m').

A column of ones appended to v makes the product p [v, 1] return the row sums together with the output.
In the backward pass the same device folds a constant per row into a product: [q, -c] [k, 1]^T = q k^T - c.

Heads of one dimension, the paper's, need no tiles: see separable.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...runtime.backend import Array, array_module, empty, parallel
from ...runtime.tree import Tree
from ..init import glorot_uniform
from . import separable

QUERY_TILE, KEY_TILE = 128, 1024  # 0.5 MB of scores, half of a current core's L2 cache
GPU_TILE = 8192  # 0.25 GB of scores


def attention(q: Array, k: Array, v: Array) -> tuple[Array, tuple]:
    """o = softmax(q k^T / sqrt(D)) v for each of B independent heads.

    q: (B, L, D). k, v: (B, M, D). Returns o: (B, L, D) and the cache.
    """
    xp = array_module(q)
    q = q / math.sqrt(q.shape[-1])
    v_one = _append_column(v, 1)
    # BLAS is eight times slower with one dimension than with two, and the paper's heads have one.
    q_zero, k_zero = _append_column(q, 0), _append_column(k, 0)
    o, log_sum = empty(q.shape, q), empty(q.shape[:2], q)

    def head(b: int) -> None:
        for rows in _tiles(q, QUERY_TILE):
            largest: Any = None
            total: Any = None
            for columns in _tiles(k, KEY_TILE):
                scores = _product(q_zero[b, rows], k_zero[b, columns].T)
                tile_largest = scores.max(axis=1, keepdims=True)
                new_largest = tile_largest if largest is None else xp.maximum(largest, tile_largest)
                scores -= new_largest
                xp.exp(scores, out=scores)
                tile_total = scores @ v_one[b, columns]
                if total is not None:
                    tile_total += total * xp.exp(largest - new_largest)
                largest, total = new_largest, tile_total
            o[b, rows] = total[:, :-1] / total[:, -1:]
            log_sum[b, rows] = largest[:, 0] + xp.log(total[:, -1])

    parallel(head, range(len(q)))
    return o, (q, k, v_one, o, log_sum)


def attention_backward(do: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """do: (B, L, D). Returns dq, dk, dv.

    The probabilities are computed again, tile by tile, from the row's log-sum-exp:
        p = exp(q k^T - log_sum)      dv = p^T do      dp = do v^T
        ds = p (dp - sum over v of (do o))             dq = ds k      dk = ds^T q
    """
    q, k, v_one, o, log_sum = cache
    xp = array_module(q)
    q_constant, k_one = _append_column(q, -log_sum), _append_column(k, 1)
    do_constant = _append_column(do, -(do * o).sum(axis=-1))
    dq, dk, dv = xp.zeros_like(q), xp.zeros_like(k), xp.zeros_like(k)

    def head(b: int) -> None:
        for rows in _tiles(q, QUERY_TILE):
            for columns in _tiles(k, KEY_TILE):
                p = _product(q_constant[b, rows], k_one[b, columns].T)
                xp.exp(p, out=p)
                dv_tile, dq_tile, dk_tile = dv[b, columns], dq[b, rows], dk[b, columns]
                dv_tile += p.T @ do[b, rows]
                ds = _product(do_constant[b, rows], v_one[b, columns].T)
                ds *= p
                dq_tile += ds @ k[b, columns]
                dk_tile += ds.T @ q[b, rows]

    parallel(head, range(len(q)))
    dq /= math.sqrt(q.shape[-1])
    return dq, dk, dv


def multi_head_attention(params: Tree, x: Array, memory: Array, heads: int) -> tuple[Array, tuple]:
    """Every position of `x` looks at every position of `memory`, through `heads` attentions side by side.

    params: {"query", "key", "value": {"w": (C, heads * D), "b"}, "output": {"w": (heads * D, C_out), "b"}}.
    x: (N, ..., C). memory: (N, ..., C_memory). Returns (N, ..., C_out) and the cache.
    """
    q, query_cache = _linear(x, **params["query"])
    k, key_cache = _linear(memory, **params["key"])
    v, value_cache = _linear(memory, **params["value"])
    split = _split_heads(q, heads), _split_heads(k, heads), _split_heads(v, heads)
    r = separable.nodes(*split[:2])
    if r is not None:
        o, attention_cache = separable.attention(*split, r)
        backward = separable.attention_backward
    else:
        o, attention_cache = attention(*split)
        backward = attention_backward
    o = _merge_heads(o, heads).reshape(q.shape)
    y, output_cache = _linear(o, **params["output"])
    return y, (heads, query_cache, key_cache, value_cache, backward, attention_cache, output_cache)


def multi_head_attention_backward(dy: Array, cache: tuple) -> tuple[Array, Array, Tree]:
    """dy: (N, ..., C_out). Returns dx, dmemory and the parameters' gradients."""
    heads, query_cache, key_cache, value_cache, backward, attention_cache, output_cache = cache
    do, output_grads = _linear_backward(dy, output_cache)
    dq, dk, dv = (_merge_heads(d, heads) for d in backward(_split_heads(do, heads), attention_cache))
    dx, query_grads = _linear_backward(dq, query_cache)
    dmemory, key_grads = _linear_backward(dk, key_cache)
    dmemory_v, value_grads = _linear_backward(dv, value_cache)
    dmemory += dmemory_v
    return (
        dx,
        dmemory,
        {
            "query": query_grads,
            "key": key_grads,
            "value": value_grads,
            "output": output_grads,
        },
    )


def init_multi_head_attention(
    rng: np.random.Generator, channels: int, memory_channels: int, heads: int, head_dim: int
) -> Tree:
    """Glorot-uniform weights and zero biases; the output has as many channels as the query."""
    inner = heads * head_dim

    def linear(inputs: int, outputs: int) -> Tree:
        return {"w": glorot_uniform(rng, (inputs, outputs)), "b": np.zeros(outputs, np.float32)}

    return {
        "query": linear(channels, inner),
        "key": linear(memory_channels, inner),
        "value": linear(memory_channels, inner),
        "output": linear(inner, channels),
    }


def _linear(x: Array, w: Array, b: Array) -> tuple[Array, tuple]:
    y = x.reshape(-1, x.shape[-1]) @ w
    y += b
    return y.reshape(*x.shape[:-1], -1), (x, w)


def _linear_backward(dy: Array, cache: tuple) -> tuple[Array, Tree]:
    x, w = cache
    flat_x, flat_dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, w.shape[1])
    return (flat_dy @ w.T).reshape(x.shape), {"w": flat_x.T @ flat_dy, "b": flat_dy.sum(axis=0)}


def _split_heads(x: Array, heads: int) -> Array:
    """(N, ..., heads * D) to (N * heads, positions, D)."""
    n, inner = x.shape[0], x.shape[-1]
    x = x.reshape(n, -1, heads, inner // heads).transpose(0, 2, 1, 3)
    return array_module(x).ascontiguousarray(x).reshape(n * heads, -1, inner // heads)


def _merge_heads(x: Array, heads: int) -> Array:
    """(N * heads, positions, D) to (N, positions, heads * D)."""
    _, positions, d = x.shape
    return x.reshape(-1, heads, positions, d).transpose(0, 2, 1, 3).reshape(-1, positions, heads * d)


def _append_column(x: Array, column: Array | float) -> Array:
    """[x, column] along the last axis. x: (B, L, D). column: (B, L) or a number."""
    y = empty((*x.shape[:-1], x.shape[-1] + 1), x)
    y[..., :-1] = x
    y[..., -1] = column
    return y


def _product(a: Array, b: Array) -> Array:
    return array_module(a).matmul(a, b, out=empty((a.shape[0], b.shape[1]), a))


def _tiles(x: Array, size: int) -> list[slice]:
    """Slices over the positions, axis 1, of x."""
    size = size if array_module(x) is np else GPU_TILE
    return [slice(start, start + size) for start in range(0, x.shape[1], size)]
