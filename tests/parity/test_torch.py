"""Layers that Keras lacks against PyTorch, outputs and gradients by its autograd; others: nn/test_keras_layers.py."""

import numpy as np
import pytest
from helpers import LAYERS, TWINS, assert_agree, reference, relative_error

from ddim_from_scratch.nn.attend import init_multi_head_attention
from ddim_from_scratch.runtime import tree


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


def put_attention(module, params):
    """Gives torch's MultiheadAttention our weights: rows for columns, the biases one after the other."""
    torch = reference("torch")
    ours = {name: {kind: torch.tensor(a.T) for kind, a in part.items()} for name, part in params.items()}
    query, key, value, output = (ours[name] for name in ("query", "key", "value", "output"))
    weights = {"in_proj_bias": torch.cat([query["b"], key["b"], value["b"]])}
    weights |= {"q_proj_weight": query["w"], "k_proj_weight": key["w"], "v_proj_weight": value["w"]}
    weights |= {"out_proj.weight": output["w"], "out_proj.bias": output["b"]}
    module.load_state_dict(weights)


@pytest.mark.parametrize("twin", TWINS)
def test_masked_cross_attention_is_torch_s(twin, rng):
    torch = reference("torch")
    heads, mask = 2, np.array([[True, True, False, True], [False, True, False, False]])
    params = tree.map(lambda leaf: rng.standard_normal(leaf.shape), init_multi_head_attention(rng, 6, 5, 6))
    x, memory, dy = (rng.standard_normal(shape) for shape in [(2, 3, 6), (2, 4, 5), (2, 3, 6)])
    y, cache = TWINS[twin].multi_head_attention(x, memory, params, heads, mask)
    dx, d_memory, grads = TWINS[twin].multi_head_attention_backward(dy, cache)

    module = torch.nn.MultiheadAttention(6, heads, kdim=5, vdim=5, batch_first=True, dtype=torch.float64)
    put_attention(module, params)
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, memory)]
    expected, _ = module(tensors[0], tensors[1], tensors[1], key_padding_mask=torch.tensor(~mask))
    expected.backward(torch.tensor(dy))
    d_in, d_out = module.in_proj_bias.grad, module.out_proj
    pairs = [(y, expected.detach()), (dx, tensors[0].grad), (d_memory, tensors[1].grad)]
    pairs += [(grads["query"]["w"], module.q_proj_weight.grad.T), (grads["key"]["w"], module.k_proj_weight.grad.T)]
    pairs += [(grads["value"]["w"], module.v_proj_weight.grad.T), (grads["output"]["w"], d_out.weight.grad.T)]
    biases = {"query": d_in[:6], "value": d_in[12:], "output": d_out.bias.grad}
    pairs += [(grads[name]["b"], bias) for name, bias in biases.items()]
    assert all(relative_error(ours, theirs) < 1e-10 for ours, theirs in pairs)
