"""VGGish against torchvggish, which frechet-audio-distance scores with: network, file of weights, post-processing."""

import sys
import types

import numpy as np
import pytest
from helpers import reference, relative_error

from ddim_from_scratch.fad import load_vggish, load_vggish_pca, postprocess, vggish, vggish_examples
from ddim_from_scratch.runtime import backend
from ddim_from_scratch.runtime.errors import UserError


@pytest.fixture
def torchvggish(monkeypatch):
    # It imports resampy, which none of what is compared here calls.
    monkeypatch.setitem(sys.modules, "resampy", types.ModuleType("resampy"))
    reference("torchvggish")
    return reference("torchvggish.torchvggish"), reference("torchvggish.vggish_input")


@pytest.fixture
def model(torchvggish, caches):
    """Its network without the published weights, which it would download: random ones, scaled to last to the end."""
    torch = reference("torch")
    module, _ = torchvggish
    torch.manual_seed(0)
    model = module.VGG(module.make_layers(), postprocess=False)
    for parameter in model.parameters():
        torch.nn.init.kaiming_normal_(parameter) if parameter.ndim > 1 else torch.nn.init.normal_(parameter)
    return model.eval()


def test_the_state_dict_loads_and_the_embeddings_are_torchvggish_s(
    torchvggish, model, tmp_path, caches, monkeypatch, rng
):
    torch = reference("torch")
    path = tmp_path / "vggish.pth"
    torch.save(model.state_dict(), path)
    params = load_vggish(path)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "torch", None)
        np.testing.assert_array_equal(load_vggish(path)["fc2"]["w"], params["fc2"]["w"])

    samples = 0.1 * rng.standard_normal(5 * 16000)
    _, front_end = torchvggish
    expected = front_end.waveform_to_examples(samples, 16000)  # (n, 1, 96, 64)
    examples = vggish_examples(samples)
    assert relative_error(examples, expected.detach()[:, 0]) < 1e-6
    model.embeddings = model.embeddings[:-1]  # the embedding is what the last ReLU gets
    with torch.inference_mode(), backend.threads(2):
        assert relative_error(vggish(params, examples), model(expected)) < 1e-4

    path.write_bytes(path.read_bytes()[:1_000_000])
    with pytest.raises(UserError, match=r"vggish\.pth is damaged"):
        load_vggish(path)
    torch.save({"features.0.weight": torch.zeros(3)}, path)
    with pytest.raises(UserError, match=r"vggish\.pth has no conv1/w"):
        load_vggish(path)
    for large in tmp_path.rglob("*.npz"):
        large.unlink()


def test_postprocessing_is_torchvggish_s_up_to_rounding(torchvggish, tmp_path, rng):
    torch = reference("torch")
    module, _ = torchvggish
    arrays = {"pca_eigen_vectors": rng.standard_normal((128, 128)) / 11, "pca_means": rng.standard_normal((128, 1))}
    torch.save({name: torch.tensor(array) for name, array in arrays.items()}, tmp_path / "pca.pth")
    theirs = module.Postprocessor.__new__(module.Postprocessor)  # its constructor would download them
    theirs._pca_matrix, theirs._pca_means = (torch.tensor(array).float() for array in arrays.values())
    embeddings = rng.standard_normal((7, 128)).astype(np.float32)
    expected = theirs.postprocess(torch.tensor(embeddings)).numpy()
    ours = postprocess(embeddings, load_vggish_pca(tmp_path / "pca.pth")).astype(np.float32)
    assert 0 < (expected - ours).max() <= 1 and (expected - ours).min() >= 0  # it rounds, Google's code cuts off
