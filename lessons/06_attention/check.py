"""What the exercises of lesson 06 are held to, and the mistakes that are known."""

import numpy as np

from ddim_from_scratch.nn.fast.processor.attend import attention
from lessons.tool.check import Exercise

ATTENTION, LAYERS = "tests/nn/fast/test_attend.py::", "tests/nn/test_layers.py::"
RNG = np.random.default_rng(6)
LEVELS = np.array([0.0, 0.1234, 0.3456])


def noise(*shape):
    return RNG.standard_normal(shape)


def embedded(v, dimensions=32, frequencies=None, turn=2 * np.pi, dtype=np.float64):
    """Sines and cosines (N, 2, dimensions / 2), with one thing or another of its own."""
    frequencies = np.geomspace(1, 1000, dimensions // 2) if frequencies is None else frequencies
    angles = (turn * frequencies * np.asarray(v, np.float64)[:, None]).astype(dtype)
    return np.stack([np.sin(angles), np.cos(angles)], axis=1)


def flat(x):
    return x.reshape(len(x), -1)


def wrong_attention(q, k, v, scale=None, shift=True, axis=2, tile=10**9, rescale=(True, True), log_sum=True):
    """Attention with a mistake; `tile` keys at a time. Returns what the package's does."""
    q = q * (q.shape[2] ** -0.5 if scale is None else scale)
    v_one = np.concatenate([v, np.ones_like(v[..., :1])], axis=2)
    m, total, u = (np.full((*q.shape[:2], 1), start, q.dtype) for start in (-np.inf, 0, 0))
    with np.errstate(all="ignore"):
        for start in range(0, k.shape[1], tile):
            s = q @ k[:, start : start + tile].swapaxes(1, 2)
            new = np.maximum(m, s.max(axis=2, keepdims=True)) if shift else np.zeros_like(m)
            factor = np.exp(m - new) if shift else np.ones_like(m)
            p = np.exp(s - new)
            if axis == 1:
                p = p / p.sum(axis=1, keepdims=True)
            total = total * (factor if rescale[0] else 1) + p.sum(axis=2, keepdims=True)
            u = u * (factor if rescale[1] else 1) + p @ v[:, start : start + tile]
            m = new
        o = u / total if axis == 2 else u
        return o, (q, k, v_one, o, (m + np.log(total) if log_sum else total)[..., 0])


def wrong_backward(do, cache, constant=True, dq_scale=True, dk_scale=False, weights=True, dp_sum=False):
    """The backward pass with a mistake."""
    q, k, v_one, o, log_sum = cache
    scale = q.shape[2] ** -0.5
    p = np.exp(q @ k.swapaxes(1, 2) - log_sum[:, :, None])
    dp = do @ v_one[:, :, :-1].swapaxes(1, 2)
    taken = dp.sum(axis=2, keepdims=True) if dp_sum else (do * o).sum(axis=2, keepdims=True)
    ds = (dp - taken * constant) * (p if weights else 1)
    dq, dk = ds @ k * (scale if dq_scale else 1), ds.swapaxes(1, 2) @ q * (scale if dk_scale else 1)
    return dq, dk, p.swapaxes(1, 2) @ do


def with_untransposed(which):
    """dk or dv with p or ds not transposed; as many keys as queries are needed."""

    def backward(do, cache):
        q, k, v_one, o, log_sum = cache
        p = np.exp(q @ k.swapaxes(1, 2) - log_sum[:, :, None])
        ds = p * (do @ v_one[:, :, :-1].swapaxes(1, 2) - (do * o).sum(axis=2, keepdims=True))
        dq, dk, dv = wrong_backward(do, cache)
        return (dq, ds @ q, dv) if which == "dk" else (dq, dk, p @ do)

    return backward


def with_q(answer, q):
    """An answer with another q in its cache."""
    o, cache = answer
    return o, (q, *cache[1:])


def other_ds(ds_of):
    """The backward pass with another ds, made of p, dp and q's scale."""

    def backward(do, cache):
        q, k, v_one, o, log_sum = cache
        p = np.exp(q @ k.swapaxes(1, 2) - log_sum[:, :, None])
        ds = ds_of(p, do @ v_one[:, :, :-1].swapaxes(1, 2), (do * o).sum(axis=2, keepdims=True))
        return ds @ k * q.shape[2] ** -0.5, ds.swapaxes(1, 2) @ q, p.swapaxes(1, 2) @ do

    return backward


def scaled_again(do, cache):
    """p computed with q divided by sqrt(D) once more."""
    q, k, v_one, o, log_sum = cache
    dq, dk, dv = wrong_backward(do, (q * q.shape[2] ** -0.5, k, v_one, o, log_sum))
    return dq, dk * q.shape[2] ** 0.5, dv


SMALL = noise(1, 2, 1), noise(1, 3, 1), noise(1, 3, 1)
WIDE = noise(2, 4, 3), noise(2, 5, 3), noise(2, 5, 3)
HUGE = 1e3 * noise(1, 3, 1), noise(1, 4, 1), noise(1, 4, 1)
RISING = np.linspace(-1, 1, 5000).reshape(1, 2500, 2)
LONG = np.array([[[2.0, 2], [1, -1], [-2, -2]]]), RISING, RISING**2 + noise(1, 2500, 2)
SQUARE = noise(1, 3, 4), attention(*(noise(1, 3, 4) for _ in range(3)))[1]
OBLONG = noise(2, 4, 3), attention(*WIDE)[1]
TILE = 1024  # as in the exercise

EXERCISES = [
    Exercise(
        "ddim_from_scratch.nn.embedding.sinusoidal_embedding",
        tests=("tests/nn/test_keras_layers.py::test_the_embedding_is_the_formula_of_the_keras_example",),
        examples={
            "sinusoidal_embedding([0, 0.1234, 0.3456], dimensions=6)": lambda f: f(LEVELS, 6),
            "sinusoidal_embedding([0, 0.1234, 0.3456])": lambda f: f(LEVELS),
            "sinusoidal_embedding of float32": lambda f: f(LEVELS.astype(np.float32)),
        },
        mistakes={
            "cosines come first: all sines, then all cosines": lambda v, *n: flat(embedded(v, *n)[:, ::-1]),
            "sines and cosines alternate: all sines, then all cosines": (
                lambda v, *n: flat(embedded(v, *n).swapaxes(1, 2))
            ),
            "2 pi is missing: the slowest hand turns once as v goes from 0 to 1": (
                lambda v, *n: flat(embedded(v, *n, turn=1))
            ),
            "it is pi in the place of 2 pi": lambda v, *n: flat(embedded(v, *n, turn=np.pi)),
            "the frequencies are evenly spaced: their logarithms are to be": (
                lambda v, n=32: flat(embedded(v, n, np.linspace(1, 1000, n // 2)))
            ),
            "the largest frequency is not reached: divide i by dimensions / 2 - 1": (
                lambda v, n=32: flat(embedded(v, n, 1000 ** (np.arange(n // 2) / (n // 2))))
            ),
            "these are the Transformer's frequencies, 10000^(-2 i / dimensions)": (
                lambda v, n=32: flat(embedded(v, n, 10000.0 ** (-2 * np.arange(n // 2) / n), turn=1))
            ),
            "it is computed in float32: angles of thousands of radians need float64": (
                lambda v, *n: flat(embedded(v, *n, dtype=np.float32))
            ),
        },
        tolerance=1e-9,
    ),
    Exercise(
        "ddim_from_scratch.nn.fast.processor.attend.attention",
        tests=(
            ATTENTION + "test_tiles_of_any_size_give_the_textbook_s_attention",
            ATTENTION + "test_huge_scores_do_not_overflow",
            ATTENTION + "test_memory_is_linear_in_the_positions",
            LAYERS + "test_gradients_match_finite_differences[processor-attention]",
            LAYERS + "test_precision_and_arguments_are_kept[processor-attention]",
        ),
        examples={
            "o of attention(q (1, 2, 1), k (1, 3, 1), v)": lambda attention: attention(*SMALL)[0],
            "o of attention(q (2, 4, 3), k (2, 5, 3), v)": lambda attention: attention(*WIDE)[0],
            "log_sum of the same": lambda attention: attention(*WIDE)[1][4],
            "q of the same cache": lambda attention: attention(*WIDE)[1][0],
            "[v, 1] of the same cache": lambda attention: attention(*WIDE)[1][2],
            "o with scores of a thousand": lambda attention: attention(*HUGE)[0],
            "o with 2500 keys": lambda attention: attention(*LONG)[0],
        },
        mistakes={
            "the weights add up to 1 over the queries: the softmax runs over the keys": (
                lambda *a: wrong_attention(*a, axis=1)
            ),
            "the scores are not divided by sqrt(D)": lambda *a: wrong_attention(*a, scale=1),
            "the scores are divided by D: by its square root": lambda q, k, v: wrong_attention(
                q, k, v, scale=1 / q.shape[2]
            ),
            "log_sum is the sum without its logarithm": lambda *a: wrong_attention(*a, log_sum=False),
            "exp overflows: subtract the row's largest score so far": lambda *a: wrong_attention(*a, shift=False),
            "a later tile's larger score changes m, but what was summed before is not rescaled by exp(m - m')": (
                lambda *a: wrong_attention(*a, tile=TILE, rescale=(False, False))
            ),
            "u is rescaled by exp(m - m'), the sum of weights is not": (
                lambda *a: wrong_attention(*a, tile=TILE, rescale=(False, True))
            ),
            "the sum of weights is rescaled by exp(m - m'), u is not": (
                lambda *a: wrong_attention(*a, tile=TILE, rescale=(True, False))
            ),
            "each tile has a softmax of its own, and the answers are added: one sum of weights for the whole row": (
                lambda q, k, v: (
                    sum(
                        wrong_attention(q, k[:, i : i + TILE], v[:, i : i + TILE])[0]
                        for i in range(0, k.shape[1], TILE)
                    ),
                    attention(q, k, v)[1],
                )
            ),
            "each tile has a softmax of its own, and the answers are averaged: one sum of weights for the whole row": (
                lambda q, k, v: (
                    np.mean(
                        [
                            wrong_attention(q, k[:, i : i + TILE], v[:, i : i + TILE])[0]
                            for i in range(0, k.shape[1], TILE)
                        ],
                        axis=0,
                    ),
                    attention(q, k, v)[1],
                )
            ),
            "the q of the cache is not divided by sqrt(D): the backward pass expects that it is": (
                lambda q, k, v: with_q(attention(q, k, v), q)
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.nn.fast.processor.attend.attention_backward",
        tests=(
            ATTENTION + "test_tiles_of_any_size_give_the_textbook_s_attention",
            ATTENTION + "test_huge_scores_do_not_overflow",
            LAYERS + "test_gradients_match_finite_differences[processor-attention]",
            LAYERS + "test_gradients_match_finite_differences[processor-multi_head_attention]",
            LAYERS + "test_precision_and_arguments_are_kept[processor-attention]",
        ),
        examples={
            "dv of attention_backward(do (1, 3, 4), ...)": lambda backward: backward(*SQUARE)[2],
            "dq of the same": lambda backward: backward(*SQUARE)[0],
            "dk of the same": lambda backward: backward(*SQUARE)[1],
            "dq, dk and dv with 2 heads, 4 queries and 5 keys": (
                lambda backward: np.concatenate(backward(*OBLONG), axis=1)
            ),
        },
        mistakes={
            "p is not transposed in dv: dv_j = sum_i p_ij do_i": with_untransposed("dv"),
            "ds is not transposed in dk: dk_j = sum_i ds_ij q_i": with_untransposed("dk"),
            "do . o is missing in ds: the weights of a row add up to 1, so when one rises the others fall": (
                lambda do, cache: wrong_backward(do, cache, constant=False)
            ),
            "the sum of p dp over the row is do . o, not the sum of dp": (
                lambda do, cache: wrong_backward(do, cache, dp_sum=True)
            ),
            "p (1 - p) is the sigmoid's slope: in a softmax every weight depends on every score of its row": (
                other_ds(lambda p, dp, taken: p * (1 - p) * dp)
            ),
            "p is there twice in ds": other_ds(lambda p, dp, taken: p * (p * dp - taken)),
            "the q of the cache is divided by sqrt(D) already: p must not divide it again": scaled_again,
            "ds lacks the factor p": lambda do, cache: wrong_backward(do, cache, weights=False),
            "dq is not divided by sqrt(D)": lambda do, cache: wrong_backward(do, cache, dq_scale=False),
            "dk is divided by sqrt(D) twice: the q of the cache is divided already": (
                lambda do, cache: wrong_backward(do, cache, dk_scale=True)
            ),
        },
    ),
]
