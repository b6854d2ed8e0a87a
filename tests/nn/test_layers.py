"""Every layer of the textbook and of its twins: gradients, precision, definitions; and the twins give the same."""

import numpy as np
import pytest
from helpers import LAYERS, NETWORKS, TWINS, assert_agree, relative_error

from ddim_from_scratch import nn
from ddim_from_scratch.diffusion import mean_squared_error
from ddim_from_scratch.nn.dense import glorot_uniform
from ddim_from_scratch.nn.embedding import sinusoidal_positions
from ddim_from_scratch.nn.gradcheck import gradient_error
from ddim_from_scratch.nn.norm import EPSILON
from ddim_from_scratch.runtime import backend

each_layer = pytest.mark.parametrize("name", LAYERS)
each_twin = pytest.mark.parametrize("twin", TWINS)


@pytest.mark.parametrize(
    ("twin", "name"), [(twin, name) for twin in TWINS for name in LAYERS if twin == "plain" or name not in NETWORKS]
)
def test_gradients_match_finite_differences(twin, name, rng):
    """Of networks the textbook's; the twins' are equal to 1e-10, see below."""
    layer, layers = LAYERS[name], TWINS[twin]
    arguments = layer.arguments(rng)
    with backend.threads(2):
        cache = layer.run(layers, arguments)[1]
        errors = gradient_error(
            lambda *a: layer.run(layers, a)[0], lambda dy: layer.gradients(layers, dy, cache), arguments, rng
        )
    assert not {name: error for name, error in zip(layer.shapes, errors, strict=True) if not error < 1e-6}


@each_layer
@each_twin
def test_precision_and_arguments_are_kept(twin, name, rng):
    layer = LAYERS[name]
    for dtype in (np.float32, np.float64):
        arguments = layer.arguments(rng, dtype)
        dy = rng.standard_normal(layer.run(TWINS[twin], arguments)[0].shape).astype(dtype)
        before = [a.copy() for a in (*arguments, dy)]
        found = layer.both(TWINS[twin], arguments, dy)
        assert {a.dtype for a in found.values()} == {np.dtype(dtype)}
        assert [found[argument].shape for argument in layer.shapes] == list(layer.shapes.values())
        for a, b in zip((*arguments, dy), before, strict=True):
            np.testing.assert_array_equal(a, b)


@each_layer
@pytest.mark.parametrize("twin", [twin for twin in TWINS if twin != "plain"])
def test_twins_give_what_the_textbook_gives(twin, name, rng):
    """In float32; a network, whose layers each add their rounding to the gradients, in float64."""
    dtype, tolerance = (np.float64, 1e-10) if name in NETWORKS else (np.float32, 1e-5)
    arguments, dy, expected = LAYERS[name].example(rng, dtype)
    with backend.threads(2):
        assert_agree(LAYERS[name].both(TWINS[twin], arguments, dy), expected, tolerance)


@each_twin
def test_parameters_may_go_by_position(twin, rng):
    x, w, scale = (rng.standard_normal(shape) for shape in ((2, 3, 4), (4, 4), 4))
    for name, parameter in (("linear", w), ("rms_norm", scale)):
        expected, _ = getattr(nn, name)(x, parameter)
        np.testing.assert_allclose(getattr(TWINS[twin], name)(x, parameter)[0], expected)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 5, 4, 3), (1, 2, 9, 2)])
def test_conv2d_is_its_definition(k, shape, rng):
    x, w, b = rng.standard_normal(shape), rng.standard_normal((k, k, shape[3], 2)), rng.standard_normal(2)
    n, height, width, _ = shape
    expected = np.zeros((n, height, width, 2))
    for i, j, ky, kx in np.ndindex(height, width, k, k):
        row, column = i + ky - k // 2, j + kx - k // 2
        if 0 <= row < height and 0 <= column < width:
            expected[:, i, j] += x[:, row, column] @ w[ky, kx]
    assert relative_error(nn.conv2d(x, w, b)[0], expected + b) < 1e-12


@pytest.mark.parametrize(
    ("size", "stride"), [((2, 2), (2, 2)), ((4, 1), (2, 2)), ((4, 4), (4, 4)), ((3, 2), (1, 3)), ((1, 1), (2, 1))]
)
@each_twin
def test_max_pool_is_its_definition(twin, size, stride, rng):
    x = rng.standard_normal((2, 9, 7, 3))
    y = TWINS[twin].max_pool(x, size, stride)
    assert y.shape == (2, (9 - size[0]) // stride[0] + 1, (7 - size[1]) // stride[1] + 1, 3)
    for i, j in np.ndindex(y.shape[1:3]):
        top, left = i * stride[0], j * stride[1]
        np.testing.assert_array_equal(y[:, i, j], x[:, top : top + size[0], left : left + size[1]].max(axis=(1, 2)))


@each_twin
def test_batch_norm_is_its_definition_far_from_zero_too(twin, rng):
    x = (rng.standard_normal((4, 8, 8, 3)) + np.array([0, 1e3, -1e4])).astype(np.float32)
    with backend.threads(2):  # several blocks are merged
        y, cache = TWINS[twin].batch_norm(x)
    exact, statistics = x.astype(np.float64), cache["statistics"]
    mean, variance = exact.mean((0, 1, 2)), exact.var((0, 1, 2))
    np.testing.assert_allclose(statistics["mean"], mean, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(statistics["variance"], variance, rtol=1e-4)
    np.testing.assert_allclose(y, (exact - mean) / np.sqrt(variance + EPSILON), atol=2e-3)
    np.testing.assert_array_equal(TWINS[twin].batch_norm_inference(x, statistics), y)


@each_twin
def test_group_norm_is_its_definition_far_from_zero_too(twin, rng):
    far = np.repeat([0, 1e3], 8) + 100 * np.arange(4)[:, None, None, None]
    x = (rng.standard_normal((4, 9, 8, 16)) + far).astype(np.float32)
    with backend.threads(3):  # a sample is cut into several blocks
        y, _ = TWINS[twin].group_norm(x)
    groups = x.astype(np.float64).reshape(4, 9, 8, 2, 8)
    mean, variance = groups.mean((1, 2, 4), keepdims=True), groups.var((1, 2, 4), keepdims=True)
    np.testing.assert_allclose(y.reshape(groups.shape), (groups - mean) / np.sqrt(variance + EPSILON), atol=2e-3)


def test_squared_error_has_its_gradient_and_is_the_power_of_the_noise_for_a_zero_prediction(rng):
    prediction, eps = rng.standard_normal((2, 4, 32, 32, 1)).astype(np.float32)
    loss, gradient = mean_squared_error(np.zeros_like(eps), eps)
    assert isinstance(loss, float) and loss == pytest.approx(1, abs=0.05) and gradient.dtype == np.float32

    def function(prediction):
        return np.asarray(mean_squared_error(prediction, eps)[0])

    x = prediction.astype(np.float64)
    assert gradient_error(function, lambda dy: [dy * mean_squared_error(x, eps)[1]], [x], rng)[0] < 1e-6


def test_glorot_weights_fill_their_interval(rng):
    w = glorot_uniform(rng, (3, 3, 32, 64))
    limit = (6 / (9 * (32 + 64))) ** 0.5
    assert w.dtype == np.float32 and abs(w).max() <= limit
    assert w.var() == pytest.approx(limit**2 / 3, rel=0.02)


@each_twin
def test_a_hidden_key_is_as_good_as_absent_and_nothing_to_look_at_gives_zero(twin, rng):
    q, k, v = rng.standard_normal((3, 2, 5, 3))
    k[0, 3] *= 1e4  # which would win
    mask = np.array([[True, False, True, False, True], [False] * 5])
    o, _ = TWINS[twin].attention(q, k, v, mask)
    seen = mask[0]
    assert relative_error(o[:1], TWINS[twin].attention(q[:1], k[:1, seen], v[:1, seen])[0]) < 1e-12
    assert not o[1].any()


def test_positions_are_the_sinusoids_of_the_transformer():
    """Vaswani et al. 2017, section 3.5; sines before cosines, and the last period at 10 000, as T5X lays them out."""
    positions = sinusoidal_positions(7, 6, np.zeros(1))
    angles = np.arange(7)[:, None] / 10_000 ** (np.arange(3) / 2)
    np.testing.assert_allclose(positions, np.hstack([np.sin(angles), np.cos(angles)]), atol=1e-12)
