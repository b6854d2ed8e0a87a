"""The course: lessons that run, exercises with automatic checks, pages with sound.

    NN_name/lesson.py    prose and code in turn (percent format); imports the package, never copies it
    NN_name/exercise.py  functions for the student to write
    NN_name/solution.py  the same functions, written
    NN_name/planted.txt  mistakes in them that the check must find: by function, the edits "old => new"
    NN_name/check.py     which function of the package each exercise replaces, and which tests it must pass
    tool/                runs, prints, renders, checks and grades them

A lesson imports its helpers from here. `python -m lessons --help` lists the commands.
"""

from importlib import import_module
from typing import Any

__all__ = ["FAST", "film", "show_answer", "show_source", "sound"]


def __getattr__(name: str) -> Any:
    """What a lesson shows things with, at its first use: a check of an exercise needs no matplotlib."""
    if name not in __all__:
        raise AttributeError(name)
    return getattr(import_module("lessons.tool.display"), name)
