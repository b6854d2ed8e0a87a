"""One competitor in a process of its own: it prepares its work, then does it as often as it is told.

    python -m bench.worker '{"library": "torch", "work": "train_step", "threads": 2, "batch": 4, ...}'

It answers the preparation with a line of JSON, {"version": ...}, and every number n on standard input with
{"seconds": a call, "cpu_seconds": of all its threads, "peak_bytes": most memory it has had so far}.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ddim_from_scratch.runtime.backend import threads
from ddim_from_scratch.spectrogram.config import PRESETS, Config

SIZE = 256, 128  # frames and mel bins, the paper's
PACKAGES = {"ours": "numpy", "torch": "torch", "keras": "tensorflow", "librosa": "librosa"}

Once = Callable[[], object]


def our_train_step(config: Config, x0: np.ndarray) -> Once:
    from ddim_from_scratch.runtime import tree
    from ddim_from_scratch.spectrogram.system import Batch, Training

    rng, system, steps = np.random.default_rng(config.seed), Training(config), iter(range(1, 1 << 30))
    state, batch = tree.pack(system.init(rng)), Batch(x0)
    return lambda: system.step(state, system.noisy(batch, rng), next(steps))


def our_forward(config: Config, x: np.ndarray) -> Once:
    from ddim_from_scratch.networks.unet import unet
    from ddim_from_scratch.nn.fast import layers_for
    from ddim_from_scratch.spectrogram.model import init_state

    network = init_state(config, np.random.default_rng(config.seed))["network"]
    return lambda: unet(**network, x=x, told=np.full(len(x), 0.5), layers=layers_for(x))


def network_work(library: str, work: str, count: int, batch: int, depth: int, **variant: Any) -> Once:
    """The training step or forward pass of the paper's network on `batch` spectrograms."""
    config = Config(**PRESETS["paper"] | {"data": "none", "batch_size": batch, "block_depth": depth})
    x = np.random.default_rng(1).standard_normal((batch, *SIZE, 1), dtype=np.float32)
    if library == "ours":
        return {"train_step": our_train_step, "forward": our_forward}[work](config, x)
    if library == "torch":
        import torch

        from bench import torch_unet as module

        torch.set_num_threads(count)
    else:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)
        from bench import keras_unet as module
    return getattr(module, work)(config, x, **variant)


def log_mel_work(library: str, seconds: float) -> Once:
    samples = np.random.default_rng(1).standard_normal(int(16000 * seconds), dtype=np.float32) / 10
    from bench.audio import librosa_log_mel, log_mel

    function = {"ours": log_mel, "librosa": librosa_log_mel}[library]
    return lambda: function(samples)


def prepare(library: str, work: str, threads: int, **settings: Any) -> Once:
    if work == "log_mel":
        return log_mel_work(library, **settings)
    return network_work(library, work, threads, **settings)


def peak_bytes() -> int:
    """The most memory this process has occupied. (getrusage would count the one that started it, too.)"""
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def serve(once: Once, answer: Callable[[dict], None]) -> None:
    for line in sys.stdin:
        calls = int(line)
        start, cpu_start = time.perf_counter(), time.process_time()
        for _ in range(calls):
            once()
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        answer({"seconds": seconds / calls, "cpu_seconds": cpu_seconds / calls, "peak_bytes": peak_bytes()})


def main() -> None:
    settings = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print does not get between the answers

    def answer(message: dict) -> None:
        print(json.dumps(message), file=answers, flush=True)

    once = prepare(**settings)
    answer({"version": version(PACKAGES[settings["library"]])})
    if settings["library"] == "ours":
        with threads(settings["threads"]):
            serve(once, answer)
    else:
        serve(once, answer)


if __name__ == "__main__":
    main()
