"""The process in which a student's file runs. It answers calls, and decides nothing.

It starts in a copy of the package that lacks the function to be written, and may read that copy and the libraries
only. An audit hook refuses other files, new processes, signals and foreign code; the memory is limited.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import os
import sys
import traceback
from pathlib import Path
from types import FunctionType
from typing import Any

MEMORY = 4 << 30  # bytes of addresses, of which threads of BLAS take some
PRINTED = 50_000_000  # bytes that a student's code may print
STOLEN = "It calls the package's function of this name: write it without."
FORBIDDEN = ("subprocess.", "os.fork", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.kill", "signal.")
FORBIDDEN += ("ctypes.", "socket.", "pty.", "shutil.", "resource.", "syslog.", "mmap.", "gc.get_")
WRITING = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.chown"}
WRITING |= {"os.truncate", "os.utime", "os.setxattr", "os.removexattr", "os.mkfifo", "os.mknod"}


class Refused(PermissionError):
    """The student's file asked for something that an exercise does not need."""


def describe(error: BaseException, path: str | Path) -> str:
    """An exception in one line, with the last line of the student's file in its traceback."""
    from .channel import clean

    if sentence := getattr(error, "sentence", ""):
        return sentence
    if isinstance(error, SyntaxError):
        return clean(f"line {error.lineno}: {error.msg}: {(error.text or '').strip()}")
    if isinstance(error, RecursionError):
        return "It calls itself without end."
    if isinstance(error, Refused):
        return clean(error)
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    place = f"line {lines[-1].lineno}, `{lines[-1].line}`: " if lines else ""
    return f"{place}{type(error).__name__}: {clean(error)}"


def load(path: str, name: str, objects: dict[Any, Any]) -> str:
    """Imports the student's file. Returns what is wrong with the function `name`, or an empty text."""
    spec = importlib.util.spec_from_file_location("exercise", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["exercise"] = module
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if found is None:
        return f"{Path(path).name} has no function {name}: put it back"
    function = inspect.unwrap(found)
    if not isinstance(function, FunctionType):
        return f"{name} is a {type(found).__name__}, not a function: write it as `def {name}(...):`"
    if function.__code__.co_filename != path:
        return f"{name} is imported: write it in {Path(path).name}"
    objects[name] = found
    return ""


def limit() -> None:
    """Limits memory and what is printed, and lets the process end with its parent."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (PRINTED, PRINTED))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def guard(readable: list[str]) -> None:
    """Refuses, from now on, files outside `readable`, writing, processes, signals and foreign code."""
    allowed = tuple(os.path.realpath(place) for place in readable)
    real, fspath, prefix = os.path.realpath, os.fspath, str.startswith
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, int):
                return
            place = real(os.fsdecode(path)) if isinstance(path, bytes) else real(fspath(path))
            if not any(place == folder or prefix(place, folder + "/") for folder in allowed):
                raise Refused(f"It opens {place}: an exercise needs no files.")
            if isinstance(flags, int) and flags & writing:
                raise Refused(f"It writes {place}: an exercise needs no files.")
        elif event in WRITING or any(prefix(event, start) for start in FORBIDDEN):
            raise Refused(f"It uses {event}: an exercise needs neither files nor processes.")

    sys.addaudithook(hook)


def main(path: str, name: str, read_fd: str, write_fd: str) -> None:
    """Serves the function `name` of the file `path` over two descriptors."""
    from ddim_from_scratch.runtime.backend import threads

    from .channel import Channel

    limit()
    with threads():  # looks for the libraries of linear algebra in the process, which the guard refuses
        pass
    folder = str(Path(path).parent)
    places = [sys.prefix, "/usr/lib", "/usr/local/lib", "/lib", "/lib64"]
    places += [entry for entry in sys.path if "site-packages" in entry or "dist-packages" in entry]
    places += [
        str(Path(os.__file__).parent),
        folder,
        "/dev/null",
        "/dev/urandom",
        "/sys/devices/system/cpu",
        "/sys/fs/cgroup",
    ]
    objects: dict[Any, Any] = {}
    objects["load"] = functools.partial(load, path, name, objects)
    channel = Channel(int(read_fd), int(write_fd), objects, trusts=True, path=path)
    guard(places)
    channel.serve_forever()
