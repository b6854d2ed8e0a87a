"""The paper's network and its training step in PyTorch, eager or compiled, as PyTorch's users would write them.

tests/parity/test_bench.py shows that the network computes the same as ours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ddim_from_scratch.networks.unet import HEAD_DIM, HEADS
from ddim_from_scratch.nn.embedding import DIMENSIONS, sinusoidal_embedding
from ddim_from_scratch.nn.norm import EPSILON, GROUP
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.tree import Tree
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.model import init_state

LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


def normalisation(norm: str, channels: int) -> nn.Module:
    if norm == "group":
        return nn.GroupNorm(channels // GROUP, channels, eps=EPSILON, affine=False)
    return nn.BatchNorm2d(channels, eps=EPSILON, momentum=0.01, affine=False)


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, norm: str):
        super().__init__()
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.norm = normalisation(norm, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x):
        return self.shortcut(x) + self.conv2(F.silu(self.conv1(self.norm(x))))


class Attention(nn.Module):
    """Every position of x looks at every position of memory. x, memory: (N, C, H, W).

    head_padding: zeros appended to each head, which change no score. With a multiple of 4 dimensions in a head,
    PyTorch uses its memory-efficient kernel on a GPU; with one dimension it stores the whole matrix of scores.
    """

    def __init__(self, channels: int, memory_channels: int, head_padding: int):
        super().__init__()
        self.head_padding = head_padding
        self.query = nn.Linear(channels, HEADS * HEAD_DIM)
        self.key, self.value = (nn.Linear(memory_channels, HEADS * HEAD_DIM) for _ in range(2))
        self.output = nn.Linear(HEADS * HEAD_DIM, channels)

    def forward(self, x, memory):
        def heads(linear, a):  # (N, channels, H, W) to (N, heads, positions, HEAD_DIM + head_padding)
            h = linear(a.flatten(2).transpose(1, 2)).unflatten(2, (HEADS, HEAD_DIM)).transpose(1, 2)
            return F.pad(h, (0, self.head_padding)) if self.head_padding else h

        q, k, v = heads(self.query, x), heads(self.key, memory), heads(self.value, memory)
        o = F.scaled_dot_product_attention(q, k, v, scale=HEAD_DIM**-0.5)[..., :HEAD_DIM]
        return self.output(o.transpose(1, 2).flatten(2)).transpose(1, 2).unflatten(2, x.shape[2:])


class UpBlock(ResidualBlock):
    def __init__(self, channels: int, skip: int, outputs: int, norm: str, with_attention: bool, head_padding: int):
        super().__init__(channels + skip + (channels if with_attention else 0), outputs, norm)
        self.attention = Attention(channels, skip, head_padding) if with_attention else None

    def forward(self, x, skip):
        attended = [self.attention(x, skip)] if self.attention else []
        return super().forward(torch.cat([x, skip, *attended], 1))


class UNet(nn.Module):
    """Modules are named by our paths. forward(x: (N, 1, H, W), embedding: (N, DIMENSIONS)) -> (N, 1, H, W)."""

    def __init__(
        self, widths: tuple[int, ...], block_depth: int, attention: str, norm: str = "batch", head_padding: int = 0
    ):
        super().__init__()
        self.levels = len(widths) - 1
        self.input = nn.Conv2d(1, widths[0], 1)
        channels, skips = widths[0] + DIMENSIONS, []
        for level, width in enumerate(widths):
            blocks = nn.ModuleDict()
            for i in range(block_depth):
                blocks[f"block{i}"] = ResidualBlock(channels, width, norm)
                channels = width
            self.add_module("bottom" if level == self.levels else f"down{level}", blocks)
            skips.append(width)
        for level in reversed(range(self.levels)):
            with_attention = attention == "all" or (attention == "lowest" and level == self.levels - 1)
            blocks = nn.ModuleDict()
            for i in range(block_depth):
                blocks[f"block{i}"] = UpBlock(channels, skips[level], widths[level], norm, with_attention, head_padding)
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


def fresh(config: Config, layout: str, device: str, head_padding: int) -> UNet:
    network = UNet(config.widths, config.block_depth, config.attention, config.norm, head_padding)
    load_weights(network, **init_state(config, np.random.default_rng(config.seed))["network"])
    return network.to(device, memory_format=LAYOUTS[layout])


def channels_first(x: np.ndarray, layout: str, device: str = "cpu") -> torch.Tensor:
    return torch.from_numpy(x).to(device).movedim(3, 1).contiguous(memory_format=LAYOUTS[layout])


def embed(noise_variance: np.ndarray, device: str) -> torch.Tensor:
    return torch.from_numpy(sinusoidal_embedding(noise_variance)).float().to(device, non_blocking=True)


def train_step(
    config: Config,
    x0: np.ndarray,
    layout: str,
    device: str = "cpu",
    compiled: bool = False,
    head_padding: int = 0,
) -> Callable[[], object]:
    """A function that does what `Training.step` of ddim_from_scratch/spectrogram/system.py does, once a call.

    x0: (N, frames, mels, 1). compiled: run the forward pass, the losses and the backward pass through torch.compile.
    """
    rng = np.random.default_rng(config.seed)
    network = fresh(config, layout, device, head_padding)
    optimizer = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
    x0 = channels_first(x0, layout, device)

    def losses(levels: torch.Tensor, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        signal_rate, noise_rate = levels**0.5, (1 - levels) ** 0.5
        eps = torch.randn_like(x0)
        x_t = signal_rate * x0 + noise_rate * eps
        eps_pred = network(x_t, embedding)
        with torch.no_grad():
            reconstruction = F.mse_loss((x_t - noise_rate * eps_pred) / signal_rate, x0)
        return F.mse_loss(eps_pred, eps), reconstruction

    if compiled:
        losses = torch.compile(losses, dynamic=False)

    def once() -> tuple[float, float]:
        alpha_bar = config.noise_schedule.draw(len(x0), rng)
        levels = torch.from_numpy(alpha_bar).float()[:, None, None, None].to(device, non_blocking=True)
        loss, reconstruction = losses(levels, embed(1 - alpha_bar, device))
        optimizer.zero_grad()
        loss.backward()
        if config.clip_gradient:
            nn.utils.clip_grad_norm_(network.parameters(), config.clip_gradient)
        optimizer.step()
        average.update_parameters(network)
        return loss.item(), reconstruction.item()

    return once


def forward(
    config: Config,
    x: np.ndarray,
    layout: str,
    device: str = "cpu",
    compiled: bool = False,
    head_padding: int = 0,
) -> Callable[[], object]:
    """A function that predicts the noise in x: (N, frames, mels, 1). compiled: through torch.compile."""
    network = fresh(config, layout, device, head_padding).eval()
    x, noise_variance = channels_first(x, layout, device), np.full(len(x), 0.5)
    if compiled:
        network = torch.compile(network, dynamic=False)

    def once() -> torch.Tensor:
        with torch.inference_mode():
            return network(x, embed(noise_variance, device))

    return once
