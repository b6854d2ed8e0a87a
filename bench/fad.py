"""VGGish embeddings against torchvggish on PyTorch, and the distance against fadtk's and frechet-audio-distance's.

    .venv-parity/bin/python -m bench.fad

Weights and embeddings are random: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import warnings
from importlib import import_module

import numpy as np
import torch

from bench.theirs import PACKAGES, distance_of
from bench.timing import side_by_side, table
from ddim_from_scratch.fad import frechet_distance, gaussian, vggish
from ddim_from_scratch.fad.vggish import PATCH_FRAMES
from ddim_from_scratch.fad.weights import LAYERS
from ddim_from_scratch.runtime.backend import threads


def embedding(patches: int) -> str:
    rng = np.random.default_rng(0)
    examples = rng.standard_normal((patches, PATCH_FRAMES, 64), dtype=np.float32)
    params = {
        name: {
            "w": rng.standard_normal(layer.shape, dtype=np.float32) * float(np.prod(layer.shape[:-1])) ** -0.5,
            "b": np.zeros(layer.shape[-1], np.float32),
        }
        for name, layer in LAYERS.items()
    }
    module = import_module("torchvggish.torchvggish")
    network = module.VGG(module.make_layers(), postprocess=False).eval()
    inputs = torch.from_numpy(examples)[:, None]

    def theirs() -> object:
        with torch.inference_mode():
            return network(inputs)

    seconds = side_by_side({"ours": lambda: vggish(params, examples), "torchvggish": theirs})
    return table(f"VGGish of {patches} patches of 0.96 s", seconds, 0.96 * patches, "s of audio")


def distance(n: int, dimension: int) -> str:
    a, b = np.random.default_rng(0).standard_normal((2, n, dimension))
    ways = {"ours": lambda: frechet_distance(*gaussian(a), *gaussian(b))}
    for package in PACKAGES:
        theirs = distance_of(package)
        ways[package] = lambda theirs=theirs: theirs(a, b)
    return table(f"Frechet distance of 2 x {n} embeddings of {dimension} dimensions", side_by_side(ways))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="for every competitor (default: 2)")
    count = parser.parse_args().threads
    torch.set_num_threads(count)
    warnings.simplefilter("ignore")  # SciPy's, of an argument that fadtk still passes
    with threads(count):
        for patches in (8, 64, 256):
            print(embedding(patches))
        for dimension in (128, 256):
            print(distance(1000, dimension))


if __name__ == "__main__":
    main()
