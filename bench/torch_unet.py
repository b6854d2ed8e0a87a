"""The paper's network in PyTorch, eager, and its training step, as its users would write them.

tests/parity/test_bench.py shows that it computes what ours does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ddim_from_scratch.nn.embedding import DIMENSIONS, sinusoidal_embedding
from ddim_from_scratch.nn.fast.norm import EPSILON
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.tree import Tree
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.model import draw_alpha_bar, init_state
from ddim_from_scratch.spectrogram.unet import HEAD_DIM, HEADS

LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.norm = nn.BatchNorm2d(inputs, eps=EPSILON, momentum=0.01, affine=False)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x):
        return self.shortcut(x) + self.conv2(F.silu(self.conv1(self.norm(x))))


class Attention(nn.Module):
    """Every position of x looks at every position of memory. x, memory: (N, C, H, W)."""

    def __init__(self, channels: int, memory_channels: int):
        super().__init__()
        self.query = nn.Linear(channels, HEADS * HEAD_DIM)
        self.key, self.value = (nn.Linear(memory_channels, HEADS * HEAD_DIM) for _ in range(2))
        self.output = nn.Linear(HEADS * HEAD_DIM, channels)

    def forward(self, x, memory):
        q, k, v = (
            linear(a.flatten(2).transpose(1, 2)).unflatten(2, (HEADS, HEAD_DIM)).transpose(1, 2)
            for linear, a in ((self.query, x), (self.key, memory), (self.value, memory))
        )
        o = F.scaled_dot_product_attention(q, k, v)  # (N, heads, positions, HEAD_DIM)
        return self.output(o.transpose(1, 2).flatten(2)).transpose(1, 2).unflatten(2, x.shape[2:])


class UpBlock(ResidualBlock):
    def __init__(self, channels: int, skip: int, outputs: int, with_attention: bool):
        super().__init__(channels + skip + (channels if with_attention else 0), outputs)
        self.attention = Attention(channels, skip) if with_attention else None

    def forward(self, x, skip):
        attended = [self.attention(x, skip)] if self.attention else []
        return super().forward(torch.cat([x, skip, *attended], 1))


class UNet(nn.Module):
    """Modules are named by our paths. forward(x: (N, 1, H, W), embedding: (N, DIMENSIONS)) -> (N, 1, H, W)."""

    def __init__(self, widths: tuple[int, ...], block_depth: int, attention: str):
        super().__init__()
        self.levels = len(widths) - 1
        self.input = nn.Conv2d(1, widths[0], 1)
        channels, skips = widths[0] + DIMENSIONS, []
        for level, width in enumerate(widths):
            blocks = nn.ModuleDict()
            for i in range(block_depth):
                blocks[f"block{i}"] = ResidualBlock(channels, width)
                channels = width
            self.add_module("bottom" if level == self.levels else f"down{level}", blocks)
            skips.append(width)
        for level in reversed(range(self.levels)):
            with_attention = attention == "all" or (attention == "lowest" and level == self.levels - 1)
            blocks = nn.ModuleDict()
            for i in range(block_depth):
                blocks[f"block{i}"] = UpBlock(channels, skips[level], widths[level], with_attention)
                channels = widths[level]
            self.add_module(f"up{level}", blocks)
        self.output = nn.Conv2d(channels, 1, 1)

    def forward(self, x, embedding):
        h = self.input(x)
        h = torch.cat([h, embedding[:, :, None, None].expand(-1, -1, *h.shape[2:])], 1)
        skips = []
        for level in range(self.levels):
            for block in self.get_submodule(f"down{level}").values():
                h = block(h)
                skips.append(h)
            h = F.avg_pool2d(h, 2)
        for block in self.bottom.values():
            h = block(h)
        for level in reversed(range(self.levels)):
            h = F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=False)
            for block in self.get_submodule(f"up{level}").values():
                h = block(h, skips.pop())
        return self.output(h)


def load_weights(network: UNet, params: Tree, statistics: Tree) -> None:
    """Give `network` our weights, every one of them."""
    leaves = tree.flatten(params) | tree.flatten(statistics)
    ours = {"weight": "w", "bias": "b", "running_mean": "mean", "running_var": "variance"}
    for name, target in network.state_dict().items():
        *path, kind = (part for part in name.split(".") if part != "norm")
        if kind in ours:
            leaf = torch.from_numpy(leaves.pop("/".join((*path, ours[kind]))))
            target.copy_(leaf.permute(3, 2, 0, 1) if leaf.ndim == 4 else leaf.mT if leaf.ndim == 2 else leaf)
    if leaves:
        raise ValueError(f"PyTorch's network has no {', '.join(leaves)}")


def fresh(config: Config, layout: str) -> UNet:
    network = UNet(config.widths, config.block_depth, config.attention)
    load_weights(network, **init_state(config, np.random.default_rng(config.seed))["network"])
    return network.to(memory_format=LAYOUTS[layout])


def channels_first(x: np.ndarray, layout: str) -> torch.Tensor:
    return torch.from_numpy(x).movedim(3, 1).contiguous(memory_format=LAYOUTS[layout])


def embed(noise_variance: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(sinusoidal_embedding(noise_variance)).float()


def train_step(config: Config, x0: np.ndarray, layout: str) -> Callable[[], object]:
    """A function that does what `ddim_from_scratch.train.train_step` does, once a call. x0: (N, frames, mels, 1)."""
    rng = np.random.default_rng(config.seed)
    network = fresh(config, layout)
    optimizer = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
    x0 = channels_first(x0, layout)

    def once() -> tuple[float, float]:
        alpha_bar = draw_alpha_bar(config, len(x0), rng)
        levels = torch.from_numpy(alpha_bar).float()[:, None, None, None]
        signal_rate, noise_rate = levels**0.5, (1 - levels) ** 0.5
        eps = torch.randn_like(x0)
        x_t = signal_rate * x0 + noise_rate * eps
        eps_pred = network(x_t, embed(1 - alpha_bar))
        loss = F.mse_loss(eps_pred, eps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(network)
        with torch.no_grad():
            reconstruction = F.mse_loss((x_t - noise_rate * eps_pred) / signal_rate, x0)
        return loss.item(), reconstruction.item()

    return once


def forward(config: Config, x: np.ndarray, layout: str) -> Callable[[], object]:
    """A function that predicts the noise in x: (N, frames, mels, 1)."""
    network = fresh(config, layout).eval()
    x, noise_variance = channels_first(x, layout), np.full(len(x), 0.5)

    def once() -> torch.Tensor:
        with torch.inference_mode():
            return network(x, embed(noise_variance))

    return once
