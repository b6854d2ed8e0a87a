"""Normalisation without scale or centre: of a batch (Ioffe and Szegedy 2015), or of groups of a sample's channels
(Wu and He 2018).

Both need means over the pixels of a set: the batch, or a sample. What they share takes x: (sets, rows, W, C). Once the
moments are known, y is a difference and a product away from x: a convolution takes them along (`normaliser`), and the
backward pass has them again, so that y need not be kept.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....runtime import mpi
from ....runtime.backend import Array, empty, parallel, rows
from ....runtime.tree import Tree
from ...norm import EPSILON, GROUP
from .taps import Prologue, after, as_rows, row_of, sum_of_pixels


def batch_norm(x: Array) -> tuple[Array, Tree]:
    """Each channel with its moments over the batch, which may be spread over processes.  x: (N, H, W, C)."""
    cache = norm_cache(x, batch_moments(x))
    return after(normaliser(cache), x), cache


def batch_norm_inference(x: Array, statistics: Tree) -> Array:
    """The same with given moments: the running averages that training has kept."""
    return after(normaliser(norm_cache(x, statistics)), x)


def group_norm(x: Array) -> tuple[Array, Tree]:
    """Each sample's groups of channels with their own moments.  x: (N, H, W, C)."""
    cache = norm_cache(x, group_moments(x))
    return after(normaliser(cache), x), cache


def moments(x: Array, statistics: Tree | None, training: bool) -> Tree:
    """Those that the textbook's `norm` would take: {"mean", "variance"}, (C,) of a batch or given, (N, C) of groups."""
    if statistics is None:
        return group_moments(x)
    return batch_moments(x) if training else statistics


def batch_moments(x: Array) -> Tree:
    """Mean and biased variance of each channel, (C,), over all pixels of all processes."""
    count, mean, m2 = _merged(mpi.gather(*_moments(_one_set(x))[0]))
    return {"mean": mean.astype(x.dtype), "variance": (m2 / count).astype(x.dtype)}


def group_moments(x: Array) -> Tree:
    """Mean and biased variance, (N, C), of the group that each channel of each sample belongs to."""
    found = _moments(x)
    channel_mean, m2 = (np.stack([of_sample[i] for of_sample in found]) for i in (1, 2))
    mean = _group_means(channel_mean)
    variance = _group_means(m2 / found[0][0] + (channel_mean - mean) ** 2)
    return {"mean": mean.astype(x.dtype), "variance": variance.astype(x.dtype)}


def norm_cache(x: Array, statistics: Tree) -> Tree:
    """x, by what it is scaled, and the moments: y is made of them again where the backward pass needs it."""
    return {"x": x, "inverse_std": (statistics["variance"] + EPSILON) ** -0.5, "statistics": statistics}


def normaliser(cache: Tree) -> Prologue:
    """The prologue (taps.py) that normalises the cache's x."""
    x = cache["x"]
    shape = (len(x), 1, *x.shape[2:])
    mean, scale = (
        np.broadcast_to(row_of(a, x).reshape(-1, *shape[1:]), shape)
        for a in (cache["statistics"]["mean"], cache["inverse_std"])
    )

    def prologue(x: Array, out: Array, n: int | slice) -> None:
        np.subtract(x, mean[n], out=out)
        out *= scale[n]

    return prologue


def normalise_backward(dy: Array, cache: Tree) -> Array:
    """dx = (dy - mean(dy) - y mean(dy y)) / std, with the means over the batch, or over a sample's group."""
    x, mean, inverse_std = cache["x"], cache["statistics"]["mean"], cache["inverse_std"]
    if mean.ndim == 1:
        return _backward(_one_set(dy), _one_set(x), mean[None], inverse_std[None], _batch_means).reshape(x.shape)
    return _backward(dy, x, mean, inverse_std, lambda count, *sums: tuple(_group_means(s / count) for s in sums))


batch_norm_backward = group_norm_backward = normalise_backward


def _moments(x: Array) -> list[tuple[int, Array, Array]]:
    """Of each set the number of pixels, and of each channel the mean, and the sum M2 of the squares about it.

    One pass over memory finds both: each block's, centred on its own mean while it is in cache, are merged by Chan,
    Golub and LeVeque's (1979) rule
        M2 = M2_a + M2_b + (mean_b - mean_a)^2 n_a n_b / (n_a + n_b)
    which never subtracts large numbers from each other as E[x^2] - E[x]^2 would.

    A block's mean, a sum in float32, is a little off. What is left in the centred block says by how much (`rest`):
    it corrects the mean, and M2 about the corrected mean is smaller by n rest^2.
    """
    channels = x.shape[-1]

    def of_block(piece: tuple[slice, slice]) -> tuple[int, Array, Array]:
        block = as_rows(x[piece])
        n = block.size // channels
        mean = sum_of_pixels(block, channels) / n
        centred = np.subtract(block, row_of(mean, x), out=empty(block.shape, x))
        rest = sum_of_pixels(centred, channels).astype(np.float64) / n
        centred *= centred
        return n, mean + rest, np.maximum(sum_of_pixels(centred, channels) - n * rest**2, 0)

    pieces = rows(x)
    found = parallel(of_block, pieces)
    return [_merged([f for f, (i, _) in zip(found, pieces, strict=True) if i.start == n]) for n in range(len(x))]


def _merged(parts: list[tuple[int, Array, Array]]) -> tuple[int, Array, Array]:
    """The number of pixels, the mean and the sum of squares M2 of all parts together."""
    (count, mean, m2), *rest = parts
    for n, other_mean, other_m2 in rest:
        delta = other_mean - mean
        m2 += other_m2 + delta**2 * (count * n / (count + n))
        mean += delta * (n / (count + n))
        count += n
    return count, mean, m2


def _backward(dy: Array, x: Array, mean: Array, inverse_std: Array, means: Callable[..., tuple[Array, Array]]) -> Array:
    """means: makes mean(dy) and mean(dy y), (sets, C), of the number of a set's pixels and the two sums over them.

    With c = x - mean, y is c inverse_std, which is a number for each channel and can wait.
    """
    channels = x.shape[-1]
    dx = empty(x.shape, x)
    mean_x = row_of(mean, x)

    def of_block(piece: tuple[slice, slice]) -> tuple[Array, Array]:
        rows_dy, product = as_rows(dy[piece]), as_rows(dx[piece])
        np.subtract(as_rows(x[piece]), mean_x[piece[0]], out=product)
        product *= rows_dy
        return sum_of_pixels(rows_dy, channels), sum_of_pixels(product, channels)

    pieces = rows(x)
    sum_dy, sum_dy_c = np.zeros_like(inverse_std), np.zeros_like(inverse_std)
    for (of_set, _), found in zip(pieces, parallel(of_block, pieces), strict=True):
        for total, part in zip((sum_dy, sum_dy_c), found, strict=True):
            total[of_set] += part
    mean_dy, mean_dy_y = means(x[0].size // channels, sum_dy, sum_dy_c * inverse_std)
    mean_dy, along_c, scale = (row_of(a, x) for a in (mean_dy, mean_dy_y * inverse_std, inverse_std))

    def block(piece: tuple[slice, slice]) -> None:
        rows_x, rows_dy, out = (as_rows(a[piece]) for a in (x, dy, dx))
        mean, m, k, s = (a[piece[0]] for a in (mean_x, mean_dy, along_c, scale))
        np.subtract(mean, rows_x, out=out)
        out *= k
        out += rows_dy
        out -= m
        out *= s

    parallel(block, pieces)
    return dx


def _batch_means(count: int, sum_dy: Array, sum_dy_y: Array) -> tuple[Array, Array]:
    n, *sums = mpi.total(count, sum_dy[0], sum_dy_y[0])
    return tuple(s[None] / n for s in sums)


def _one_set(x: Array) -> Array:
    """(N, ..., W, C) as (1, rows, W, C)."""
    return x.reshape(1, -1, *x.shape[-2:])


def _group_means(values: Array) -> Array:
    """(N, C) to the same: the mean of each group of channels, in the place of each of them."""
    channels = values.shape[-1]
    size = max(size for size in range(1, GROUP + 1) if channels % size == 0)
    return np.repeat(values.reshape(len(values), -1, size).mean(axis=-1), size, axis=-1)
