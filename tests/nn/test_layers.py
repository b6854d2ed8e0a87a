"""Every layer and block against finite differences and definitions, in both precisions, on any number of threads."""

import itertools

import numpy as np
import pytest
from helpers import LAYERS, network, relative_error

from ddim_from_scratch.diffusion import mean_squared_error
from ddim_from_scratch.nn.fast import attention, columns, conv, winograd
from ddim_from_scratch.nn.fast.norm import EPSILON, batch_norm, batch_norm_inference, group_norm
from ddim_from_scratch.nn.fast.resize import max_pool
from ddim_from_scratch.nn.gradcheck import gradient_error
from ddim_from_scratch.nn.init import glorot_uniform
from ddim_from_scratch.runtime import backend

CONVOLUTIONS = [name for name in LAYERS if name.startswith("conv2d")]
LINEAR = [*CONVOLUTIONS, "average_pool", "upsample_bilinear", "concatenate_channels"]


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles so small that even tiny arrays are cut, with a remainder."""
    monkeypatch.setattr(attention, "QUERY_TILE", 3)
    monkeypatch.setattr(attention, "KEY_TILE", 2)
    monkeypatch.setattr(conv, "TILE_PIXELS", 16)
    monkeypatch.setattr(winograd, "TILE_PIXELS", 16)


def check_gradients(layer, rng):
    arguments = layer.arguments(rng)
    cache = layer.forward(*arguments)[1]
    errors = gradient_error(lambda *a: layer.forward(*a)[0], lambda dy: layer.backward(dy, cache), arguments, rng)
    wrong = {name: error for name, error in zip(layer.shapes, errors, strict=False) if not error < 1e-6}
    assert errors and not wrong


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_match_finite_differences(name, rng):
    check_gradients(LAYERS[name], rng)


@pytest.mark.parametrize("name", [n for n in LAYERS if n.startswith(("conv2d", "attention", "multi_head", "residual"))])
def test_gradients_match_finite_differences_across_tiles_and_threads(name, rng, small_tiles):
    with backend.threads(2):
        check_gradients(LAYERS[name], rng)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_keep_their_precision(name, dtype, rng):
    layer = LAYERS[name]
    y, cache = layer.forward(*layer.arguments(rng, dtype))
    gradients = layer.backward(rng.standard_normal(y.shape).astype(dtype), cache)
    if name != "mean_squared_error":  # whose y is a Python float
        assert y.dtype == dtype
    assert [g.dtype for g in gradients] == [dtype] * len(gradients)
    assert [g.shape for g in gradients] == list(layer.shapes.values())[: len(gradients)]


@pytest.mark.parametrize("name", LAYERS)
def test_arguments_are_left_as_they_were(name, rng):
    layer = LAYERS[name]
    arguments = layer.arguments(rng)
    before = [a.copy() for a in arguments]
    y, cache = layer.forward(*arguments)
    dy = rng.standard_normal(y.shape)
    dy_before = dy.copy()
    layer.backward(dy, cache)
    for a, b in zip([*arguments, dy], [*before, dy_before], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", LINEAR)
def test_backward_of_a_linear_layer_is_its_adjoint(name, rng):
    """<A x, y> = <x, A^T y>, exactly: no finite difference is involved."""
    layer = LAYERS[name]
    arguments = layer.arguments(rng)
    if name in CONVOLUTIONS:
        arguments[2][:] = 0  # without the bias, convolution is linear in x
    y, cache = layer.forward(*arguments)
    dy = rng.standard_normal(y.shape)
    count = len(arguments) if name == "concatenate_channels" else 1
    right = sum((a * g).sum() for a, g in zip(arguments[:count], layer.backward(dy, cache), strict=False))
    assert right == pytest.approx((y * dy).sum(), rel=1e-12)


@pytest.mark.parametrize(("k", "module"), [(3, winograd), *itertools.product((1, 3, 5), (conv, columns))])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 5, 4, 3), (1, 2, 9, 2), (1, 16, 3, 2)])
def test_conv2d_is_its_definition(k, module, shape, rng, small_tiles):
    x, w, b = rng.standard_normal(shape), rng.standard_normal((k, k, shape[3], 2)), rng.standard_normal(2)
    n, height, width, _ = shape
    expected = np.zeros((n, height, width, 2))
    for i, j, ky, kx in np.ndindex(height, width, k, k):
        row, column = i + ky - k // 2, j + kx - k // 2
        if 0 <= row < height and 0 <= column < width:
            expected[:, i, j] += x[:, row, column] @ w[ky, kx]
    assert relative_error(module.conv2d(x, w, b)[0], expected + b) < 1e-12


@pytest.mark.parametrize(
    ("size", "stride"), [((2, 2), (2, 2)), ((4, 1), (2, 2)), ((4, 4), (4, 4)), ((3, 2), (1, 3)), ((1, 1), (2, 1))]
)
def test_max_pool_is_its_definition(size, stride, rng):
    x = rng.standard_normal((2, 9, 7, 3))
    y = max_pool(x, size, stride)
    height, width = (9 - size[0]) // stride[0] + 1, (7 - size[1]) // stride[1] + 1
    expected = np.empty((2, height, width, 3))
    for i, j in np.ndindex(height, width):
        top, left = i * stride[0], j * stride[1]
        expected[:, i, j] = x[:, top : top + size[0], left : left + size[1]].max(axis=(1, 2))
    np.testing.assert_array_equal(y, expected)


def test_batch_norm_uses_the_biased_variance_and_keeps_precision_far_from_zero(rng):
    x = (rng.standard_normal((4, 8, 8, 3)) + np.array([0, 1e3, -1e4])).astype(np.float32)
    with backend.threads(2):  # several blocks are merged
        y, _, statistics = batch_norm(x)
    exact = x.astype(np.float64)
    mean, variance = exact.mean((0, 1, 2)), exact.var((0, 1, 2))
    np.testing.assert_allclose(statistics["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(statistics["variance"], variance, rtol=1e-4)
    np.testing.assert_allclose(y, (exact - mean) / np.sqrt(variance + EPSILON), atol=2e-3)
    np.testing.assert_array_equal(batch_norm_inference(x, statistics), y)


def test_group_norm_takes_the_moments_of_each_samples_groups_and_keeps_precision_far_from_zero(rng):
    far = np.repeat([0, 1e3], 8) + 100 * np.arange(4)[:, None, None, None]
    x = (rng.standard_normal((4, 9, 8, 16)) + far).astype(np.float32)
    with backend.threads(3):  # a sample is cut into several blocks
        y, _, _ = group_norm(x)
    groups = x.astype(np.float64).reshape(4, 9, 8, 2, 8)
    mean, variance = groups.mean((1, 2, 4), keepdims=True), groups.var((1, 2, 4), keepdims=True)
    np.testing.assert_allclose(y.reshape(groups.shape), (groups - mean) / np.sqrt(variance + EPSILON), atol=2e-3)


def test_squared_error_of_a_zero_prediction_is_the_power_of_the_noise(rng):
    eps = rng.standard_normal((4, 32, 32, 1)).astype(np.float32)
    loss, _ = mean_squared_error(np.zeros_like(eps), eps)
    assert isinstance(loss, float) and loss == pytest.approx(1, abs=0.05)


def test_glorot_weights_fill_their_interval(rng):
    w = glorot_uniform(rng, (3, 3, 32, 64))
    limit = (6 / (9 * (32 + 64))) ** 0.5
    assert w.dtype == np.float32 and abs(w).max() <= limit
    assert w.var() == pytest.approx(limit**2 / 3, rel=0.02)


def run_network(count):
    layer = network("all", widths=(8, 12, 16), block_depth=2, size=(32, 16), n=3)
    rng = np.random.default_rng(1)
    arguments = layer.arguments(rng, np.float32)
    with backend.threads(count):
        for _ in range(2):  # the second time in memory that the first has used
            y, cache = layer.forward(*arguments)
            results = [y.copy(), *(g.copy() for g in layer.backward(y, cache))]
    return dict(zip(["y", *layer.shapes], results, strict=True))


@pytest.mark.parametrize("count", [2, 7])
def test_results_do_not_depend_on_the_number_of_threads(count):
    alone, together = run_network(1), run_network(count)
    for name in alone:
        # Softmax ignores a constant added to its scores: the key's bias has gradient zero, and rounding noise.
        scale = np.abs(alone["x"]).max() if name.endswith("key/b") else 0
        assert relative_error(together[name], alone[name], scale) < 3e-4, name


def test_results_are_the_same_bit_for_bit_with_the_same_number_of_threads():
    first, second = run_network(2), run_network(2)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("module", [conv, winograd, columns])
def test_a_prologue_makes_what_is_convolved_and_leaves_the_border_zero(module, k, rng, small_tiles):
    x, w, b, dy = (rng.standard_normal(shape) for shape in [(3, 9, 5, 2), (k, k, 2, 4), (4,), (3, 9, 5, 4)])
    scale = np.array([1.0, 2, 3]).reshape(3, 1, 1, 1)

    def prologue(x, out, n):
        np.multiply(x, scale[n], out=out)
        out += 1

    with backend.threads(2):
        y, cache = module.conv2d(x, w, b, prologue)
        expected, plain_cache = module.conv2d(x * scale + 1, w, b)
        np.testing.assert_array_equal(y, expected)
        for a, e in zip(module.conv2d_backward(dy, cache), module.conv2d_backward(dy, plain_cache), strict=True):
            np.testing.assert_array_equal(a, e)


def test_winograd_loses_about_one_digit_and_no_more(rng):
    x, w, b = (rng.standard_normal(s).astype(np.float32) for s in [(2, 32, 16, 32), (3, 3, 32, 48), (48,)])
    dy = rng.standard_normal((2, 32, 16, 48)).astype(np.float32)
    exact_y, cache = conv.conv2d(*(a.astype(np.float64) for a in (x, w, b)))
    exact = exact_y, *conv.conv2d_backward(dy.astype(np.float64), cache)
    y, cache = winograd.conv2d(x, w, b)
    for a, e in zip((y, *winograd.conv2d_backward(dy, cache)), exact, strict=True):
        assert relative_error(a, e) < 1e-5
