"""Solutions of lesson 07, as a reader of the lesson might write them."""

import numpy as np

from ddim_from_scratch.nn.embedding import DIMENSIONS
from ddim_from_scratch.nn.fast.activation import swish, swish_backward
from ddim_from_scratch.nn.fast.attention import multi_head_attention_backward
from ddim_from_scratch.nn.fast.norm import batch_norm, batch_norm_backward, batch_norm_inference
from ddim_from_scratch.nn.fast.resize import average_pool_backward, upsample_bilinear_backward
from ddim_from_scratch.nn.fast.winograd import conv2d, conv2d_backward


def split_channels(dy: np.ndarray, *widths: int) -> list[np.ndarray]:
    """Cut after each width."""
    return [np.ascontiguousarray(part) for part in np.split(dy, np.cumsum(widths), axis=3)]


def residual_block(params: dict, statistics: dict, x: np.ndarray, training: bool) -> tuple[np.ndarray, list, dict]:
    """x, and a correction."""
    if training:
        h, norm_cache, statistics = batch_norm(x)
    else:
        h, norm_cache = batch_norm_inference(x, statistics), None
    shortcut, shortcut_cache = x, None
    if "shortcut" in params:
        shortcut, shortcut_cache = conv2d(x, **params["shortcut"])
    h, conv1_cache = conv2d(h, **params["conv1"])
    h, swish_cache = swish(h)
    h, conv2_cache = conv2d(h, **params["conv2"])
    return shortcut + h, [shortcut_cache, norm_cache, conv1_cache, swish_cache, conv2_cache], statistics


def convolution_backward(dy: np.ndarray, cache: tuple) -> tuple[np.ndarray, dict]:
    dx, dw, db = conv2d_backward(dy, cache)
    return dx, {"w": dw, "b": db}


def residual_block_backward(dy: np.ndarray, cache: list) -> tuple[np.ndarray, dict]:
    """The layers in reverse; the shortcut's gradient is added."""
    shortcut_cache, norm_cache, conv1_cache, swish_cache, conv2_cache = cache
    grads = {}
    dh, grads["conv2"] = convolution_backward(dy, conv2_cache)
    dh = swish_backward(dh, swish_cache)
    dh, grads["conv1"] = convolution_backward(dh, conv1_cache)
    dh = batch_norm_backward(dh, norm_cache)
    if shortcut_cache is None:
        return dh + dy, grads
    d_shortcut, grads["shortcut"] = convolution_backward(dy, shortcut_cache)
    return dh + d_shortcut, grads


def unet_backward(d_eps: np.ndarray, params: dict, caches: list) -> tuple[np.ndarray, dict]:
    """The network from its end to its beginning."""
    levels = sum(name.startswith("down") for name in params)
    grads = {name: {} for name in params}
    d_skips = []
    dh, grads["output"] = convolution_backward(d_eps, caches.pop())
    for level in range(levels):
        name = f"up{level}"
        for block in reversed(params[name]):
            dh, grads[name][block] = residual_block_backward(dh, caches.pop())
            skip = len(params[f"down{level}"]["block0"]["conv2"]["b"])
            if "attention" in params[name][block]:
                dh, d_skip, d_attended = split_channels(dh, (dh.shape[3] - skip) // 2, skip)
                d_query, d_memory, grads[name][block]["attention"] = multi_head_attention_backward(
                    d_attended, caches.pop()
                )
                dh, d_skip = dh + d_query, d_skip + d_memory
            else:
                dh, d_skip = split_channels(dh, dh.shape[3] - skip)
            d_skips.append(d_skip)
        dh = upsample_bilinear_backward(dh)
    for block in reversed(params["bottom"]):
        dh, grads["bottom"][block] = residual_block_backward(dh, caches.pop())
    for level in reversed(range(levels)):
        dh = average_pool_backward(dh)
        for block in reversed(params[f"down{level}"]):
            dh, grads[f"down{level}"][block] = residual_block_backward(dh + d_skips.pop(), caches.pop())
    dh, _ = split_channels(dh, dh.shape[3] - DIMENSIONS)
    dx, grads["input"] = convolution_backward(dh, caches.pop())
    return dx, grads
