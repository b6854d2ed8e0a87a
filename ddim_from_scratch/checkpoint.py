"""The files of a run: its checkpoint and its log, each replaced in one move."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from . import tree
from .config import Config, UserError, replacing
from .data import Scaler
from .model import init_state
from .tree import Tree

LOG_COLUMNS = ("step", "epoch", "noise_loss", "reconstruction_loss", "seconds")
FAD_COLUMNS = ("step", "epoch", "fad")
BEST = "best.npz"  # beside checkpoint.npz: the one whose samples were nearest to the recordings


def checkpoint_path(run: Path) -> Path:
    return run / "checkpoint.npz"


def save_checkpoint(
    path: Path, config: Config, state: Tree, scaler: Scaler, rng: np.random.Generator, step: int, windows: int
) -> None:
    """All that --resume and sampling need, in one file that is replaced in one move."""
    tree.save(
        path,
        {
            "config": np.array(config.to_json()),
            "scaler": {"mean": scaler.mean, "std": scaler.std},
            "step": np.array(step),
            "windows": np.array(windows),
            "random": np.array(json.dumps(rng.bit_generator.state)),
            "state": state,
        },
    )


def load_checkpoint(run: Path, best: bool = False) -> Tree:
    """The tree that `save_checkpoint` wrote, its "config" as a Config: the last one, or the best.

    Raises UserError if there is none, if it is damaged, or if its weights are not of its configuration.
    """
    path = run / BEST if best else checkpoint_path(run)
    try:
        checkpoint = tree.load(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: train the run first (python -m ddim_from_scratch.train)") from None
    try:
        config = Config.from_json(str(checkpoint["config"]))
        expected = tree.flatten(init_state(config, np.random.default_rng(0)))
        found = tree.flatten(checkpoint["state"])
        wrong = [name for name in expected if name not in found or found[name].shape != expected[name].shape]
        if wrong or found.keys() != expected.keys() or checkpoint["scaler"]["mean"].shape != (128,):
            raise UserError(f"{path} is not of its own configuration ({', '.join(wrong[:1]) or 'extra arrays'})")
        json.loads(str(checkpoint["random"])), int(checkpoint["step"]), int(checkpoint["windows"])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is not a checkpoint of ours (no {error}): train the run again") from None
    return checkpoint | {"config": config}


def epochs_done(checkpoint: Tree) -> int:
    """How many epochs the training has completed."""
    windows = int(checkpoint["windows"])
    return int(checkpoint["step"]) // (windows // min(checkpoint["config"].batch_size, windows))


class Log:
    """log.csv: a row a step, written when an epoch's checkpoint is. Rows after `step` are of an unsaved epoch."""

    columns = LOG_COLUMNS

    def __init__(self, path: Path, step: int) -> None:
        self.path, self.rows = path, []
        if step > 0 and path.exists():
            self.rows = [row for row in read_log(path) if row[0] <= step]

    def add(self, *row: float) -> None:
        self.rows.append(row)

    def recent_loss(self, steps: int = 50) -> float:
        return float(np.mean([row[2] for row in self.rows[-steps:]]))

    def write(self) -> None:
        lines = [",".join(self.columns), *(",".join(f"{value:.9g}" for value in row) for row in self.rows)]
        with replacing(self.path) as file:
            file.write("\n".join([*lines, ""]).encode())


class FadLog(Log):
    """fad.csv: a row each time that --fad-every measured, written at once."""

    columns = FAD_COLUMNS

    @property
    def best(self) -> float:
        """The lowest distance so far; infinite before the first."""
        return min((row[2] for row in self.rows), default=np.inf)

    def add(self, *row: float) -> None:
        super().add(*row)
        self.write()


def read_log(path: Path) -> list[tuple[float, ...]]:
    """The rows of log.csv or fad.csv as numbers, in the order of LOG_COLUMNS or FAD_COLUMNS."""
    with open(path, newline="") as file:
        return [tuple(map(float, row)) for row in list(csv.reader(file))[1:]]
