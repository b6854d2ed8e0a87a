"""The U-Net against the same network built from Keras layers: sizes, outputs, gradients, moving statistics."""

import numpy as np
import pytest
from helpers import TWINS, reference, relative_error

from ddim_from_scratch.networks.unet import batch_statistics, init_unet, size_divisor, unet, unet_backward
from ddim_from_scratch.nn.embedding import sinusoidal_embedding
from ddim_from_scratch.runtime import backend, tree
from ddim_from_scratch.training.optim import update_average

COUNTS = {  # total with moving statistics, and trainable, of the paper's network in Keras
    ("none", 2): (1_953_377, 1_950_497),
    ("none", 4): (3_896_033, 3_890_337),
    ("lowest", 2): (2_172_441, 2_169_113),
    ("lowest", 4): (4_303_089, 4_296_561),
    ("all", 2): (2_309_961, 2_306_121),
    ("all", 4): (4_546_705, 4_539_281),
}


def count(leaves):
    return sum(leaf.size for leaf in tree.flatten(leaves).values())


@pytest.mark.parametrize(("attention", "block_depth"), COUNTS)
def test_parameter_counts_are_those_of_the_paper_s_network(attention, block_depth, rng):
    params, statistics = init_unet(rng, block_depth=block_depth, attention=attention)
    assert (count(params) + count(statistics), count(params)) == COUNTS[attention, block_depth]
    assert {leaf.dtype for leaf in tree.flatten({"p": params, "s": statistics}).values()} == {np.dtype(np.float32)}


def test_a_context_costs_one_weight_for_each_channel_of_the_first_level(rng):
    params, _ = init_unet(rng, in_channels=2)
    assert count(params) == COUNTS["lowest", 2][1] + 32


@pytest.fixture(params=TWINS)
def layers(request):
    return TWINS[request.param]


@pytest.mark.parametrize("training", [False, True])
def test_a_fresh_network_predicts_zero_and_keeps_a_cache_for_training_only(training, layers, rng):
    params, statistics = init_unet(rng, (4, 6, 8), 1, "all")
    x = rng.standard_normal((2, 8, 4, 1)).astype(np.float32)
    eps, cache = unet(params, statistics, x, np.array([0.1, 0.9]), layers, training)
    assert eps.shape == x.shape and not eps.any()
    assert cache.keys() == (params.keys() if training else set())


@pytest.mark.parametrize("shape", [(6, 8), (8, 6), (7, 7)])
def test_a_plane_that_cannot_be_halved_is_refused_by_number(shape, layers, rng):
    params, statistics = init_unet(rng, (4, 6, 8), 1, "none")
    assert size_divisor(params) == 4
    with pytest.raises(ValueError, match=rf"{shape[0]} frames x {shape[1]} mels .* divisible by 4"):
        unet(params, statistics, np.zeros((1, *shape, 1), np.float32), np.array([0.5]), layers)


def test_samples_do_not_see_each_other_at_inference(layers, rng):
    params, statistics = randomised(*init_unet(rng, (4, 6, 8), 2, "all"), rng)
    x = rng.standard_normal((3, 8, 16, 1)).astype(np.float32)
    levels = np.array([0.1, 0.5, 0.9])
    together = unet(params, statistics, x, levels, layers)[0]
    for i in range(3):
        alone = unet(params, statistics, x[i : i + 1], levels[i : i + 1], layers)[0]
        assert relative_error(alone[0], together[i]) < 1e-5


def test_with_group_norm_there_are_no_statistics_and_training_is_as_sampling(layers, rng):
    params, statistics = randomised(*init_unet(rng, (4, 6, 8), 1, "lowest", norm="group"), rng)
    assert statistics == {}
    x, levels = rng.standard_normal((2, 8, 4, 1)).astype(np.float32), np.array([0.1, 0.9])
    eps, _ = unet(params, statistics, x, levels, layers, training=True)
    np.testing.assert_array_equal(eps, unet(params, statistics, x, levels, layers)[0])
    assert relative_error(unet(params, statistics, x[:1], levels[:1], layers)[0], eps[:1]) < 1e-5


def randomised(params, statistics, rng):
    """Biases and the output layer away from zero, statistics away from (0, 1)."""
    params = tree.unflatten(
        {
            name: leaf + 0.1 * rng.standard_normal(leaf.shape).astype(np.float32)
            if name.endswith("/b") or name == "output/w"
            else leaf
            for name, leaf in tree.flatten(params).items()
        }
    )
    return params, tree.map(lambda s: s + 0.2 * rng.random(s.shape, dtype=np.float32), statistics)


CASES = {
    "no attention": ((8, 12, 16), 2, "none", 32, 16),
    "attention in the lowest block": ((8, 12, 16), 2, "lowest", 32, 16),
    "attention in all blocks": ((8, 12, 16), 2, "all", 32, 16),
    "one level, one residual block": ((6, 8), 1, "all", 6, 10),
    "the paper's widths": ((32, 64, 96, 128), 2, "lowest", 64, 32),
    "the window before as a second channel": ((8, 12, 16), 1, "lowest", 32, 16, 2),
}


@pytest.fixture
def keras_in_float64():
    """Keras' float32 results lie further from the truth than ours; its float64 ones are the truth."""
    config = reference("keras").config
    before = config.dtype_policy(), config.floatx()
    config.set_dtype_policy("float64")
    config.set_floatx("float64")
    yield
    config.set_dtype_policy(before[0])
    config.set_floatx(before[1])


@pytest.mark.parametrize(("case", "twin"), [(case, "processor" if "paper" in case else "plain") for case in CASES])
def test_network_is_keras_network(case, twin, rng, keras_in_float64):
    """The textbook's; at the paper's widths its twin, which equals it on small ones: nn/test_layers.py."""
    layers = TWINS[twin]
    tf = reference("tensorflow")
    from bench.keras_unet import keras_unet, load_weights, variables

    widths, block_depth, attention, height, width, *channels = CASES[case]
    params, statistics = randomised(*init_unet(rng, widths, block_depth, attention, *channels), rng)
    x = rng.standard_normal((2, height, width, *(channels or [1]))).astype(np.float32)
    d_eps = rng.standard_normal((2, height, width, 1)).astype(np.float32)
    noise_variance = np.array([0.05, 0.8])

    model = keras_unet(*CASES[case])
    load_weights(model, params, statistics)
    inputs = [tf.constant(x, tf.float64), tf.constant(sinusoidal_embedding(noise_variance)[:, None, None])]
    expected = {"inference": model(inputs, training=False)}
    with tf.GradientTape() as tape:
        tape.watch(inputs[0])
        expected["training"] = model(inputs, training=True)  # moves the statistics
        loss = tf.reduce_sum(expected["training"] * d_eps)
    names, trainable = zip(*((n, v) for n, v in variables(model) if v.trainable), strict=True)
    expected["dx"], *gradients = tape.gradient(loss, [inputs[0], *(v.value for v in trainable)])
    expected |= dict(zip(names, gradients, strict=True))
    expected |= {name: v.value for name, v in variables(model) if not v.trainable}

    for dtype, tolerance in [(np.float32, 1e-4), (np.float64, 3e-6)]:  # Keras resizes in float32 all the same
        p, s = (tree.pack(tree.map(lambda leaf, dtype=dtype: leaf.astype(dtype), t)) for t in (params, statistics))
        with backend.threads(2):
            result = {"inference": unet(p, s, x.astype(dtype), noise_variance, layers)[0]}
            eps, cache = unet(p, s, x.astype(dtype), noise_variance, layers, training=True)
            update_average(s.flat, tree.pack(batch_statistics(cache), like=s).flat, 0.99)
            dx, grads = unet_backward(d_eps.astype(dtype), cache, layers)
        result |= {"training": eps, "dx": dx} | tree.flatten(grads) | tree.flatten(s)
        assert result.keys() == expected.keys()
        for name, value in expected.items():
            # Softmax ignores a constant added to its scores: the key's bias has gradient zero, and rounding noise.
            scale = float(np.abs(expected["dx"]).max()) if name.endswith("key/b") else 0
            error = relative_error(result[name].reshape(value.shape), value, scale)
            # In the gradients of attention Keras' own float32 is up to 5e-4 from its float64, ours up to 2e-4.
            limit = 3e-4 if dtype == np.float32 and "attention" in name else tolerance
            assert error < limit, f"{name} in {np.dtype(dtype)}: {error:.1e}"
