"""On a real device, what tests/test_cupy_rules.py shows with a stand-in: the package computes there what it does here.

make test-gpu
"""

import os

import numpy as np
import pytest
from helpers import LAYERS, relative_error, scale_of

from ddim_from_scratch import nn
from ddim_from_scratch.audio import griffin_lim, log_mel
from ddim_from_scratch.runtime import backend, tree
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.model import init_state
from ddim_from_scratch.spectrogram.system import Batch, Training


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


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_of_the_textbook_agrees_with_numpy(name, rng, cupy):
    layer = LAYERS[name]
    arguments = layer.arguments(rng)
    dy = rng.standard_normal(layer.run(nn, arguments)[0].shape)
    expected = layer.both(nn, arguments, dy)
    for argument, a in layer.both(nn, put(arguments), put(dy)).items():
        assert isinstance(a, cupy.ndarray)
        assert relative_error(a.get(), expected[argument], scale_of(argument)) < 1e-9, argument


def test_a_training_step_agrees_with_numpy(rng):
    config = Config(data="somewhere", widths=(8, 12, 16), block_depth=1, learning_rate=1e-3)
    fresh = init_state(config, np.random.default_rng(0))
    state, device_state = tree.pack(fresh), tree.pack(put(fresh))
    batch = Batch(rng.standard_normal((2, 16, 8, 1)).astype(np.float32))
    for step in (1, 2):
        losses = Training(config).step(state, batch, step, np.random.default_rng(step))
        device_losses = Training(config, device="gpu").step(device_state, batch, step, np.random.default_rng(step))
        assert device_losses == pytest.approx(losses, rel=1e-3)


def test_spectrograms_agree_with_numpy(rng):
    samples = rng.standard_normal(6400).astype(np.float32)
    mel = log_mel(samples)
    assert relative_error(log_mel(put(samples)).get(), mel) < 1e-4
    assert relative_error(griffin_lim(put(mel), iterations=2).get(), griffin_lim(mel, iterations=2)) < 1e-2
