"""A .pth file with any bytes changed is read, or refused in one line. DDIM_FUZZ=10000 says how often."""

import os

import pytest
import torch

from ddim_from_scratch.fad.weights import _from_torch
from ddim_from_scratch.runtime.errors import UserError


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_damaged_pth_file_is_refused_in_one_line(rng, tmp_path):
    """What is read of torchvggish's state dict; small, for its 288 MB would be written a hundred times."""
    path = tmp_path / "vggish.pth"
    torch.save({"features.0.weight": torch.ones(3, 4), "features.0.bias": torch.ones(3)}, path)
    whole, refused = path.read_bytes(), 0
    for _ in range(int(os.environ.get("DDIM_FUZZ", 200))):
        content = bytearray(whole)
        for at in rng.integers(0, len(content), rng.integers(1, 5)):
            content[at : at + rng.integers(5)] = bytes([rng.choice([0, 1, 127, 128, 255])]) * int(rng.integers(5))
        path.write_bytes(content)
        try:
            _from_torch(path)
        except UserError as error:
            assert "vggish.pth" in str(error)
            refused += 1
    assert refused
