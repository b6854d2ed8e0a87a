"""Each layer against the Keras layer that it stands for: outputs, and gradients by TensorFlow's tape."""

import numpy as np
import pytest
from helpers import LAYERS, TWINS, convolution, reference, relative_error, scale_of

from ddim_from_scratch.diffusion import mean_squared_error
from ddim_from_scratch.nn.embedding import sinusoidal_embedding


def keras_convolution(keras, x, w, b):
    layer = keras.layers.Conv2D(w.shape[-1], w.shape[0], padding="same")
    layer.build(x.shape)
    return lambda x, w, b: layer.stateless_call([w, b], [], x)[0]


def keras_multi_head(keras, x, memory, *leaves):
    heads, head_dim = 4, 1
    layer = keras.layers.MultiHeadAttention(num_heads=heads, key_dim=head_dim, attention_axes=(1, 2))
    layer.build(x.shape, memory.shape)
    shapes = [v.shape for v in layer.trainable_variables]  # query, key, value, output: kernel and bias of each
    ops = keras.ops

    def call(x, memory, *leaves):
        weights = [ops.reshape(leaf, shape) for leaf, shape in zip(leaves, shapes, strict=True)]
        state = [v.value for v in layer.non_trainable_variables]
        return layer.stateless_call(weights, state, x, memory)[0]

    return call


def keras_batch_norm(keras, x):
    layer = keras.layers.BatchNormalization(center=False, scale=False)
    return lambda x: layer(x, training=True)


def keras_group_norm(keras, x):
    return keras.layers.GroupNormalization(groups=2, center=False, scale=False)


CASES = {
    "conv2d 1x1": (convolution(1, 2, 6, 5, 3, 4), keras_convolution),
    "conv2d 3x3": (convolution(3, 2, 6, 5, 3, 4), keras_convolution),
    "conv2d 5x5": (convolution(5, 2, 6, 5, 3, 4), keras_convolution),
    "batch_norm": (LAYERS["batch_norm"], keras_batch_norm),
    "group_norm": (LAYERS["group_norm"], keras_group_norm),
    "swish": (LAYERS["swish"], lambda keras, x: keras.activations.swish),
    "average_pool": (LAYERS["average_pool"], lambda keras, x: keras.layers.AveragePooling2D(2)),
    "upsample": (
        LAYERS["upsample"],
        lambda keras, x: keras.layers.UpSampling2D(2, interpolation="bilinear"),
    ),
    "multi_head_attention": (LAYERS["multi_head_attention"], keras_multi_head),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("twin", TWINS)
def test_layer_is_its_keras_layer(twin, name, rng):
    tf, keras = reference("tensorflow"), reference("keras")
    layer, make = CASES[name]
    arguments = layer.arguments(rng, np.float32)
    dy = rng.standard_normal(layer.run(TWINS[twin], arguments)[0].shape).astype(np.float32)
    found = layer.both(TWINS[twin], arguments, dy)

    tensors = [tf.constant(a) for a in arguments]
    keras_layer = make(keras, *tensors)
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        expected = keras_layer(*tensors)
        loss = tf.reduce_sum(tf.cast(expected, tf.float32) * dy)
    for name, theirs in zip(found, [expected, *tape.gradient(loss, tensors)], strict=True):
        assert relative_error(found[name], theirs, scale_of(name)) < 1e-5, name


def test_mean_squared_error_is_keras_s(rng):
    tf, keras = reference("tensorflow"), reference("keras")
    prediction, target = rng.standard_normal((2, 2, 12)).astype(np.float32)
    tensor = tf.constant(prediction)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        expected = tf.reduce_mean(keras.losses.mean_squared_error(target, tensor))
    loss, gradient = mean_squared_error(prediction, target)
    assert loss == pytest.approx(float(expected), rel=1e-5)
    assert relative_error(gradient, tape.gradient(expected, tensor)) < 1e-5


@pytest.mark.parametrize("twin", TWINS)
def test_batch_norm_with_moving_statistics_is_keras_inference(twin, rng):
    keras = reference("keras")
    x = (3 * rng.standard_normal((4, 5, 6, 3)) + 1).astype(np.float32)
    layer = keras.layers.BatchNormalization(center=False, scale=False)
    layer(x, training=True)
    batch = TWINS[twin].batch_norm(x)[1]["statistics"]
    moving = {"mean": 0.01 * batch["mean"], "variance": 0.99 + 0.01 * batch["variance"]}
    for ours, theirs in zip(moving.values(), layer.non_trainable_variables, strict=True):
        assert relative_error(ours, theirs) < 1e-5
    assert relative_error(TWINS[twin].batch_norm_inference(x, moving), layer(x, training=False)) < 1e-5


def test_the_embedding_is_the_formula_of_the_keras_example():
    """Frequencies exp(linspace(log 1, log 1000, 16)); angles in float64, one sample at a time."""
    noise_variance = np.array([0.0, 1e-4, 0.3, 0.9996])
    rows = []
    for v in noise_variance:
        angles = [2 * np.pi * np.exp(np.log(1000.0) * i / 15) * v for i in range(16)]
        rows.append([np.sin(a) for a in angles] + [np.cos(a) for a in angles])
    embedding = sinusoidal_embedding(noise_variance)
    assert embedding.shape == (4, 32) and embedding.dtype == np.float64
    np.testing.assert_allclose(embedding, rows, atol=1e-11)
    # The same in float32 input: the levels of a float32 batch must not lose the angle's precision any further.
    np.testing.assert_array_equal(
        sinusoidal_embedding(noise_variance.astype(np.float32)),
        sinusoidal_embedding(noise_variance.astype(np.float32).astype(np.float64)),
    )
