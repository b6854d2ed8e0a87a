"""Exercises of lesson 06: the embedding of the noise level, and attention in tiles, forward and backward.

Write the three functions, in any order. `make check-06` puts each in the package's place, on its own, shows what
it answers beside what is expected, and runs the package's tests on it. Loops over heads and tiles are welcome.
Leave the names and the arguments as they are. Keep the dtype: float32 in, float32 out.
"""

import numpy as np

QUERY_TILE, KEY_TILE = 128, 1024  # at most so many rows and columns of scores at a time


def sinusoidal_embedding(noise_variance: np.ndarray, dimensions: int = 32) -> np.ndarray:
    """[sin(2 pi f v), cos(2 pi f v)], all sines first, for dimensions / 2 frequencies f from 1 to 1000.

    f_i = 1000^(i / (dimensions / 2 - 1)): equal ratios.

    noise_variance: v, (N,), float32 or float64. Returns float64 (N, dimensions), computed in float64.

        v = 0       0 0 0 0 ...  1 1 1 1 ...        the sines of 16 clocks' hands, then their cosines
    """
    raise NotImplementedError


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, tuple]:
    """o = softmax(q k^T / sqrt(D)) v for each of B independent heads, without ever holding all the scores.

    q: (B, L, D). k, v: (B, M, D). Returns o, (B, L, D), and the cache (q / sqrt(D), k, [v, 1], o, log_sum): [v, 1] is
    v with a column of ones, (B, M, D + 1); log_sum is ln sum_j exp(score_ij) for each row i, (B, L).

    For each tile of queries, walk along the keys in tiles. Keep for every row the largest score so far, and the sums
    relative to it; when the largest score changes, rescale what has been summed. There may be 8192 positions: all
    scores of a head would be 268 MB. Divide q by a Python float, `D**0.5`, and float32 stays float32.

                   KEY_TILE
               +------+------+---
    QUERY_TILE | ---> | ---> |         m     the largest score so far      (rows, 1)
               +------+------+---      l     sum of exp(s - m)             (rows, 1)
               |      |      |         u     sum of exp(s - m) v           (rows, D)
    """
    raise NotImplementedError


def attention_backward(do: np.ndarray, cache: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dq, dk, dv of `attention`.

    do: (B, L, D). cache: (q / sqrt(D), k, [v, 1], o, log_sum), as in `attention`; mind that its q is divided already.
    Returns dq (B, L, D), dk (B, M, D), dv (B, M, D).

        p = exp(score - log_sum)      dv = p^T do      dp = do v^T
        ds = p (dp - do . o)          dq = ds k / sqrt(D)          dk = ds^T q / sqrt(D)

    Here you may hold all scores at once.
    """
    raise NotImplementedError


EXPERIMENT = """
| frames of the first phrase that are known | mean squared error |
|---|---|
| all 480 | ? |
| 48 | ? |
| 5 | ? |

Why does the error grow so little, or so much? ?
Conclusion on memory and training data: ?
"""
