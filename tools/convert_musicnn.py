"""Write ddim_from_scratch/fad/musicnn_mtt_vgg.npz again, from the checkpoint that musicnn 0.1.0 publishes.

    pip download --no-deps musicnn==0.1.0 && unzip musicnn-0.1.0-py3-none-any.whl
    python tools/convert_musicnn.py musicnn/MTT_vgg

It needs TensorFlow, to read the checkpoint, and changes no number: it drops the optimizer's and renames the rest.
"""

from __future__ import annotations

from pathlib import Path

from ddim_from_scratch.fad.musicnn import WEIGHTS
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.cli import Parser, run_command
from ddim_from_scratch.runtime.errors import UserError


def convert(folder: str | Path) -> tree.Tree:
    """The parameters for `ddim_from_scratch.fad.musicnn`, from the checkpoint in `folder`.

    Raises UserError without TensorFlow, or without a checkpoint.
    """
    try:
        from tensorflow.compat.v1.train import NewCheckpointReader
    except ImportError as error:
        raise UserError(f"reading a checkpoint needs TensorFlow ({error}): pip install '.[hub]'") from None
    if not Path(folder, ".index").is_file():
        raise UserError(f"{folder} holds no checkpoint (.index): name the folder musicnn/MTT_vgg of the unpacked wheel")
    read = NewCheckpointReader(f"{folder}/").get_tensor  # the files have no name, only suffixes

    def norm(name: str) -> tree.Tree:
        names = {"mean": "moving_mean", "variance": "moving_variance", "gamma": "gamma", "beta": "beta"}
        return {ours: read(f"{name}/{theirs}") for ours, theirs in names.items()}

    def weights(name: str) -> tree.Tree:
        return {"w": read(f"{name}/kernel"), "b": read(f"{name}/bias")}

    params = {"norm0": norm("batch_normalization")}
    for i in range(1, 6):
        params |= {f"conv{i}": weights(f"{i}CNN"), f"norm{i}": norm(f"batch_normalization_{i}")}
    return params | {"dense": weights("dense")}


def main(argv: list[str] | None = None) -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="musicnn/MTT_vgg of the unpacked wheel")
    tree.save(WEIGHTS, convert(parser.parse_args(argv).folder))
    print(f"wrote {WEIGHTS}")


if __name__ == "__main__":
    run_command(main)
