"""AdamW, clipping and the moving average against Keras, TensorFlow and the formulas; all work in place on vectors."""

import numpy as np
import pytest
from helpers import reference, relative_error

from ddim_from_scratch.training.optim import adamw, clip_gradient, norm, update_average, warmup_cosine, warmup_decay

SIZE, STEPS = 23, 6


def vector(rng, dtype=np.float32):
    return rng.standard_normal(SIZE).astype(dtype)


def no_moments(dtype=np.float32):
    return {"m": np.zeros(SIZE, dtype), "v": np.zeros(SIZE, dtype)}


def test_adamw_is_keras_adamw(rng):
    keras = reference("keras")
    params, moments = vector(rng), no_moments()
    variable = keras.Variable(params)
    optimizer = keras.optimizers.AdamW(learning_rate=0.01, weight_decay=0.1)
    optimizer.build([variable])
    for step in range(1, STEPS + 1):
        grads = vector(rng) * np.float32(10.0 ** (-step))  # down to epsilon's size
        adamw(params, grads, moments, step, learning_rate=0.01, weight_decay=0.1)
        optimizer.apply([grads])
        assert relative_error(params, variable.numpy()) < 1e-6


def test_weight_decay_acts_without_a_gradient_and_not_on_the_moments(rng):
    params, moments = vector(rng, np.float64), no_moments(np.float64)
    before = params.copy()
    adamw(params, np.zeros(SIZE), moments, 1, learning_rate=0.1, weight_decay=0.2)
    np.testing.assert_allclose(params, before * (1 - 0.1 * 0.2), rtol=1e-15)
    assert not moments["m"].any() and not moments["v"].any()


def test_the_first_step_has_the_size_of_the_learning_rate_whatever_the_gradient(rng):
    params, grads = vector(rng), vector(rng)
    before = params.copy()
    adamw(params, 1e3 * grads, no_moments(), 1, learning_rate=0.01, weight_decay=0)
    np.testing.assert_allclose(before - params, 0.01 * np.sign(grads), rtol=1e-3)


def test_the_learning_rate_rises_for_a_twentieth_and_falls_by_half_a_cosine():
    keras = reference("keras")
    decay = keras.optimizers.schedules.CosineDecay(0.0, 190, warmup_target=1.0, warmup_steps=10)
    shares = [warmup_cosine(step, 200) for step in range(1, 201)]
    np.testing.assert_allclose(shares, [float(decay(step)) for step in range(1, 201)], atol=1e-6)
    assert max(shares) == shares[9] == 1 and shares[-1] == pytest.approx(0, abs=1e-12)
    assert warmup_cosine(1, 1) >= 0


def test_the_average_begins_as_short_as_tensorflows(rng):
    tf = reference("tensorflow")
    values = rng.standard_normal((40, 3)).astype(np.float32)
    updates, variable, average = tf.Variable(0.0), tf.Variable(values[0]), values[0].copy()
    tensorflows = tf.train.ExponentialMovingAverage(0.7, num_updates=updates)
    tensorflows.apply([variable])
    for step in range(1, 40):  # of which 20 are warm-up
        updates.assign(step)
        variable.assign(values[step])
        tensorflows.apply([variable])
        update_average(average, values[step], warmup_decay(0.7, step))
        assert relative_error(average, tensorflows.average(variable).numpy()) < 1e-6


@pytest.mark.parametrize("limit", [0.5, 100.0])  # shorter, and longer, than the gradient
def test_clipping_is_tensorflows(limit, rng):
    tf = reference("tensorflow")
    grads = vector(rng)
    (expected,), length = tf.clip_by_global_norm([tf.constant(grads)], limit)
    assert norm(grads) == pytest.approx(float(length), rel=1e-6)
    clip_gradient(grads, float(norm(grads)), limit)
    assert grads.dtype == np.float32 and relative_error(grads, expected.numpy()) < 1e-6


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e30])
def test_a_norm_is_not_finite_where_adamw_would_not_be(wrong, rng):
    grads = vector(rng)
    grads[3] = wrong
    with np.errstate(over="ignore"):
        assert not np.isfinite(norm(grads))


def test_the_average_follows_its_formula(rng):
    average = vector(rng, np.float64)
    expected = average.copy()
    for _ in range(STEPS):
        current = vector(rng, np.float64)
        update_average(average, current, 0.9)
        expected = 0.9 * expected + (1 - 0.9) * current
    np.testing.assert_allclose(average, expected, rtol=1e-13)


@pytest.mark.parametrize("scalar", [float, np.float64, np.float32])
def test_both_keep_float32_and_the_gradient(scalar, rng):
    params, grads, moments, average = vector(rng), vector(rng), no_moments(), vector(rng)
    before = grads.copy()
    adamw(params, grads, moments, 1, scalar(0.01), scalar(0.1))
    update_average(average, params, scalar(0.9))
    assert {a.dtype for a in (params, average, *moments.values())} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(grads, before)
