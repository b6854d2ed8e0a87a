"""The PyTorch network that `make bench` measures us against computes what ours does, gradients included.

Keras' is the reference of tests/networks/test_unet.py.
"""

import numpy as np
import pytest
from helpers import reference, relative_error

from ddim_from_scratch.networks.unet import init_unet, unet, unet_backward
from ddim_from_scratch.nn.embedding import sinusoidal_embedding
from ddim_from_scratch.nn.fast import processor
from ddim_from_scratch.runtime import backend, tree


@pytest.mark.parametrize("layout", ["NCHW", "channels_last"])
@pytest.mark.parametrize("attention", ["none", "lowest", "all"])
def test_torch_s_network_is_ours(attention, layout, rng):
    torch = reference("torch")
    from bench.torch_unet import LAYOUTS, UNet, channels_first, load_weights

    widths, block_depth, levels = (8, 12, 16), 2, np.array([0.05, 0.8])
    params, statistics = (
        tree.map(lambda leaf: leaf + 0.1 * rng.random(leaf.shape, dtype=np.float32), t)
        for t in init_unet(rng, widths, block_depth, attention)
    )
    x, d_eps = rng.standard_normal((2, 2, 32, 16, 1)).astype(np.float32)
    with backend.threads(2):
        inference = unet(params, statistics, x, levels, processor)[0]
        eps, cache = unet(params, statistics, x, levels, processor, training=True)
        dx, grads = unet_backward(d_eps, cache, processor)

    network = UNet(widths, block_depth, attention).to(memory_format=LAYOUTS[layout])
    load_weights(network, params, statistics)
    inputs = channels_first(x, layout).requires_grad_()
    embedding = torch.from_numpy(sinusoidal_embedding(levels)).float()
    with torch.no_grad():
        assert relative_error(inference, network.eval()(inputs, embedding).movedim(1, 3)) < 1e-4
    expected = network.train()(inputs, embedding)
    expected.backward(channels_first(d_eps, layout))
    assert relative_error(eps, expected.detach().movedim(1, 3)) < 1e-4
    # In float32 the gradients of a network with attention are up to 1.2e-4 apart.
    assert relative_error(dx, inputs.grad.movedim(1, 3)) < 3e-4
    assert sum(p.numel() for p in network.parameters()) == sum(g.size for g in tree.flatten(grads).values())
