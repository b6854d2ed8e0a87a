"""The residual block as a whole: normalisation and swish are prologues of its convolutions.

Neither has a pass over memory of its own, and neither's result is kept: x and the first convolution's output are, from
which both are made again where the backward pass reads them.
"""

from __future__ import annotations

from ....runtime.backend import Array
from ....runtime.tree import Tree
from .dense import swish_backward, swish_prologue
from .norm import moments, norm_cache, normalise_backward, normaliser
from .resize import add_in_place
from .winograd import conv2d, conv2d_backward


def residual_block(
    x: Array, params: Tree, statistics: Tree | None = None, training: bool = False
) -> tuple[Array, Tree]:
    """shortcut(x) + conv2(swish(conv1(norm(x)))): shapes and arguments as in the textbook."""
    cache: Tree = {"norm": norm_cache(x, moments(x, statistics, training))}
    shortcut = x
    if "shortcut" in params:
        shortcut, cache["shortcut"] = conv2d(x, **params["shortcut"])
    h, cache["conv1"] = conv2d(x, **params["conv1"], prologue=normaliser(cache["norm"]))
    y, cache["conv2"] = conv2d(h, **params["conv2"], prologue=swish_prologue)
    return add_in_place(y, shortcut), cache | {"h": h}


def residual_block_backward(dy: Array, cache: Tree) -> tuple[Array, Tree]:
    """dy: (N, H, W, D). Returns dx (N, H, W, C) and the gradients of params. Empties the cache, to use its memory."""
    grads = {}
    dh, grads["conv2"] = conv2d_backward(dy, cache.pop("conv2"))
    dh = swish_backward(dh, cache.pop("h"))
    dh, grads["conv1"] = conv2d_backward(dh, cache.pop("conv1"))
    dh = normalise_backward(dh, cache.pop("norm"))
    if "shortcut" in cache:
        dy, grads["shortcut"] = conv2d_backward(dy, cache["shortcut"])
    return add_in_place(dh, dy), grads
