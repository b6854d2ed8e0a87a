"""Attention with one dimension a head, the paper's, in time linear in the number of positions.

A score q k is then the product of two numbers, and exp(q k) a smooth function of k: the polynomial through its
values at r Chebyshev nodes, spread over the keys' interval, gives it to the last digit.

    exp(q_i k_j) = sum over n of  exp(q_i node_n) l_n(k_j)           l: Lagrange's polynomials of the nodes

So the matrix of all L M probabilities is the product of two thin ones, E (L, r) and l (r, M), and what attention.py
does tile by tile becomes a few thin products. Nothing is left out; r is about 30.

How many nodes? With q k = q centre + z x, where x in [-1, 1] and z = |q| times half the keys' range, exp(z x) / exp(z)
has the Chebyshev coefficients 2 exp(-z) I_n(z), I_n a modified Bessel function. exp(-z) I_n(z) is also the
probability that two Poisson variables of mean z / 2 differ by n, so that Bernstein's inequality bounds the sum over
n >= r by 2 exp(-r^2 / (2 z + 2 r / 3)). Where that is the rounding error, r is enough. It grows as the root of z.

The products are in float64, since a row's q node can be large: the result is nearer to the truth than tiles of
float32 scores are.

On a CPU each head is a thread's; a GPU takes many together, and has to tell the host one number, r.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..backend import Array, array_module, empty, parallel, samples

KEYS_PER_NODE = 16  # or more, or little is saved


def nodes(q: Array, k: Array) -> int | None:
    """r for heads q: (B, L, D), k: (B, M, D) of one dimension; None for others, and where that saves nothing."""
    most = k.shape[1] // KEYS_PER_NODE
    if q.shape[-1] > 1 or _bound(0, k.dtype) > most:
        return None
    r = enough_nodes(q, k)
    return int(r) if r <= most else None


def enough_nodes(q: Array, k: Array) -> float:
    """r for heads q: (B, L, 1), k: (B, M, 1); infinity where a score is not finite."""
    z = float((abs(q).max(axis=1) * (k.max(axis=1) - k.min(axis=1))).max()) / 2
    return _bound(z, k.dtype) if math.isfinite(z) else math.inf


def attention(q: Array, k: Array, v: Array, r: int) -> tuple[Array, tuple]:
    """`attention.attention` for D = 1 by r nodes: shapes as there."""
    xp = array_module(q)
    o, log_sum = empty(q.shape, q), empty(q.shape[:2], q, np.float64)

    def heads(some: slice) -> None:
        q_s, k_s, v_s = (a[some, :, 0].astype(np.float64) for a in (q, k, v))
        keys = _Keys.of(k_s, r)
        largest = q_s * keys.centre + abs(q_s) * keys.half  # of a row's scores
        e = keys.exp_of_scores(q_s, largest)
        total = e @ (keys.lagrange @ xp.stack([v_s, xp.ones_like(v_s)], axis=-1))  # (B, L, 2)
        o[some, :, 0] = total[..., 0] / total[..., 1]
        log_sum[some] = largest + xp.log(total[..., 1])

    parallel(heads, _parts(k, r))
    return o, (q, k, v, o, log_sum, r)


def attention_backward(do: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """do: (B, L, 1). Returns dq, dk, dv.

    With p = E l normalised, and ds = p (do v - c), c = do o, each sum over positions goes through the nodes:
        dv = l^T E^T do      dq = E l (do v - c) k      dk = l^T E^T (do v - c) q
    A row of ds adds up to 0, so that k may be counted from the interval's centre.
    """
    q, k, v, o, log_sum, r = cache
    xp = array_module(q)
    dq, dk, dv = (empty(a.shape, a) for a in (q, k, v))

    def heads(some: slice) -> None:
        q_s, k_s, v_s, o_s, do_s = (a[some, :, 0].astype(np.float64) for a in (q, k, v, o, do))
        keys = _Keys.of(k_s, r)
        e = keys.exp_of_scores(q_s, log_sum[some])
        c, k_s = do_s * o_s, k_s - keys.centre
        by_row = e @ (keys.lagrange @ xp.stack([v_s * k_s, k_s], axis=-1))
        dq[some, :, 0] = do_s * by_row[..., 0] - c * by_row[..., 1]
        by_node = e.swapaxes(1, 2) @ xp.stack([do_s, do_s * q_s, c * q_s], axis=-1)
        by_key = keys.lagrange.swapaxes(1, 2) @ by_node
        dv[some, :, 0] = by_key[..., 0]
        dk[some, :, 0] = v_s * by_key[..., 1] - by_key[..., 2]

    parallel(heads, _parts(k, r))
    return dq, dk, dv


class _Keys(NamedTuple):
    """The keys of B heads on the nodes of their intervals.

    centre, half: (B, 1). nodes: (r,) in [-1, 1]. lagrange: (B, r, M).
    """

    centre: Array
    half: Array
    nodes: Array
    lagrange: Array

    @classmethod
    def of(cls, k: Array, r: int) -> _Keys:
        """k: (B, M) float64. Lagrange's polynomials by discrete orthogonality of the Chebyshev polynomials T_n:
        l_m(x) = 2 / r (1/2 + sum over 0 < n < r of T_n(node_m) T_n(x)).
        """
        xp = array_module(k)
        low, high = k.min(axis=1, keepdims=True), k.max(axis=1, keepdims=True)
        centre, half = (low + high) / 2, xp.maximum((high - low) / 2, 1e-30)  # equal keys have no interval
        angles = np.pi * (xp.arange(r) + 0.5) / r
        t = xp.empty((len(k), r, k.shape[1]))  # T_n(x)
        t[:, 0], t[:, 1] = 1, (k - centre) / half
        for n in range(2, r):
            xp.multiply(2 * t[:, 1], t[:, n - 1], out=t[:, n])
            t[:, n] -= t[:, n - 2]
        t[:, 0] = 0.5
        return cls(centre, half, xp.cos(angles), 2 / r * xp.cos(angles[:, None] * xp.arange(r)) @ t)

    def exp_of_scores(self, q: Array, less: Array) -> Array:
        """exp(q node - less) at each node. q, less: (B, L). Returns (B, L, r)."""
        scores = q[..., None] * (self.half * self.nodes)[:, None]
        scores += (q * self.centre - less)[..., None]
        return array_module(q).exp(scores, out=scores)


def _bound(z: float, dtype: np.dtype) -> int:
    """The r at which the sum above is the rounding error of `dtype`."""
    a = math.log(2 / np.finfo(dtype).eps)
    return math.ceil(a / 3 + math.sqrt(a**2 / 9 + 2 * a * z))


def _parts(k: Array, r: int) -> list[slice]:
    return samples(k, 3 * 8 * r * k.shape[1])  # E, l and T_n, of as many queries as keys
