"""The gradient check must find mistakes: a check that passes everything proves nothing."""

import numpy as np
import pytest

from ddim_from_scratch.nn import batch_norm, batch_norm_backward, conv2d, conv2d_backward
from ddim_from_scratch.nn.gradcheck import gradient_error

MISTAKES = {
    "zero": lambda dy, cache: np.zeros_like(dy),  # right for an all-ones dy
    "wrong sign": lambda dy, cache: -batch_norm_backward(dy, cache),
    "slightly too large": lambda dy, cache: batch_norm_backward(dy, cache) * (1 + 1e-5),
    "no mean term": lambda dy, cache: (dy - cache["y"] * (dy * cache["y"]).mean((0, 1, 2))) / cache["std"],
    "no variance term": lambda dy, cache: (dy - dy.mean((0, 1, 2))) / cache["std"],
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_backward_pass_of_batch_norm_is_found(name, rng):
    x = rng.standard_normal((2, 3, 4, 2))
    cache = batch_norm(x)[1]
    backwards = batch_norm_backward, MISTAKES[name]
    right, wrong = (
        gradient_error(lambda x: batch_norm(x)[0], lambda dy, b=b: [b(dy, cache)], [x], rng)[0] for b in backwards
    )
    assert right < 1e-6 < wrong


def test_a_wrong_gradient_is_told_apart_from_right_ones(rng):
    arguments = [rng.standard_normal(shape) for shape in [(1, 4, 3, 2), (3, 3, 2, 2), (2,)]]
    cache = conv2d(*arguments)[1]

    def backward(dy):
        dx, grads = conv2d_backward(dy, cache)
        return dx, grads["w"][::-1], grads["b"]  # the kernel's gradient upside down

    dx, dw, db = gradient_error(lambda *a: conv2d(*a)[0], backward, arguments, rng)
    assert dx < 1e-6 and db < 1e-6 < 1e-2 < dw
