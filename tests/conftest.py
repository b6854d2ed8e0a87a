"""Shared set-up. TensorFlow is the reference of some tests: silent, on the CPU, and imported by those tests only."""

import os
import shutil
from functools import partial

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.pop("CUPY_TF32", None)  # with it products are rounded to 11 bits, and CuPy reads it only once
if not os.environ.get("DDIM_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

try:
    from hypothesis import settings
except ImportError:  # the PyTorch environment has no hypothesis, and its tests need none
    pass
else:
    settings.register_profile("reproducible", deadline=None, derandomize=True, max_examples=25)
    settings.load_profile("reproducible")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def one_line(monkeypatch):
    """Every error that a user is told, in any test, is one line."""
    from ddim_from_scratch.runtime.errors import UserError

    def init(error, *arguments):
        ValueError.__init__(error, *arguments)
        assert "\n" not in str(error)

    monkeypatch.setattr(UserError, "__init__", init)


@pytest.fixture
def caches(monkeypatch, tmp_path):
    """Empty ones, of embeddings, TF-Hub and Kaggle: tmp_path/DDIM_CACHE and so on. Returns the first."""
    for variable in ("DDIM_CACHE", "TFHUB_CACHE_DIR", "KAGGLEHUB_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    return tmp_path / "DDIM_CACHE"


def record_tones(folder, seconds=4):
    """Three recordings that swell: tones of 220, 330 and 440 Hz."""
    import soundfile  # a machine that only tests its GPU has none

    t = np.arange(seconds * 16000) / 16000
    for i, hz in enumerate((220, 330, 440)):
        soundfile.write(folder / f"tone{i}.wav", 0.3 * np.sin(2 * np.pi * hz * t) * np.sin(3 * t) ** 2, 16000)
    return folder


@pytest.fixture(scope="module")
def recordings(request, tmp_path_factory):
    """A folder of three recordings, RECORDED seconds each, or 4."""
    return record_tones(tmp_path_factory.mktemp("recordings"), getattr(request.module, "RECORDED", 4))


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run of two epochs of 7 steps on such recordings, to be read only."""
    from helpers import TINY

    from ddim_from_scratch import train

    run = tmp_path_factory.mktemp("runs") / "run"
    train.main(f"--data {record_tones(tmp_path_factory.mktemp('tones'))} --run {run} --epochs 2 {TINY}".split())
    return run


@pytest.fixture
def run(trained, tmp_path):
    """Its copy, for a test to change."""
    return shutil.copytree(trained, tmp_path / "own")


@pytest.fixture(scope="module")
def quick():
    """Griffin-Lim in a few rounds and pictures of a few pixels, for tests of the commands around them."""
    from matplotlib.figure import Figure

    from ddim_from_scratch.audio import inverter

    def save(figure, file, **options):
        figure.set_layout_engine("none")
        savefig(figure, file, **options | {"dpi": 20})

    savefig = Figure.savefig
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inverter, "griffin_lim", partial(inverter.griffin_lim, iterations=8))
        patch.setattr(Figure, "savefig", save)
        yield
