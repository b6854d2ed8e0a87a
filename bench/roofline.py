"""How near every layer of the network comes to what this machine can do: its arithmetic and its memory.

    python -m bench.roofline [--batch 4] [--depth 2] [--threads N]

The peaks are measured first: a product of two large matrices, and a copy from memory to memory. A layer is bound
by the one of which it uses the larger part. Arithmetic is counted as the definition has it, so Winograd's
convolution, which needs half of it, can exceed the peak. Bytes are those of a layer's arguments and results, each
once; what a layer moves beyond them is its loss. Normalisation and swish are part of the convolutions that follow.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np

from bench.worker import SIZE
from ddim_from_scratch.networks import unet as network
from ddim_from_scratch.nn.fast import processor
from ddim_from_scratch.nn.fast.processor import block
from ddim_from_scratch.runtime.backend import available_cores, parallel, threads
from ddim_from_scratch.runtime.cli import Parser, at_least, run_command

PAIRS = ("conv2d", "multi_head_attention", "average_pool", "upsample")
OF_NETWORK = [*PAIRS, *(f"{name}_backward" for name in PAIRS), "concatenate", "split", "add"]
OF_BLOCK = ["conv2d", "conv2d_backward", "moments", "normalise_backward", "swish_backward", "add_in_place"]
REPEATS = 3


def gemm_peak(count: int, n: int = 768) -> float:
    """FLOP/s of `count` products of n x n matrices at once."""
    matrices = [np.random.default_rng(i).standard_normal((3, n, n), dtype=np.float32) for i in range(count)]
    return 2 * n**3 * count / fastest(lambda: parallel(lambda m: np.matmul(m[0], m[1], out=m[2]), matrices))


def copy_peak(count: int, megabytes: int = 128) -> float:
    """Bytes a second, read and written, of `count` copies at once."""
    pairs = np.ones((count, 2, megabytes << 18), np.float32)
    return pairs.nbytes / fastest(lambda: parallel(lambda pair: np.copyto(pair[1], pair[0]), pairs))


def fastest(function: Callable[[], object], repeats: int = 10) -> float:
    def once() -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return min(once() for _ in range(repeats))


def arrays(value: Any) -> Iterator[np.ndarray]:
    """The arrays in nested tuples, lists and dicts."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple | list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from arrays(item)


def arithmetic(name: str, arguments: tuple, keywords: dict) -> float:
    """Additions and multiplications of a convolution or an attention; 0 for layers without matrix products."""
    if name == "conv2d":
        return 2 * arguments[0].size / arguments[0].shape[-1] * keywords["w"].size
    if name == "conv2d_backward":
        x, w, *_ = arguments[1]
        return 4 * x.size / x.shape[-1] * w.size
    if name == "multi_head_attention":
        x, memory, *_ = arguments
        n, positions, inner = x.shape[0], x[0, ..., 0].size, network.HEADS * network.HEAD_DIM
        return 4 * n * positions * memory[0, ..., 0].size * inner  # q k^T and p v
    if name == "multi_head_attention_backward":
        of_x, of_memory = arguments[1]["shapes"]
        return 10 * math.prod(of_x) * math.prod(of_memory[1:-1])  # q k^T, do v^T, and the three gradients
    return 0


def label(name: str, arguments: tuple, keywords: dict) -> tuple[str, str]:
    """The layer without "_backward", and its shape."""
    base = (
        name.removesuffix("_backward").replace("moments", "norm").replace("normalise", "norm").removesuffix("_in_place")
    )
    first = next(a for a in arrays(arguments) if a.ndim == 4)
    if base == "conv2d":
        k, _, c, d = (keywords["w"] if "w" in keywords else arguments[1][1]).shape
        return f"conv2d {k}x{k}", f"{first.shape[1]} x {first.shape[2]}, {c} to {d}"
    height, width, channels = first.shape[1:]
    scale = {"average_pool_backward": (2, 1), "upsample_backward": (1, 2)}.get(name, (1, 1))
    height, width = height * scale[0] // scale[1], width * scale[0] // scale[1]
    return base, f"{height} x {width}, {channels}"


def measure(batch: int, depth: int) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """By layer and shape, "forward" and "backward": calls, seconds, FLOP and bytes, summed over a training step."""
    rng = np.random.default_rng(0)
    params, statistics = network.init_unet(rng, block_depth=depth)
    x = rng.standard_normal((batch, *SIZE, 1), dtype=np.float32)
    steps = []

    def recorded(name: str, function: Callable) -> Callable:
        def call(*arguments: Any, **keywords: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments, **keywords)
            seconds = time.perf_counter() - start
            moved = sum(a.nbytes for a in arrays((arguments, keywords, result)))
            way = "backward" if name.endswith("_backward") else "forward"
            steps[-1].append(
                (label(name, arguments, keywords), way, (1, seconds, arithmetic(name, arguments, keywords), moved))
            )
            return result

        return call

    with ExitStack() as stack:
        for name in OF_BLOCK:
            stack.enter_context(patch.object(block, name, recorded(name, getattr(block, name))))
        layers = SimpleNamespace(**vars(processor))
        for name in OF_NETWORK:
            setattr(layers, name, recorded(name, getattr(processor, name)))
        for _ in range(1 + REPEATS):  # the first warms up
            steps.append([])
            eps, cache = network.unet(params, statistics, x, np.full(batch, 0.5), layers, training=True)
            network.unet_backward(eps, cache, layers)
    totals: dict = defaultdict(lambda: {way: np.zeros(4) for way in ("forward", "backward")})
    for calls in zip(*steps[1:], strict=True):  # the same call in every step; its fastest counts
        key, way, _ = calls[0]
        totals[key][way] += min((numbers for *_, numbers in calls), key=lambda numbers: numbers[1])
    return totals


def main(argv: list[str] | None = None) -> None:
    parser = Parser(
        prog="python -m bench.roofline", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=at_least(1), default=4, help="windows (default: 4)")
    parser.add_argument("--depth", type=at_least(1), default=2, help="residual blocks a level (default: 2)")
    parser.add_argument("--threads", type=at_least(1), default=available_cores(), help="default: every core")
    args = parser.parse_args(argv)
    with threads(args.threads):
        flops, bytes_per_second = gemm_peak(args.threads), copy_peak(args.threads)
        totals = measure(args.batch, args.depth)
    print(
        f"{args.threads} threads. Peaks: matrix product {flops / 1e9:.0f} GFLOP/s, "
        f"copy {bytes_per_second / 1e9:.1f} GB/s\n"
    )
    whole = sum(way[1] for ways in totals.values() for way in ways.values())
    print("| layer | shape | calls | of the step | forward | of peak | | backward | of peak | |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for (name, shape), ways in totals.items():
        calls, seconds, *_ = sum(ways.values())
        cells = [name, shape, f"{calls / sum(way[0] > 0 for way in ways.values()):.0f}", f"{seconds / whole:.1%}"]
        for _, seconds, work, moved in ways.values():
            cells += [f"{1e3 * seconds:.1f} ms"] if seconds else [""]
            cells += [f"{work / seconds / 1e9:.0f} GFLOP/s, {work / seconds / flops:.0%}"] if work else [""]
            speed = moved / seconds if seconds else 0
            cells += [f"{speed / 1e9:.1f} GB/s, {speed / bytes_per_second:.0%}"] if seconds else [""]
        print(f"| {' | '.join(cells)} |")
    print(f"\n{whole:.3f} s in layers, a step of {args.batch}")
    for part in dict.fromkeys(name for name, _ in totals):
        seconds = sum(way[1] for (name, _), ways in totals.items() if name == part for way in ways.values())
        print(f"  {part:24s}{seconds / whole:6.1%}")


if __name__ == "__main__":
    run_command(main)
