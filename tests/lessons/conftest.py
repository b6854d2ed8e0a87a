"""All pages of the course, made once for all tests."""

import os
import subprocess
import sys

import pytest

from lessons.tool.percent import ROOT, find

BUDGET_SECONDS = 120  # for a lesson in fast mode, on two cores that others use, too


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of all pages, made in fast mode, and what each lesson's run printed and returned."""
    folder = tmp_path_factory.mktemp("site")
    runs = {}
    for lesson in find():
        command = [sys.executable, "-m", "lessons", "run", lesson.name[:2], "--out", folder]
        runs[lesson.name] = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | {"LESSONS_FAST": "1"},
            capture_output=True,
            text=True,
            timeout=BUDGET_SECONDS,
        )
    return folder, runs
