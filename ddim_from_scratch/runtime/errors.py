"""Errors that the user can fix."""

from __future__ import annotations

import errno
import os
import sys

from tqdm import tqdm

SAVED = "files saved before are intact"
REMEDIES = {  # by the operating system's error number
    errno.ENOENT: "check the path",
    errno.EACCES: "check its permissions, or choose another folder",
    errno.EPERM: "check its permissions, or choose another folder",
    errno.EROFS: "choose a writable folder",
    errno.ENOSPC: f"free some disk space; {SAVED}",
    errno.EDQUOT: f"free some disk space; {SAVED}",
    errno.EFBIG: f"raise the file size limit (ulimit -f); {SAVED}",
}


class UserError(ValueError):
    """An error the user can fix. Commands print it as one line, without a traceback, and exit with status 2."""


def printable(name: object) -> str:
    """`name` (a path, or text from a file) as one harmless line for messages.

    Line breaks, control characters such as terminal escapes, invisible marks that reorder text, and bytes that are not
    UTF-8 become backslash escapes: b"caf\\xe9" gives caf\\xe9. Ordinary names in any script stay as they are.
    """
    text = os.fsdecode(name) if isinstance(name, (bytes, os.PathLike)) else str(name)
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if 0xDC80 <= ord(char) <= 0xDCFF:  # how Python holds a byte of a file's name that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()


_said: set[str] = set()


def say_once(text: str) -> None:
    """Prints a line on stderr, above any progress bar. The same line is printed only once."""
    if text not in _said:
        _said.add(text)
        tqdm.write(text, file=sys.stderr)


def warn(text: str) -> None:
    """Prints a warning, once: a file that is read twice is named once."""
    say_once(f"warning: {text}")
