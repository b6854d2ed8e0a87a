"""Layers that Keras lacks against PyTorch, outputs and gradients by its autograd; others: nn/test_keras_layers.py."""

import numpy as np
import pytest
from helpers import LAYERS, assert_agree, reference


def torch_range(n):
    return reference("torch").arange(n)


CASES = {
    "attention": lambda F, q, k, v: F.scaled_dot_product_attention(q, k, v),
    "linear": lambda F, x, w, b: F.linear(x, w.T, b),
    "linear, no bias": lambda F, x, w: F.linear(x, w.T),
    "gelu": lambda F, x: F.gelu(x, approximate="tanh"),
    "layer_norm": lambda F, x, scale, centre: F.layer_norm(x, x.shape[-1:], scale, centre, 1e-6),
    "rms_norm": lambda F, x, scale: F.rms_norm(x, x.shape[-1:], scale, 1e-6),
    "embed": lambda F, table: F.embedding((2 * torch_range(6) % 5).reshape(2, 3), table),
}


@pytest.mark.parametrize("name", CASES)
def test_layer_is_its_torch_function(name, rng):
    torch = reference("torch")
    arguments, dy, found = LAYERS[name].example(rng, np.float32)
    tensors = [torch.tensor(a, requires_grad=True) for a in arguments]
    expected = CASES[name](torch.nn.functional, *tensors)
    expected.backward(torch.tensor(dy))
    assert_agree(found, dict(zip(found, [expected.detach(), *(tensor.grad for tensor in tensors)], strict=True)), 1e-5)
