"""Each layer against the Keras layer that it stands for: outputs, and gradients by TensorFlow's tape."""

from functools import partial

import numpy as np
import pytest
from helpers import LAYERS, assert_agree, convolution, reference

from ddim_from_scratch.nn.embedding import sinusoidal_embedding


def keras_convolution(keras, x, w, b):
    layer = keras.layers.Conv2D(w.shape[-1], w.shape[0], padding="same")
    layer.build(x.shape)
    return lambda x, w, b: layer.stateless_call([w, b], [], x)[0]


def keras_multi_head(keras, x, memory, *leaves):
    layer = keras.layers.MultiHeadAttention(num_heads=4, key_dim=1, attention_axes=(1, 2))
    layer.build(x.shape, memory.shape)
    ours = layer.trainable_variables  # query, key, value, output: kernel and bias of each

    def call(x, memory, *leaves):
        weights = [keras.ops.reshape(leaf, variable.shape) for leaf, variable in zip(leaves, ours, strict=True)]
        return layer.stateless_call(weights, [v.value for v in layer.non_trainable_variables], x, memory)[0]

    return call


CASES = {
    "conv2d 1x1": (convolution(1, 2, 6, 5, 3, 4), keras_convolution),
    "conv2d 3x3": (convolution(3, 2, 6, 5, 3, 4), keras_convolution),
    "conv2d 5x5": (convolution(5, 2, 6, 5, 3, 4), keras_convolution),
    "batch_norm": (
        LAYERS["batch_norm"],
        lambda keras, x: partial(keras.layers.BatchNormalization(center=False, scale=False), training=True),
    ),
    "group_norm": (
        LAYERS["group_norm"],
        lambda keras, x: keras.layers.GroupNormalization(groups=2, center=False, scale=False),
    ),
    "swish": (LAYERS["swish"], lambda keras, x: keras.activations.swish),
    "average_pool": (LAYERS["average_pool"], lambda keras, x: keras.layers.AveragePooling2D(2)),
    "upsample": (LAYERS["upsample"], lambda keras, x: keras.layers.UpSampling2D(2, interpolation="bilinear")),
    "multi_head_attention": (LAYERS["multi_head_attention"], keras_multi_head),
}


@pytest.mark.parametrize("name", CASES)
def test_layer_is_its_keras_layer(name, rng):
    """The textbook's; the twins equal it, see test_layers.py."""
    tf, keras = reference("tensorflow"), reference("keras")
    layer, make = CASES[name]
    arguments, dy, found = layer.example(rng, np.float32)

    tensors = [tf.constant(a) for a in arguments]
    keras_layer = make(keras, *tensors)
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        expected = keras_layer(*tensors)
        loss = tf.reduce_sum(tf.cast(expected, tf.float32) * dy)
    assert_agree(found, dict(zip(found, [expected, *tape.gradient(loss, tensors)], strict=True)), 1e-5)


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
