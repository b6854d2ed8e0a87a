"""The logs of a run: CSV files, each replaced atomically."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ..runtime.errors import UserError
from ..runtime.files import replacing


class Log:
    """Rows of numbers, as in log.csv: step, epoch, the losses, seconds. Rows after `step` were never saved: they go."""

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


def read_log(path: Path) -> list[tuple[float, ...]]:
    """The rows of log.csv (step, epoch, the losses, seconds) or fad.csv (step, epoch, distance) as numbers."""
    try:
        with open(path, newline="") as file:
            return [tuple(map(float, row)) for row in list(csv.reader(file))[1:]]
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): remove it") from None
