"""A small copy of a trained run, to give away: what sampling needs of it, in half precision."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from shlex import quote

import numpy as np

from ..runtime import tree
from ..runtime.errors import UserError, printable
from ..runtime.tree import Tree
from ..spectrogram.config import NOT_SHARED
from ..training.checkpoint import checkpoint_path, holds_run, load_checkpoint, save_checkpoint


def share(run: Path, out: Path) -> Path:
    """Write `out`/checkpoint.npz with the averaged weights as float16: a tenth of the run's, or less.

    float16 keeps 11 bits of a weight: an error of 0.02 %, far below what training leaves open. `sample` reads the copy
    as it reads the run; `train --resume` needs the whole. The names of the recordings and of their folder stay behind,
    and so do their outlines: the copy starts from plain noise.
    Raises UserError if there is no such run, or if `out` holds one.
    """
    if holds_run(out):
        raise UserError(f"{out} holds a run already: choose another folder")
    content: Tree = load_checkpoint(run)
    content.pop("recordings", None)
    content["scaler"].pop("outline", None)
    config = json.loads(tree.text(content["config"])) | {"data": NOT_SHARED}
    content["config"] = np.array(json.dumps(config))
    average = tree.map(lambda leaf: leaf.astype(np.float16), content["state"]["average"])
    out.mkdir(parents=True, exist_ok=True)
    save_checkpoint(checkpoint_path(out), content | {"state": {"average": average}})
    return checkpoint_path(out)


def main(args: argparse.Namespace) -> None:
    path = share(args.run, args.out)
    out = quote(printable(args.out))
    print(f"{printable(path)}, {path.stat().st_size / 1000:.0f} kB: python -m ddim_from_scratch.sample --run {out}")


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "share",
        help="a small copy of a run, to give away",
        description="Write what sampling needs of a run, in half precision: a tenth of its size.",
    )
    parser.add_argument("--run", type=Path, required=True, help="folder that the training wrote")
    parser.add_argument("--out", type=Path, required=True, help="new folder")
    parser.set_defaults(main=main)
