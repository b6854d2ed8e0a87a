"""Files that are replaced in one move, and where they are kept."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

TEMPORARY = ".tmp"  # how the name of a file ends that is being written


def cache_folder() -> Path:
    """Where converted weights and embeddings are kept: DDIM_CACHE, or ddim_from_scratch in the user's cache folder."""
    if folder := os.environ.get("DDIM_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ddim_from_scratch")


@contextmanager
def replacing(path: str | Path, keep: Path | None = None) -> Iterator[BinaryIO]:
    """A binary file to write that takes the place of `path` in one move at the end of the `with` block.

    After an error or a kill there is the old file or the new one, whole. The data are on the disk before the move.
    keep: the name that the old file gets, in the same folder. (For a moment, then, there is only that one.)
    Raises OSError, which names `path`, if it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with open(temporary, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if keep and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # a full disk's error names no file, others name the temporary one
            error.filename, error.filename2 = str(path), None
        raise


def _sync_folder(folder: Path) -> None:
    """Take the move itself to the disk, where the system lets a folder be opened; it is in order without, too."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as an indented JSON file, in one move as `replacing` does."""
    with replacing(path) as file:
        file.write(json.dumps(value, indent=2).encode())
