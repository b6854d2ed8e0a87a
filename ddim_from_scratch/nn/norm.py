"""Normalisation: a mean of 0 and a variance of 1.

Of which set of numbers? A channel over the whole batch (batch normalisation, Ioffe and Szegedy 2015), a group of
channels over one sample (group normalisation, Wu and He 2018), or the channels of one position (layer normalisation,
Ba et al. 2016). All are `normalise` with another mean. The U-Net's have no learnt scale and centre, a Transformer's do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..runtime import mpi
from ..runtime.backend import Array
from ..runtime.tree import Tree

EPSILON = 1e-3  # Keras' default
ROW_EPSILON = 1e-6  # T5's
GROUP = 8  # channels, at most. Eight divide 32, 64, 96 ..., so that no group spans two concatenated arrays

Mean = Callable[[Array], Array]  # the mean of the set that each number belongs to, in a shape that broadcasts


def normalise(x: Array, mean_of: Mean, epsilon: float = EPSILON) -> tuple[Array, Tree]:
    """y = (x - mean) / std, where std^2 = variance + epsilon, with the biased variance."""
    mean = mean_of(x)
    variance = mean_of((x - mean) ** 2)
    std = np.sqrt(variance + epsilon)
    y = (x - mean) / std
    return y, {"y": y, "std": std, "mean_of": mean_of, "statistics": {"mean": mean, "variance": variance}}


def normalise_backward(dy: Array, cache: Tree) -> Array:
    """dx = (dy - mean(dy) - y mean(dy y)) / std.

    y stays as it is when x moves along 1, and nearly so when x moves along y: the gradient has no part along either.
    """
    y, mean_of = cache["y"], cache["mean_of"]
    return (dy - mean_of(dy) - y * mean_of(dy * y)) / cache["std"]


batch_norm_backward = group_norm_backward = normalise_backward


def batch_norm(x: Array) -> tuple[Array, Tree]:
    """Each channel with its moments over the batch.  x: (N, H, W, C).

    The cache's "statistics" are {"mean": (C,), "variance": (C,)}. Where processes share a batch (mpi), it is the whole.
    """
    return normalise(x, _batch_mean)


def batch_norm_inference(x: Array, statistics: Tree) -> Array:
    """The same with given moments: the running averages that training has kept."""
    return (x - statistics["mean"]) / np.sqrt(statistics["variance"] + EPSILON)


def group_norm(x: Array) -> tuple[Array, Tree]:
    """Each sample's groups of channels with their own moments, in training and sampling alike.  x: (N, H, W, C).

    A group has as many channels, up to GROUP, as C can be divided by. The cache's "statistics" are (N, 1, 1, C): a
    number for each channel, the same throughout its group.
    """
    return normalise(x, _group_mean)


def layer_norm(x: Array, scale: Array, centre: Array) -> tuple[Array, tuple]:
    """Each position's channels by their own moments, then y scale + centre.  x: (..., C). scale, centre: (C,)."""
    y, cache = normalise(x, _row_mean, ROW_EPSILON)
    return y * scale + centre, (cache, scale)


def layer_norm_backward(dy: Array, cache: tuple) -> tuple[Array, Tree]:
    """Every position has met scale and centre: their gradients are sums over all."""
    normalised, scale = cache
    grads = {"scale": _sum_of_rows(dy * normalised["y"]), "centre": _sum_of_rows(dy)}
    return normalise_backward(dy * scale, normalised), grads


def rms_norm(x: Array, scale: Array) -> tuple[Array, tuple]:
    """y = scale x / rms, where rms^2 = mean(x^2) + epsilon: layer normalisation that leaves the mean where it is.

    x: (..., C). scale: (C,). (Zhang and Sennrich 2019.)
    """
    rms = np.sqrt(_row_mean(x * x) + ROW_EPSILON)
    y = x / rms
    return y * scale, (y, rms, scale)


def rms_norm_backward(dy: Array, cache: tuple) -> tuple[Array, Tree]:
    """As in `normalise_backward`, without the part along 1."""
    y, rms, scale = cache
    d = dy * scale
    return (d - y * _row_mean(d * y)) / rms, {"scale": _sum_of_rows(dy * y)}


def norm(x: Array, statistics: Tree | None, training: bool) -> tuple[Array, Tree]:
    """A network's choice: group norm without running statistics; with them batch norm, by the batch's own in training.

    The backward pass is `normalise_backward`. The cache's "statistics" are those that were used.
    """
    if statistics is None:
        return group_norm(x)
    return batch_norm(x) if training else (batch_norm_inference(x, statistics), {"statistics": statistics})


def _row_mean(a: Array) -> Array:
    return a.mean(axis=-1, keepdims=True)


def _sum_of_rows(a: Array) -> Array:
    return a.reshape(-1, a.shape[-1]).sum(axis=0)


def _batch_mean(a: Array) -> Array:
    pixels, total = mpi.total(a[..., 0].size, a.sum(axis=(0, 1, 2), dtype="float64"))
    return (total / pixels).astype(a.dtype)  # (C,); a sum of so many numbers would lose two digits in float32


def _group_mean(a: Array) -> Array:
    N, H, W, C = a.shape
    size = max(size for size in range(1, GROUP + 1) if C % size == 0)
    means = a.reshape(N, H, W, C // size, size).mean(axis=(1, 2, 4))  # (N, C / size)
    return means.repeat(size, axis=1).reshape(N, 1, 1, C)
