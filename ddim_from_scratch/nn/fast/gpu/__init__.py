"""Twins of the plain layers for a GPU: few, large kernels, and what can be fused is.

The kernels are CUDA C++ in the .cu files beside this one; here are their shapes, grids and the order of calls.
"""

from __future__ import annotations

import os

from ....runtime.backend import Array, cupy
from .kernels import kernel

EPSILON = 1e-3
GROUP = 8
HEADS = 4
EXACT = os.environ.get("CUPY_TF32") != "1"  # CuPy's own setting: products of float32 on tensor cores, rounded to 11 bits
PROCESSORS = 132

NOTHING, NORMALISE, SWISH = range(3)
THREADS = 256


# Convolution


def conv2d(x, w, b):
    return _convolve(x, w, b), (x, w)


ROWS = None  # for measurements


def _rows_of_warp(n, height, width, d):
    """Rows of a tile that a warp computes: as many as leave two blocks for each multiprocessor."""
    def blocks(m):
        return n * -(-height // (4 * m)) * -(-width // 16) * -(-d // 32)

    return ROWS or next((m for m in (4, 2) if blocks(m) >= 2 * PROCESSORS), 1)


def _convolve(x, w, b=None, prologue=(NOTHING, None, None, 0), added=None, activated=None):
    n, height, width, c = x.shape
    k, _, _, d = w.shape
    m = _rows_of_warp(n, height, width, d)
    rows, chunk = 4 * m, 32 if k == 1 else 16
    shared = 4 * ((rows + k - 1) * (16 + k - 1) * (chunk + 8) + k * k * chunk * (32 + 4))
    y = cupy.empty((n, height, width, d), x.dtype)
    run = kernel("convolution", f"convolve<{k}, {m}, {str(EXACT).lower()}>", shared)
    grid = -(-height // rows) * -(-width // 16), -(-d // 32), n
    run(grid, (128,), x, w, b, *prologue, added, activated, y, height, width, c, d)
    return y


def _mirrored(w):
    return cupy.ascontiguousarray(w[::-1, ::-1].swapaxes(2, 3))


SPLITS = 264
J = 2


def _filter_gradient(x, dy, k, prologue=(NOTHING, None, None, 0)):
    n, height, width, c = x.shape
    d = dy.shape[3]
    of_channels = -(-c // 32), -(-d // 32)
    tiles = n * -(-height // 8) * -(-width // 16)
    splits = max(1, min(tiles, SPLITS // (of_channels[0] * of_channels[1])))
    size = k * k * c * d + d
    partial = cupy.empty((2 * splits, size), x.dtype)
    shared = 4 * (32 + 8) * ((8 + k - 1) * (16 + k - 1) + 8 * 16)
    run = kernel("convolution", f"filter_gradient<{k}, {J}, {str(EXACT).lower()}>", shared)
    run((*of_channels, splits), (512 // J,), x, dy, *prologue, partial, n, height, width, c, d)
    total = cupy.empty(size, x.dtype)
    kernel("convolution", "sum_rows")((-(-size // 32),), (32, 8), partial, total, 2 * splits, size)
    return {"w": total[:-d].reshape(k, k, c, d), "b": total[-d:]}


def conv2d_backward(dy, cache):
    x, w = cache
    dy = cupy.ascontiguousarray(dy)
    return _convolve(dy, _mirrored(w)), _filter_gradient(x, dy, len(w))


# Normalisation


def _moments(x, sets, group):
    """mean, variance, 1 / std: (sets, C)."""
    c = x.shape[3]
    pixels = x.size // c // sets
    parts = _parts(sets, pixels, c)
    partial = cupy.empty((sets, parts, 2, c), x.dtype)
    kernel("norm", "channel_sums")((parts, sets), (THREADS,), x, None, None, partial, pixels, c)
    mean, variance, scale = cupy.empty((3, sets, c), x.dtype)
    run = kernel("norm", "moments")
    run((sets,), (c,), x, partial, mean, variance, scale, parts, pixels, c, group, EPSILON)
    return mean, variance, scale


def _norm_backward(dy, x, mean, scale, group, added=None):
    sets, c = mean.shape
    pixels = x.size // c // sets
    parts = _parts(sets, pixels, c)
    partial, means = cupy.empty((sets, parts, 2, c), x.dtype), cupy.empty((2, sets, c), x.dtype)
    kernel("norm", "channel_sums")((parts, sets), (THREADS,), x, dy, mean, partial, pixels, c)
    kernel("norm", "gradient_means")((sets,), (c,), partial, scale, means[0], means[1], parts, pixels, c, group)
    dx = cupy.empty(x.shape, x.dtype)
    _by_quads("norm", "norm_gradient", dx, x, dy, mean, scale, means[0], means[1], added, dx, pixels, c)
    return dx


def _parts(sets, pixels, c):
    return max(1, min(64 if sets > 1 else 256, 8 * PROCESSORS // sets, pixels * c // 4096))


def _by_quads(file, name, made, *arguments):
    """A thread for each 4 channels of what is made."""
    size = made.size // 4
    kernel(file, name)((-(-size // THREADS),), (THREADS,), *arguments, size)


def group_norm(x):
    mean, _, scale = _moments(x, len(x), GROUP)
    y = cupy.empty(x.shape, x.dtype)
    c = x.shape[3]
    _by_quads("norm", "normalise", y, x, mean, scale, y, x[0].size // c, c)
    return y, (x, mean, scale)


def group_norm_backward(dy, cache):
    return _norm_backward(cupy.ascontiguousarray(dy), *cache, GROUP)


# A residual block


def residual_block(x, params):
    """shortcut(x) + conv2(swish(conv1(norm(x)))). Kept: x, its moments, and what conv1 made."""
    mean, _, scale = _moments(x, len(x), GROUP)
    norm = NORMALISE, mean, scale, x.shape[3]
    shortcut = _convolve(x, **params["shortcut"]) if "shortcut" in params else x
    h = _convolve(x, **params["conv1"], prologue=norm)
    y = _convolve(h, **params["conv2"], prologue=(SWISH, None, None, 0), added=shortcut)
    return y, (x, mean, scale, h, params)


def residual_block_backward(dy, cache):
    x, mean, scale, h, params = cache
    grads, added = {}, dy
    if "shortcut" in params:
        added = _convolve(dy, _mirrored(params["shortcut"]["w"]))
        grads["shortcut"] = _filter_gradient(x, dy, 1)
    dh = _convolve(dy, _mirrored(params["conv2"]["w"]), activated=h)
    grads["conv2"] = _filter_gradient(h, dy, 3, (SWISH, None, None, 0))
    d = _convolve(dh, _mirrored(params["conv1"]["w"]))
    grads["conv1"] = _filter_gradient(x, dh, 3, (NORMALISE, mean, scale, x.shape[3]))
    return _norm_backward(d, x, mean, scale, GROUP, added), grads


# Resizing and channels


def average_pool(x):
    n, h, w, c = x.shape
    y = cupy.empty((n, h // 2, w // 2, c), x.dtype)
    _by_quads("resize", "average_pool", y, x, y, w // 2, c // 4)
    return y


def average_pool_backward(dy):
    n, h, w, c = dy.shape
    dx = cupy.empty((n, 2 * h, 2 * w, c), dy.dtype)
    _by_quads("resize", "average_pool_backward", dx, cupy.ascontiguousarray(dy), dx, w, c // 4)
    return dx


def upsample(x):
    n, h, w, c = x.shape
    y = cupy.empty((n, 2 * h, 2 * w, c), x.dtype)
    _by_quads("resize", "upsample", y, x, y, h, w, c // 4)
    return y


def upsample_backward(dy):
    n, h, w, c = dy.shape
    dx = cupy.empty((n, h // 2, w // 2, c), dy.dtype)
    _by_quads("resize", "upsample_backward", dx, cupy.ascontiguousarray(dy), dx, h // 2, w // 2, c // 4)
    return dx


def concatenate(parts):
    y = cupy.empty((*parts[0].shape[:3], sum(a.shape[3] for a in parts)), parts[0].dtype)
    _move(y, parts, back=0)
    return y


def split(dy, widths):
    parts = [cupy.empty((*dy.shape[:3], width), dy.dtype) for width in widths]
    _move(dy, parts, back=1)
    return parts


def _move(whole, parts, back):
    start = 0
    for a in parts:
        some = a.shape[3] // 4
        _by_quads("resize", "move_channels", a, whole, a, whole.shape[3] // 4, some, start, back)
        start += some


# Attention


def attention(q, k, v):
    """q (heads, L), k and v (heads, M), float32, already scaled."""
    heads, length = q.shape
    memory = k.shape[1]
    o, log_z = cupy.empty((2, *q.shape), q.dtype)
    kernel("attention", "attend")((-(-length // 128), heads), (128,), q, k, v, o, log_z, length, memory)
    return o, (q, k, v, o, log_z)


def attention_backward(do, cache):
    q, k, v, _, _ = cache
    heads, length = q.shape
    memory = k.shape[1]
    dq, (dk, dv) = cupy.empty(q.shape, q.dtype), cupy.empty((2, *k.shape), q.dtype)
    kernel("attention", "attend_dq")((-(-length // 128), heads), (128,), *cache, do, dq, length, memory)
    kernel("attention", "attend_dk_dv")((-(-memory // 128), heads), (128,), *cache, do, dk, dv, length, memory)
    return dq, dk, dv


def multi_head_attention(x, memory, params):
    q, cq = _linear(x, params["query"])
    k, ck = _linear(memory, params["key"])
    v, cv = _linear(memory, params["value"])
    o, co = attention(*(map(_heads, (q, k, v))))
    y, cy = _linear(_merge(o, q.shape), params["output"])
    return y, {"query": cq, "key": ck, "value": cv, "attention": co, "output": cy, "shapes": (q.shape, k.shape)}


def multi_head_attention_backward(dy, cache):
    grads = {}
    do, grads["output"] = _linear_backward(dy, cache["output"])
    dq, dk, dv = attention_backward(_heads(do), cache["attention"])
    of_x, of_memory = cache["shapes"]
    dx, grads["query"] = _linear_backward(_merge(dq, of_x), cache["query"])
    d_keys, grads["key"] = _linear_backward(_merge(dk, of_memory), cache["key"])
    d_values, grads["value"] = _linear_backward(_merge(dv, of_memory), cache["value"])
    return dx, d_keys + d_values, grads


def _linear(x, params):
    return conv2d(x, params["w"][None, None], params["b"])


def _linear_backward(dy, cache):
    dx, grads = conv2d_backward(dy, cache)
    return dx, {"w": grads["w"][0, 0], "b": grads["b"]}


def _heads(a):  # (N, H, W, HEADS) -> (N HEADS, H W)
    return cupy.ascontiguousarray(a.reshape(len(a), -1, HEADS).swapaxes(1, 2)).reshape(len(a) * HEADS, -1)


def _merge(a, shape):
    return cupy.ascontiguousarray(a.reshape(shape[0], HEADS, -1).swapaxes(1, 2)).reshape(shape)
