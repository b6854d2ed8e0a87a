"""What only the processor's layers have: tiles, threads, memory that is used again, prologues, Winograd's rounding."""

import numpy as np
import pytest
from helpers import CONVOLUTIONS, LAYERS, assert_agree, network, relative_error, scale_of

from ddim_from_scratch import nn
from ddim_from_scratch.nn import fast
from ddim_from_scratch.nn.fast import layers_for, processor
from ddim_from_scratch.nn.fast.processor import attend, norm, taps, winograd
from ddim_from_scratch.nn.norm import EPSILON
from ddim_from_scratch.runtime import backend, tree
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.model import init_state
from ddim_from_scratch.spectrogram.system import Batch, Training

TILED = [name for name in LAYERS if name.startswith(("conv2d", "attention", "multi_head", "residual"))]


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles so small that even tiny arrays are cut, with a remainder."""
    monkeypatch.setattr(attend, "QUERY_TILE", 3)
    monkeypatch.setattr(attend, "KEY_TILE", 2)
    monkeypatch.setattr(taps, "TILE_PIXELS", 16)
    monkeypatch.setattr(winograd, "TILE_PIXELS", 16)


@pytest.mark.parametrize(("name", "module"), [*((name, processor) for name in TILED), ("conv2d 3x3", taps)])
def test_tiles_over_threads_give_what_the_textbook_gives(name, module, rng, small_tiles):
    arguments, dy, expected = LAYERS[name].example(rng)
    with backend.threads(2):
        assert_agree(LAYERS[name].both(module, arguments, dy), expected, 1e-11)


def run_network(count):
    layer = network("all", widths=(8, 12, 16), block_depth=2, size=(32, 16), n=3)
    rng = np.random.default_rng(1)
    arguments = layer.arguments(rng, np.float32)
    dy = rng.standard_normal((3, 32, 16, 1), dtype=np.float32)
    with backend.threads(count):
        for _ in range(2):  # the second time in memory that the first has used
            results = {name: a.copy() for name, a in layer.both(processor, arguments, dy).items()}
    return results


def test_results_depend_on_the_number_of_threads_by_rounding_only_and_not_on_the_run():
    alone, two, again, seven = map(run_network, (1, 2, 2, 7))
    for name in alone:
        np.testing.assert_array_equal(two[name], again[name], err_msg=name)
        scale = np.abs(alone["x"]).max() * scale_of(name)
        assert relative_error(two[name], alone[name], scale) < 3e-4, name
        assert relative_error(seven[name], alone[name], scale) < 3e-4, name


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("module", [taps, winograd])
def test_a_prologue_makes_what_is_convolved_and_leaves_the_border_zero(module, k, rng, small_tiles):
    x, w, b, dy = (rng.standard_normal(shape) for shape in [(3, 9, 5, 2), (k, k, 2, 4), (4,), (3, 9, 5, 4)])
    scale = np.array([1.0, 2, 3]).reshape(3, 1, 1, 1)

    def prologue(x, out, n):
        np.multiply(x, scale[n], out=out)
        out += 1

    with backend.threads(2):
        y, cache = module.conv2d(x, w, b, prologue)
        expected, plain_cache = module.conv2d(x * scale + 1, w, b)
        (dx, grads), (right, right_grads) = (module.conv2d_backward(dy, c) for c in (cache, plain_cache))
    for a, e in [(y, expected), (dx, right), (grads["w"], right_grads["w"]), (grads["b"], right_grads["b"])]:
        np.testing.assert_array_equal(a, e)


def test_winograd_loses_about_one_digit_and_no_more(rng):
    layer = CONVOLUTIONS["conv2d 3x3"]._replace(inputs={"x": (2, 32, 16, 32)}, params={"w": (3, 3, 32, 48), "b": (48,)})
    arguments, dy, expected = layer.example(rng, np.float32, exact=np.float64)
    assert_agree(layer.both(winograd, arguments, dy), expected, 1e-5)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_a_training_step_is_the_textbook_s(norm, rng, monkeypatch):
    config = Config(data="x", widths=(8, 12, 16), norm=norm)
    x0 = rng.standard_normal((3, 16, 8, 1)).astype(np.float32)
    losses = {}
    for plain in (False, True):
        monkeypatch.setattr(fast, "_plain", plain)
        assert layers_for(x0) is (nn if plain else processor)
        state, system = tree.pack(init_state(config, np.random.default_rng(0))), Training(config)
        steps = [system.step(state, system.noisy(Batch(x0), np.random.default_rng(step)), step) for step in (1, 2, 3)]
        losses[plain] = [[*found.values()] for found in steps]
    np.testing.assert_allclose(losses[False], losses[True], rtol=1e-4)
    assert losses[True][2][0] < 0.99 * losses[True][0][0]


def test_the_mean_of_a_constant_is_the_constant():
    moments = norm.batch_moments(np.full((2, 256, 128, 32), 0.7345612, np.float32))
    np.testing.assert_array_equal(moments["mean"], np.float32(0.7345612))
    np.testing.assert_array_equal(moments["variance"], 0)


def test_batch_moments_of_a_full_plane_far_from_zero_are_as_exact_as_float32(rng):
    """Training moves channels far from zero: there, sums in float32 had lost up to 12 times as much of the mean."""
    x = (rng.standard_normal((2, 256, 128, 16)) + np.linspace(0, 30, 16)).astype(np.float32)
    found, exact = norm.batch_moments(x), x.astype(np.float64)
    mean, variance = exact.mean((0, 1, 2)), exact.var((0, 1, 2)) + EPSILON
    assert (abs(found["mean"] - mean) < 1.2e-7 * np.maximum(abs(mean), variance**0.5)).all()
    np.testing.assert_allclose(found["variance"] + EPSILON, variance, rtol=1e-6)
