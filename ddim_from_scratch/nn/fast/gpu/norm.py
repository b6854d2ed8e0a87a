"""Normalisation over all samples at once: norm.cu's kernels."""

from __future__ import annotations

from .... import nn
from ....runtime import mpi
from ....runtime.backend import Array
from ....runtime.tree import Tree
from ...norm import EPSILON, GROUP
from .kernels import THREADS, by_fours, contiguous, empty, kernel, multiprocessors

MOST_CHANNELS = 1024  # a block has no more threads


def batch_norm(x: Array) -> tuple[Array, Tree]:
    """As the textbook's, for float32 of a multiple of four channels; the rest is the textbook's own."""
    return _normalise(x, None) if _fits(x) and mpi.size() == 1 else nn.batch_norm(x)


def group_norm(x: Array) -> tuple[Array, Tree]:
    return _normalise(x, GROUP) if _fits(x) else nn.group_norm(x)


def norm_cache(x: Array, statistics: Tree | None, training: bool) -> Tree | None:
    """x, its moments and 1 / std, (sets, C), chosen as the textbook's `norm` does. None where kernels don't serve."""
    if not _fits(x) or (statistics is not None and training and mpi.size() > 1):
        return None
    if statistics is not None and not training:
        mean, variance = (statistics[name].reshape(1, -1) for name in ("mean", "variance"))
        return {"x": x, "mean": mean, "scale": (variance + EPSILON) ** -0.5, "statistics": statistics}
    return _moments(x, GROUP if statistics is None else None)


def normalise_backward(dy: Array, cache: Tree, added: Array | None = None) -> Array:
    """dx = (dy - mean(dy) - y mean(dy y)) / std, and + added."""
    if "y" in cache:
        return nn.group_norm_backward(dy, cache)
    x, mean, scale = cache["x"], cache["mean"], cache["scale"]
    sets, channels = mean.shape
    pixels, dy = x.size // mean.size, contiguous(dy)
    partial, means = _sums(x, sets, dy, mean), empty((2, sets, channels))
    arguments = partial, scale, means[0], means[1], partial.shape[1], pixels, channels, cache["group"]
    kernel("norm.cu", "gradient_means")((sets,), (channels,), *arguments)
    dx = empty(x.shape)
    arguments = dy, x, mean, scale, means[0], means[1], added, dx, pixels, channels // 4
    return by_fours("norm.cu", "normalise_backward", dx, *arguments)


batch_norm_backward = group_norm_backward = normalise_backward


def _normalise(x: Array, group: int | None) -> tuple[Array, Tree]:
    cache, y = _moments(x, group), empty(x.shape)
    x, mean, scale = cache["x"], cache["mean"], cache["scale"]
    return by_fours("norm.cu", "normalise", y, x, mean, scale, y, x.size // mean.size, x.shape[3] // 4), cache


def _moments(x: Array, group: int | None) -> Tree:
    """group: channels whose moments of a sample are one, at most; None for each channel's over the whole batch."""
    x, channels = contiguous(x), x.shape[3]
    sets, size = (1, 1) if group is None else (len(x), max(s for s in range(1, group + 1) if channels % s == 0))
    partial, pixels = _sums(x, sets), x.size // channels // sets
    mean, variance, scale = moments = empty((3, sets, channels))
    run = kernel("norm.cu", "moments")
    run((sets,), (channels,), x, partial, mean, variance, scale, partial.shape[1], pixels, channels, size, EPSILON)
    shape = (channels,) if group is None else (sets, 1, 1, channels)
    statistics = {"mean": moments[0].reshape(shape), "variance": moments[1].reshape(shape)}
    return {"x": x, "mean": mean, "scale": scale, "group": size, "statistics": statistics}


def _sums(x: Array, sets: int, dy: Array | None = None, mean: Array | None = None) -> Array:
    """The partial sums of `channel_sums`, (sets, parts, 2, C): parts enough to keep the whole device busy."""
    channels = x.shape[3]
    pixels = x.size // channels // sets
    parts = max(1, min(-(-8 * multiprocessors() // sets), 256, pixels * channels // 4096))
    partial = empty((sets, parts, 2, channels))
    kernel("norm.cu", "channel_sums")((parts, sets), (THREADS,), x, dy, mean, partial, pixels, channels)
    return partial


def _fits(x: Array) -> bool:
    return x.dtype == "float32" and x.shape[3] % 4 == 0 and x.shape[3] <= MOST_CHANNELS
