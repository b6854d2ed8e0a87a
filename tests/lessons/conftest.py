"""The course's tests need its libraries; PyTorch's environment, for one, has none of them."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("markdown_it", reason="the course's libraries are not installed: pip install '.[lessons]'")
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
