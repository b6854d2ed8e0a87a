"""The residual block as a whole: normalisation and swish, and their gradients, are done by the convolutions' kernels.

Kept for the backward pass are x, its moments, and what the first convolution made.
"""

from __future__ import annotations

from .... import nn
from ....runtime.backend import Array
from ....runtime.tree import Tree
from .conv import SWISH, convolve, filter_gradient, mirrored, normalising
from .kernels import contiguous
from .norm import norm_cache, normalise_backward


def residual_block(
    x: Array, params: Tree, statistics: Tree | None = None, training: bool = False
) -> tuple[Array, Tree]:
    """shortcut(x) + conv2(swish(conv1(norm(x)))): shapes and arguments as in the textbook."""
    x = contiguous(x)
    norm = norm_cache(x, statistics, training)
    if norm is None:
        return nn.residual_block(x, params, statistics, training)
    shortcut = convolve(x, **params["shortcut"]) if "shortcut" in params else x
    h = convolve(x, **params["conv1"], prologue=normalising(norm["mean"], norm["scale"]))
    y = convolve(h, **params["conv2"], prologue=SWISH, added=shortcut)
    return y, {"norm": norm, "h": h, "params": params}


def residual_block_backward(dy: Array, cache: Tree) -> tuple[Array, Tree]:
    """dy: (N, H, W, D). Returns dx (N, H, W, C) and the gradients of params."""
    if "h" not in cache:
        return nn.residual_block_backward(dy, cache)
    dy = contiguous(dy)
    norm, h, params, grads = cache["norm"], cache["h"], cache["params"], {}
    dh = convolve(dy, mirrored(params["conv2"]["w"]), activated=h)
    grads["conv2"] = filter_gradient(h, dy, len(params["conv2"]["w"]), SWISH)
    d_norm = convolve(dh, mirrored(params["conv1"]["w"]))
    prologue = normalising(norm["mean"], norm["scale"])
    grads["conv1"] = filter_gradient(norm["x"], dh, len(params["conv1"]["w"]), prologue)
    if "shortcut" in params:
        grads["shortcut"] = filter_gradient(norm["x"], dy, 1)
        dy = convolve(dy, mirrored(params["shortcut"]["w"]))
    return normalise_backward(d_norm, norm, added=dy), grads
