"""Batch normalisation without scale or centre (Ioffe and Szegedy 2015), over all axes but the channels."""

from __future__ import annotations

from .. import mpi
from ..backend import Array, array_module, blocks, empty, parallel

EPSILON = 1e-3  # Keras' default


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
    rows, channels = _rows(x), x.shape[-1]

    def moments(part: slice) -> tuple[int, Array, Array]:
        block = rows[part]
        n = block.size // channels
        mean = _sum_of_pixels(block, channels) / n
        centred = xp.subtract(block, _row_of(mean, x), out=empty(block.shape, x))
        centred *= centred
        return n, mean.astype(xp.float64), _sum_of_pixels(centred, channels).astype(xp.float64)

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
    rows_y, rows_dy, rows_dx = _rows(y), _rows(dy), _rows(dx)

    def sums(part: slice) -> tuple[Array, Array]:
        product = xp.multiply(rows_dy[part], rows_y[part], out=rows_dx[part])
        return _sum_of_pixels(rows_dy[part], channels), _sum_of_pixels(product, channels)

    parts = blocks(rows_y)
    sum_dy, sum_dy_y = (sum(s[1:], s[0]) for s in zip(*parallel(sums, parts), strict=True))
    n, sum_dy, sum_dy_y = mpi.total(y.size // channels, sum_dy, sum_dy_y)
    mean_dy, minus_mean_dy_y, scale = (_row_of(a, y) for a in (sum_dy / n, -sum_dy_y / n, inverse_std))

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
    rows_x, rows_y = _rows(x), _rows(y)
    mean, scale = _row_of(statistics["mean"], x), _row_of(inverse_std, x)

    def block(part: slice) -> None:
        out = xp.subtract(rows_x[part], mean, out=rows_y[part])
        out *= scale

    parallel(block, blocks(rows_x))
    return y, inverse_std


# A channel's number meets its pixels a whole row of pixels at a time: loops over a few channels are short, and slow.


def _rows(x: Array) -> Array:
    """(N, H, W, C) as (N H, W C)."""
    return x.reshape(-1, x.shape[-2] * x.shape[-1])


def _row_of(channels: Array, x: Array) -> Array:
    """(C,) as a row of x, (W C,): the channels again and again."""
    return array_module(x).tile(channels, x.shape[-2])


def _sum_of_pixels(rows: Array, channels: int) -> Array:
    """(n, W C) to (C,). A sum over rows is a product with a vector of ones."""
    return (array_module(rows).ones(len(rows), rows.dtype) @ rows).reshape(-1, channels).sum(axis=0)
