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
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..backend import Array, array_module, empty, parallel


def applies(q: Array, k: Array) -> bool:
    """Whether heads q: (B, L, D) and k: (B, M, D) have one dimension, and so few nodes that they save anything.

    Not on a GPU, which would have to tell the host how many.
    """
    return array_module(q) is np and q.shape[-1] == 1 and _nodes(q, k) <= k.shape[1] // 16


def attention(q: Array, k: Array, v: Array) -> tuple[Array, tuple]:
    """`attention.attention` for D = 1: shapes as there."""
    o, log_sum = empty(q.shape, q), empty(q.shape[:2], q, np.float64)

    def head(b: int) -> None:
        q_b, k_b, v_b = (a[b, :, 0].astype(np.float64) for a in (q, k, v))
        keys = _Keys.of(k_b, _nodes(q[b], k[b]))
        largest = q_b * keys.centre + np.abs(q_b) * keys.half  # of a row's scores
        e = keys.exp_of_scores(q_b, largest)
        total = e @ (keys.lagrange @ np.stack([v_b, np.ones_like(v_b)], axis=1))  # (L, 2)
        o[b, :, 0] = total[:, 0] / total[:, 1]
        log_sum[b] = largest + np.log(total[:, 1])

    parallel(head, range(len(q)))
    return o, (q, k, v, o, log_sum)


def attention_backward(do: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """do: (B, L, 1). Returns dq, dk, dv.

    With p = E l normalised, and ds = p (do v - c), c = do o, each sum over positions goes through the nodes:
        dv = l^T E^T do      dq = E l (do v - c) k      dk = l^T E^T (do v - c) q
    A row of ds adds up to 0, so that k may be counted from the interval's centre.
    """
    q, k, v, o, log_sum = cache
    dq, dk, dv = (empty(a.shape, a) for a in (q, k, v))

    def head(b: int) -> None:
        q_b, k_b, v_b, o_b, do_b = (a[b, :, 0].astype(np.float64) for a in (q, k, v, o, do))
        keys = _Keys.of(k_b, _nodes(q[b], k[b]))
        e = keys.exp_of_scores(q_b, log_sum[b])
        c, k_b = do_b * o_b, k_b - keys.centre
        by_row = e @ (keys.lagrange @ np.stack([v_b * k_b, k_b], axis=1))
        dq[b, :, 0] = do_b * by_row[:, 0] - c * by_row[:, 1]
        by_key = keys.lagrange.T @ (e.T @ np.stack([do_b, do_b * q_b, c * q_b], axis=1))
        dv[b, :, 0] = by_key[:, 0]
        dk[b, :, 0] = v_b * by_key[:, 1] - by_key[:, 2]

    parallel(head, range(len(q)))
    return dq, dk, dv


class _Keys(NamedTuple):
    """A head's keys on the nodes of their interval. nodes: (r,) in [-1, 1]. lagrange: (r, M)."""

    centre: float
    half: float
    nodes: np.ndarray
    lagrange: np.ndarray

    @classmethod
    def of(cls, k: np.ndarray, r: int) -> _Keys:
        """k: (M,) float64. Lagrange's polynomials by discrete orthogonality of the Chebyshev polynomials T_n:
        l_m(x) = 2 / r (1/2 + sum over 0 < n < r of T_n(node_m) T_n(x)).
        """
        low, high = float(k.min()), float(k.max())
        centre, half = (low + high) / 2, max((high - low) / 2, 1e-30)  # equal keys have no interval
        angles = np.pi * (np.arange(r) + 0.5) / r
        t = np.empty((r, len(k)))  # T_n(x)
        t[0], t[1] = 1, (k - centre) / half
        for n in range(2, r):
            np.multiply(2 * t[1], t[n - 1], out=t[n])
            t[n] -= t[n - 2]
        t[0] = 0.5
        return cls(centre, half, np.cos(angles), 2 / r * np.cos(np.outer(angles, np.arange(r))) @ t)

    def exp_of_scores(self, q: np.ndarray, less: np.ndarray) -> np.ndarray:
        """exp(q node - less) at each node. q, less: (L,). Returns (L, r)."""
        scores = np.multiply.outer(q, self.half * self.nodes)
        scores += (q * self.centre - less)[:, None]
        return np.exp(scores, out=scores)


def _nodes(q: Array, k: Array) -> float:
    """r for heads q: (..., L, 1), k: (..., M, 1), by the bound above; infinity where a score is not finite."""
    z = float((np.abs(q).max(axis=-2) * (k.max(axis=-2) - k.min(axis=-2))).max()) / 2
    if not math.isfinite(z):
        return math.inf
    a = math.log(2 / np.finfo(k.dtype).eps)
    return math.ceil(a / 3 + math.sqrt(a**2 / 9 + 2 * a * z))
