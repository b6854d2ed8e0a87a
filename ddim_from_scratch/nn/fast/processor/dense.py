"""Layers that treat each position by itself: the textbook's own text, on a block of positions a thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from .... import nn
from ....runtime import tree
from ....runtime.backend import Array, blocks, empty, parallel
from ....runtime.tree import Tree


def by_blocks(
    forward: Callable[..., tuple[Array, Any]], backward: Callable[[Array, Any], tuple[Array, Tree]]
) -> tuple[Callable[..., tuple[Array, list]], Callable[[Array, list], tuple[Array, Tree]]]:
    """A layer and its backward pass, of x (..., C) and parameters, cut into blocks of positions."""

    def layer(x: Array, **params: Any) -> tuple[Array, list]:
        rows = x.reshape(-1, x.shape[-1])
        parts = blocks(rows)
        done = parallel(lambda part: forward(rows[part], **params), parts)
        y = _joined([y for y, _ in done])
        return y.reshape(*x.shape[:-1], -1), [(part, cache) for part, (_, cache) in zip(parts, done, strict=True)]

    def layer_backward(dy: Array, cache: list) -> tuple[Array, Tree]:
        rows = dy.reshape(-1, dy.shape[-1])
        dx, grads = zip(*parallel(lambda one: backward(rows[one[0]], one[1]), cache), strict=True)
        return _joined(dx).reshape(*dy.shape[:-1], -1), reduce(lambda a, b: tree.map(np.add, a, b), grads)

    return layer, layer_backward


def _joined(parts: Any) -> Array:
    return np.concatenate(parts, out=empty((sum(map(len, parts)), parts[0].shape[1]), parts[0]))


linear, linear_backward = by_blocks(nn.linear, nn.linear_backward)
geglu, geglu_backward = by_blocks(nn.geglu, nn.geglu_backward)
layer_norm, layer_norm_backward = by_blocks(nn.layer_norm, nn.layer_norm_backward)
rms_norm, rms_norm_backward = by_blocks(nn.rms_norm, nn.rms_norm_backward)
