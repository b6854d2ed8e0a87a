"""What several test files need: an error measure, and every layer and every sampler in one form."""

import hashlib
import importlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from ddim_from_scratch.diffusion import SAMPLERS as REGISTRY
from ddim_from_scratch.diffusion import Walk, ddpm, mean_squared_error
from ddim_from_scratch.nn.fast import columns, conv, separable, winograd
from ddim_from_scratch.nn.fast.activation import swish, swish_backward
from ddim_from_scratch.nn.fast.attention import (
    attention,
    attention_backward,
    init_multi_head_attention,
    multi_head_attention,
    multi_head_attention_backward,
)
from ddim_from_scratch.nn.fast.norm import batch_norm, batch_norm_backward, group_norm, group_norm_backward
from ddim_from_scratch.nn.fast.resize import (
    average_pool,
    average_pool_backward,
    upsample_bilinear,
    upsample_bilinear_backward,
)
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.spectrogram.unet import (
    concatenate_channels,
    init_unet,
    residual_block,
    residual_block_backward,
    split_channels,
    unet,
    unet_backward,
)


def reference(name: str):
    """A library to compare with. Without it the test is skipped, or fails if DDIM_REQUIRE_REFERENCES is set."""
    return importlib.import_module(name) if os.environ.get("DDIM_REQUIRE_REFERENCES") else pytest.importorskip(name)


def digest(path: Path) -> str:
    """What two files have in common only if they are the same. (Files that differ make pytest compare for hours.)"""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def relative_error(a, b, scale: float = 0.0) -> float:
    """max |a - b| / max |b|; `scale` stands in where b is zero in theory."""
    a, b = (np.asarray(z, np.complex128 if np.iscomplexobj(z) else np.float64) for z in (a, b))
    assert a.shape == b.shape, f"{a.shape} is not {b.shape}"
    return float(np.abs(a - b).max() / max(np.abs(b).max(), scale))


class Layer(NamedTuple):
    """forward(*arguments) -> y, cache; backward(dy, cache) -> a gradient for each argument (or the first few)."""

    forward: Callable
    backward: Callable
    shapes: dict[str, tuple[int, ...]]

    def arguments(self, rng: np.random.Generator, dtype=np.float64) -> list[np.ndarray]:
        """Unit Gaussians; weights so scaled that layers keep that size."""
        scales = [np.prod(s[:-1]) ** -0.5 if name.endswith("w") else 1.0 for name, s in self.shapes.items()]
        shapes = self.shapes.values()
        return [(c * rng.standard_normal(s)).astype(dtype) for s, c in zip(shapes, scales, strict=True)]


def one(function: Callable) -> Callable:
    """A backward pass with one gradient, as a tuple."""
    return lambda dy, cache: (function(dy, cache),)


def uncached(forward: Callable, backward: Callable, *shape: int) -> Layer:
    return Layer(lambda x: (forward(x), None), lambda dy, _: (backward(dy),), {"x": shape})


def convolution(k: int, n: int, height: int, width: int, c: int, d: int, module=conv) -> Layer:
    shapes = {"x": (n, height, width, c), "w": (k, k, c, d), "b": (d,)}
    return Layer(module.conv2d, module.conv2d_backward, shapes)


def multi_head(heads: int, head_dim: int, channels: int, memory_channels: int) -> Layer:
    template = init_multi_head_attention(np.random.default_rng(0), channels, memory_channels, heads, head_dim)
    names = list(tree.flatten(template))

    def forward(x, memory, *leaves):
        return multi_head_attention(tree.unflatten(dict(zip(names, leaves, strict=True))), x, memory, heads)

    def backward(dy, cache):
        dx, dmemory, grads = multi_head_attention_backward(dy, cache)
        flat = tree.flatten(grads)
        return dx, dmemory, *(flat[name] for name in names)

    shapes = {"x": (2, 3, 4, channels), "memory": (2, 3, 4, memory_channels)}
    return Layer(forward, backward, shapes | {name: leaf.shape for name, leaf in tree.flatten(template).items()})


def residual(inputs: int, outputs: int, statistics: dict | None) -> Layer:
    shapes = {"conv1/w": (3, 3, inputs, outputs), "conv1/b": (outputs,)}
    shapes |= {"conv2/w": (3, 3, outputs, outputs), "conv2/b": (outputs,)}
    if inputs != outputs:
        shapes |= {"shortcut/w": (1, 1, inputs, outputs), "shortcut/b": (outputs,)}

    def forward(x, *leaves):
        y, cache, _ = residual_block(tree.unflatten(dict(zip(shapes, leaves, strict=True))), statistics, x, True)
        return y, cache

    def backward(dy, cache):
        dx, grads = residual_block_backward(dy, cache)
        flat = tree.flatten(grads)
        return dx, *(flat[name] for name in shapes)

    return Layer(forward, backward, {"x": (2, 4, 3, inputs)} | shapes)


def network(
    attention: str, widths=(3, 4, 5), block_depth: int = 1, size=(8, 4), n: int = 2, channels=1, norm="batch"
) -> Layer:
    params, statistics = init_unet(np.random.default_rng(0), widths, block_depth, attention, channels, norm)
    shapes = {name: leaf.shape for name, leaf in tree.flatten(params).items()}
    noise_variance = np.linspace(0.2, 0.7, n)

    def forward(x, *leaves):
        params = tree.unflatten(dict(zip(shapes, leaves, strict=True)))
        eps, caches, _ = unet(params, statistics, x, noise_variance, training=True)
        return eps, (params, caches)

    def backward(dy, cache):
        dx, grads = unet_backward(dy, *cache)
        flat = tree.flatten(grads)
        return dx, *(flat[name] for name in shapes)

    return Layer(forward, backward, {"x": (n, *size, channels)} | shapes)


def squared_error(prediction, target):
    loss, gradient = mean_squared_error(prediction, target)
    return np.asarray(loss), gradient


LAYERS = {
    "conv2d 1x1": convolution(1, 2, 5, 7, 3, 4),
    "conv2d 3x3": convolution(3, 2, 5, 7, 3, 4),
    "conv2d 5x5": convolution(5, 1, 7, 4, 2, 3),
    "conv2d 3x3, one channel, one sample": convolution(3, 1, 6, 5, 1, 1),
    "conv2d 5x5, larger than the plane": convolution(5, 1, 1, 2, 2, 2),
    "conv2d 1x1, columns": convolution(1, 2, 5, 7, 3, 4, columns),
    "conv2d 3x3, columns": convolution(3, 3, 5, 7, 3, 4, columns),
    "conv2d 3x3, Winograd": convolution(3, 2, 9, 7, 3, 4, winograd),
    "conv2d 3x3, Winograd, less than one window": convolution(3, 1, 2, 1, 1, 1, winograd),
    "batch_norm": Layer(lambda x: batch_norm(x)[:2], one(batch_norm_backward), {"x": (3, 5, 4, 3)}),
    "batch_norm, one sample": Layer(lambda x: batch_norm(x)[:2], one(batch_norm_backward), {"x": (1, 3, 3, 1)}),
    "group_norm": Layer(lambda x: group_norm(x)[:2], one(group_norm_backward), {"x": (3, 5, 4, 16)}),
    "group_norm, all channels": Layer(lambda x: group_norm(x)[:2], one(group_norm_backward), {"x": (1, 3, 3, 3)}),
    "swish": Layer(swish, one(swish_backward), {"x": (2, 3, 5, 2)}),
    "average_pool": uncached(average_pool, average_pool_backward, 2, 6, 4, 3),
    "upsample_bilinear": uncached(upsample_bilinear, upsample_bilinear_backward, 2, 5, 3, 2),
    "upsample_bilinear, one pixel": uncached(upsample_bilinear, upsample_bilinear_backward, 1, 1, 1, 2),
    "concatenate_channels": Layer(
        lambda a, b, c: (concatenate_channels(a, b, c), None),
        lambda dy, _: tuple(split_channels(dy, 2, 1)),
        {"a": (2, 3, 2, 2), "b": (2, 3, 2, 1), "c": (2, 3, 2, 3)},
    ),
    "attention": Layer(attention, attention_backward, {"q": (2, 7, 3), "k": (2, 5, 3), "v": (2, 5, 3)}),
    "separable attention": Layer(
        partial(separable.attention, r=np.array([40, 41])),
        separable.attention_backward,
        {"q": (2, 7, 1), "k": (2, 5, 1), "v": (2, 5, 1)},
    ),
    "multi_head_attention": multi_head(heads=4, head_dim=1, channels=3, memory_channels=5),
    "multi_head_attention, wide heads": multi_head(heads=2, head_dim=3, channels=4, memory_channels=2),
    "mean_squared_error": Layer(
        squared_error, lambda dy, gradient: (dy * gradient,), {"prediction": (2, 3, 4), "target": (2, 3, 4)}
    ),
    "residual_block": residual(3, 3, {}),
    "residual_block, new width": residual(3, 4, {}),
    "residual_block, group norm": residual(3, 3, None),
    "residual_block, group norm, new width": residual(3, 4, None),
    "unet, attention none": network("none"),
    "unet, attention lowest": network("lowest"),
    "unet, attention all": network("all"),
    "unet, two residual blocks a block": network("all", widths=(2, 3), block_depth=2, size=(4, 2)),
    "unet, a second channel": network("lowest", channels=2),
    "unet, group norm": network("none", widths=(3, 4), size=(4, 2), norm="group"),
}


def sampler(name: str, eta: float = 0.0) -> Callable:
    """A registered sampler as (eps_model, x_T, alpha_bar, tau, rng) -> generator of x."""
    return lambda eps_model, x_T, alpha_bar, tau, rng=None: REGISTRY[name](eps_model, x_T, alpha_bar, tau, eta, rng)


# Every sampler that the package registers, those that draw no noise first.
ODE_SAMPLERS = {name: sampler(name) for name, one in REGISTRY.items() if one.takes("eta") or not one.takes("rng")}
SAMPLERS = {
    **ODE_SAMPLERS,
    **{
        f"{name}, eta {eta:g}": sampler(name, eta)
        for name in REGISTRY
        for eta in (0.5, 1)
        if REGISTRY[name].takes("eta")
    },
    **{name: sampler(name) for name in REGISTRY if name not in ODE_SAMPLERS},
    "ddpm, beta": lambda eps_model, x_T, alpha_bar, tau, rng: ddpm(eps_model, x_T, alpha_bar, rng, "beta", tau),
}


def walk(name: str, eps_model: Callable, alpha_bar: np.ndarray, tau: np.ndarray, rng) -> Walk:
    """A walk by one of SAMPLERS."""
    return Walk(lambda *given: SAMPLERS[name](*given[:4], rng), eps_model, alpha_bar, tau, 0.0, rng)


def last(generator):
    """The sample: the last of what a sampler yields."""
    *_, x = generator
    return x
