"""Attention with one dimension a head, the paper's, in time linear in the number of positions.

A score q k is then the product of two numbers, and exp(q k) a smooth function of k: the polynomial through its
values at r Chebyshev nodes, spread over the keys' interval, gives it to the last digit.

    exp(q_i k_j) = sum over n of  exp(q_i node_n) l_n(k_j)           l: Lagrange's polynomials of the nodes

So the matrix of all L M probabilities is the product of two thin ones, E (L, r) and l (r, M), and what attend.py
does tile by tile becomes a few thin products, in time (L + M) r. Nothing is left out. l is never formed either: it is
a small matrix times the Chebyshev polynomials of the keys, and those are one product each.

How many nodes? With q k = q centre + z x, where x in [-1, 1] and z = |q| times half the keys' range, exp(z x) / exp(z)
has the Chebyshev coefficients 2 exp(-z) I_n(z), I_n a modified Bessel function. exp(-z) I_n(z) is also the
probability that two Poisson variables of mean z / 2 differ by n, so that Bernstein's inequality bounds the sum over
n >= r by 2 exp(-r^2 / (2 z + 2 r / 3)). Where that is the rounding error, r is enough. It grows as the root of z:
about 25 in a fresh network, 50 to 200 in a trained one, whose heads differ.

The products are in float64, since a row's q node can be large: the result is nearer to the truth than tiles of
float32 scores are.

Each head is a thread's, with its own r.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ....runtime.backend import Array, empty, parallel
from . import attend

KEYS_PER_NODE = 4  # or more, or little is saved


def attention(q: Array, k: Array, v: Array, mask: Array | None = None) -> tuple[Array, tuple]:
    """By nodes, or by attend.py's tiles where they don't serve: shapes as there. mask: as the textbook's."""
    if mask is not None:
        o, cache = masked(q, k, v, mask)
        return o, (masked_backward, cache)
    r = how_many(q, k)
    if r is None:
        o, cache = attend.attention(q, k, v)
        return o, (attend.attention_backward, cache)
    o, cache = by_nodes(q, k, v, r)
    return o, (by_nodes_backward, cache)


def attention_backward(do: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """do: (B, L, D). Returns dq, dk, dv."""
    backward, cache = cache
    return backward(do, cache)


def masked(q: Array, k: Array, v: Array, mask: Array) -> tuple[Array, tuple]:
    """Attention of heads that may each look at some of the keys only: another key is as good as absent."""
    seen, o = [row.nonzero()[0] for row in mask], np.zeros_like(q)

    def head(b: int) -> tuple:
        if len(seen[b]) == 0:
            return ()
        o[b : b + 1], kept = attention(q[b : b + 1], k[b : b + 1, seen[b]], v[b : b + 1, seen[b]])
        return kept

    return o, (mask.shape, seen, parallel(head, range(len(q))))


def masked_backward(do: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """do: (B, L, D). Returns dq, dk, dv."""
    shape, seen, kept = cache
    dq, (dk, dv) = np.zeros_like(do), np.zeros((2, *shape, do.shape[2]), do.dtype)

    def head(b: int) -> None:
        if kept[b]:
            dq[b : b + 1], dk[b, seen[b]], dv[b, seen[b]] = attention_backward(do[b : b + 1], kept[b])

    parallel(head, range(len(do)))
    return dq, dk, dv


def how_many(q: Array, k: Array) -> np.ndarray | None:
    """r of each head of q: (B, L, D), k: (B, M, D) of one dimension; None for others, and where that saves nothing."""
    most = k.shape[1] / KEYS_PER_NODE
    if q.shape[-1] > 1 or _bound(0, k.dtype) > most:
        return None
    r = enough_nodes(q, k)
    return r.astype(int) if r.mean() <= most else None


def enough_nodes(q: Array, k: Array) -> np.ndarray:
    """r of each head of q: (B, L, 1), k: (B, M, 1), a float; infinity where a score is not finite."""
    z = (abs(q).max(axis=(1, 2)) * (k.max(axis=(1, 2)) - k.min(axis=(1, 2)))).astype(float) / 2
    return _bound(np.where(np.isfinite(z), z, np.inf), k.dtype)


def by_nodes(q: Array, k: Array, v: Array, r: np.ndarray) -> tuple[Array, tuple]:
    """Attention for D = 1 by r nodes a head."""
    o, log_sum = empty(q.shape, q), empty(q.shape[:2], q, np.float64)

    def head(b: int) -> None:
        one = slice(b, b + 1)
        q_s, k_s, v_s = (a[one, :, 0].astype(np.float64) for a in (q, k, v))
        keys = _Keys.of(k_s, int(r[b]))
        largest = q_s * keys.centre + abs(q_s) * keys.half  # of a row's scores
        e = keys.exp_of_scores(q_s, largest)
        total = e @ keys.to_nodes(v_s, np.ones_like(v_s))  # (B, L, 2)
        o[one, :, 0] = total[..., 0] / total[..., 1]
        log_sum[one] = largest + np.log(total[..., 1])

    parallel(head, range(len(q)))
    return o, (q, k, v, o, log_sum, r)


def by_nodes_backward(do: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """do: (B, L, 1). Returns dq, dk, dv.

    With p = E l normalised, and ds = p (do v - c), c = do o, each sum over positions goes through the nodes:
        dv = l^T E^T do      dq = E l (do v - c) k      dk = l^T E^T (do v - c) q
    A row of ds adds up to 0, so that k may be counted from the interval's centre.
    """
    q, k, v, o, log_sum, r = cache
    dq, dk, dv = (empty(a.shape, a) for a in (q, k, v))

    def head(b: int) -> None:
        one = slice(b, b + 1)
        q_s, k_s, v_s, o_s, do_s = (a[one, :, 0].astype(np.float64) for a in (q, k, v, o, do))
        keys = _Keys.of(k_s, int(r[b]))
        e = keys.exp_of_scores(q_s, log_sum[one])
        c, k_s = do_s * o_s, k_s - keys.centre
        by_row = e @ keys.to_nodes(v_s * k_s, k_s)
        dq[one, :, 0] = do_s * by_row[..., 0] - c * by_row[..., 1]
        by_key = keys.from_nodes(e.swapaxes(1, 2) @ np.stack([do_s, do_s * q_s, c * q_s], axis=-1))
        dv[one, :, 0] = by_key[..., 0]
        dk[one, :, 0] = v_s * by_key[..., 1] - by_key[..., 2]

    parallel(head, range(len(q)))
    return dq, dk, dv


class _Keys(NamedTuple):
    """The keys of B heads on the nodes of their intervals.

    centre, half: (B, 1). nodes: (r,) in [-1, 1]. l = c t, with c: (r, r), and Chebyshev's polynomials t: (B, r, M):
        l_m(x) = 2 / r (1/2 + sum over 0 < n < r of T_n(node_m) T_n(x)), by their discrete orthogonality.
    """

    centre: Array
    half: Array
    nodes: Array
    c: Array
    t: Array

    @classmethod
    def of(cls, k: Array, r: int) -> _Keys:
        """k: (B, M) float64."""
        low, high = k.min(axis=1, keepdims=True), k.max(axis=1, keepdims=True)
        centre, half = (low + high) / 2, np.maximum((high - low) / 2, 1e-30)  # equal keys have no interval
        angles = np.pi * (np.arange(r) + 0.5) / r
        c = 2 / r * np.cos(angles[:, None] * np.arange(r))
        c[:, 0] = 1 / r
        t = empty((len(k), r, k.shape[1]), k)
        t[:, 0], t[:, 1] = 1, (k - centre) / half
        n = 1
        while n + 1 < r:  # T_{n+i} = 2 T_n T_i - T_{n-i}
            new = t[:, n + 1 : 2 * n + 1]
            i = new.shape[1]
            np.multiply(2 * t[:, n : n + 1], t[:, 1 : i + 1], out=new)
            new -= t[:, n - i : n][:, ::-1]
            n += i
        return cls(centre, half, np.cos(angles), c, t)

    def exp_of_scores(self, q: Array, less: Array) -> Array:
        """E = exp(q node - less) at each node. q, less: (B, L). Returns (B, L, r)."""
        rows = np.stack([q, q * self.centre - less], axis=-1)
        points = self.half[:, :, None] * self.nodes
        columns = np.concatenate([points, np.ones_like(points)], axis=1)
        scores = np.matmul(rows, columns, out=empty((*q.shape, len(self.nodes)), q))
        return np.exp(scores, out=scores)

    def to_nodes(self, *values: Array) -> Array:
        """l values: sums over the keys. Each (B, M). Returns (B, r, how many)."""
        return self.c @ (self.t @ np.stack(values, axis=-1))

    def from_nodes(self, sums: Array) -> Array:
        """l^T sums: at the keys. (B, r, n) to (B, M, n)."""
        return self.t.swapaxes(1, 2) @ (self.c.T @ sums)


def _bound(z: Any, dtype: np.dtype) -> Any:
    """The r at which the sum above is the rounding error of `dtype`."""
    a = math.log(2 / np.finfo(dtype).eps)
    return np.ceil(a / 3 + np.sqrt(a**2 / 9 + 2 * a * z))
