"""The residual block (He et al. 2016), in the form of the Keras DDIM example, the paper's base."""

from __future__ import annotations

import numpy as np

from ..runtime.backend import Array
from ..runtime.tree import Tree
from .conv import conv2d, conv2d_backward
from .dense import init_linear, swish, swish_backward
from .norm import norm, normalise_backward


def init_residual_block(rng: np.random.Generator, inputs: int, outputs: int) -> Tree:
    """A residual block from so many channels to so many."""
    shortcut = {"shortcut": init_linear(rng, 1, 1, inputs, outputs)} if inputs != outputs else {}
    convolutions = {"conv1": init_linear(rng, 3, 3, inputs, outputs), "conv2": init_linear(rng, 3, 3, outputs, outputs)}
    return shortcut | convolutions


def residual_block(
    x: Array, params: Tree, statistics: Tree | None = None, training: bool = False
) -> tuple[Array, Tree]:
    """y = shortcut(x) + conv2(swish(conv1(norm(x)))).  x: (N, H, W, C). Returns (N, H, W, D).

    params: {"conv1", "conv2"}, and "shortcut", a 1x1 convolution, where D is not C. statistics, training: as in `norm`.
    In this cache, a dict, anyone may read cache["norm"]["statistics"]: the moments that were used.
    """
    cache: Tree = {}
    h, cache["norm"] = norm(x, statistics, training)
    h, cache["conv1"] = conv2d(h, **params["conv1"])
    h, cache["swish"] = swish(h)
    h, cache["conv2"] = conv2d(h, **params["conv2"])
    if "shortcut" in params:
        x, cache["shortcut"] = conv2d(x, **params["shortcut"])
    return x + h, cache


def residual_block_backward(dy: Array, cache: Tree) -> tuple[Array, Tree]:
    """x went two ways, so dx is the sum of two gradients.  dy: (N, H, W, D). Returns dx (N, H, W, C) and grads."""
    grads = {}
    dh, grads["conv2"] = conv2d_backward(dy, cache["conv2"])
    dh = swish_backward(dh, cache["swish"])
    dh, grads["conv1"] = conv2d_backward(dh, cache["conv1"])
    dh = normalise_backward(dh, cache["norm"])
    if "shortcut" in cache:
        dy, grads["shortcut"] = conv2d_backward(dy, cache["shortcut"])
    return dy + dh, grads
