"""Runs a lesson's cells in one namespace, as a notebook does with "run all"."""

from __future__ import annotations

import io
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, NamedTuple
from unittest.mock import patch

import matplotlib.pyplot as plt
from tqdm import tqdm

from ddim_from_scratch.runtime.backend import available_cores

from . import display, terminal
from .display import Text
from .percent import Cell, Lesson


class Step(NamedTuple):
    """A cell and the items it showed."""

    cell: Cell
    shown: list[Any]


class Run(NamedTuple):
    lesson: Lesson
    steps: list[Step]
    seconds: float

    @property
    def time_taken(self) -> str:
        cores = available_cores()
        return f"{self.seconds:.1f} s on {cores} core{'s' * (cores > 1)}" + ", in fast mode" * display.FAST


class LessonError(Exception):
    """A cell failed, and its traceback has been printed."""


class Tee(io.TextIOBase):
    """A standard output that also adds `Text` to `shown`, in order with figures and sounds."""

    def __init__(self, terminal: Any, shown: list[Any]) -> None:
        self.terminal, self.shown = terminal, shown

    def write(self, text: str) -> int:
        self.terminal.write(text)
        if not (self.shown and isinstance(self.shown[-1], Text)):
            self.shown.append(Text(""))
        self.shown[-1].text += text
        return len(text)

    def flush(self) -> None:
        self.terminal.flush()


def run(lesson: Lesson) -> Run:
    """Runs every cell, and prints prose, code and results. Raises LessonError if a cell fails."""
    colour = sys.stdout.isatty()
    namespace: dict[str, Any] = {"__name__": "__main__", "__file__": str(lesson.path)}
    aside: dict[str, Any] = {}  # the names of a model answer, which a student's copy lacks
    steps = []
    start = time.perf_counter()
    plt.switch_backend("Agg")
    with plt.rc_context():
        for cell in lesson.cells:
            aside = (aside or dict(namespace)) if cell.answer else {}
            out = io.StringIO() if cell.answer else sys.stdout
            if cell.kind == "markdown":
                print(terminal.prose(cell.text, colour), end="\n\n", file=out, flush=True)
                steps.append(Step(cell, []))
                continue
            if cell.code and not cell.hidden:
                print(terminal.code(cell.code, colour), file=out, flush=True)
            with recorded(out) as shown:
                try:
                    # The newlines give the traceback the line numbers of the file.
                    exec(compile("\n" * (cell.line - 1) + cell.text, str(lesson.path), "exec"), aside or namespace)
                    display.show_figures()
                except (Exception, SystemExit) as error:
                    print_traceback(error, str(lesson.path))
                    raise LessonError(lesson.path) from None
                finally:
                    plt.close("all")
            print(file=out, flush=True)
            steps.append(Step(cell, shown))
    done = Run(lesson, steps, time.perf_counter() - start)
    print(f"Lesson {lesson.number}: {done.time_taken}.")
    return done


@contextmanager
def recorded(out: Any) -> Iterator[list[Any]]:
    """Collects what is printed, shown and drawn. Everything but pictures is also printed to `out`."""
    shown: list[Any] = []
    with (
        redirect_stdout(Tee(out, shown)),
        patch.object(display, "recording", shown),
        patch.object(display, "print_plain", lambda text: print(text, file=out, flush=True)),
        patch.object(plt, "show", display.show_figures),
        patch.object(tqdm, "__init__", without_bar),
    ):
        yield shown


def without_bar(bar: tqdm, *args: Any, __init__: Any = tqdm.__init__, **kwargs: Any) -> None:
    """Replaces tqdm's `__init__`: no progress bars between the outputs, whatever the package asks for."""
    __init__(bar, *args, **kwargs | {"disable": True})


def print_traceback(error: BaseException, path: str) -> None:
    """Prints the traceback from the lesson's own line on, without the tool's frames."""
    trace = error.__traceback__
    while trace and trace.tb_frame.f_code.co_filename != path:
        trace = trace.tb_next
    traceback.print_exception(error.with_traceback(trace))
