"""Attention with heads of one dimension, the paper's, without a score matrix: attend.cu's kernels."""

from __future__ import annotations

from .... import nn
from ....runtime.backend import Array
from .kernels import contiguous, empty, kernel

THREADS = 128  # as in attend.cu


def attention(q: Array, k: Array, v: Array, mask: Array | None = None) -> tuple[Array, tuple]:
    """As the textbook's, for float32 of one dimension without a mask; the rest is the textbook's own."""
    if q.dtype != "float32" or q.shape[2] > 1 or mask is not None:
        return nn.attention(q, k, v, mask)
    q, k, v = map(contiguous, (q, k, v))
    o, log_z = empty((2, *q.shape))
    heads, length, _ = q.shape
    arguments = q, k, v, o, log_z, length, k.shape[1]
    kernel("attend.cu", "attend")((-(-length // THREADS), heads), (THREADS,), *arguments)
    return o, (q, k, v, o, log_z)


def attention_backward(do: Array, cache: tuple) -> tuple[Array, Array, Array]:
    if len(cache) == 4:  # the textbook's
        return nn.attention_backward(do, cache)
    q, k, *_ = cache
    (heads, length, _), memory = q.shape, k.shape[1]
    do, dq, (dk, dv) = contiguous(do), empty(q.shape), empty((2, *k.shape))
    block = (THREADS,)
    kernel("attend.cu", "attend_dq")((-(-length // THREADS), heads), block, *cache, do, dq, length, memory)
    kernel("attend.cu", "attend_dk_dv")((-(-memory // THREADS), heads), block, *cache, do, dk, dv, length, memory)
    return dq, dk, dv
