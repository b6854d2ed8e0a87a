"""Solutions of lesson 07, as a reader of the lesson might write them."""

from types import ModuleType

import numpy as np

from ddim_from_scratch.nn.conv import conv2d, conv2d_backward
from ddim_from_scratch.nn.dense import swish, swish_backward
from ddim_from_scratch.nn.embedding import DIMENSIONS
from ddim_from_scratch.nn.norm import norm, normalise_backward


def split(dy: np.ndarray, widths: list[int]) -> list[np.ndarray]:
    """Cut after each width but the last."""
    return np.split(dy, np.cumsum(widths)[:-1].tolist(), axis=3)


def residual_block(x: np.ndarray, params: dict, statistics: dict | None, training: bool) -> tuple[np.ndarray, dict]:
    """x, and a correction."""
    cache = {}
    h, cache["norm"] = norm(x, statistics, training)
    h, cache["conv1"] = conv2d(h, **params["conv1"])
    h, cache["swish"] = swish(h)
    h, cache["conv2"] = conv2d(h, **params["conv2"])
    if "shortcut" not in params:
        return x + h, cache
    shortcut, cache["shortcut"] = conv2d(x, **params["shortcut"])
    return shortcut + h, cache


def residual_block_backward(dy: np.ndarray, cache: dict) -> tuple[np.ndarray, dict]:
    """The layers in reverse; the shortcut's gradient is added."""
    grads = {}
    dh, grads["conv2"] = conv2d_backward(dy, cache["conv2"])
    dh = swish_backward(dh, cache["swish"])
    dh, grads["conv1"] = conv2d_backward(dh, cache["conv1"])
    dh = normalise_backward(dh, cache["norm"])
    if "shortcut" not in cache:
        return dh + dy, grads
    d_shortcut, grads["shortcut"] = conv2d_backward(dy, cache["shortcut"])
    return dh + d_shortcut, grads


def unet_backward(d_output: np.ndarray, cache: dict, layers: ModuleType) -> tuple[np.ndarray, dict]:
    """The network from its end to its beginning."""
    levels = sum(name.startswith("down") for name in cache)
    grads = {name: {} for name in cache}
    d_skips = []
    dh, grads["output"] = layers.conv2d_backward(d_output, cache["output"])
    for name in [f"up{level}" for level in range(levels)]:
        for block in reversed(cache[name]):
            kept = cache[name][block]
            dh, grads[name][block] = layers.residual_block_backward(dh, kept)
            dh, d_skip, *d_attended = layers.split(dh, kept["join"]["widths"])
            if d_attended:
                d_query, d_memory, grads[name][block]["attention"] = layers.multi_head_attention_backward(
                    d_attended[0], kept["join"]["attention"]
                )
                dh, d_skip = dh + d_query, d_skip + d_memory
            d_skips.append(d_skip)
        dh = layers.upsample_backward(dh)
    for block in reversed(cache["bottom"]):
        dh, grads["bottom"][block] = layers.residual_block_backward(dh, cache["bottom"][block])
    for name in [f"down{level}" for level in reversed(range(levels))]:
        dh = layers.average_pool_backward(dh)
        for block in reversed(cache[name]):
            dh, grads[name][block] = layers.residual_block_backward(dh + d_skips.pop(), cache[name][block])
    dx, grads["input"] = layers.conv2d_backward(dh[..., : dh.shape[3] - DIMENSIONS], cache["input"])
    return dx, grads
