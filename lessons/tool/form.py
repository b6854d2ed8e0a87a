"""The form of an experiment: a text at the end of exercise.py, which the student fills in and a teacher reads."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from ddim_from_scratch.runtime.errors import UserError

from .apart import read_answer

FORM = re.compile(r'^EXPERIMENT = """(.*?)"""', re.MULTILINE | re.DOTALL)
BLANK = re.compile(r"(?<!\S)\?(?!\S)")


def read_form(path: Path) -> str:
    """The text EXPERIMENT in a student's file, which is not run. Empty if there is none."""
    try:
        found = FORM.search(read_answer(path).decode("utf-8", "replace"))
    except UserError:
        return ""
    return inspect.cleandoc(found[1]) if found else ""


def form_report(path: Path) -> str:
    """What is still to be written, for the terminal."""
    form = read_form(path)
    if not form:
        return f'EXPERIMENT is missing: put EXPERIMENT = """...""" back into {path.name}.'
    if blanks := len(BLANK.findall(form)):
        return f"EXPERIMENT: {blanks} blanks (?) to fill in."
    return "EXPERIMENT is filled in; your teacher reads it."
