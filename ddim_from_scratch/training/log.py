"""The logs of a run: CSV files, replaced in one move."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ..runtime.errors import UserError
from ..runtime.files import replacing

LOG_COLUMNS = ("step", "epoch", "noise_loss", "reconstruction_loss", "seconds")
FAD_COLUMNS = ("step", "epoch", "fad")


class Log:
    """log.csv: a row a step, written just before a checkpoint. Rows after `step` were never saved, and are left out."""

    columns: tuple[str, ...] = LOG_COLUMNS

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
    """fad.csv: a row each time that --fad-every measured, written just before the epoch's checkpoint."""

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
    try:
        with open(path, newline="") as file:
            return [tuple(map(float, row)) for row in list(csv.reader(file))[1:]]
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): remove it") from None
