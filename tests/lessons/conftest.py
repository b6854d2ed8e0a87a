"""All pages of the course, each made once for all tests."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from ddim_from_scratch.runtime import backend
from lessons.tool.percent import ROOT, find


class Site:
    """A folder of pages. A lesson runs, in fast mode, when a test first asks for it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run = folder, cache(self.run)

    def run(self, number: str) -> subprocess.CompletedProcess:
        """What the lesson's run printed and returned."""
        command = [sys.executable, "-m", "lessons", "run", number, "--out", self.folder]
        return subprocess.run(command, cwd=ROOT, env=os.environ | {"LESSONS_FAST": "1"}, capture_output=True, text=True)

    def page(self, name: str) -> Path:
        """The page of lesson `name`, "01" .., or "index", "readme" or "sources", which every lesson writes."""
        self.run(name if name.isdecimal() else find()[0].name[:2])
        return self.folder / f"{name}.html"


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def two_cores(monkeypatch):
    """One core cannot tell pieces for every thread from one piece."""
    monkeypatch.setattr(backend, "available_cores", lambda: 2)
