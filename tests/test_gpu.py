"""On a real device: the kernels, recorded graphs, and the commands. tests/test_cupy_rules.py runs there, too.

make test-gpu
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from helpers import LAYERS, OF_FOURS, relative_error, scale_of

from ddim_from_scratch.nn.fast import gpu
from ddim_from_scratch.nn.fast.gpu import conv
from ddim_from_scratch.notes.config import Config as BandConfig
from ddim_from_scratch.runtime import backend, tree
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.model import Model, init_state
from ddim_from_scratch.spectrogram.system import Batch, Training

CASES = LAYERS | {f"{name}, in fours": layer for name, layer in OF_FOURS.items()}
SIZE = dict(widths=(8, 16, 24), block_depth=1, learning_rate=1e-3)


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


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("exact", "tolerance"), [(True, 1e-4), (False, 0.1)])
def test_every_layer_gives_what_the_textbook_gives(name, exact, tolerance, rng, cupy, monkeypatch):
    """In float32, beside float64; a network's layers add their rounding up."""
    monkeypatch.setattr(conv, "EXACT", exact)
    arguments, dy, expected = CASES[name].example(rng, np.float32, exact=np.float64)
    for argument, a in CASES[name].both(gpu, put(arguments), put(dy)).items():
        assert isinstance(a, cupy.ndarray) and a.dtype == np.float32
        scale, limit = scale_of(argument), tolerance / 20
        if name.startswith(("unet", "frames", "transformer")):
            scale, limit = max(scale, 0.3), tolerance  # some gradients are 0, or nearly
        elif argument == "key/b":  # 0: terms as large as those of key/w cancel, but for their rounding
            scale = np.abs(expected["key/w"]).max()
        assert relative_error(a.get(), expected[argument], scale) < limit, argument


BAND = {"data": "somewhere", "programs": (0,), "learning_rate": 1e-3, "learning_rate_schedule": "constant"}
ROWS = {"frame_width": 8, "frame_blocks": 1}
NETWORKS = {
    "unet": Config(data="somewhere", norm="group", **SIZE),
    "unet, whole frames": Config(data="somewhere", norm="group", frame_planes=2, **SIZE),
    "unet, batch norm": Config(data="somewhere", norm="batch", **SIZE),
    "frames": Config(data="somewhere", network="frames", learning_rate=1e-3, **ROWS),
    "transformer": Config(data="somewhere", network="transformer", learning_rate=1e-3, **ROWS),
    "band": BandConfig(**BAND | {"widths": (8, 16)}),
    "band, tokens": BandConfig(network="transformer", notes_as="tokens", **BAND | ROWS),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_training_steps_agree_with_the_processors(name, rng, monkeypatch):
    """The first step is run, and recorded where that can be done; the others are replayed."""
    monkeypatch.setattr(conv, "EXACT", True)
    config = NETWORKS[name]
    fresh = init_state(config, np.random.default_rng(0))
    state, device_state = tree.pack(fresh), tree.pack(put(fresh))
    for step in (1, 2, 3):
        x0, context = rng.standard_normal((2, 2, 16, 128, 1)).astype(np.float32)
        told = [context] * config.context + [np.ones((2, 16, config.features), np.float32)] * (config.features > 0)
        batch = Batch(x0, (*told, *[rng.integers(0, 9, (2, 6))] * (config.vocabulary > 0)))
        drawn = Training(config).noisy(batch, np.random.default_rng(step))
        losses = Training(config).step(state, drawn, step)
        device_losses = Training(config, device="gpu").step(device_state, drawn, step)
        assert device_losses == pytest.approx(losses, rel=1e-3)


def test_the_recorded_network_gives_what_it_gives_when_it_is_run(rng):
    config = Config(data="somewhere", norm="group", **SIZE)
    network = init_state(config, rng)["network"]
    network["params"]["output"]["w"] += 0.1
    x = rng.standard_normal((3, 2, 32, 16, 1)).astype(np.float32)
    expected = [Model(network, config, None).eps_model()(one, 500) for one in x]
    eps_model = Model(put(network), config, None, "gpu").eps_model()
    found = [eps_model(put(one), 500) for one in x]  # all kept: a replay must not change what was returned before
    for a, b in zip(found, expected, strict=True):
        assert relative_error(a.get(), b) < 1e-4


def test_commands_train_resume_and_sample_on_the_device(recordings, tmp_path):
    """More clips than are drawn at once, in a process of its own."""
    run = tmp_path / "run"
    options = "--window-seconds 1.28 --windows-per-track 4 --widths 8 16 --block-depth 1 --gpu"
    for command in (
        f"train --data {recordings} --run {run} --epochs 1 {options}",
        f"train --run {run} --resume --epochs 2 --gpu",
        f"sample --run {run} --num 9 --seconds 1.28 --steps 3 --sampler dpm++2m --inverter griffin-lim --gpu",
    ):
        done = subprocess.run([sys.executable, "-m", *f"ddim_from_scratch.{command}".split()], capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
    assert len(list(run.rglob("*.wav"))) == 9
