"""What several test files need: an error measure, and every layer and every sampler in one form."""

import codecs
import hashlib
import importlib
import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

from ddim_from_scratch import nn
from ddim_from_scratch.diffusion import SAMPLERS as REGISTRY
from ddim_from_scratch.diffusion import Walk, ddpm
from ddim_from_scratch.networks.frames import frames, frames_backward, init_frames
from ddim_from_scratch.networks.transformer import Condition, Sizes, init_transformer, transformer, transformer_backward
from ddim_from_scratch.networks.unet import init_unet, unet, unet_backward
from ddim_from_scratch.nn.attend import init_multi_head_attention
from ddim_from_scratch.nn.block import init_residual_block
from ddim_from_scratch.nn.fast import processor
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.backend import array_module

# The options of a training of a second, whose epochs have 7 steps on `recordings`.
TINY = "--window-seconds 0.64 --window-hop-seconds 0.32 --windows-per-track 5 --widths 4 4 --attention none"
TINY += " --batch-size 2"


def reference(name: str):
    """A library to compare with. Without it the test is skipped, or fails if DDIM_REQUIRE_REFERENCES is set."""
    return importlib.import_module(name) if os.environ.get("DDIM_REQUIRE_REFERENCES") else pytest.importorskip(name)


def digest(path: Path) -> str:
    """What two files have in common only if they are the same. (Files that differ make pytest compare for hours.)"""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """A folder below tmp_path that nobody can write to, and this process can no more than others."""
    codecs.lookup("cp437")  # zipfile asks for it when it first reads: a module that only root may be able to import
    for above in list(folder.parents)[:3]:
        above.chmod(0o755)
    folder.chmod(0o555)
    me = os.geteuid()
    if me == 0:  # whom no permission binds
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(me)
        folder.chmod(0o755)


def assert_same_leaves(a: dict, b: dict) -> None:
    """Two trees of the same names, in one order, of the same types and numbers."""
    a, b = tree.flatten(a), tree.flatten(b)
    assert list(a) == list(b)
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def peak(function: Callable[[], object]) -> int:
    """The bytes of Python's and NumPy's that were held at once within a call, beyond those at its start."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def relative_error(a, b, scale: float = 0.0) -> float:
    """max |a - b| / max |b|; `scale` stands in where b is zero in theory."""
    a, b = (np.asarray(z, np.complex128 if np.iscomplexobj(z) else np.float64) for z in (a, b))
    assert a.shape == b.shape, f"{a.shape} is not {b.shape}"
    return float(np.abs(a - b).max() / max(np.abs(b).max(), scale))


TWINS = {"plain": nn, "processor": processor}


class Layer(NamedTuple):
    """A layer of any namespace: forward(layers, params, *inputs) -> y, cache; backward(layers, dy, cache) -> gradients.

    inputs, params: the shape of each, params by path.
    """

    forward: Callable
    backward: Callable
    inputs: dict[str, tuple[int, ...]]
    params: dict[str, tuple[int, ...]]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.inputs | self.params

    def arguments(self, rng: np.random.Generator, dtype=np.float64) -> list[np.ndarray]:
        """Unit Gaussians; weights so scaled that layers keep that size."""
        scales = [np.prod(s[:-1]) ** -0.5 if name.endswith("w") else 1.0 for name, s in self.shapes.items()]
        return [(c * rng.standard_normal(s)).astype(dtype) for s, c in zip(self.shapes.values(), scales, strict=True)]

    def run(self, layers: ModuleType, arguments: list) -> tuple:
        """y and the cache."""
        inputs, leaves = arguments[: len(self.inputs)], arguments[len(self.inputs) :]
        return self.forward(layers, tree.unflatten(dict(zip(self.params, leaves, strict=True))), *inputs)

    def gradients(self, layers: ModuleType, dy: Any, cache: Any) -> list:
        """One of each argument."""
        found = self.backward(layers, dy, cache)
        found = list(found) if isinstance(found, list | tuple) else [found]
        grads = tree.flatten(found.pop()) if self.params else {}
        assert grads.keys() == set(self.params)
        return found + [grads[path] for path in self.params]

    def both(self, layers: ModuleType, arguments: list, dy: Any) -> dict:
        """The result and the gradients, by name."""
        y, cache = self.run(layers, arguments)
        return dict(zip(["y", *self.shapes], [y, *self.gradients(layers, dy, cache)], strict=True))

    def example(self, rng: np.random.Generator, dtype=np.float64, exact=None) -> tuple[list, np.ndarray, dict]:
        """Arguments and dy of `dtype`, and what the textbook makes of them, in the precision `exact` if it is given."""
        arguments = self.arguments(rng, dtype)
        precise = [a.astype(exact or dtype) for a in arguments]
        dy = rng.standard_normal(self.run(nn, precise)[0].shape).astype(dtype)
        return arguments, dy, self.both(nn, precise, dy.astype(exact or dtype))


def scale_of(name: str) -> float:
    """For `relative_error`: softmax ignores a constant added to its scores, so a key's bias has the gradient 0."""
    return 1.0 if name.endswith("key/b") else 0.0


def assert_agree(found: dict, expected: dict, tolerance: float) -> None:
    """Results and gradients by name."""
    for name, a in found.items():
        assert relative_error(a, expected[name], scale_of(name)) < tolerance, name


def layer(name: str, inputs: dict, params: dict | None = None, cached: bool = True, **options: Any) -> Layer:
    """The functions `name` and `name`_backward, which take params by name."""

    def forward(layers: ModuleType, params: dict, *inputs: Any) -> tuple:
        y = getattr(layers, name)(*inputs, **params, **options)
        return y if cached else (y, None)

    def backward(layers: ModuleType, dy: Any, cache: Any) -> Any:
        function = getattr(layers, f"{name}_backward")
        return function(dy, cache) if cached else function(dy)

    return Layer(forward, backward, inputs, params or {})


def convolution(k: int, n: int, height: int, width: int, c: int, d: int) -> Layer:
    return layer("conv2d", {"x": (n, height, width, c)}, {"w": (k, k, c, d), "b": (d,)})


def depthwise(k: int, dilation: int, n: int, length: int, c: int) -> Layer:
    return layer("depthwise_conv", {"x": (n, length, c)}, {"w": (k, c), "b": (c,)}, dilation=dilation)


def shapes_of(params: dict) -> dict:
    return {path: leaf.shape for path, leaf in tree.flatten(params).items()}


def hiding(k: Any) -> Any:
    """A mask of keys (N, M, D), on their device: it hides one of the first sample's and all of the others'."""
    xp = array_module(k)
    sample, key = xp.arange(len(k))[:, None], xp.arange(k.shape[1])
    return (sample == 0) & (key != 1)


def multi_head(
    heads: int, head_dim: int, channels: int, memory_channels: int, size: tuple[int, ...] = (3, 4), masked: bool = False
) -> Layer:
    params = init_multi_head_attention(np.random.default_rng(0), channels, memory_channels, heads * head_dim)
    return Layer(
        lambda layers, params, x, memory: layers.multi_head_attention(
            x, memory, params, heads, hiding(memory) if masked else None
        ),
        lambda layers, dy, cache: layers.multi_head_attention_backward(dy, cache),
        {"x": (2, *size, channels), "memory": (2, *size, memory_channels)},
        shapes_of(params),
    )


def residual(inputs: int, outputs: int, statistics: dict | None) -> Layer:
    return Layer(
        lambda layers, params, x: layers.residual_block(x, params, statistics, True),
        lambda layers, dy, cache: layers.residual_block_backward(dy, cache),
        {"x": (2, 4, 3, inputs)},
        shapes_of(init_residual_block(np.random.default_rng(0), inputs, outputs)),
    )


def network(
    attention: str, widths=(3, 4, 5), block_depth: int = 1, size=(8, 4), n: int = 2, channels=1, norm="batch"
) -> Layer:
    params, statistics = init_unet(np.random.default_rng(0), widths, block_depth, attention, channels, norm)
    noise_variance = np.linspace(0.2, 0.7, n)
    return Layer(
        lambda layers, params, x: unet(params, statistics, x, noise_variance, layers, training=True),
        lambda layers, dy, cache: unet_backward(dy, cache, layers),
        {"x": (n, *size, channels)},
        shapes_of(params),
    )


def frame_network(width=6, blocks=4, n=2, length=5, inputs=3, outputs=2) -> Layer:
    params, told = init_frames(np.random.default_rng(0), inputs, outputs, width, blocks), np.linspace(0.2, 0.7, n)
    return Layer(
        lambda layers, params, x: frames(params, x, told, layers, training=True),
        lambda layers, dy, cache: frames_backward(dy, cache, layers),
        {"x": (n, length, inputs)},
        shapes_of(params),
    )


def condition_like(x: Any, vocabulary: int = 0, features: int = 0) -> Condition:
    """A condition for x (2, frames, mels), on its device: the first sample's whole but for its ends, no second."""
    xp = array_module(x)
    context = xp.sin(xp.arange(x.size)).reshape(x.shape).astype(x.dtype)
    there = xp.arange(2)[:, None] == 0
    tokens = there * (1 + xp.arange(5) * 3 % 4) * (xp.arange(5) < 4) if vocabulary else None
    roll = xp.cos(xp.arange(2 * x.shape[1] * features)).reshape(2, -1, features).astype(x.dtype) if features else None
    return Condition(context, there & (xp.arange(x.shape[1]) > 0), tokens, roll)


def told(
    vocabulary: int = 0, features: int = 0, context: bool = True, depth: int = 1, frames: int = 3, mels: int = 5
) -> Layer:
    sizes = Sizes(8, depth, mels, vocabulary, context, features)
    params = init_transformer(np.random.default_rng(0), sizes)
    levels = np.array([0.2, 0.7])
    return Layer(
        lambda layers, params, x: transformer(params, x, levels, condition_like(x, vocabulary, features), layers),
        lambda layers, dy, cache: transformer_backward(dy, cache, layers),
        {"x": (2, frames, mels)},
        shapes_of(params),
    )


CONVOLUTIONS = {
    "conv2d 1x1": convolution(1, 2, 5, 7, 3, 4),
    "conv2d 3x3": convolution(3, 2, 9, 7, 3, 4),
    "conv2d 3x3, one pixel a row": convolution(3, 1, 2, 1, 1, 1),
    "conv2d 5x5": convolution(5, 1, 7, 4, 2, 3),
    "conv2d 5x5, larger than the plane": convolution(5, 1, 1, 2, 2, 2),
}
LAYERS = {
    **CONVOLUTIONS,
    "depthwise_conv": depthwise(7, 1, 2, 9, 3),
    "depthwise_conv, wider than the sequence": depthwise(5, 4, 1, 3, 2),
    "linear": layer("linear", {"x": (2, 3, 4, 5)}, {"w": (5, 3), "b": (3,)}),
    "swish": layer("swish", {"x": (2, 3, 5, 2)}),
    "batch_norm": layer("batch_norm", {"x": (3, 5, 4, 3)}),
    "batch_norm, one sample": layer("batch_norm", {"x": (1, 3, 3, 1)}),
    "group_norm": layer("group_norm", {"x": (3, 5, 4, 16)}),
    "group_norm, all channels": layer("group_norm", {"x": (1, 3, 3, 3)}),
    "average_pool": layer("average_pool", {"x": (2, 6, 4, 3)}, cached=False),
    "upsample": layer("upsample", {"x": (2, 5, 3, 2)}, cached=False),
    "upsample, one pixel": layer("upsample", {"x": (1, 1, 1, 2)}, cached=False),
    "concatenate": Layer(
        lambda layers, _, *parts: (layers.concatenate(parts), None),
        lambda layers, dy, _: layers.split(dy, [2, 1, 3]),
        {"a": (2, 3, 2, 2), "b": (2, 3, 2, 1), "c": (2, 3, 2, 3)},
        {},
    ),
    "add": Layer(
        lambda layers, _, a, b: (layers.add(a, b), None),
        lambda layers, dy, _: (dy, dy),
        {"a": (2, 3, 2, 2), "b": (2, 3, 2, 2)},
        {},
    ),
    "linear, no bias": layer("linear", {"x": (2, 4, 5)}, {"w": (5, 3)}),
    "gelu": layer("gelu", {"x": (2, 3, 5)}),
    "geglu": layer("geglu", {"x": (2, 3, 4)}, {"gate/w": (4, 6), "value/w": (4, 6), "output/w": (6, 4)}),
    "film": layer("film", {"x": (2, 3, 4), "condition": (2, 5)}, {"w": (5, 8)}),
    "layer_norm": layer("layer_norm", {"x": (2, 3, 5)}, {"scale": (5,), "centre": (5,)}),
    "rms_norm": layer("rms_norm", {"x": (2, 3, 5)}, {"scale": (5,)}),
    "embed": Layer(  # a token twice, another never; made on the table's device
        lambda layers, params: layers.embed(
            array_module(params["table"]).arange(6).reshape(2, 3) * 2 % 5, params["table"]
        ),
        lambda layers, dy, cache: layers.embed_backward(dy, cache),
        {},
        {"table": (6, 3)},
    ),
    "attention": layer("attention", {"q": (2, 7, 3), "k": (2, 5, 3), "v": (2, 5, 3)}),
    "attention, masked": Layer(
        lambda layers, _, q, k, v: layers.attention(q, k, v, hiding(k)),
        lambda layers, dy, cache: layers.attention_backward(dy, cache),
        {"q": (2, 7, 3), "k": (2, 5, 3), "v": (2, 5, 3)},
        {},
    ),
    "multi_head_attention, masked sequences": multi_head(2, 3, 4, 5, size=(5,), masked=True),
    "multi_head_attention": multi_head(heads=4, head_dim=1, channels=3, memory_channels=5),
    "multi_head_attention, wide heads": multi_head(heads=2, head_dim=3, channels=4, memory_channels=2),
    "multi_head_attention, many positions": multi_head(1, 1, channels=2, memory_channels=3, size=(12, 12)),
    "residual_block": residual(3, 3, {}),
    "residual_block, new width": residual(3, 4, {}),
    "residual_block, group norm": residual(3, 3, None),
    "residual_block, group norm, new width": residual(3, 4, None),
}
NETWORKS = {
    "unet, attention none": network("none"),
    "unet, attention lowest": network("lowest"),
    "unet, attention all": network("all"),
    "unet, two residual blocks a block": network("all", widths=(2, 3), block_depth=2, size=(4, 2)),
    "unet, a second channel": network("lowest", channels=2),
    "unet, group norm": network("none", widths=(3, 4), size=(4, 2), norm="group"),
    "frames": frame_network(),
    "transformer, tokens": told(vocabulary=5),
    "transformer, roll": told(features=3),
    "transformer, alone": told(context=False),
    "transformer, both, two blocks": told(vocabulary=5, features=2, depth=2),
}
LAYERS |= NETWORKS

# For a GPU's kernels: channels in fours, tiles that stick out of the picture, several of them, many channels.
MOMENTS = {"mean": np.linspace(-1, 1, 8), "variance": np.linspace(0.5, 2, 8)}
OF_FOURS: dict[str, Layer] = {
    "conv2d 3x3": convolution(3, 2, 19, 20, 36, 8),
    "conv2d 3x3, many outputs": convolution(3, 1, 5, 33, 4, 40),
    "conv2d 1x1": convolution(1, 3, 5, 18, 8, 4),
    "conv2d of one channel": convolution(1, 1, 9, 7, 1, 8),
    "group_norm": layer("group_norm", {"x": (3, 5, 4, 24)}),
    "batch_norm": layer("batch_norm", {"x": (3, 5, 4, 12)}),
    "residual_block": residual(8, 12, None),
    "residual_block, batch norm": residual(8, 8, MOMENTS),
    "average_pool": layer("average_pool", {"x": (2, 4, 6, 8)}, cached=False),
    "upsample": layer("upsample", {"x": (2, 3, 4, 8)}, cached=False),
    "attention": layer("attention", {"q": (3, 150, 1), "k": (3, 130, 1), "v": (3, 130, 1)}),
    "multi_head_attention": multi_head(4, 1, 8, 12),
    "unet": network("lowest", widths=(4, 8, 12), norm="group"),
    "frames": frame_network(width=8, blocks=3, inputs=8, outputs=4),
    "rms_norm": layer("rms_norm", {"x": (3, 7, 36)}, {"scale": (36,)}),
    "geglu": layer("geglu", {"x": (2, 9, 8)}, {"gate/w": (8, 40), "value/w": (8, 40), "output/w": (40, 8)}),
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
