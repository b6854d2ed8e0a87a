"""Attention over positions (Vaswani et al. 2017), in tiles, with memory linear in their number.

    scores = scale q k^T        p = softmax of each row        o = p v

At the network's full resolution there are 32 768 positions and a score matrix has a thousand million
entries. It is never held: tiles of it are computed, used and forgotten (Milakov and Gimelshein 2018;
Dao et al. 2022). Walking along a row, the softmax keeps the largest score m so far and sums relative to
it; when a new tile brings a larger m', what has been summed is rescaled by exp(m - m').

A column of ones appended to v makes the product p [v, 1] return the row sums together with the output.
In the backward pass the same device folds a constant per row into a product: [q, -c] [k, 1]^T = q k^T - c.

Heads of one dimension, the paper's, need no tiles: see nodes.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....runtime.backend import Array, empty, parallel

QUERY_TILE, KEY_TILE = 128, 1024  # 0.5 MB of scores, half of a current core's L2 cache


def attention(q: Array, k: Array, v: Array) -> tuple[Array, tuple]:
    """o = softmax(q k^T / sqrt(D)) v for each of B independent heads.

    q: (B, L, D). k, v: (B, M, D). Returns o: (B, L, D) and the cache.
    """
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
                new_largest = tile_largest if largest is None else np.maximum(largest, tile_largest)
                scores -= new_largest
                np.exp(scores, out=scores)
                tile_total = scores @ v_one[b, columns]
                if total is not None:
                    tile_total += total * np.exp(largest - new_largest)
                largest, total = new_largest, tile_total
            o[b, rows] = total[:, :-1] / total[:, -1:]
            log_sum[b, rows] = largest[:, 0] + np.log(total[:, -1])

    parallel(head, range(len(q)))
    return o, (q, k, v_one, o, log_sum)


def attention_backward(do: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """do: (B, L, D). Returns dq, dk, dv.

    The probabilities are computed again, tile by tile, from the row's log-sum-exp:
        p = exp(q k^T - log_sum)      dv = p^T do      dp = do v^T
        ds = p (dp - sum over v of (do o))             dq = ds k      dk = ds^T q
    """
    q, k, v_one, o, log_sum = cache
    q_constant, k_one = _append_column(q, -log_sum), _append_column(k, 1)
    do_constant = _append_column(do, -(do * o).sum(axis=-1))
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(k)

    def head(b: int) -> None:
        for rows in _tiles(q, QUERY_TILE):
            for columns in _tiles(k, KEY_TILE):
                p = _product(q_constant[b, rows], k_one[b, columns].T)
                np.exp(p, out=p)
                dv_tile, dq_tile, dk_tile = dv[b, columns], dq[b, rows], dk[b, columns]
                dv_tile += p.T @ do[b, rows]
                ds = _product(do_constant[b, rows], v_one[b, columns].T)
                ds *= p
                dq_tile += ds @ k[b, columns]
                dk_tile += ds.T @ q[b, rows]

    parallel(head, range(len(q)))
    dq /= math.sqrt(q.shape[-1])
    return dq, dk, dv


def _append_column(x: Array, column: Array | float) -> Array:
    """[x, column] along the last axis. x: (B, L, D). column: (B, L) or a number."""
    y = empty((*x.shape[:-1], x.shape[-1] + 1), x)
    y[..., :-1] = x
    y[..., -1] = column
    return y


def _product(a: Array, b: Array) -> Array:
    return np.matmul(a, b, out=empty((a.shape[0], b.shape[1]), a))


def _tiles(x: Array, size: int) -> list[slice]:
    """Slices over the positions, axis 1, of x."""
    return [slice(start, start + size) for start in range(0, x.shape[1], size)]
