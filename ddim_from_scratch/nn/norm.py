"""Normalisations without scale or centre: batch (Ioffe and Szegedy 2015) and group (Wu and He 2018)."""

from __future__ import annotations

import itertools

from .. import mpi
from ..backend import Array, array_module, blocks, empty, parallel, samples
from .rows import as_rows, row_of, sum_of_pixels

EPSILON = 1e-3  # Keras' default
GROUP = 8  # channels, at most. Eight go into 32, 64, 96 ..., so that no group spans two concatenated arrays


def batch_norm(x: Array) -> tuple[Array, tuple, dict[str, Array]]:
    """y = (x - mean) / sqrt(variance + EPSILON) with the batch's own mean and biased variance.

    x: (N, H, W, C). Returns y, the cache, and {"mean": (C,), "variance": (C,)}.

    One pass over memory finds both moments: each block's, centred on its own mean while it is in cache,
    are merged by Chan, Golub and LeVeque's (1979) rule
        M2 = M2_a + M2_b + (mean_b - mean_a)^2 n_a n_b / (n_a + n_b)
    which never subtracts large numbers from each other as E[x^2] - E[x]^2 would. So are those of the processes
    among which a batch is spread, see mpi.py.
    """
    xp = array_module(x)
    rows, channels = as_rows(x), x.shape[-1]

    def moments(part: slice) -> tuple[int, Array, Array]:
        block = rows[part]
        n = block.size // channels
        mean = sum_of_pixels(block, channels) / n
        centred = xp.subtract(block, row_of(mean, x), out=empty(block.shape, x))
        centred *= centred
        return n, mean.astype(xp.float64), sum_of_pixels(centred, channels).astype(xp.float64)

    here = _merged(parallel(moments, blocks(rows)))
    count, mean, m2 = _merged(mpi.gather(*here))
    statistics = {"mean": mean.astype(x.dtype), "variance": (m2 / count).astype(x.dtype)}
    y, inverse_std = _normalise(x, statistics)
    return y, (y, inverse_std), statistics


def _merged(parts: list[tuple[int, Array, Array]]) -> tuple[int, Array, Array]:
    """The number of pixels, the mean and the sum of squares M2 of all parts together."""
    (count, mean, m2), *rest = parts
    for n, other_mean, other_m2 in rest:
        delta = other_mean - mean
        m2 += other_m2 + delta**2 * (count * n / (count + n))
        mean += delta * (n / (count + n))
        count += n
    return count, mean, m2


def batch_norm_backward(dy: Array, cache: tuple) -> Array:
    """dx = (dy - mean(dy) - y mean(dy y)) / std: what is left of dy once its parts along 1 and y are removed."""
    y, inverse_std = cache
    xp = array_module(y)
    channels = y.shape[-1]
    dx = empty(y.shape, y)
    rows_y, rows_dy, rows_dx = as_rows(y), as_rows(dy), as_rows(dx)

    def sums(part: slice) -> tuple[Array, Array]:
        product = xp.multiply(rows_dy[part], rows_y[part], out=rows_dx[part])
        return sum_of_pixels(rows_dy[part], channels), sum_of_pixels(product, channels)

    parts = blocks(rows_y)
    sum_dy, sum_dy_y = (sum(s[1:], s[0]) for s in zip(*parallel(sums, parts), strict=True))
    n, sum_dy, sum_dy_y = mpi.total(y.size // channels, sum_dy, sum_dy_y)
    mean_dy, minus_mean_dy_y, scale = (row_of(a, y) for a in (sum_dy / n, -sum_dy_y / n, inverse_std))

    def block(part: slice) -> None:
        out = xp.multiply(rows_y[part], minus_mean_dy_y, out=rows_dx[part])
        out += rows_dy[part]
        out -= mean_dy
        out *= scale

    parallel(block, parts)
    return dx


def batch_norm_inference(x: Array, statistics: dict[str, Array]) -> Array:
    """The same with given statistics: the moving averages that training has kept."""
    return _normalise(x, statistics)[0]


def _normalise(x: Array, statistics: dict[str, Array]) -> tuple[Array, Array]:
    xp = array_module(x)
    inverse_std = 1 / xp.sqrt(statistics["variance"] + EPSILON)
    y = empty(x.shape, x)
    rows_x, rows_y = as_rows(x), as_rows(y)
    mean, scale = row_of(statistics["mean"], x), row_of(inverse_std, x)

    def block(part: slice) -> None:
        out = xp.subtract(rows_x[part], mean, out=rows_y[part])
        out *= scale

    parallel(block, blocks(rows_x))
    return y, inverse_std


def group_norm(x: Array) -> tuple[Array, tuple, dict[str, Array]]:
    """y = (x - mean) / sqrt(variance + EPSILON) with the moments of each sample's groups of channels.

    x: (N, H, W, C); a group has as many channels, up to GROUP, as C can be divided by. Returns y, the cache, and
    {"mean": (N, 1, C), "variance": (N, 1, C)}, the same for all channels of a group. A sample's result does not depend
    on the others: training and sampling are the same, and need no moving averages.

    The moments of each channel are found as in `batch_norm`, and from them those of its group.
    """
    xp, channels = array_module(x), x.shape[-1]
    size = max(size for size in range(1, GROUP + 1) if channels % size == 0)
    y = empty(x.shape, x)
    rows, rows_y = _sample_rows(x), _sample_rows(y)
    pieces = [[(sample, part) for part in blocks(rows[0])] for sample in samples(x)]

    def moments(piece: tuple[slice, slice]) -> tuple[int, Array, Array]:
        block = rows[piece]
        n = block[0].size // channels
        mean = _sample_sums(block, channels) / n
        centred = xp.subtract(block, row_of(mean, x), out=empty(block.shape, x))
        centred *= centred
        return n, mean.astype(xp.float64), _sample_sums(centred, channels).astype(xp.float64)

    found = iter(parallel(moments, itertools.chain(*pieces)))
    merged = [_merged([next(found) for _ in of_sample]) for of_sample in pieces]
    channel_mean, m2 = (xp.concatenate(parts) for parts in list(zip(*merged, strict=True))[1:])
    mean = _group_means(channel_mean, size)
    variance = _group_means(m2 / (x[0].size // channels) + (channel_mean - mean) ** 2, size)
    statistics = {"mean": mean.astype(x.dtype), "variance": variance.astype(x.dtype)}
    inverse_std = 1 / xp.sqrt(statistics["variance"] + EPSILON)
    mean, scale = row_of(statistics["mean"], x), row_of(inverse_std, x)

    def normalise(piece: tuple[slice, slice]) -> None:
        out = xp.subtract(rows[piece], mean[piece[0]], out=rows_y[piece])
        out *= scale[piece[0]]

    parallel(normalise, itertools.chain(*pieces))
    return y, (y, inverse_std, size), statistics


def group_norm_backward(dy: Array, cache: tuple) -> Array:
    """dx = (dy - mean(dy) - y mean(dy y)) / std, as in `batch_norm_backward`, the means over a sample's group."""
    y, inverse_std, size = cache
    xp, channels = array_module(y), y.shape[-1]
    dx = empty(y.shape, y)
    rows_y, rows_dy, rows_dx = _sample_rows(y), _sample_rows(dy), _sample_rows(dx)
    pieces = [(sample, part) for sample in samples(y) for part in blocks(rows_y[0])]

    def sums(piece: tuple[slice, slice]) -> tuple[Array, Array]:
        product = xp.multiply(rows_dy[piece], rows_y[piece], out=rows_dx[piece])
        return _sample_sums(rows_dy[piece], channels), _sample_sums(product, channels)

    sum_dy, sum_dy_y = xp.zeros_like(inverse_std), xp.zeros_like(inverse_std)
    for (sample, _), (of_dy, of_dy_y) in zip(pieces, parallel(sums, pieces), strict=True):
        sum_dy[sample] += of_dy
        sum_dy_y[sample] += of_dy_y
    n = y[0].size // channels
    means = _group_means(sum_dy / n, size), _group_means(-sum_dy_y / n, size)
    mean_dy, minus_mean_dy_y, scale = (row_of(a, y) for a in (*means, inverse_std))

    def block(piece: tuple[slice, slice]) -> None:
        out = xp.multiply(rows_y[piece], minus_mean_dy_y[piece[0]], out=rows_dx[piece])
        out += rows_dy[piece]
        out -= mean_dy[piece[0]]
        out *= scale[piece[0]]

    parallel(block, pieces)
    return dx


def _group_means(values: Array, size: int) -> Array:
    """(N, 1, C) to the same: the mean of each group of `size` channels, in the place of each of them."""
    means = values.reshape(len(values), 1, -1, size).mean(axis=-1)
    return array_module(values).repeat(means, size, axis=-1)


def _sample_rows(x: Array) -> Array:
    """(N, H, W, C) as (N, H, W C)."""
    return x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])


def _sample_sums(rows: Array, channels: int) -> Array:
    """The same for each sample: (n, H, W C) to (n, 1, C)."""
    ones = array_module(rows).ones((1, rows.shape[1]), rows.dtype)
    return (ones @ rows).reshape(len(rows), 1, -1, channels).sum(axis=2)
