"""The logs of a run: CSV files, each replaced atomically."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from ..runtime.errors import UserError, why
from ..runtime.files import LARGEST, LOG_LIMIT, read_bytes, replacing


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


def read_log(path: Path, columns: int = 3) -> list[tuple[float, ...]]:
    """The rows of log.csv (step, epoch, the losses, seconds) or fad.csv (step, epoch, distance) as numbers.

    columns: how many there must be, or more. Raises UserError if the file is no such log.
    """
    content = read_bytes(path, LOG_LIMIT)
    try:
        names, *lines = csv.reader(io.StringIO(content.decode(), newline=""))
        rows = [tuple(map(float, line)) for line in lines]
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} is damaged ({why(error)}): remove it") from None
    if len(names) < columns or len(names) != len(set(names)):
        raise UserError(f"{path} is damaged (its columns are {str(names)[:60]}): remove it")
    last = 0.0
    for row in rows:
        step, epoch = row[:2] if len(row) == len(names) else (0.0, 0.0)
        if not (step > last and step.is_integer() and epoch >= 1 and all(abs(value) <= LARGEST for value in row)):
            raise UserError(
                f"{path} is damaged ({len(row)} columns, {str(row[:3])[:60]}, after step {last:g}): remove it"
            )
        last = step
    return rows
