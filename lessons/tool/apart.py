"""Starts and ends the two processes of a check: one that judges, and one in which the student's file runs.

The student's process has a copy of the package without the function to be written, and no solutions, tests or
checks. The verdict comes from the judging process through a pipe that the student's process does not have.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil

from ddim_from_scratch.runtime.errors import UserError

from .answer import STOLEN
from .channel import clean
from .percent import ROOT

LARGEST_FILE = 1_000_000  # bytes of an exercise.py
SERVE = "import sys; from harness.answer import main; main(*sys.argv[1:])"
STATES = {"passed", "failed", "to do"}
running: set[int] = set()  # processes that were started here
starting = threading.Lock()
parsing = threading.Lock()  # Python 3.11 adds up the depths of two parsings at once: python/cpython issue 106905


def read_answer(path: Path) -> bytes:
    """The student's file. Raises UserError for a link, a folder, a pipe and what is too large."""
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror}") from None
    try:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode):
            raise UserError(f"{path.name} is not a file")
        if about.st_size > LARGEST_FILE:
            raise UserError(f"{path.name} has {about.st_size} bytes: more than {LARGEST_FILE}")
        return os.read(file, LARGEST_FILE + 1)
    finally:
        os.close(file)


def copy_package(folder: Path, name: str) -> None:
    """Copies the package into `folder`. Functions called `name` only say there that they must not be called."""
    left_out = shutil.ignore_patterns("*.npz", "*.cu")
    shutil.copytree(ROOT / "ddim_from_scratch", folder / "ddim_from_scratch", ignore=left_out)
    for path in (folder / "ddim_from_scratch").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if f"def {name}(" not in text:
            continue
        with parsing:
            tree, stub = ast.parse(text), ast.parse(f"raise RuntimeError({STOLEN!r})\nyield")
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                generates = any(isinstance(part, ast.Yield | ast.YieldFrom) for part in ast.walk(node))
                node.body = stub.body[: 1 + generates]
        path.write_text(ast.unparse(tree), encoding="utf-8")
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()
    (folder / "harness").mkdir()
    (folder / "harness/__init__.py").touch()
    for helper in ("answer.py", "channel.py"):
        shutil.copyfile(Path(__file__).parent / helper, folder / "harness" / helper)


def start(command: list[str], folder: Path, printed: int, pass_fds: tuple[int, ...]) -> subprocess.Popen:
    """Starts Python in `folder`, in a session of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    environment |= {
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # the tests need none, and importing them takes longer than most tests
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": str(folder),
    }
    with starting:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        running.add(process.pid)
    return process


def end(*processes: subprocess.Popen) -> None:
    """Kills processes with their children, those that have left their group or their parent, too."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with starting:
        running.difference_update(process.pid for process in processes)


def judged(lesson: str, name: str, path: Path, time_limit: float) -> tuple[str, str]:
    """State and message of the exercise `name` as written in the file `path`."""
    try:
        text = read_answer(path)
    except UserError as error:
        return "failed", str(error)
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as printed:
        folder, said = Path(scratch, "copy"), printed.fileno()
        copy_package(folder, name.removeprefix("test_"))
        (folder / path.name).write_bytes(text)
        calls_out, calls_in = os.pipe()
        answers_out, answers_in = os.pipe()
        verdict_out, verdict_in = os.pipe()
        answer = start(
            ["-c", SERVE, str(folder / path.name), name, str(calls_out), str(answers_in)],
            folder,
            said,
            (calls_out, answers_in),
        )
        with tempfile.TemporaryFile() as log:
            judge = start(
                ["-m", "lessons.tool.check", lesson, name, path.name, str(answers_out), str(calls_in), str(verdict_in)],
                ROOT,
                log.fileno(),
                (answers_out, calls_in, verdict_in),
            )
            for descriptor in (calls_out, calls_in, answers_out, answers_in, verdict_in):
                os.close(descriptor)
            late = False
            try:
                judge.wait(time_limit)
            except subprocess.TimeoutExpired:
                late = True
            with contextlib.suppress(subprocess.TimeoutExpired):
                answer.wait(0.2)  # it ends when the judge does
            status = answer.poll()
            end(answer, judge)
            with os.fdopen(verdict_out, "rb") as pipe:
                found = pipe.read()
            if late:
                return "failed", f"not done after {time_limit:g} s: does a loop never end?"
            verdict = decoded(found)
            if verdict is None:
                return "failed", f"The check itself stopped (status {judge.returncode}).\n{last_lines(log)}".strip()
        if verdict[0] == "ended":
            words = f"{verdict[1]} Python ended before the check did (status {status}).".strip()
            return "failed", f"{words}\n{last_lines(printed)}".strip()
        return verdict


def decoded(found: bytes) -> tuple[str, str] | None:
    """The verdict in what the judging process has written, or None."""
    try:
        state, message = json.loads(found)
    except ValueError:
        return None
    return (state, clean(message)) if state in STATES | {"ended"} and isinstance(message, str) else None


def last_lines(file) -> str:
    file.seek(max(0, file.seek(0, os.SEEK_END) - 2000))
    return clean(file.read().decode(errors="replace").strip())


def adopt() -> set[int]:
    """From now on, processes whose parents have ended become children of this one (Linux). Returns those it has."""
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    return {child.pid for child in psutil.Process().children()}


def end_orphans(own: set[int]) -> None:
    """Kills what students' processes have left behind: children of this process that neither it nor a check started."""
    with starting, contextlib.suppress(psutil.Error):
        for child in psutil.Process().children():
            if child.pid not in running | own:
                with contextlib.suppress(psutil.Error):
                    child.kill()
                    child.wait(1)
