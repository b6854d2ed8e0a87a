"""The paper's network in Keras on TensorFlow, and its training step as one tf.function.

The network is the reference of tests/networks/test_unet.py, which shows that it computes what ours does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from ddim_from_scratch.networks.unet import HEAD_DIM, HEADS
from ddim_from_scratch.nn.embedding import DIMENSIONS, sinusoidal_embedding
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.tree import Tree
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.model import init_state


def keras_unet(
    widths: tuple[int, ...], block_depth: int, attention: str, height: int, width: int, channels: int = 1
) -> keras.Model:
    """The network as the Keras DDIM example writes it, attention added; layers are named by our paths.

    Its inputs: the noisy spectrogram (N, height, width, channels) and the embedded noise level (N, 1, 1, DIMENSIONS).
    """

    def residual_block(x, channels, name):
        shortcut = x
        if x.shape[3] != channels:
            shortcut = layers.Conv2D(channels, 1, name=f"{name}_shortcut")(x)
        x = layers.BatchNormalization(center=False, scale=False, name=f"{name}_norm")(x)
        x = layers.Conv2D(channels, 3, padding="same", activation="swish", name=f"{name}_conv1")(x)
        x = layers.Conv2D(channels, 3, padding="same", name=f"{name}_conv2")(x)
        return layers.Add()([x, shortcut])

    noisy = keras.Input((height, width, channels))
    embedding = keras.Input((1, 1, DIMENSIONS))
    x = layers.Conv2D(widths[0], 1, name="input")(noisy)
    x = layers.Concatenate()([x, layers.UpSampling2D((height, width), interpolation="nearest")(embedding)])
    skips = []
    for level, channels in enumerate(widths[:-1]):
        for i in range(block_depth):
            x = residual_block(x, channels, f"down{level}_block{i}")
            skips.append(x)
        x = layers.AveragePooling2D(pool_size=2)(x)
    for i in range(block_depth):
        x = residual_block(x, widths[-1], f"bottom_block{i}")
    deepest = len(widths) - 2
    for level in reversed(range(len(widths) - 1)):
        x = layers.UpSampling2D(size=2, interpolation="bilinear")(x)
        for i in range(block_depth):
            name, skip = f"up{level}_block{i}", skips.pop()
            parts = [x, skip]
            if attention == "all" or (attention == "lowest" and level == deepest):
                heads = layers.MultiHeadAttention(HEADS, HEAD_DIM, attention_axes=(1, 2), name=f"{name}_attention")
                parts.append(heads(query=x, value=skip, key=skip))
            x = residual_block(layers.Concatenate()(parts), widths[level], name)
    x = layers.Conv2D(1, 1, kernel_initializer="zeros", name="output")(x)
    return keras.Model([noisy, embedding], x)


def variables(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    """(our path, Keras variable) of everything in the model."""
    ours = {"kernel": "w", "bias": "b", "moving_mean": "mean", "moving_variance": "variance"}
    for variable in model.variables:
        if "seed" in variable.path:
            continue
        layer, *inner, kind = variable.path.split("/")
        inner = [{"attention_output": "output"}.get(part, part) for part in inner]
        path = [*layer.split("_"), *inner, ours[kind]]
        yield "/".join(part for part in path if part != "norm"), variable


def load_weights(model: keras.Model, params: Tree, statistics: Tree) -> None:
    """Give `model` our weights, every one of them."""
    leaves = tree.flatten(params) | tree.flatten(statistics)
    for name, variable in variables(model):
        variable.assign(leaves.pop(name).reshape(variable.shape))
    if leaves:
        raise ValueError(f"Keras' network has no {', '.join(leaves)}")


def fresh(config: Config, frames: int, mels: int) -> keras.Model:
    model = keras_unet(config.widths, config.block_depth, config.attention, frames, mels)
    load_weights(model, **init_state(config, np.random.default_rng(config.seed))["network"])
    return model


def embed(noise_variance: np.ndarray) -> tf.Tensor:
    return tf.constant(sinusoidal_embedding(noise_variance)[:, None, None], tf.float32)


def train_step(config: Config, x0: np.ndarray) -> Callable[[], object]:
    """A function that does what `Training.step` of the package does, once a call. x0: (N, frames, mels, 1)."""
    rng = np.random.default_rng(config.seed)
    model, average = (fresh(config, *x0.shape[1:3]) for _ in range(2))
    optimizer = keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay)
    optimizer.build(model.trainable_variables)
    x0 = tf.constant(x0)

    @tf.function
    def step(signal_rate, noise_rate, embedding):
        eps = tf.random.normal(tf.shape(x0))
        x_t = signal_rate * x0 + noise_rate * eps
        with tf.GradientTape() as tape:
            eps_pred = model([x_t, embedding], training=True)
            loss = tf.reduce_mean((eps_pred - eps) ** 2)
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        optimizer.apply(gradients)
        for a, v in zip(average.variables, model.variables, strict=True):
            a.assign(config.ema * a + (1 - config.ema) * v)
        return loss, tf.reduce_mean(((x_t - noise_rate * eps_pred) / signal_rate - x0) ** 2)

    def once() -> tuple[float, float]:
        alpha_bar = config.noise_schedule.draw(len(x0), rng)
        rates = (
            tf.constant(rate[:, None, None, None], tf.float32) for rate in (alpha_bar**0.5, (1 - alpha_bar) ** 0.5)
        )
        return tuple(map(float, step(*rates, embed(1 - alpha_bar))))

    return once


def forward(config: Config, x: np.ndarray) -> Callable[[], object]:
    """A function that predicts the noise in x: (N, frames, mels, 1)."""
    model = fresh(config, *x.shape[1:3])
    predict = tf.function(lambda x, embedding: model([x, embedding], training=False))
    x, noise_variance = tf.constant(x), np.full(len(x), 0.5)
    return lambda: predict(x, embed(noise_variance)).numpy()
