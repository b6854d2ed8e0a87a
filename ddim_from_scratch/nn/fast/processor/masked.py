"""Attention of heads that may each look at some of the keys only: another key is as good as absent."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ....runtime.backend import Array, parallel
from . import nodes


class Heads(NamedTuple):
    """The cache: of each head the keys that it looks at, and what their attention has kept."""

    mask: Array
    seen: list[Array]
    kept: list[tuple]


def attention(q: Array, k: Array, v: Array, mask: Array | None = None) -> tuple[Array, tuple]:
    """As the textbook's."""
    if mask is None:
        return nodes.attention(q, k, v)
    seen, o = [row.nonzero()[0] for row in mask], np.zeros_like(q)

    def head(b: int) -> tuple:
        if len(seen[b]) == 0:
            return ()
        o[b : b + 1], kept = nodes.attention(q[b : b + 1], k[b : b + 1, seen[b]], v[b : b + 1, seen[b]])
        return kept

    return o, Heads(mask, seen, parallel(head, range(len(q))))


def attention_backward(do: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """do: (B, L, D). Returns dq, dk, dv."""
    if not isinstance(cache, Heads):
        return nodes.attention_backward(do, cache)
    dq, (dk, dv) = np.zeros_like(do), np.zeros((2, *cache.mask.shape, do.shape[2]), do.dtype)

    def head(b: int) -> None:
        if kept := cache.kept[b]:
            dq[b : b + 1], dk[b, cache.seen[b]], dv[b, cache.seen[b]] = nodes.attention_backward(do[b : b + 1], kept)

    parallel(head, range(len(do)))
    return dq, dk, dv
