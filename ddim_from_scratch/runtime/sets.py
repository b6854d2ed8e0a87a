"""Sets of clips: what one call of `sample` drew, in a folder of its own, with set.json beside it, which says how.

RUN/samples is the first set, RUN/samples-2 the next, and so on. Nothing is overwritten, and no two sets are mixed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import below, conforms, read_json, write_json

ABOUT, CLIPS = "set.json", "sample*"  # the files of a set


@contextmanager
def new_set(folder: Path, about: dict[str, Any], numbered: bool) -> Iterator[Path]:
    """Yields a folder for the clips of one call; `about`, and whether it was finished, goes into its set.json.

    numbered: take FOLDER-2, FOLDER-3, ... if `folder` is taken. Otherwise that is an error.
    If no clip was written, nothing stays. Raises UserError if the folder is taken, and OSError if it can't be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    names = (below(folder.parent, f"{folder.name}-{i}" if i > 1 else folder.name) for i in count(1))
    chosen = next((name for name in names if _claimed(name)), None) if numbered else folder
    if chosen is None or not (numbered or _claimed(folder)):
        raise UserError(
            f"{folder} holds clips already, is a file, or another process is writing there: choose another --out"
        )
    try:
        write_json(chosen / ABOUT, about | {"finished": False})
        yield chosen
        write_json(chosen / ABOUT, about | {"finished": True})
    finally:
        if not [*chosen.glob(CLIPS)]:
            (chosen / ABOUT).unlink(missing_ok=True)
            with suppress(OSError):
                chosen.rmdir()


def sets_in(folder: Path) -> list[Path]:
    """The folders of FOLDER, FOLDER-2, ... that exist, the newest first. Their numbers may have gaps."""
    numbers = {}
    for path in folder.parent.glob("*"):
        match = re.fullmatch(rf"{re.escape(folder.name)}(-[1-9]\d*)?", path.name, re.ASCII)
        if match and path.is_dir() and not path.is_symlink():
            numbers[int((match[1] or "-1")[1:])] = path
    return [numbers[number] for number in sorted(numbers, reverse=True)]


def read_about(folder: Path) -> dict[str, Any]:
    """The content of set.json; empty for a folder without one, or with another program's."""
    try:
        about = read_json(folder / ABOUT)
    except (OSError, ValueError):
        return {}
    return about if conforms(about, {"network": str, "step": int, "finished": bool}) else {}


def _claimed(folder: Path) -> bool:
    """Makes the folder, if need be, and the file that marks it as taken; False if it is taken or holds clips.

    Of two processes one makes the file, on any file system: no lock is needed.
    """
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir() or any(folder.glob(CLIPS)):
            return False
    try:
        os.close(os.open(folder / ABOUT, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        return False
    return True
