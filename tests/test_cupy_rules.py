"""The package keeps CuPy's rules, shown without a GPU by a strict stand-in: see fake_cupy.py.

With DDIM_TEST_GPU (make test-gpu) the same tests run on the real CuPy and a device, where nobody counts what is moved.
"""

import importlib
import os
from types import SimpleNamespace
from unittest.mock import Mock

import fake_cupy
import numpy as np
import pytest
from fake_cupy import FakeArray, transfers
from helpers import LAYERS, NETWORKS, SAMPLERS, assert_same_leaves, relative_error, scale_of, walk

from ddim_from_scratch import nn
from ddim_from_scratch.audio import griffin_lim, istft, load_inverter, log_mel, stft
from ddim_from_scratch.audio.midi import Notes
from ddim_from_scratch.diffusion import (
    PREDICTIONS,
    Sampling,
    clipped,
    correlated_gaussian_eps_model,
    ddim_inversion,
    eps_of_x0,
    gaussian_eps_model,
    infill,
    linear_schedule,
    mixture_eps_model,
    predict_x0,
    q_sample,
    slerp,
    thresholded,
    uniform_tau,
    velocity,
)
from ddim_from_scratch.fad import load_musicnn, musicnn, musicnn_patches, postprocess, vggish, vggish_examples
from ddim_from_scratch.networks.unet import init_unet, unet
from ddim_from_scratch.nn import fast
from ddim_from_scratch.notes.compose import Player
from ddim_from_scratch.notes.config import Config as BandConfig
from ddim_from_scratch.runtime import backend, mpi, tree
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.data import Scaler
from ddim_from_scratch.spectrogram.model import Model, init_state
from ddim_from_scratch.spectrogram.system import Batch, Training
from ddim_from_scratch.training.optim import adamw, update_average

ON_DEVICE = bool(os.environ.get("DDIM_TEST_GPU"))
of_the_stand_in = pytest.mark.skipif(ON_DEVICE, reason="about the stand-in")


@pytest.fixture(autouse=True)
def cupy(monkeypatch):
    """The textbook's text runs there; the kernels have tests of their own, nn/fast/test_gpu_kernels.py."""
    monkeypatch.setattr(fast, "_plain", True)
    if ON_DEVICE:
        backend.require_gpu()  # fails with its one line: whoever asks for these tests has a GPU
        return backend.cupy
    module = fake_cupy.install(monkeypatch)
    backend.require_gpu()  # it tries the device once, and that is not counted
    transfers.clear()
    return module


def put(leaves):
    """A tree, list or array on the device, uncounted."""
    if isinstance(leaves, dict):
        return tree.map(put, leaves)
    if isinstance(leaves, list | tuple):
        return [put(leaf) for leaf in leaves]
    return backend.cupy.asarray(leaves) if ON_DEVICE else FakeArray(leaves.copy())


def on_host(a):
    """A device's array as a host's, uncounted."""
    return a.get() if ON_DEVICE else a._host


def assert_same(device, host, tolerance=1e-5, scale=0.0):
    assert type(device) is backend.cupy.ndarray, f"fell back to the host: {type(device)}"
    assert device.dtype == host.dtype
    assert relative_error(on_host(device), host, scale) < tolerance


@of_the_stand_in
def test_the_stand_in_is_as_strict_as_cupy(cupy):
    host, device = np.ones(3, np.float32), cupy.ones(3, np.float32)
    for mix in [
        lambda: host + device,
        lambda: device + host,
        lambda: device.__iadd__(host),
        lambda: host.__iadd__(device),
        lambda: np.add(host, device),
        lambda: np.concatenate([host, device]),
        lambda: cupy.add(device, host),
        lambda: cupy.exp(host),
        lambda: device.__setitem__(slice(None), host),
        lambda: host.__setitem__(slice(None), device),
        lambda: device[np.array([0, 1])],
        lambda: np.asarray(device),
        lambda: np.array([device]),
        lambda: np.cross(device, device),
        lambda: cupy.fuse()(lambda a, number: a * (1 - number))(device, 0.5),
    ]:
        with pytest.raises((TypeError, ValueError)):
            mix()
    for fine in [np.exp(device), device * 2.0, np.sum(device), device[0], sum([device, device]), 1 - device]:
        assert type(fine) is FakeArray and fine.dtype == np.float32
    assert (np.float64(2) * device).dtype == np.float64  # a NumPy number is no Python number
    assert not transfers and float(device.sum()) == 3 and transfers["sync"] == 1
    assert np.isnan(cupy.empty(2)._host).all()
    with pytest.raises(AttributeError, match="fake_cupy"):
        cupy.sctypes  # noqa: B018


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_of_the_textbook_runs_on_the_device_and_agrees_with_numpy(name, rng):
    arguments, dy, expected = LAYERS[name].example(rng)
    for argument, a in LAYERS[name].both(nn, put(arguments), put(dy)).items():
        assert_same(a, expected[argument], scale=scale_of(argument))
    assert ON_DEVICE or transfers["to host"] == transfers["sync"] == 0
    assert ON_DEVICE or transfers["to device"] <= (name in NETWORKS)  # the embedding


def test_inference_agrees_with_numpy(rng):
    params, statistics = init_unet(rng, (4, 6, 8), 1, "all")
    params["output"]["w"] += 0.1
    x, levels = rng.standard_normal((2, 8, 4, 1)).astype(np.float32), np.array([0.2, 0.7])
    expected, _ = unet(params, statistics, x, levels, nn)
    params, statistics, x = put(params), put(statistics), put(x)
    assert_same(unet(params, statistics, x, levels, nn)[0], expected)
    assert ON_DEVICE or transfers == {"to device": 1}  # the embedding


X, OUTPUT = np.random.default_rng(0).standard_normal((2, 3, 4, 2)).astype(np.float32)
LEVELS, MASK = np.array([0.9, 0.5, 0.1]), np.array([[[1]], [[0]], [[0.5]]], np.float32)
CLOUDS = [np.ones((2, 2), np.float32), np.array([0.1, 0.5], np.float32), np.array([0.3, 0.7], np.float32)]
ALPHA_BAR = linear_schedule(100)


def a_model(x, t):
    return x * (t / 200)


def sampled(sampler):
    """Every x of a sampler, which sees the noise of the host."""
    return lambda put: list(sampler(a_model, put(X), ALPHA_BAR, uniform_tau(100, 5), np.random.default_rng(7)))


def infilled(name):
    def run(put):
        steps = walk(name, a_model, ALPHA_BAR, uniform_tau(100, 3), np.random.default_rng(7))
        return list(infill(steps, put(X), put(OUTPUT), put(MASK), 2))

    return run


def at_70(model):
    return lambda put: [model(put)(put(X), 70)]


def at_levels(function):
    """With noise levels on the host, on the device, and one for all."""
    return lambda put: [function(put(X), levels, put(OUTPUT)) for levels in (LEVELS, put(LEVELS), 0.3)]


DIFFUSION = {
    **{name: sampled(sampler) for name, sampler in SAMPLERS.items()},
    **{f"infill, {name}": infilled(name) for name in SAMPLERS},
    "inversion": sampled(lambda *arguments: ddim_inversion(*arguments[:4], evaluations=2)),
    "gaussian": at_70(lambda _: gaussian_eps_model(0.5, 0.25, ALPHA_BAR)),
    "correlated": at_70(lambda _: correlated_gaussian_eps_model(np.ones(2), np.eye(2) + 0.5, ALPHA_BAR)),
    "mixture": at_70(lambda put: mixture_eps_model(*map(put, CLOUDS), ALPHA_BAR)),
    "clipped": at_70(lambda _: clipped(lambda x, t: 0.1 * x, ALPHA_BAR)),
    "thresholded": at_70(lambda _: thresholded(lambda x, t: 0.1 * x, ALPHA_BAR, 60.0)),
    "slerp": lambda put: [slerp(put(X), put(OUTPUT), share) for share in (0, 0.3, 1)],
    **{f"{name}, reading {i}": at_levels(f) for name, both in PREDICTIONS.items() for i, f in enumerate(both)},
    **{function.__name__: at_levels(function) for function in (q_sample, predict_x0, eps_of_x0, velocity)},
}


@pytest.mark.parametrize("name", DIFFUSION)
def test_diffusion_agrees_with_numpy(name):
    found = DIFFUSION[name](put)
    read = 3 if name == "slerp" else 0  # an angle for each share
    assert ON_DEVICE or (transfers["to host"], transfers["sync"]) == (0, read)
    for a, b in zip(found, DIFFUSION[name](np.copy), strict=True):
        assert_same(a, b)


def test_the_optimizer_and_the_moving_average_agree_with_numpy(rng):
    """After a hundred steps: what a number loses in each adds up."""
    params, gradients = rng.standard_normal((2, 1000)).astype(np.float32)
    host = [params.copy() for _ in range(2)] + list(np.zeros((2, 1000), np.float32))
    device = [put(array) for array in host]
    for step in range(1, 101):
        for (weights, average, m, v), gradient in ((host, gradients), (device, put(gradients))):
            adamw(weights, gradient, {"m": m, "v": v}, step, learning_rate=1e-3, weight_decay=0.1)
            update_average(average, weights, 0.999)
    for there, here in zip(device, host, strict=True):
        assert_same(there, here)


ADAM = 1e-2 if ON_DEVICE else 1e-4  # it divides a gradient by its own size: where one is rounding, so is the step
SMALL = {"data": "x", "widths": (4, 6, 8), "block_depth": 1, "learning_rate": 1e-2}
BAND = {"data": "x", "programs": (0,), "frame_width": 8, "frame_blocks": 1, "learning_rate_schedule": "constant"}

TRAINED = {  # with the number of mel bins
    "unet": (Config(norm="batch", **SMALL), 4),
    "unet, context": (Config(context=True, norm="group", **SMALL), 4),
    "unet, whole frames": (Config(frame_planes=2, norm="group", **SMALL), 128),
    "transformer, context, tokens": (BandConfig(network="transformer", notes_as="tokens", **BAND), 128),
    "unet, context, roll": (BandConfig(widths=(4, 6, 8), **BAND), 128),
    "frames, context, roll": (BandConfig(network="frames", **BAND), 128),
}


@pytest.mark.parametrize(("config", "mels"), TRAINED.values(), ids=TRAINED)
def test_a_training_step_agrees_with_numpy_and_reads_back_its_losses_only(config, mels, rng):
    fresh = init_state(config, np.random.default_rng(0))
    state, device_state = tree.pack(fresh), tree.pack(put(fresh))
    x0, context = rng.standard_normal((2, 2, 8, mels, 1)).astype(np.float32)
    features = rng.random((2, 8, config.features), np.float32)
    tokens = rng.integers(0, 9, (2, 6))
    notes = (features,) * (config.features > 0) + (tokens,) * (config.vocabulary > 0)
    batch = Batch(x0, (context,) * config.context + notes)
    for step in (1, 2):
        drawn = Training(config).noisy(batch, np.random.default_rng(step))
        losses = Training(config).step(state, drawn, step)
        transfers.clear()
        device_losses = Training(config, device="gpu").step(device_state, drawn, step)
        assert device_losses == pytest.approx(losses, rel=1e-4)
        # to the host go the losses and the gradient's length, together
        assert ON_DEVICE or (transfers["to host"], transfers["sync"]) == (1, 0)
        # x0, context, noise, its levels, what processes add up, the embedding; and the notes
        assert ON_DEVICE or transfers["to device"] <= 8 + len(notes)
    for part, limit in (("moments", 1e-4), ("average", ADAM)):
        for name, leaf in tree.flatten(device_state[part]).items():
            scale = 1.0 if name.endswith("key/b") else 1e-3  # whose gradient is rounding
            tolerance = limit if "params" in name else 1e-4
            assert_same(leaf, tree.flatten(state[part])[name], tolerance, scale)


def test_a_band_plays_what_it_plays_on_the_host(rng):
    """Guided, and in two segments: the second one hears the first."""
    config = BandConfig(widths=(4, 6, 8), window_seconds=0.16, **BAND)
    network = init_state(config, rng)["average"]
    network["params"]["output"]["w"] += 0.1
    scaler = Scaler(np.full(128, -5, np.float32), np.ones(128, np.float32))
    notes = Notes.of([(0.0, 0.2, 60, 90, 0), (0.1, 0.3, 64, 90, 0)])

    def played(params, device):
        model = Model(params, config, scaler, device)
        player = Player(model, Sampling("dpm++2m", steps=2), scores=(notes,), guidance=1.5, overlap=4)
        return player.draw(1, 12)

    assert relative_error(played(put(network), "gpu"), played(network, "cpu")) < 1e-4


def test_trees_move_to_the_device_and_back(rng, tmp_path):
    params = {"a": {"w": rng.standard_normal((3, 4))}, "b": np.ones(2, np.float32)}
    device = tree.map(lambda leaf: backend.to_device(leaf, "gpu"), params)
    assert ON_DEVICE or transfers == {"to device": 2}
    assert all(type(leaf) is backend.cupy.ndarray for leaf in tree.flatten(device).values())
    tree.save(tmp_path / "a.npz", device)
    assert_same_leaves(tree.load(tmp_path / "a.npz"), params)
    assert type(backend.to_device(device["b"], "cpu")) is np.ndarray


def test_spectrograms_agree_with_numpy(rng):
    samples = rng.standard_normal(6400).astype(np.float32)
    spectrum = stft(samples)
    assert_same(stft(put(samples)), spectrum)
    assert_same(istft(put(spectrum), floor=0.1), istft(spectrum, floor=0.1))  # without a floor the ends are rounding
    assert_same(log_mel(put(samples)), log_mel(samples))
    assert ON_DEVICE or transfers["to host"] == 0
    mel = log_mel(samples)
    assert_same(griffin_lim(put(mel), iterations=2), griffin_lim(mel, iterations=2), tolerance=1e-3)
    assert ON_DEVICE or transfers["to host"] == 2  # the magnitudes and the known frames: the heap is on the host


def test_the_tagger_agrees_with_numpy(rng, monkeypatch):
    monkeypatch.setattr(importlib.import_module("ddim_from_scratch.fad.musicnn"), "DEVICE_PATCHES", 2)
    samples = 0.1 * rng.standard_normal(150_000).astype(np.float32)  # three patches
    patches = musicnn_patches(samples)
    device_patches = musicnn_patches(put(samples))
    assert_same(device_patches, patches)
    params = put(load_musicnn())
    transfers.clear()
    for device, host in zip(musicnn(params, device_patches), musicnn(load_musicnn(), patches), strict=True):
        assert_same(device, host, tolerance=1e-4)
    assert ON_DEVICE or not transfers
    assert len(musicnn_patches(put(samples[:100]))) == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_vggish_agrees_with_numpy_and_moves_nothing_but_tables(threads, rng):
    samples = rng.standard_normal(31_000).astype(np.float32)
    examples = vggish_examples(samples)
    shapes = {"conv1": (3, 3, 1, 4), "conv2": (3, 3, 4, 5), "conv3_1": (3, 3, 5, 6), "conv3_2": (3, 3, 6, 6)}
    shapes |= {"conv4_1": (3, 3, 6, 7), "conv4_2": (3, 3, 7, 2), "fc1_1": (48, 5), "fc1_2": (5, 4), "fc2": (4, 3)}
    params = {
        name: {"w": rng.standard_normal(shape).astype(np.float32), "b": np.ones(shape[-1], np.float32)}
        for name, shape in shapes.items()
    }
    pca = {"eigen_vectors": np.eye(3, dtype=np.float32), "means": np.ones(3, np.float32)}
    device_samples, device_examples, device_params, device_pca = map(put, (samples, examples, params, pca))
    with backend.threads(threads):
        assert_same(vggish_examples(device_samples), examples)
        assert ON_DEVICE or (transfers["to host"] == 0 and transfers["sync"] == 1)  # are all samples finite?
        transfers.clear()
        embeddings = vggish(device_params, device_examples)
    # B^T, G and A^T of each convolution
    assert ON_DEVICE or (set(transfers) <= {"to device"} and transfers["to device"] <= 3 * 6)
    assert_same(embeddings, vggish(params, examples))
    assert_same(postprocess(embeddings, device_pca), postprocess(on_host(embeddings), pca))


def test_the_inverter_takes_clips_to_the_device_in_batches(rng):
    sounds = 0.1 * rng.standard_normal((backend.CLIPS_AT_ONCE + 1, 640)).astype(np.float32)
    clips = np.stack([log_mel(x) for x in sounds])
    sound = load_inverter("griffin-lim", "gpu")(clips)
    assert type(sound) is np.ndarray and (ON_DEVICE or transfers["to host"] == 2 * 3)
    assert relative_error(sound, load_inverter("griffin-lim")(clips)) < 1e-3


@of_the_stand_in
def test_a_table_goes_to_the_device_once(rng):
    samples = put(rng.standard_normal(3210).astype(np.float32))
    log_mel(samples)
    transfers.clear()
    log_mel(samples)
    assert transfers["to device"] == 0


@of_the_stand_in
@pytest.mark.parametrize(("rank", "taken"), [(0, 0), (1, 1), (2, 0)])
def test_the_processes_of_a_machine_take_its_devices_in_turn(rank, taken, cupy, monkeypatch):
    used = []
    monkeypatch.setattr(mpi, "local_rank", lambda: rank)
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: 2)
    monkeypatch.setattr(cupy.cuda, "Device", lambda number: SimpleNamespace(use=lambda: used.append(number)))
    monkeypatch.setattr(backend, "require_gpu", lambda: used.append("tried"))  # on the device that is in use by then
    assert backend.chosen_device(True) == "gpu" and used == [taken, "tried"]


@of_the_stand_in
def test_a_device_that_is_not_there_is_explained(cupy, monkeypatch):
    monkeypatch.setattr(cupy, "is_available", lambda: False)
    with pytest.raises(backend.BackendError, match="nvidia-smi"):
        backend.to_device(np.ones(2), "gpu")


@of_the_stand_in
@pytest.mark.parametrize("broken", ["is_available", "ones", "matmul"])
def test_a_gpu_that_cannot_compute_is_one_line(broken, cupy, monkeypatch):
    """CuPy without NVRTC or cuBLAS imports, and finds its device."""
    fail = Mock(side_effect=RuntimeError("CuPy failed to load\n\n  libnvrtc.so.13: cannot open shared object file"))
    if broken == "matmul":
        monkeypatch.setattr(FakeArray, "__matmul__", fail)
    else:
        monkeypatch.setattr(cupy, broken, fail)
    backend._compute_on_gpu.cache_clear()
    with pytest.raises(backend.BackendError, match=r"libnvrtc\.so\.13.*pip install.*leave out --gpu"):
        backend.require_gpu()
