"""AdamW and the moving average against Keras and the formulas; both work in place."""

import numpy as np
import pytest
from helpers import reference, relative_error

from ddim_from_scratch.runtime import tree
from ddim_from_scratch.training.optim import (
    adamw,
    clip_gradient,
    init_moments,
    update_average,
    warmup_cosine,
    warmup_decay,
)

SHAPES = {"a": {"w": (3, 4), "b": (4,)}, "c": (5,)}
STEPS = 6


def random_tree(rng, shapes=SHAPES, dtype=np.float32):
    return {
        key: random_tree(rng, s, dtype) if isinstance(s, dict) else rng.standard_normal(s).astype(dtype)
        for key, s in shapes.items()
    }


def test_adamw_is_keras_adamw(rng):
    keras = reference("keras")
    params = random_tree(rng)
    variables = [keras.Variable(p) for p in tree.flatten(params).values()]
    optimizer = keras.optimizers.AdamW(learning_rate=0.01, weight_decay=0.1)
    optimizer.build(variables)
    moments = init_moments(params)
    for step in range(1, STEPS + 1):
        grads = tree.map(lambda g, step=step: g * 10.0 ** (-step), random_tree(rng))  # down to epsilon's size
        adamw(params, grads, moments, step, learning_rate=0.01, weight_decay=0.1)
        optimizer.apply(list(tree.flatten(grads).values()))
        for p, variable in zip(tree.flatten(params).values(), variables, strict=True):
            assert relative_error(p, variable.numpy()) < 1e-6


def test_weight_decay_acts_without_a_gradient_and_not_on_the_moments(rng):
    params = random_tree(rng, dtype=np.float64)
    before = tree.map(np.copy, params)
    moments = init_moments(params)
    adamw(params, tree.map(np.zeros_like, params), moments, 1, learning_rate=0.1, weight_decay=0.2)
    for p, b in zip(tree.flatten(params).values(), tree.flatten(before).values(), strict=True):
        np.testing.assert_allclose(p, b * (1 - 0.1 * 0.2), rtol=1e-15)
    assert not any(leaf.any() for leaf in tree.flatten(moments).values())


def test_the_first_step_has_the_size_of_the_learning_rate_whatever_the_gradient(rng):
    params, grads = random_tree(rng), random_tree(rng)
    before = tree.map(np.copy, params)
    adamw(params, tree.map(lambda g: 1e3 * g, grads), init_moments(params), 1, learning_rate=0.01, weight_decay=0)
    for p, b, g in zip(*(tree.flatten(t).values() for t in (params, before, grads)), strict=True):
        np.testing.assert_allclose(b - p, 0.01 * np.sign(g), rtol=1e-3)


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
    updates, variable, average = tf.Variable(0.0), tf.Variable(values[0]), {"w": values[0].copy()}
    tensorflows = tf.train.ExponentialMovingAverage(0.7, num_updates=updates)
    tensorflows.apply([variable])
    for step in range(1, 40):  # of which 20 are warm-up
        updates.assign(step)
        variable.assign(values[step])
        tensorflows.apply([variable])
        update_average(average, {"w": values[step]}, warmup_decay(0.7, step))
        assert relative_error(average["w"], tensorflows.average(variable).numpy()) < 1e-6


def test_clipping_is_tensorflows(rng):
    tf = reference("tensorflow")
    for limit in (0.5, 100.0):  # shorter, and longer, than the gradient
        grads = random_tree(rng)
        leaves = list(tree.flatten(grads).values())
        expected, norm = tf.clip_by_global_norm([tf.constant(g) for g in leaves], limit)
        assert clip_gradient(grads, limit) == pytest.approx(float(norm), rel=1e-6)
        for g, e in zip(leaves, expected, strict=True):
            assert g.dtype == np.float32 and relative_error(g, e.numpy()) < 1e-6


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e30])
def test_clipping_leaves_alone_what_it_need_not_or_can_not_mend(wrong, rng):
    grads = random_tree(rng)
    before = tree.map(np.copy, grads)
    norm = clip_gradient(grads, 0)
    assert norm == pytest.approx(np.sqrt(sum((g**2).sum() for g in tree.flatten(before).values())), rel=1e-6)
    grads["a"]["w"][0, 0] = before["a"]["w"][0, 0] = wrong
    with np.errstate(over="ignore"):
        assert not np.isfinite(clip_gradient(grads, 1.0))
    for g, b in zip(tree.flatten(grads).values(), tree.flatten(before).values(), strict=True):
        np.testing.assert_array_equal(g, b)


def test_the_average_follows_its_formula(rng):
    average = random_tree(rng, dtype=np.float64)
    expected = tree.map(np.copy, average)
    for _ in range(STEPS):
        current = random_tree(rng, dtype=np.float64)
        update_average(average, current, 0.9)
        expected = tree.map(lambda e, c: 0.9 * e + (1 - 0.9) * c, expected, current)
    for a, e in zip(tree.flatten(average).values(), tree.flatten(expected).values(), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-13)


@pytest.mark.parametrize("scalar", [float, np.float64, np.float32])
def test_both_work_in_place_and_keep_float32(scalar, rng):
    params, grads = random_tree(rng), random_tree(rng)
    moments, average = init_moments(params), random_tree(rng)
    leaves = [list(tree.flatten(t).values()) for t in (params, moments, average)]
    grads_before = tree.map(np.copy, grads)
    adamw(params, grads, moments, 1, scalar(0.01), scalar(0.1))
    update_average(average, params, scalar(0.9))
    for t, kept in zip((params, moments, average), leaves, strict=True):
        for leaf, old in zip(tree.flatten(t).values(), kept, strict=True):
            assert leaf is old and leaf.dtype == np.float32
    for g, b in zip(tree.flatten(grads).values(), tree.flatten(grads_before).values(), strict=True):
        np.testing.assert_array_equal(g, b)
