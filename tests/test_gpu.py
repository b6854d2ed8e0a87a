"""On a real device, what tests/test_cupy_rules.py shows with a stand-in: the package computes there what it does here.

make test-gpu
"""

import os

import numpy as np
import pytest
from helpers import LAYERS, relative_error

from ddim_from_scratch import backend, tree
from ddim_from_scratch.audio import griffin_lim, log_mel
from ddim_from_scratch.config import Config
from ddim_from_scratch.model import init_state
from ddim_from_scratch.train import train_step


@pytest.fixture(autouse=True, scope="module")
def cupy():
    if not os.environ.get("DDIM_TEST_GPU"):
        pytest.skip("needs CuPy and a CUDA device: make test-gpu")
    backend.require_gpu()  # fails with its one line: whoever asks for these tests has a GPU
    return backend.cupy


def put(leaves):
    if isinstance(leaves, dict):
        return tree.map(put, leaves)
    return [put(leaf) for leaf in leaves] if isinstance(leaves, list) else backend.to_device(leaves, "gpu")


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "mean_squared_error"])
def test_every_layer_agrees_with_numpy(name, rng, cupy):
    layer = LAYERS[name]
    arguments = layer.arguments(rng)
    y, cache = layer.forward(*arguments)
    dy = rng.standard_normal(y.shape)
    device_y, device_cache = layer.forward(*put(arguments))
    results = [device_y, *layer.backward(put(dy), device_cache)]
    assert all(isinstance(a, cupy.ndarray) for a in results)
    names = ["y", *layer.shapes]
    for argument, a, b in zip(names, results, [y, *layer.backward(dy, cache)], strict=False):
        assert relative_error(a.get(), b, 1.0 if argument.endswith("key/b") else 0.0) < 1e-9, argument


def test_a_training_step_agrees_with_numpy(rng):
    config = Config(data="somewhere", widths=(8, 12, 16), block_depth=1, learning_rate=1e-3)
    state = init_state(config, np.random.default_rng(0))
    device_state, x0 = put(state), rng.standard_normal((2, 16, 8, 1)).astype(np.float32)
    for step in (1, 2):
        losses = train_step(state, x0, config, step, np.random.default_rng(step))
        assert train_step(device_state, put(x0), config, step, np.random.default_rng(step)) == pytest.approx(
            losses, rel=1e-3
        )


def test_spectrograms_agree_with_numpy(rng):
    samples = rng.standard_normal(6400).astype(np.float32)
    mel = log_mel(samples)
    assert relative_error(log_mel(put(samples)).get(), mel) < 1e-4
    assert relative_error(griffin_lim(put(mel), iterations=2).get(), griffin_lim(mel, iterations=2)) < 1e-2
