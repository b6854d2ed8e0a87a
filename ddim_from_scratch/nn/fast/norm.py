"""Normalisation without scale or centre: of a batch (Ioffe and Szegedy 2015), or of groups of a sample's channels
(Wu and He 2018).

Both need means over the pixels of a set: the batch, or a sample. What they share takes x: (sets, rows, W, C). Once the
moments are known, y is a difference and a product away from x: a convolution takes them along (`normaliser`), and the
backward pass has them again, so that y need not be kept.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...runtime import mpi
from ...runtime.backend import Array, array_module, blocks, empty, fused, parallel
from .conv import Prologue, after
from .rows import as_rows, row_of, sum_of_pixels

EPSILON = 1e-3  # Keras' default
GROUP = 8  # channels, at most. Eight go into 32, 64, 96 ..., so that no group spans two concatenated arrays


def batch_norm(x: Array) -> tuple[Array, tuple, dict[str, Array]]:
    """y = (x - mean) / sqrt(variance + EPSILON) with the batch's own mean and biased variance.

    x: (N, H, W, C). Returns y, the cache, and {"mean": (C,), "variance": (C,)}: those of the whole batch, where it is
    spread over processes, too (mpi.py).
    """
    statistics = batch_moments(x)
    cache = norm_cache(x, statistics)
    return after(normaliser(*cache), x), cache, statistics


def batch_moments(x: Array) -> dict[str, Array]:
    """The statistics that `batch_norm` returns."""
    count, mean, m2 = _merged(mpi.gather(*_moments(_one_set(x))[0]))
    return {"mean": mean.astype(x.dtype), "variance": (m2 / count).astype(x.dtype)}


def norm_cache(x: Array, statistics: dict[str, Array]) -> tuple[Array, Array, Array]:
    """What the backward pass needs: x, the means, and 1 / std."""
    return x, statistics["mean"], (statistics["variance"] + EPSILON) ** -0.5


def batch_norm_backward(dy: Array, cache: tuple) -> Array:
    """dx = (dy - mean(dy) - y mean(dy y)) / std: what is left of dy once its parts along 1 and y are removed."""
    x, mean, inverse_std = cache

    def means(count: int, sum_dy: Array, sum_dy_y: Array) -> tuple[Array, Array]:
        n, *sums = mpi.total(count, sum_dy[0], sum_dy_y[0])
        return tuple(s[None] / n for s in sums)

    return _backward(_one_set(dy), _one_set(x), mean[None], inverse_std[None], means).reshape(x.shape)


def batch_norm_inference(x: Array, statistics: dict[str, Array]) -> Array:
    """The same with given statistics: the moving averages that training has kept."""
    return after(normaliser(*norm_cache(x, statistics)), x)


def normaliser(x: Array, mean: Array, inverse_std: Array) -> Prologue:
    """The prologue (conv.py) that normalises x. mean, inverse_std: (C,), or (N, C)."""
    xp, shape = array_module(x), (len(x), 1, *x.shape[2:])
    mean, scale = (xp.broadcast_to(row_of(a, x).reshape(-1, *shape[1:]), shape) for a in (mean, inverse_std))

    def prologue(x: Array, out: Array, n: int | slice) -> None:
        if xp is not np:
            fused("(x - mean) * scale", out, x=x, mean=mean[n], scale=scale[n])
            return
        np.subtract(x, mean[n], out=out)
        out *= scale[n]

    return prologue


def group_norm(x: Array) -> tuple[Array, tuple, dict[str, Array]]:
    """y = (x - mean) / sqrt(variance + EPSILON) with the moments of each sample's groups of channels.

    x: (N, H, W, C); a group has as many channels, up to GROUP, as C can be divided by. Returns y, the cache, and
    {"mean": (N, C), "variance": (N, C)}, the same for all channels of a group. A sample's result does not depend on
    the others: training and sampling are the same, and need no moving averages.
    """
    statistics = group_moments(x)
    cache = norm_cache(x, statistics)
    return after(normaliser(*cache), x), cache, statistics


def group_moments(x: Array) -> dict[str, Array]:
    """The statistics that `group_norm` returns."""
    xp = array_module(x)
    moments = _moments(x)
    channel_mean, m2 = (xp.stack([of_sample[i] for of_sample in moments]) for i in (1, 2))
    mean = _group_means(channel_mean)
    variance = _group_means(m2 / moments[0][0] + (channel_mean - mean) ** 2)
    return {"mean": mean.astype(x.dtype), "variance": variance.astype(x.dtype)}


def group_norm_backward(dy: Array, cache: tuple) -> Array:
    """dx as in `batch_norm_backward`, with the means over a sample's group."""
    x, mean, inverse_std = cache
    return _backward(dy, x, mean, inverse_std, lambda count, *sums: tuple(_group_means(s / count) for s in sums))


def _moments(x: Array) -> list[tuple[int, Array, Array]]:
    """Of each set the number of pixels, and of each channel the mean, and the sum M2 of the squares about it.

    One pass over memory finds both: each block's, centred on its own mean while it is in cache, are merged by Chan,
    Golub and LeVeque's (1979) rule
        M2 = M2_a + M2_b + (mean_b - mean_a)^2 n_a n_b / (n_a + n_b)
    which never subtracts large numbers from each other as E[x^2] - E[x]^2 would.
    """
    xp, channels = array_module(x), x.shape[-1]

    def of_block(piece: tuple[int, slice]) -> tuple[int, Array, Array]:
        block = as_rows(x[piece])
        n = block.size // channels
        mean = sum_of_pixels(block, channels) / n
        centred = xp.subtract(block, row_of(mean, x), out=empty(block.shape, x))
        centred *= centred
        return n, mean.astype(xp.float64), sum_of_pixels(centred, channels).astype(xp.float64)

    pieces = _pieces(x)
    found = parallel(of_block, pieces)
    return [_merged([f for f, (i, _) in zip(found, pieces, strict=True) if i == of_set]) for of_set in range(len(x))]


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
    xp, channels = array_module(x), x.shape[-1]
    dx = empty(x.shape, x)
    mean_x = row_of(mean, x)

    def of_block(piece: tuple[int, slice]) -> tuple[Array, Array]:
        rows_dy, product = as_rows(dy[piece]), as_rows(dx[piece])
        if xp is not np:
            fused("(x - mean) * dy", product, x=as_rows(x[piece]), mean=mean_x[piece[0]], dy=rows_dy)
        else:
            np.subtract(as_rows(x[piece]), mean_x[piece[0]], out=product)
            product *= rows_dy
        return sum_of_pixels(rows_dy, channels), sum_of_pixels(product, channels)

    pieces = _pieces(x)
    sum_dy, sum_dy_c = xp.zeros_like(inverse_std), xp.zeros_like(inverse_std)
    for (of_set, _), found in zip(pieces, parallel(of_block, pieces), strict=True):
        for total, part in zip((sum_dy, sum_dy_c), found, strict=True):
            total[of_set] += part
    mean_dy, mean_dy_y = means(x[0].size // channels, sum_dy, sum_dy_c * inverse_std)
    mean_dy, along_c, scale = (row_of(a, x) for a in (mean_dy, mean_dy_y * inverse_std, inverse_std))

    def block(piece: tuple[int, slice]) -> None:
        rows_x, rows_dy, out = (as_rows(a[piece]) for a in (x, dy, dx))
        mean, m, k, s = (a[piece[0]] for a in (mean_x, mean_dy, along_c, scale))
        if xp is not np:
            fused("((mean - x) * k + dy - m) * s", out, x=rows_x, dy=rows_dy, mean=mean, m=m, k=k, s=s)
            return
        np.subtract(mean, rows_x, out=out)
        out *= k
        out += rows_dy
        out -= m
        out *= s

    parallel(block, pieces)
    return dx


def _one_set(x: Array) -> Array:
    """(N, ..., W, C) as (1, rows, W, C)."""
    return x.reshape(1, -1, *x.shape[-2:])


def _pieces(x: Array) -> list[tuple[int, slice]]:
    """(set, slice of its rows): blocks as `backend.blocks` cuts them."""
    return [(of_set, part) for of_set in range(len(x)) for part in blocks(x[of_set])]


def _group_means(values: Array) -> Array:
    """(N, C) to the same: the mean of each group of channels, in the place of each of them."""
    channels = values.shape[-1]
    size = max(size for size in range(1, GROUP + 1) if channels % size == 0)
    return array_module(values).repeat(values.reshape(len(values), -1, size).mean(axis=-1), size, axis=-1)
