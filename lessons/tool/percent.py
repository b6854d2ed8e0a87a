"""The percent format: a lesson is a Python file in which comments `# %%` begin cells.

    # %% [markdown]
    # Prose, each line a comment.

    # %%
    code = "up to the next marker"

    # %% tags=["hide-input"]
    draws("a figure", code="folded on the page, left out in the terminal")

    # %% [markdown] tags=["answer"]
    # A model answer: folded on the page, left out in the terminal and in a student's copy.

VS Code, Jupyter (with Jupytext) and Spyder open such a file as a notebook, and Python simply runs it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from ddim_from_scratch.runtime.errors import UserError

ROOT = Path(__file__).resolve().parents[2]  # the repository's
LESSONS = ROOT / "lessons"
SOLVED = ROOT / "build/lessons/solved.txt"  # names of the functions that have passed `make check-NN`
ANSWER = "model answer: write yours first"  # what a folded answer is called

SETUP = f"""\
# Makes `import lessons` work: from the repository around this notebook, or else from the one that made it.
import os
import sys
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")  # no progress bars between the outputs

places = [Path.cwd(), *Path.cwd().parents, Path({str(ROOT)!r})]
sys.path.insert(0, next(str(folder) for folder in places if (folder / "lessons/tool").is_dir()))"""


class Cell(NamedTuple):
    kind: str  # "markdown" or "code"
    text: str  # prose without its comment marks, or code as it stands
    line: int  # of the file, from 1, on which the text begins
    hidden: bool = False  # code that is folded away
    answer: bool = False  # part of a model answer

    @property
    def code(self) -> str:
        """The code to show, without calls of `show_source` and `show_answer`, whose output is shown instead."""
        return re.sub(r"^show_(?:source|answer)\(.*\)\n?", "", self.text, flags=re.MULTILINE).rstrip()


class Lesson(NamedTuple):
    """A lesson's place, name and cells."""

    path: Path  # of lesson.py
    cells: list[Cell]

    @property
    def number(self) -> str:
        return self.path.parent.name[:2]

    @property
    def title(self) -> str:
        """The first heading."""
        return self.cells[0].text.splitlines()[0].lstrip("# ")

    @property
    def summary(self) -> str:
        """The paragraph below the first heading."""
        return " ".join(self.cells[0].text.split("\n\n")[1].split())


def find(number: str | None = None) -> list[Path]:
    """The folders of all lessons in order, or of lesson `number` ("01" or "1"). Raises UserError if there is none."""
    folders = sorted(path.parent for path in LESSONS.glob("[0-9][0-9]_*/lesson.py"))
    if number is None:
        return folders
    found = [folder for folder in folders if folder.name[:2] == number.zfill(2)]
    if not found:
        raise UserError(f"there is no lesson {number}: choose from {', '.join(f.name[:2] for f in folders)}")
    return found


def load(folder: Path) -> Lesson:
    """Reads `folder`/lesson.py. Raises UserError, naming the line, if its format is wrong."""
    path = folder / "lesson.py"
    cells = parse(path.read_text(encoding="utf-8"), str(path))
    if not cells or cells[0].kind != "markdown" or not cells[0].text.startswith("# ") or "\n\n" not in cells[0].text:
        raise UserError(f"{path}: begin with a '# %% [markdown]' cell: a heading '# Title' and a paragraph below it")
    return Lesson(path, cells)


def parse(text: str, name: str = "lesson") -> list[Cell]:
    """The cells of a percent-format file, without empty ones."""
    import jupytext  # here, and nbformat below: the process that judges an exercise needs neither

    lines = text.splitlines()
    markers = [i for i, line in enumerate(lines) if line.startswith("# %%")]
    cells = []
    for start, stop, cell in zip(markers, [*markers[1:], None], jupytext.reads(text, "py:percent").cells, strict=False):
        for number, line in enumerate(lines[start:stop] if cell.cell_type == "markdown" else [], start + 1):
            if line and not line.startswith("#"):
                raise UserError(f"{name}:{number}: code in a markdown cell: begin the line with '# ', or a '# %%' cell")
        if body := cell.source.strip("\n"):
            blank = next(i for i, line in enumerate(lines[start + 1 :]) if line)
            tags = cell.metadata.get("tags", [])
            cells.append(Cell(cell.cell_type, body, start + blank + 2, "hide-input" in tags, "answer" in tags))
    return cells


def without_answers(text: str) -> str:
    """A percent-format file without its model answers."""
    cells = re.split(r"^(?=# %%)", text, flags=re.MULTILINE)
    return "".join(cell for cell in cells if '"answer"' not in cell.partition("\n")[0])


def notebook(lesson: Lesson) -> str:
    """The lesson as a Jupyter notebook, not yet run."""
    import nbformat

    cells = []
    for i, cell in enumerate([lesson.cells[0], Cell("code", SETUP, 0), *lesson.cells[1:]]):
        new = nbformat.v4.new_code_cell if cell.kind == "code" else nbformat.v4.new_markdown_cell
        folded = {"tags": ["hide-input"], "jupyter": {"source_hidden": True, "outputs_hidden": cell.answer}}
        text = cell.text
        if cell.answer and cell.kind == "markdown":
            text = f"<details><summary>{ANSWER}</summary>\n\n{text}\n\n</details>"
        cells.append(new(text, id=f"cell-{i}", metadata=folded if cell.hidden or cell.answer else {}))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}))
