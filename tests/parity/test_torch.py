"""Layers, the optimizer and the moving average against PyTorch: outputs, and gradients by its autograd."""

import numpy as np
import pytest
from helpers import LAYERS, TWINS, convolution, reference, relative_error

from ddim_from_scratch.nn.fast.processor import attention, attention_backward
from ddim_from_scratch.runtime import backend
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


CASES = {
    **{f"conv2d {k}x{k}": (convolution(k, 2, 11, 9, 6, 8), torch_convolution) for k in (1, 3, 5)},
    "batch_norm": (LAYERS["batch_norm"], torch_batch_norm),
    "group_norm": (LAYERS["group_norm"], torch_group_norm),
    "swish": (LAYERS["swish"], lambda F, x: F.silu(x)),
    "average_pool": (LAYERS["average_pool"], lambda F, x: channels_first(lambda x: F.avg_pool2d(x, 2))(x)),
    "upsample": (LAYERS["upsample"], torch_upsample),
    "attention": (LAYERS["attention"], lambda F, q, k, v: F.scaled_dot_product_attention(q, k, v)),
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
