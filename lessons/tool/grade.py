"""For teachers: a copy of the repository for students, and grading of submissions."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.runtime.files import replacing, write_json

from . import apart
from .channel import clean
from .check import Verdict, check, tasks
from .form import read_form
from .percent import ROOT, find, without_answers

LEFT_OUT = {"solution.py", "planted.txt", ".ci", ".github"}  # file and folder names that students do not get


def student_copy(target: Path) -> None:
    """Copies to `target` what is under version control, without solutions and model answers.

    Raises UserError if `target` is not an empty folder outside the repository, or the repository is not Git's.
    """
    target = target.resolve()
    if target.is_relative_to(ROOT) or (target.exists() and any(target.iterdir())):
        raise UserError(f"{target} lies in the repository or is not empty: name a new folder elsewhere")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        raise UserError(f"{ROOT} is not a Git repository, so nothing says which files belong to it: clone it anew")
    for name in map(Path, os.fsdecode(listed.stdout).split("\0")[:-1]):
        if not LEFT_OUT.intersection(name.parts) and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    for path in target.glob("lessons/*/lesson.py"):
        path.write_text(without_answers(path.read_text(encoding="utf-8")), encoding="utf-8")


def grade(submissions: Path, scores: Path, time_limit: float) -> dict:
    """Grades every NN_name/exercise.py in each folder of `submissions`. Writes the result to `scores` and returns it.

    A submission is a folder named after its author. `scores`, a JSON file, is rewritten after each submission. Beside
    it lie a table of all points (.csv) and what was written on the experiments, to be read (.md). A lesson that is
    missing has no points.
    """
    if not submissions.is_dir():
        raise UserError(f"{submissions} is not a folder: name one that holds a folder for each student")
    own = apart.adopt()
    students = sorted((path for path in submissions.iterdir() if path.is_dir() and not path.is_symlink()), key=readable)
    result: dict[str, Any] = {}
    for student in tqdm(students, unit="submission"):
        result[readable(student)] = {}
        files = list(submitted(student))
        for lesson in find():
            found = [path for path in files if path.parent.name == lesson.name]
            result[readable(student)][lesson.name] = marks(lesson, found, student, time_limit)
            apart.end_orphans(own)
        write_json(scores, result)
        with replacing(scores.with_suffix(".csv")) as file:
            file.write(table(result, csv_text).encode())
        with replacing(scores.with_suffix(".md")) as file:
            file.write(experiments(result).encode())
    return result


def readable(path: Path) -> str:
    """A folder's name as text, whatever its bytes are."""
    return os.fsencode(path.name).decode("utf-8", "backslashreplace")


def submitted(student: Path) -> Iterator[Path]:
    """All exercise.py of a submission, of whatever kind; links to folders are not followed."""
    for folder, folders, files in os.walk(student):
        if "exercise.py" in {*folders, *files}:
            yield Path(folder, "exercise.py")


def marks(lesson: Path, found: list[Path], student: Path, time_limit: float) -> dict:
    """One lesson of one submission: points, and the verdict on each exercise."""
    names = tasks(lesson)
    if len(found) == 1:
        try:
            verdicts = check(lesson, found[0], time_limit)
        except Exception as error:  # of one student; nobody else's grading may end
            verdicts = dict.fromkeys(names, Verdict("failed", clean(f"cannot be graded: {error}")))
    elif found:
        places = clean(", ".join(str(path.relative_to(student)) for path in found))
        verdicts = dict.fromkeys(names, Verdict("failed", f"{len(found)} copies, which one counts? {places}"))
    else:
        verdicts = dict.fromkeys(names, Verdict("missing", "no exercise.py"))
    points = sum(verdict.state == "passed" for verdict in verdicts.values())
    return {
        "points": points,
        "of": len(verdicts),
        "exercises": {name: verdict._asdict() for name, verdict in verdicts.items()},
        "experiment": read_form(found[0]) if len(found) == 1 else "",
    }


def experiments(result: dict) -> str:
    """What every student wrote on the experiments, lesson by lesson."""
    lessons = list(next(iter(result.values()), {}))
    forms = (
        f"## {name[:2]} {student}\n\n{marked[name]['experiment']}\n"
        for name in lessons
        for student, marked in result.items()
        if marked[name]["experiment"]
    )
    return "\n".join(forms)


def table(result: dict, write: Any) -> str:
    """Points of each student (rows) in each lesson (columns), and their sum."""
    lessons = list(next(iter(result.values()), {}))
    rows = [["student", *(name[:2] for name in lessons), "sum"]]
    for student, marked in result.items():
        points = [marked[name]["points"] for name in lessons if name in marked]
        rows.append([student, *map(str, points), str(sum(points))])
    of = [lesson["of"] for lesson in next(iter(result.values()), {}).values()]
    return write([*rows, ["of", *map(str, of), str(sum(of))]])


def csv_text(rows: list[list[str]]) -> str:
    """Comma-separated values. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
    with io.StringIO() as file:
        csv.writer(file).writerows([["'" + cell if cell[:1] in "=+-@\t" else cell for cell in row] for row in rows])
        return file.getvalue()


def aligned(rows: list[list[str]]) -> str:
    """A table for the terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return "\n".join(lines)
