"""The files of a run: its checkpoints, each replaced in one move."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ..runtime import tree
from ..runtime.errors import UserError
from ..runtime.tree import Tree
from ..spectrogram.config import Config
from ..spectrogram.data import Scaler
from ..spectrogram.model import state_shapes

PREVIOUS = "previous.npz"  # beside checkpoint.npz: the one before
BEST = "best.npz"  # and the one whose samples were nearest to the recordings


def checkpoint_path(run: Path) -> Path:
    return run / "checkpoint.npz"


def save_checkpoint(path: Path, config: Config, state: Tree, scaler: Scaler, step: int, windows: int) -> None:
    """All that --resume and sampling need, in one file that is replaced in one move.

    The one before a run's newest is kept beside it: a disk, too, can lose what it was given.
    """
    content = {
        "config": np.array(config.to_json()),
        "scaler": {"mean": scaler.mean, "std": scaler.std},
        "step": np.array(step),
        "windows": np.array(windows),
        "state": state,
    }
    content["checksum"] = np.array(tree.digest(content))
    tree.save(path, content, keep=None if path.name == BEST else path.with_name(PREVIOUS))


def load_checkpoint(run: Path, best: bool = False) -> Tree:
    """The tree that `save_checkpoint` wrote, its "config" as a Config: the last one, or the best.

    In place of a last one that is damaged or missing comes the one before, with a warning on stderr.
    Raises UserError if there is none, if it is damaged, or if its weights are not of its configuration.
    """
    if best:
        return _read(run / BEST)
    try:
        return _read(checkpoint_path(run))
    except UserError as error:
        if not (run / PREVIOUS).exists():
            raise
        checkpoint = _read(run / PREVIOUS)
        step = checkpoint["step"]
        print(f"warning: {error}; taking {run / PREVIOUS} instead, which is of step {step}", file=sys.stderr)
        return checkpoint


def _read(path: Path) -> Tree:
    try:
        checkpoint = tree.load(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: train the run first (python -m ddim_from_scratch.train)") from None
    try:
        if str(checkpoint.pop("checksum")) != tree.digest(checkpoint):
            raise UserError(f"{path} is damaged (its checksum is another): train the run again")
        config = Config.from_json(str(checkpoint["config"]))
        expected = tree.flatten(state_shapes(config))
        found = tree.flatten(checkpoint["state"])
        kinds = {name: (leaf.shape, leaf.dtype) for name, leaf in found.items()}
        wrong = [name for name, shape in expected.items() if kinds.get(name) != (shape, np.float32)]
        if wrong or found.keys() != expected.keys():
            raise UserError(f"{path} is not of its own configuration ({', '.join(wrong[:1]) or 'extra arrays'})")
        if any(checkpoint["scaler"][name].shape != (128,) for name in ("mean", "std")):
            raise UserError(f"{path} is not of its own configuration (scaler)")
        int(checkpoint["step"]), int(checkpoint["windows"])
    except (LookupError, TypeError, ValueError, AttributeError, MemoryError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is not a checkpoint of ours (no {error}): train the run again") from None
    return checkpoint | {"config": config}


def epochs_done(checkpoint: Tree) -> int:
    """How many epochs the training has completed."""
    windows = int(checkpoint["windows"])
    return int(checkpoint["step"]) // (windows // min(checkpoint["config"].batch_size, windows))
