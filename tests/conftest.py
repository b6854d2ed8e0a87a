"""Shared set-up. TensorFlow is the reference of some tests: silent, on the CPU, and imported by those tests only."""

import os

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
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
