"""The decoder against T5FilmDecoder of the library diffusers, a port of Hawthorne et al.'s: output and every gradient.

Theirs does not divide scores by sqrt(D), so that its query weights are ours divided by that; and its noise level comes
as a sinusoid of a time, in place of which it is given ours. Its norms sum in float32, whatever it is given. Ours has a
path around its stack, and FiLM before its last layer: with weights of 0 they add x, and do nothing.
"""

import numpy as np
import pytest
from helpers import TWINS, reference, relative_error

from ddim_from_scratch.networks.decoder import Sizes, decode, decode_backward, init_decoder
from ddim_from_scratch.networks.stack import HEADS, PARTS, Seen
from ddim_from_scratch.nn.embedding import sinusoidal_embedding, sinusoidal_positions
from ddim_from_scratch.runtime import tree

WIDTH, MELS, FRAMES, DEPTH = 8, 5, 6, 2


def names(depth):
    """Our name of each of their parameters."""
    theirs = {"conditioning_emb.0": "level/linear0/w", "conditioning_emb.2": "level/linear1/w"}
    theirs |= {"continuous_inputs_projection": "input/w", "spec_out": "output/linear/w"}
    theirs["decoder_norm"] = "stack/norm/scale"
    for i in range(depth):
        for j, part in enumerate(("attention", "cross", "mlp")):
            layer, ours = f"decoders.{i}.layer.{j}", f"stack/block{i}/{part}"
            theirs[f"{layer}.layer_norm"] = f"{ours}/norm/scale"
            if part == "mlp":
                theirs[f"{layer}.film.scale_bias"] = f"{ours}/film/w"
                inner = {"wi_0": "gate", "wi_1": "value", "wo": "output"}
                theirs |= {f"{layer}.DenseReluDense.{a}": f"{ours}/layer/{b}/w" for a, b in inner.items()}
                continue
            if part == "attention":
                theirs[f"{layer}.FiLMLayer.scale_bias"] = f"{ours}/film/w"
            inner = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "output"}
            theirs |= {f"{layer}.attention.{a}": f"{ours}/layer/{b}/w" for a, b in inner.items()}
    return theirs


@pytest.mark.parametrize("twin", TWINS)
def test_the_decoder_is_t5_film_decoder(twin, rng, monkeypatch):
    torch, module = reference("torch"), reference("diffusers.models.transformers.t5_film_transformer")
    head_dim = WIDTH // HEADS
    theirs = module.T5FilmDecoder(MELS, FRAMES, 1.0, WIDTH, DEPTH, HEADS, head_dim, 2 * WIDTH, 0.0).double()
    params = {}
    for name, ours in names(DEPTH).items():
        weight = theirs.get_parameter(f"{name}.weight")
        weight.data = torch.tensor(0.5 * rng.standard_normal(weight.shape))
        leaf = weight.detach().numpy().T.copy()
        params[ours] = leaf / head_dim**-0.5 if ours.endswith("query/w") else leaf
    theirs.position_encoding.weight.data = torch.tensor(sinusoidal_positions(FRAMES, WIDTH, np.zeros(1)))
    assert len(params) == len(list(theirs.parameters())) - 1  # the positions
    fresh = tree.flatten(init_decoder(rng, Sizes(WIDTH, DEPTH, MELS), PARTS))
    assert fresh.keys() == {*params, "output/film/w", "output/around/w"}
    films = {f"output/{name}/w": np.zeros((4 * WIDTH, 2 * n)) for name, n in (("film", WIDTH), ("around", MELS))}
    params = tree.unflatten(params | films)

    x, dy = rng.standard_normal((2, 2, FRAMES, MELS))
    parts = [rng.standard_normal((2, length, WIDTH)) for length in (4, 3)]  # the notes and the segment before
    masks = [np.array([[1, 1, 1, 0], [1, 0, 0, 0]], bool), np.array([[1, 1, 1], [0, 0, 0]], bool)]
    told = np.array([0.3, 0.9])
    level = sinusoidal_embedding(told, WIDTH)
    monkeypatch.setattr(module, "get_timestep_embedding", lambda *_, **__: torch.tensor(level))
    tensor = torch.tensor(x, requires_grad=True)
    memory = [torch.tensor(a, requires_grad=True) for a in parts]
    pairs = [(m, torch.tensor(mask)) for m, mask in zip(memory, masks, strict=True)]
    expected = theirs(pairs, tensor, torch.tensor(told))
    expected.backward(torch.tensor(dy))

    layers = TWINS[twin]
    seen = Seen(memory=np.hstack(parts), memory_mask=np.hstack(masks))
    y, cache = decode(params, x, told, seen, None, layers)
    dx, d_memory, grads = decode_backward(dy, cache, layers)
    assert relative_error(y - x, expected.detach()) < 1e-5
    assert relative_error(dx - dy, tensor.grad) < 1e-5
    assert relative_error(d_memory, torch.cat([m.grad for m in memory], dim=1)) < 1e-5
    grads = tree.flatten(grads)
    for name, ours in names(DEPTH).items():
        scale = head_dim**-0.5 if ours.endswith("query/w") else 1
        assert relative_error(grads[ours] / scale, theirs.get_parameter(f"{name}.weight").grad.T) < 1e-5, name
