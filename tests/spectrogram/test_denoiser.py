"""Networks that see whole frames in the paper's system: they learn, go on, draw any length, know their checkpoints."""

import json

import numpy as np
import pytest
from helpers import digest

from ddim_from_scratch import nn, sample, train
from ddim_from_scratch.nn import fast
from ddim_from_scratch.nn.gradcheck import gradient_error
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.runtime.sets import read_about
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.denoiser import NETWORKS, Inputs
from ddim_from_scratch.spectrogram.model import understand
from ddim_from_scratch.training.checkpoint import read_log

OPTIONS = (
    "--frame-width 8 --frame-blocks 2 --schedule log-snr --min-signal-rate 0.003 --prediction v "
    "--window-seconds 0.64 --window-hop-seconds 0.32 --windows-per-track 5 --batch-size 2 --learning-rate 1e-2"
)


@pytest.fixture(
    scope="module",
    params=[
        "frames",
        "transformer",
        "transformer --context",
        "unet --frame-planes 2 --widths 4 4 --block-depth 1 --attention none",
    ],
)
def options(request):
    return f"--network {request.param} {OPTIONS}"


@pytest.fixture(scope="module")
def run(options, recordings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames") / "run"
    train.main(f"--data {recordings} --run {folder} --epochs 2 {options}".split())
    return folder


@pytest.mark.parametrize("plain", ["", "--plain"])
def test_stopped_or_plain_it_comes_to_the_same(plain, run, options, recordings, tmp_path):
    train.main(f"--data {recordings} --run {tmp_path} --epochs 1 {options} {plain}".split())
    train.main(f"--run {tmp_path} --resume --epochs 2 {plain}".split())
    if not plain:
        assert digest(tmp_path / "checkpoint.npz") == digest(run / "checkpoint.npz")
    losses = [np.array(read_log(folder / "log.csv"))[:, 2] for folder in (run, tmp_path)]
    np.testing.assert_allclose(*losses, rtol=1e-3)


def test_it_draws_any_number_of_frames(run):
    sample.main(f"--run {run} --num 1 --steps 2 --seconds 0.5 --inverter griffin-lim".split())  # 25 frames: no halving
    assert read_about(run / "samples")["finished"]


def test_a_checkpoint_of_another_size_is_refused_at_once(run):
    content = tree.load(run / "checkpoint.npz")
    config = json.loads(tree.text(content.pop("config")))
    content.pop("checksum")
    sizes = {"frame_planes": 3} if config["network"] == "unet" else {"frame_width": 60_000, "frame_blocks": 3}
    for option, value in (sizes | {"context": not config["context"]}).items():
        with pytest.raises(UserError, match="not of its own configuration"):
            understand(Config, content | {"config": np.array(json.dumps(config | {option: value}))})


@pytest.mark.parametrize("layers", [nn, fast.processor])
def test_sums_over_whole_frames_have_the_gradients_that_differences_say(layers, rng):
    config = Config(data="x", widths=(4, 6), block_depth=1, norm="group", frame_planes=2)
    fresh, _ = NETWORKS["unet"].init(config, rng)
    params = tree.map(lambda leaf: leaf + 0.1 * rng.standard_normal(leaf.shape), fresh)
    w, x, told = params["frames"]["w"], rng.standard_normal((2, 4, 128, 1)), np.array([0.3, 0.6])

    def output(w, x):
        network = {"params": params | {"frames": {"w": w}}, "statistics": {}}
        return NETWORKS["unet"].output(network, Inputs.of(config, x, told, ()), layers, True)

    def backward(dy):
        dx, grads = NETWORKS["unet"].backward(dy, output(w, x)[1], layers)
        return grads["frames"]["w"], dx[..., :1]

    assert max(gradient_error(lambda w, x: output(w, x)[0], backward, (w, x), rng)) < 1e-6
