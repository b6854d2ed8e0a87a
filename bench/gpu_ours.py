"""Our side of bench.gpu: a training step and a forward pass of the package, on the device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ddim_from_scratch.nn.fast.gpu import conv
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.backend import to_device
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.model import Model, init_state
from ddim_from_scratch.spectrogram.system import Batch, Training


def prepare(work: str, config: Config, x: np.ndarray, tf32: bool) -> Callable[[], object]:
    rng = np.random.default_rng(config.seed)
    state = tree.pack(tree.to_device(init_state(config, rng), "gpu"))
    if work == "train_step":
        training, batch = Training(config, device="gpu"), Batch(x)

        def step() -> object:
            conv.EXACT = not tf32
            return training.step(state, batch, 1, rng)

        return step
    eps_model, x = Model(state["network"], config, None, "gpu").eps_model(), to_device(x, "gpu")

    def forward() -> object:
        conv.EXACT = not tf32
        return eps_model(x, 500)

    return forward
