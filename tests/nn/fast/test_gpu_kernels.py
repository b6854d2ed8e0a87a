"""The GPU's twins without a GPU: NVRTC compiles their kernels for one, and an emulator runs them on the processor."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import emulated_cuda
import fake_cupy
import numpy as np
import pytest
from fake_cupy import FakeArray, launches, transfers
from helpers import LAYERS, OF_FOURS, assert_agree, relative_error, scale_of
from nvrtc import compile_for

from ddim_from_scratch.nn.fast import gpu
from ddim_from_scratch.nn.fast.gpu import conv, kernels
from ddim_from_scratch.notes.config import Config as BandConfig
from ddim_from_scratch.runtime import backend, tree
from ddim_from_scratch.spectrogram import system
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.model import init_state
from ddim_from_scratch.spectrogram.system import Batch, Training

CONVOLUTIONS = [f"convolve<{k}, {m}, {exact}>" for k, m, exact in ((3, 4, "true"), (3, 2, "false"), (1, 1, "true"))]
CONVOLUTIONS += ["filter_gradient<3, true>", "filter_gradient<1, false>"]
FILES = {file.name: CONVOLUTIONS if file.name == "conv.cu" else [] for file in kernels.FOLDER.glob("*.cu")}


@pytest.fixture(autouse=True)
def cupy(monkeypatch):
    kernels.kernel.cache_clear()
    yield fake_cupy.install(monkeypatch)
    kernels.kernel.cache_clear()


def test_kernels_compile_for_a_device():
    with ThreadPoolExecutor(2) as pool:
        sizes = pool.map(lambda file: len(compile_for("sm_90", kernels.source(file), FILES[file])), FILES)
        assert all(size > 1000 for size in sizes)


def test_a_wrong_kernel_does_not_compile():
    with pytest.raises(ValueError, match="fours"):
        compile_for("sm_90", kernels.source("norm.cu").replace("four(0)", "fours(0)"), [])


@pytest.mark.parametrize(
    ("name", "exact", "tolerance"),
    [(name, True, 2e-6) for name in OF_FOURS] + [(name, False, 3e-3) for name in OF_FOURS if name != "unet"],
)
def test_kernels_give_what_the_textbook_gives(name, exact, tolerance, rng, monkeypatch):
    """In float32's own precision, and in that of factors of 11 bits."""
    monkeypatch.setattr(conv, "EXACT", exact)
    arguments, dy, expected = OF_FOURS[name].example(rng, np.float32, exact=np.float64)
    for argument, a in OF_FOURS[name].both(gpu, [FakeArray(a) for a in arguments], FakeArray(dy)).items():
        assert type(a) is FakeArray and a.dtype == np.float32
        scale = max(scale_of(argument), 0.3 if name == "unet" else 0)  # some of its gradients are 0, or nearly
        assert relative_error(a.get(), expected[argument], scale) < tolerance, argument


TEXTBOOKS = ["conv2d 5x5", "residual_block", "batch_norm", "upsample", "attention", "concatenate", "linear, no bias"]
TEXTBOOKS += ["geglu", "film", "rms_norm", "layer_norm", "embed", "multi_head_attention, masked sequences"]
TEXTBOOKS += ["depthwise_conv", "frames", "transformer, both, two blocks"]


@pytest.mark.parametrize("name", TEXTBOOKS)
def test_what_the_kernels_do_not_take_is_the_textbooks(name, rng):
    """Three channels, wide heads: here in float32, which kernels take, beside float64, which they do not."""
    layer = LAYERS[name]
    for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-12)):
        arguments, dy, expected = layer.example(rng, dtype)
        found = layer.both(gpu, [FakeArray(a) for a in arguments], FakeArray(dy))
        assert_agree({name: a.get() for name, a in found.items()}, expected, tolerance)


@pytest.mark.parametrize("name", ["conv2d 3x3", "residual_block"])
def test_a_view_that_no_float4_can_be_read_from_is_copied(name, rng):
    layer = OF_FOURS[name]
    arguments = layer.arguments(rng, np.float32)
    shifted = [np.concatenate([[np.float32(0)], a.ravel()])[1:].reshape(a.shape) for a in arguments]
    y = layer.run(gpu, [FakeArray(a) for a in shifted])[0].get()
    np.testing.assert_array_equal(y, layer.run(gpu, [FakeArray(a) for a in arguments])[0].get())


BAND = {"data": "x", "programs": (0,), "learning_rate_schedule": "constant"}

LAUNCHES = {
    "unet": (Config(data="x", norm="group"), 600),
    "unet, batch norm": (Config(data="x", norm="batch"), 600),
    "frames": (Config(data="x", network="frames"), 1200),
    "transformer": (Config(data="x", network="transformer"), 1200),
    "band": (BandConfig(**BAND), 600),
    "transformer and roll": (BandConfig(network="transformer", **BAND), 1200),
    "transformer and tokens": (BandConfig(network="transformer", notes_as="tokens", **BAND), 1200),
}


@pytest.mark.parametrize(("config", "most"), LAUNCHES.values(), ids=LAUNCHES)
def test_a_training_step_takes_few_launches_and_one_wait_whatever_the_batch(config, most, cupy, monkeypatch):
    """The networks as they are by default. Kernels are counted, not run: there are as many on any picture."""
    monkeypatch.setattr(emulated_cuda.Kernel, "__call__", lambda self, *_, **__: launches.update([self.name]))
    monkeypatch.setattr(cupy, "empty", lambda *arguments: FakeArray(np.zeros(*arguments)))
    monkeypatch.setattr(system, "recorded", lambda function, device: function)  # a graph is one launch of them all
    counts = []
    for batch in (4, 16):
        state = tree.pack(tree.map(FakeArray, init_state(config, np.random.default_rng(0))))
        x0 = np.ones((batch, 16, 128, 1), np.float32)
        told = [x0] * config.context + [np.ones((batch, 16, config.features), np.float32)] * (config.features > 0)
        told += [np.ones((batch, 9), np.int32)] * (config.vocabulary > 0)
        backend.require_gpu()
        training = Training(config, device="gpu")
        drawn = training.noisy(Batch(x0, tuple(told)), np.random.default_rng(1))
        launches.clear(), transfers.clear()
        training.step(state, drawn, 1)
        assert transfers["to host"] == 1 and transfers["sync"] == 0
        counts.append(launches.total())
    assert counts[0] == counts[1] <= most, launches


@pytest.mark.parametrize("library", [False, True])
def test_a_function_is_recorded_and_replayed_unless_it_calls_a_library(library, cupy, monkeypatch):
    """CuPy refuses calls of cuBLAS while it records."""
    calls, replays, recording = [], [], []

    class Stream(contextlib.nullcontext):
        begin_capture = lambda self: recording.append(True)  # noqa: E731
        end_capture = lambda self: recording.clear() or SimpleNamespace(launch=replays.append)  # noqa: E731
        synchronize = lambda self: None  # noqa: E731

    for name, value in {
        "Stream": lambda **_: Stream(),
        "get_current_stream": Stream,
        "using_allocator": contextlib.nullcontext,
    }.items():
        monkeypatch.setattr(cupy.cuda, name, value, raising=False)
    monkeypatch.setattr(backend, "graph_memory", lambda: SimpleNamespace(malloc=None))
    monkeypatch.setattr(kernels.Recorded, "stream", None)

    def twice(x):
        calls.append(x)
        if library and recording:
            raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
        return 2 * x

    run = kernels.Recorded(twice)
    for _ in range(3):
        assert float(run(FakeArray(np.ones(1, np.float32)))) == 2 and not recording
    assert (len(calls), len(replays)) == ((4, 0) if library else (2, 2))
