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
    pixels = x.reshape(-1, x.shape[-1])

    def moments(part: slice) -> tuple[int, Array, Array]:
        block = pixels[part]
        n = len(block)
        ones = xp.ones(n, x.dtype)
        mean = ones @ block / n  # a sum over pixels is a matrix-vector product
        centred = xp.subtract(block, mean, out=empty(block.shape, x))
        centred *= centred
        return n, mean.astype(xp.float64), (ones @ centred).astype(xp.float64)

    here = _merged(parallel(moments, blocks(pixels)))
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
    flat_y, flat_dy, flat_dx = (a.reshape(-1, channels) for a in (y, dy, dx))

    def sums(part: slice) -> tuple[Array, Array]:
        ones = xp.ones(len(flat_y[part]), y.dtype)
        return ones @ flat_dy[part], ones @ xp.multiply(flat_dy[part], flat_y[part], out=flat_dx[part])

    parts = blocks(flat_y)
    sum_dy, sum_dy_y = (sum(s[1:], s[0]) for s in zip(*parallel(sums, parts), strict=True))
    n, sum_dy, sum_dy_y = mpi.total(len(flat_y), sum_dy, sum_dy_y)
    mean_dy, mean_dy_y = sum_dy / n, sum_dy_y / n

    def block(part: slice) -> None:
        out = xp.multiply(flat_y[part], -mean_dy_y, out=flat_dx[part])
        out += flat_dy[part]
        out -= mean_dy
        out *= inverse_std

    parallel(block, parts)
    return dx


def batch_norm_inference(x: Array, statistics: dict[str, Array]) -> Array:
    """The same with given statistics: the moving averages that training has kept."""
    return _normalise(x, statistics)[0]


def _normalise(x: Array, statistics: dict[str, Array]) -> tuple[Array, Array]:
    xp = array_module(x)
    inverse_std = 1 / xp.sqrt(statistics["variance"] + EPSILON)
    y = empty(x.shape, x)
    flat_x, flat_y = x.reshape(-1, x.shape[-1]), y.reshape(-1, x.shape[-1])

    def block(part: slice) -> None:
        out = xp.subtract(flat_x[part], statistics["mean"], out=flat_y[part])
        out *= inverse_std

    parallel(block, blocks(flat_x))
    return y, inverse_std
