"""Layers, the optimizer and the moving average against PyTorch: outputs, and gradients by its autograd."""

import numpy as np
import pytest
from helpers import LAYERS, TWINS, convolution, reference, relative_error

from ddim_from_scratch.nn.attend import init_multi_head_attention
from ddim_from_scratch.nn.dense import init_linear
from ddim_from_scratch.nn.fast.processor.attend import attention, attention_backward
from ddim_from_scratch.runtime import backend, tree
from ddim_from_scratch.training.optim import EPSILON, adamw, update_average


def channels_first(function):
    """A function of (N, C, H, W) tensors as one of (N, H, W, C)."""
    return lambda x: function(x.movedim(3, 1)).movedim(1, 3)


def torch_convolution(F, x, w, b):
    return channels_first(lambda x: F.conv2d(x, w.permute(3, 2, 0, 1), b, padding="same"))(x)


def torch_batch_norm(F, x):
    return channels_first(lambda x: F.batch_norm(x, None, None, training=True, eps=1e-3))(x)


def torch_group_norm(F, x):
    return channels_first(lambda x: F.group_norm(x, 2, eps=1e-3))(x)


def torch_upsample(F, x):
    return channels_first(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))(x)


def torch_range(n):
    return reference("torch").arange(n)


CASES = {
    **{f"conv2d {k}x{k}": (convolution(k, 2, 11, 9, 6, 8), torch_convolution) for k in (1, 3, 5)},
    "batch_norm": (LAYERS["batch_norm"], torch_batch_norm),
    "group_norm": (LAYERS["group_norm"], torch_group_norm),
    "swish": (LAYERS["swish"], lambda F, x: F.silu(x)),
    "average_pool": (LAYERS["average_pool"], lambda F, x: channels_first(lambda x: F.avg_pool2d(x, 2))(x)),
    "upsample": (LAYERS["upsample"], torch_upsample),
    "attention": (LAYERS["attention"], lambda F, q, k, v: F.scaled_dot_product_attention(q, k, v)),
    "linear, no bias": (LAYERS["linear, no bias"], lambda F, x, w: F.linear(x, w.T)),
    "gelu": (LAYERS["gelu"], lambda F, x: F.gelu(x, approximate="tanh")),
    "layer_norm": (
        LAYERS["layer_norm"],
        lambda F, x, scale, centre: F.layer_norm(x, x.shape[-1:], scale, centre, 1e-6),
    ),
    "rms_norm": (LAYERS["rms_norm"], lambda F, x, scale: F.rms_norm(x, x.shape[-1:], scale, 1e-6)),
    "embed": (LAYERS["embed"], lambda F, table: F.embedding((2 * torch_range(6) % 5).reshape(2, 3), table)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("twin", TWINS)
def test_layer_is_its_torch_function(twin, name, rng):
    torch = reference("torch")
    layer, function = CASES[name]
    arguments = layer.arguments(rng, np.float32)
    dy = rng.standard_normal(layer.run(TWINS[twin], arguments)[0].shape).astype(np.float32)
    found = layer.both(TWINS[twin], arguments, dy)

    tensors = [torch.tensor(a, requires_grad=True) for a in arguments]
    expected = function(torch.nn.functional, *tensors)
    expected.backward(torch.tensor(dy))
    for name, theirs in zip(found, [expected.detach(), *(tensor.grad for tensor in tensors)], strict=True):
        assert relative_error(found[name], theirs) < 1e-5, name


def put_attention(module, params):
    """Gives torch's MultiheadAttention our weights: rows for columns, query, key and value one above the other."""
    torch = reference("torch")
    ours = {name: {kind: torch.tensor(a.T) for kind, a in part.items()} for name, part in params.items()}
    query, key, value, output = (ours[name] for name in ("query", "key", "value", "output"))
    weights = {"in_proj_bias": torch.cat([query["b"], key["b"], value["b"]])}
    if module.in_proj_weight is None:
        weights |= {"q_proj_weight": query["w"], "k_proj_weight": key["w"], "v_proj_weight": value["w"]}
    else:
        weights["in_proj_weight"] = torch.cat([query["w"], key["w"], value["w"]])
    weights |= {"out_proj.weight": output["w"], "out_proj.bias": output["b"]}
    module.load_state_dict(weights)


@pytest.mark.parametrize("twin", TWINS)
def test_masked_cross_attention_is_torch_s(twin, rng):
    torch = reference("torch")
    heads, mask = 2, np.array([[True, True, False, True], [False, True, False, False]])
    params = random_like(init_multi_head_attention(rng, 6, 5, 6), rng)
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
    pairs += [
        (grads["query"]["b"], d_in[:6]),
        (grads["value"]["b"], d_in[12:]),
        (grads["output"]["b"], d_out.bias.grad),
    ]
    assert all(relative_error(ours, theirs) < 1e-10 for ours, theirs in pairs)


@pytest.mark.parametrize("twin", TWINS)
def test_a_block_of_the_textbook_s_layers_is_torch_s_transformer_encoder_layer(twin, rng):
    """Pre-norm: h + attention(norm(h)), h + linear(gelu(linear(norm(h)))); both ways."""
    torch, L = reference("torch"), TWINS[twin]
    params = {"attention": init_multi_head_attention(rng, 8, 8, 8)}
    params |= {"linear1": init_linear(rng, 8, 12), "linear2": init_linear(rng, 12, 8)}
    params |= {name: {"scale": np.ones(8), "centre": np.zeros(8)} for name in ("norm1", "norm2")}
    params = random_like(params, rng)
    x, dy = rng.standard_normal((2, 2, 5, 8))
    mask = np.array([[True] * 5, [True, True, False, True, False]])

    a, norm1 = L.layer_norm(x, **params["norm1"])
    a, attention = L.multi_head_attention(a, a, params["attention"], 2, mask)
    h = x + a
    a, norm2 = L.layer_norm(h, **params["norm2"])
    a, linear1 = L.linear(a, **params["linear1"])
    a, gelu = L.gelu(a)
    a, linear2 = L.linear(a, **params["linear2"])
    y = h + a

    da, grads2 = L.linear_backward(dy, linear2)
    da, grads1 = L.linear_backward(L.gelu_backward(da, gelu), linear1)
    da, _ = L.layer_norm_backward(da, norm2)
    dh = dy + da
    d_query, d_memory, _ = L.multi_head_attention_backward(dh, attention)
    da, grads_norm = L.layer_norm_backward(d_query + d_memory, norm1)

    layer = torch.nn.TransformerEncoderLayer(
        8, 2, 12, 0.0, lambda x: torch.nn.functional.gelu(x, approximate="tanh"), 1e-6, True, True, dtype=torch.float64
    )
    put_attention(layer.self_attn, params["attention"])
    for name in ("linear1", "linear2", "norm1", "norm2"):
        weight, bias = (torch.tensor(a.T) for a in params[name].values())
        getattr(layer, name).load_state_dict({"weight": weight, "bias": bias})
    tensor = torch.tensor(x, requires_grad=True)
    expected = layer(tensor, src_key_padding_mask=torch.tensor(~mask))
    expected.backward(torch.tensor(dy))
    pairs = [(y, expected.detach()), (dh + da, tensor.grad), (grads_norm["scale"], layer.norm1.weight.grad)]
    pairs += [(grads1["w"], layer.linear1.weight.grad.T), (grads2["b"], layer.linear2.bias.grad)]
    assert all(relative_error(ours, theirs) < 1e-10 for ours, theirs in pairs)


def random_like(params, rng):
    return tree.map(lambda leaf: rng.standard_normal(leaf.shape), params)


def test_attention_over_many_tiles_is_torch_s(rng):
    torch = reference("torch")
    q, do = rng.standard_normal((2, 4, 700, 2)).astype(np.float32)
    k, v = rng.standard_normal((2, 4, 2500, 2)).astype(np.float32)
    tensors = [torch.tensor(a, requires_grad=True) for a in (q, k, v)]
    expected = torch.nn.functional.scaled_dot_product_attention(*tensors)
    expected.backward(torch.tensor(do))
    with backend.threads(2):
        o, cache = attention(q, k, v)
        gradients = attention_backward(do, cache)
    assert relative_error(o, expected.detach()) < 1e-4
    for gradient, tensor in zip(gradients, tensors, strict=True):
        assert relative_error(gradient, tensor.grad) < 1e-4


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamw_is_torch_s_up_to_where_epsilon_stands(weight_decay, rng):
    """Torch adds epsilon to sqrt(v / (1 - beta_2^t)), Keras and we add it to sqrt(v).

    With EPSILON / sqrt(1 - beta_2^t) given to torch at step t, the two are the same.
    """
    torch = reference("torch")
    params = rng.standard_normal(17).astype(np.float32)
    tensor = torch.tensor(params.copy(), requires_grad=True)
    optimizer = torch.optim.AdamW([tensor], lr=0.01, betas=(0.9, 0.999), weight_decay=weight_decay)
    moments = {name: np.zeros_like(params) for name in ("m", "v")}
    for step in range(1, 7):
        grads = rng.standard_normal(17).astype(np.float32) * np.float32(10.0**-step)
        adamw(params, grads, moments, step, 0.01, weight_decay)
        optimizer.param_groups[0]["eps"] = EPSILON / (1 - 0.999**step) ** 0.5
        tensor.grad = torch.tensor(grads)
        optimizer.step()
        assert relative_error(params, tensor.detach()) < 1e-5


def test_the_average_is_torch_s(rng):
    torch = reference("torch")
    model = torch.nn.Linear(4, 3)
    averaged = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9), use_buffers=True
    )
    averaged.update_parameters(model)  # the first call copies
    average = torch.nn.utils.parameters_to_vector(model.parameters()).detach().numpy().copy()
    for _ in range(5):
        with torch.no_grad():
            for p in model.parameters():
                p += torch.tensor(rng.standard_normal(p.shape), dtype=p.dtype)
        averaged.update_parameters(model)
        update_average(average, torch.nn.utils.parameters_to_vector(model.parameters()).detach().numpy(), 0.9)
    expected = torch.nn.utils.parameters_to_vector(averaged.module.parameters())
    assert relative_error(average, expected.detach()) < 1e-5
