"""Reads and writes a run's checkpoints and its logs, CSV files. Each file is replaced atomically.

A checkpoint is a tree: the "system" that it belongs to, its "config" (JSON), the "step", the "state" that training
changes, and what else the system keeps in it. A file of the first edition names no system: it is a spectrogram's.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..runtime import tree
from ..runtime.errors import UserError, naming
from ..runtime.files import LARGEST, LOG_LIMIT, read_bytes, replacing
from ..runtime.tree import Tree

PREVIOUS = "previous.npz"  # the checkpoint before checkpoint.npz
BEST = "best.npz"  # the one with the lowest Frechet distance (train --fad-every)
FIRST_SYSTEM = "spectrogram"

Content = TypeVar("Content")


def checkpoint_path(run: Path) -> Path:
    return run / "checkpoint.npz"


def holds_run(run: Path) -> bool:
    """Whether there is a checkpoint, or the one before it: they are not to be mixed with another training's."""
    return any(path.exists() for path in (checkpoint_path(run), run / PREVIOUS))


def save_checkpoint(path: Path, content: Tree) -> None:
    """Write `content` with its checksum. The newest checkpoint's predecessor is kept: a disk can lose what it wrote."""
    checksum = {"checksum": np.array(tree.digest(content))}
    tree.save(path, content | checksum, keep=None if path.name == BEST else path.with_name(PREVIOUS))


def load_checkpoint(run: Path, understand: Callable[[Tree], Any] = dict, best: bool = False) -> Any:
    """Returns `understand(content)` of the last checkpoint, or of the best one.

    If the last one is damaged or missing, the one before is taken, with a warning on stderr.
    Raises UserError if there is none, if it is damaged, or if `understand` raises anything.
    """
    if best:
        return _read(run / BEST, understand)
    try:
        return _read(checkpoint_path(run), understand)
    except UserError as error:
        if not (run / PREVIOUS).exists():
            raise
        content = _read(run / PREVIOUS, understand)
        step = tree.integer(tree.load(run / PREVIOUS, only="step").get("step"), 0)
        reason = error if checkpoint_path(run).exists() else f"{checkpoint_path(run)} is missing"
        print(f"warning: {reason}; taking {run / PREVIOUS} instead, of step {step}", file=sys.stderr)
        return content


def system_of(run: Path) -> str | None:
    """The name of the system that a run was trained by; None if it has no checkpoint that can be read."""
    for path in (checkpoint_path(run), run / PREVIOUS):
        try:
            content = tree.load(path, only="system")
            return tree.text(content["system"]) if "system" in content else FIRST_SYSTEM
        except (OSError, ValueError):
            continue
    return None


def _read(path: Path, understand: Callable[[Tree], Content]) -> Content:
    try:
        with naming(path, "is damaged or not a checkpoint of ours", "train the run again"):
            content = tree.load(path)
            if tree.text(content.pop("checksum")) != tree.digest(content):
                raise UserError("its checksum is another")
            return understand(content)
    except FileNotFoundError:
        if path.name == BEST:
            raise UserError(
                f"{path} does not exist: leave out --best, or let --fad-every N keep the best: in a new run, or by "
                "--resume --fad-every N and more --epochs"
            ) from None
        raise UserError(f"{path} does not exist: train the run first (python -m ddim_from_scratch.train)") from None


class Log:
    """Rows of numbers, as in log.csv: step, epoch, the losses, seconds. Drops rows after `step`, the last one saved."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        self.columns: tuple[str, ...] = ()
        self.rows: list[tuple[float, ...]] = []
        if step > 0 and path.exists():
            self.rows = [row for row in read_log(path) if row[0] <= step]

    def add(self, **row: float) -> None:
        """Append a row; its names are the columns, the third being the one that `recent` and `best` look at."""
        self.columns = tuple(row)
        self.rows.append(tuple(row.values()))

    def recent(self, rows: int = 50) -> float:
        return float(np.mean([row[2] for row in self.rows[-rows:]]))

    @property
    def best(self) -> float:
        return min((row[2] for row in self.rows), default=np.inf)

    def write(self) -> None:
        lines = [",".join(self.columns), *(",".join(f"{value:.9g}" for value in row) for row in self.rows)]
        with replacing(self.path) as file:
            file.write("\n".join([*lines, ""]).encode())


def read_log(path: Path, columns: int = 3) -> list[tuple[float, ...]]:
    """The rows of log.csv (step, epoch, the losses, seconds) or fad.csv (step, epoch, distance) as numbers.

    columns: how many there must be, or more. Raises FileError if the file is no such log.
    """
    with naming(path, "is damaged", "remove it"):
        names, *lines = csv.reader(io.StringIO(read_bytes(path, LOG_LIMIT).decode(), newline=""))
        rows = [tuple(map(float, line)) for line in lines]
        if len(names) < columns or len(names) != len(set(names)):
            raise UserError(f"its columns are {str(names)[:60]}")
        last = 0.0
        for row in rows:
            step, epoch = row[:2] if len(row) == len(names) else (0.0, 0.0)
            if not (step > last and step.is_integer() and epoch >= 1 and all(abs(value) <= LARGEST for value in row)):
                raise UserError(f"{len(row)} columns, {str(row[:3])[:60]}, after step {last:g}")
            last = step
    return rows
