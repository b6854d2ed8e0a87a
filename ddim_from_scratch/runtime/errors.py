"""Errors that the user can fix, and Python's own in words."""

from __future__ import annotations

import errno
import json
import os
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

Kinds = type[Exception] | tuple[type[Exception], ...]
SAVED = "files saved before are intact"
REMEDIES = {  # by the operating system's error number
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG), "check the path"),
    errno.EEXIST: "choose another name",
    errno.EACCES: "check its permissions, or choose another folder",
    errno.EPERM: "check its permissions, or choose another folder",
    errno.EROFS: "choose a writable folder",
    errno.ENOSPC: f"free some disk space; {SAVED}",
    errno.EDQUOT: f"free some disk space; {SAVED}",
    errno.EFBIG: f"raise the file size limit (ulimit -f); {SAVED}",
}
WORDS: tuple[tuple[Kinds, str], ...] = (  # the first that fits is said
    (UnicodeError, "it is not text in UTF-8"),
    (RecursionError, "it is nested too deeply"),
    (MemoryError, "it takes more memory than there is"),
    (EOFError, "it is cut short"),
    (ZeroDivisionError, "a number in it is 0 where none may be"),
    (ArithmeticError, "a number in it is too large"),
    ((zipfile.BadZipFile, zlib.error), "it is cut short, damaged or of another kind"),
    ((ValueError, TypeError, AttributeError, LookupError, SyntaxError), "it holds something else"),
)


class UserError(ValueError):
    """An error the user can fix. Commands print it as one line, without a traceback, and exit with status 2."""


class FileError(UserError):
    """An error about a file, whose name the message begins with."""


@contextmanager
def naming(path: object, flaw: str, remedy: str, kinds: Kinds = Exception) -> Iterator[None]:
    """While a file is read, exceptions of these kinds become a FileError: "PATH FLAW (WHY): REMEDY".

    One that names its file already, a FileError or the system's, stays as it is.
    """
    try:
        yield
    except kinds as error:
        if isinstance(error, FileError) or (isinstance(error, OSError) and error.filename):
            raise
        raise FileError(f"{printable(path)} {flaw} ({why(error)}): {remedy}") from None


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


def why(error: BaseException) -> str:
    """An exception's reason, for the brackets of a message: our words for Python's, one short line of a library's."""
    for one in (error, error.__cause__):
        if isinstance(own := getattr(one, "orig", None), Exception):
            return why(own)  # the database's, which SQLAlchemy tells on a page
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON (line {error.lineno}, column {error.colno})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{error.name} is not installed"
    if isinstance(error, KeyError) and error.args:
        return f"it has no {printable(error.args[0])[:60]}"
    for kinds, words in () if isinstance(error, UserError) else WORDS:
        if isinstance(error, kinds):
            return words
    return " ".join(str(error).split())[:200] or type(error).__name__


def line(error: BaseException, again: str = "") -> str:
    """A UserError, OSError or MemoryError as one line with a remedy. again: how to go on after a full disk."""
    if isinstance(error, MemoryError):
        return "out of memory: ask for less at a time, a smaller batch or network, or fewer or shorter clips"
    if not isinstance(error, OSError):
        return printable(error)
    remedy = REMEDIES.get(error.errno or 0, SAVED)
    name = f"{printable(error.filename)}: " if error.filename else ""
    return f"{name}{why(error)}: {remedy}" + (f"; {again}" if again and SAVED in remedy else "")


_said: set[str] = set()


def say_once(text: str) -> None:
    """Prints a line on stderr, above any progress bar. The same line is printed only once."""
    if text not in _said:
        _said.add(text)
        tqdm.write(text, file=sys.stderr)


def warn(text: str) -> None:
    """Prints a warning, once: a file that is read twice is named once."""
    say_once(f"warning: {text}")
