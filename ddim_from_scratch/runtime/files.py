"""Opens files: for reading, and for writing in one atomic replacement. Also the cache folder.

Files can come from strangers. Only regular files are read, never a device or a pipe, which would not end. To write, a
new file is made under a name that nobody could foresee, and then replaces the old one: no link is written through.
Only files that were made here are removed.
"""

from __future__ import annotations

import atexit
import errno
import json
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from .errors import FileError, UserError, why

TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{16}\.tmp")  # names of files that are being written
LIMIT = 64 << 20  # bytes of a text file
LOG_LIMIT = 1 << 30  # and of a log, which grows by 50 a step
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a pipe would wait for its writer
BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
LARGEST = 1e100  # number in a file: its square is finite
LONGEST = 10_000  # characters of a text in a file


def cache_folder() -> Path:
    """Folder of converted weights and embeddings: DDIM_CACHE, or ddim_from_scratch in the user's cache folder."""
    if folder := os.environ.get("DDIM_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or home() / ".cache", "ddim_from_scratch")


@lru_cache
def home() -> Path:
    """The user's home folder. A user without one gets a temporary folder, removed when the process ends."""
    try:
        return Path.home()
    except RuntimeError:
        folder = tempfile.TemporaryDirectory()
        atexit.register(folder.cleanup)
        return Path(folder.name)


def below(folder: Path, *names: str) -> Path:
    """The path folder/names, to read or write. Raises FileError if a part below `folder` is a link.

    folder: what the user named, which may be one. An unpacked archive can hold links to anywhere.
    """
    path = folder
    for name in names:
        path = path / name
        if path.is_symlink():
            raise FileError(f"{path} is a link, perhaps to a place that you did not name: remove it")
    return path


def reading(path: str | Path) -> BinaryIO:
    """A regular file to read, binary, for a `with` statement. Raises OSError; FileError for a device or a pipe."""
    return _regular(path, os.O_RDONLY, "rb")


def locking(path: str | Path) -> BinaryIO:
    """A regular file to lock, made if need be, never behind a link. Nothing is written. Raises as `reading` does."""
    return _regular(path, os.O_RDWR | os.O_CREAT | NO_LINK, "r+b")


def _regular(path: str | Path, flags: int, mode: str) -> BinaryIO:
    try:
        descriptor = os.open(path, flags | NO_WAIT | BINARY, 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise FileError(f"{path} is not a regular file: give one") from None
        raise
    try:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(kind):
            raise FileError(f"{path} is not a regular file: give one")
        return os.fdopen(descriptor, mode)  # type: ignore[return-value]
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: str | Path, limit: int | None = None) -> bytes:
    """Raises as `reading` does, and FileError if the file has more than `limit` bytes."""
    with reading(path) as file:
        if limit is not None and os.fstat(file.fileno()).st_size > limit:
            raise FileError(f"{path} has more than {limit} bytes: it is not what it should be")
        return file.read()


def read_json(path: str | Path) -> Any:
    """Raises as `read_bytes` does, or ValueError if the file is not JSON."""
    return parse_json(read_bytes(path, LIMIT))


def parse_json(text: str | bytes) -> Any:
    """Raises ValueError if it is not JSON, or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise UserError(why(error)) from None


def conforms(value: Any, kind: Any) -> bool:
    """Whether a value from a JSON file is of a kind.

    kind: bool, int, float (any finite number), str or None; [kind] for a list, [kind, kind] for one of two;
    {"name": kind} for an object with these names and perhaps others; {str: kind} for one of any names; a tuple of
    kinds for one of them.
    """
    if isinstance(kind, tuple):
        return any(conforms(value, one) for one in kind)
    if isinstance(kind, list):
        kinds = kind if len(kind) > 1 else kind * len(value) if isinstance(value, list) else []
        return isinstance(value, list) and len(value) == len(kinds) and all(map(conforms, value, kinds))
    if isinstance(kind, dict) and str in kind:
        return isinstance(value, dict) and all(conforms(one, kind[str]) for one in value.values())
    if isinstance(kind, dict):
        return isinstance(value, dict) and all(name in value and conforms(value[name], kind[name]) for name in kind)
    if kind in (int, float):
        return type(value) in {int, kind} and abs(value) <= LARGEST
    return value is None if kind is None else type(value) is kind and (kind is not str or len(value) <= LONGEST)


@contextmanager
def replacing(path: str | Path, keep: Path | None = None) -> Iterator[BinaryIO]:
    """A binary file to write, which replaces `path` atomically at the end of the `with` block.

    After an error or a kill, `path` is either the old file or the complete new one. The data are on the disk before the
    replacement. A file that others may not read stays so. keep: new name for the old file, in the same folder. (For a
    moment only that one exists.) Raises OSError, which names `path`, if it cannot be written; FileError if a device, a
    pipe or a folder is there.
    """
    path = Path(path)
    require_regular(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    made = False
    try:
        mode = next((m for old in (path, keep) if old and (m := _permissions(old)) is not None), None)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_LINK | BINARY
        descriptor = os.open(temporary, flags, 0o666 if mode is None else mode)
        made = True
        with os.fdopen(descriptor, "w+b") as file:
            if mode is not None:
                os.chmod(temporary, mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        if keep and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        if made:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # the error of a full disk names no file, others name the temporary file
            error.filename = str(path)
            del error.filename2
        raise


def _permissions(path: Path) -> int | None:
    """The permission bits of a regular file; None for a link or anything else."""
    try:
        found = os.lstat(path).st_mode
    except OSError:
        return None
    return stat.S_IMODE(found) & 0o777 if stat.S_ISREG(found) else None


def sweep_unfinished(folder: Path, names: set[str]) -> None:
    """Removes from `folder` what a killed process had begun to write under these names."""
    for path in folder.iterdir():
        match = TEMPORARY.fullmatch(path.name)
        if match and match[1] in names:
            path.unlink()


def _sync_folder(folder: Path) -> None:
    """Writes the replacement itself to the disk, if the system can open a folder. Files are valid without it, too."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def require_regular(path: Path) -> None:
    """Raises FileError if something other than a file to replace is there. root would replace even /dev/stdout."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise FileError(f"{path} is not a regular file: choose another name")


def require_writable(folder: Path) -> None:
    """Raises OSError, which names the folder, if no file can be made there. To call before hours of work."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        error.filename = str(folder)
        raise


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as an indented JSON file, atomically.

    Raises ValueError, and leaves the old file, if a number is NaN or infinite: JSON has none, and other programs refuse
    such a file. Use None for a missing value.
    """
    text = json.dumps(value, indent=2, allow_nan=False)
    with replacing(path) as file:
        file.write(text.encode())
