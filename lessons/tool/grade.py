"""For teachers: a copy of the repository for students, and grading of submissions."""

from __future__ import annotations

import shutil
from pathlib import Path

from tqdm import tqdm

from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.runtime.files import write_json

from .check import check
from .percent import ROOT, find

LEFT_OUT = (
    "solution.py",
    ".git",
    ".venv*",
    "build",
    "runs",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    ".ci",
    ".github",
)


def student_copy(target: Path) -> None:
    """Copies the repository to `target`, without solutions and build outputs."""
    target = target.resolve()
    if target.is_relative_to(ROOT) or (target.exists() and any(target.iterdir())):
        raise UserError(f"{target} lies in the repository or is not empty: name a new folder elsewhere")
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*LEFT_OUT), dirs_exist_ok=True)


def grade(submissions: Path, scores: Path, time_limit: float) -> dict:
    """Grades every NN_name/exercise.py in each folder of `submissions`. Writes the result to `scores` and returns it.

    A submission is a folder named after its author. `scores`, a JSON file, is rewritten after each submission.
    """
    if not submissions.is_dir():
        raise UserError(f"{submissions} is not a folder: name one that holds a folder for each student")
    lessons = {folder.name: folder for folder in find()}
    result = {}
    for student in tqdm(sorted(path for path in submissions.iterdir() if path.is_dir()), unit="submission"):
        files = [path for path in sorted(student.rglob("exercise.py")) if path.parent.name in lessons]
        result[student.name] = {path.parent.name: marks(lessons[path.parent.name], path, time_limit) for path in files}
        write_json(scores, result)
    return result


def marks(folder: Path, path: Path, time_limit: float) -> dict:
    """One lesson of one submission: points, and the verdict on each exercise."""
    verdicts = check(folder, path, time_limit)
    points = sum(verdict.state == "passed" for verdict in verdicts.values())
    return {
        "points": points,
        "of": len(verdicts),
        "exercises": {name: verdict._asdict() for name, verdict in verdicts.items()},
    }
