"""The network of frames against the same in PyTorch: output and every gradient, by its autograd."""

import numpy as np
import pytest
from helpers import TWINS, frame_network, reference, relative_error

from ddim_from_scratch.networks.frames import DILATIONS, TAPS
from ddim_from_scratch.nn.embedding import sinusoidal_embedding
from ddim_from_scratch.nn.norm import ROW_EPSILON
from ddim_from_scratch.runtime import backend, tree


def twin_of_frames(params, x, told):
    torch = reference("torch")
    F = torch.nn.functional

    def linear(x, p):
        return F.linear(x, p["w"].T, p["b"])

    def norm(x, p):
        return F.layer_norm(x, x.shape[-1:], p["scale"], p["centre"], ROW_EPSILON)

    def film(x, p):
        scale, centre = (level @ p["w"])[:, None].chunk(2, dim=2)
        return x * (1 + scale) + centre

    level = F.silu(linear(torch.from_numpy(sinusoidal_embedding(told)), params["level"]))
    h = linear(x, params["input"])
    for i in range(sum(name.startswith("block") for name in params)):
        block, dilation = params[f"block{i}"], DILATIONS[i % 3]
        w, b = block["convolution"]["w"].T[:, None], block["convolution"]["b"]
        y = F.conv1d(h.mT, w, b, padding=TAPS // 2 * dilation, dilation=dilation, groups=len(w)).mT
        y = linear(film(norm(y, block["norm"]), block["film"]), block["expand"])
        h = h + linear(F.silu(y), block["shrink"])
    around = linear(film(x, params["around"]["film"]), params["around"]["linear"])
    return linear(norm(h, params["norm"]), params["output"]) + around


@pytest.mark.parametrize("twin", TWINS)
def test_the_network_is_its_torch_twin(twin, rng):
    torch = reference("torch")
    layer = frame_network(width=6, blocks=4, n=2, length=13, inputs=5, outputs=3)
    arguments = layer.arguments(rng)
    dy = rng.standard_normal((2, 13, 3))
    with backend.threads(2):
        found = layer.both(TWINS[twin], arguments, dy)
    tensors = [torch.tensor(a, requires_grad=True) for a in arguments]
    y = twin_of_frames(
        tree.unflatten(dict(zip(layer.params, tensors[1:], strict=True))), tensors[0], np.array([0.2, 0.7])
    )
    y.backward(torch.from_numpy(dy))
    assert relative_error(found.pop("y"), y.detach().numpy()) < 1e-12
    for (name, a), tensor in zip(found.items(), tensors, strict=True):
        assert relative_error(a, tensor.grad.numpy()) < 1e-10, name
