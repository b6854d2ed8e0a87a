"""Opens files: for reading, and for writing in one atomic replacement. Also the cache folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

TEMPORARY = ".tmp"  # suffix of files that are being written


def cache_folder() -> Path:
    """Folder of converted weights and embeddings: DDIM_CACHE, or ddim_from_scratch in the user's cache folder."""
    if folder := os.environ.get("DDIM_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ddim_from_scratch")


def reading(path: str | Path) -> BinaryIO:
    """A binary file to read, for a `with` statement. Raises OSError."""
    return open(path, "rb")


def read_bytes(path: str | Path) -> bytes:
    with reading(path) as file:
        return file.read()


def read_json(path: str | Path) -> Any:
    """Raises OSError, or ValueError if the file is not JSON."""
    return json.loads(read_bytes(path))


@contextmanager
def replacing(path: str | Path, keep: Path | None = None) -> Iterator[BinaryIO]:
    """A binary file to write, which replaces `path` atomically at the end of the `with` block.

    After an error or a kill, `path` is either the old file or the complete new one. The data are on the disk before the
    replacement. keep: new name for the old file, in the same folder. (For a moment only that one exists.)
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
        if isinstance(error, OSError):  # the error of a full disk names no file, others name the temporary file
            error.filename, error.filename2 = str(path), None
        raise


def _sync_folder(folder: Path) -> None:
    """Writes the replacement itself to the disk, if the system can open a folder. Files are valid without it, too."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as an indented JSON file, atomically.

    Raises ValueError, and leaves the old file, if a number is NaN or infinite: JSON has none, and other programs refuse
    such a file. What has no value is None.
    """
    text = json.dumps(value, indent=2, allow_nan=False)
    with replacing(path) as file:
        file.write(text.encode())
