"""A lesson's file as cells, and as a notebook."""

import json
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from ddim_from_scratch.runtime.errors import UserError
from lessons.tool import percent
from lessons.tool.percent import Cell, parse

TEXT = """# %% [markdown]
# # Title
#
#   indented, $a^2$

# %%
x = 1  # %% not a marker


def f():
    return x


# %% tags=["hide-input"]
f()
show_source(f)
# %%

"""


def test_cells_with_their_kinds_and_lines():
    assert parse(TEXT) == [
        Cell("markdown", "# Title\n\n  indented, $a^2$", 2),
        Cell("code", "x = 1  # %% not a marker\n\n\ndef f():\n    return x", 7),
        Cell("code", "f()\nshow_source(f)", 15, hidden=True),
    ]
    assert parse(TEXT)[2].code == "f()"


def test_code_in_a_markdown_cell_is_named():
    with pytest.raises(UserError, match="my lesson:3: code in a markdown cell"):
        parse("# %% [markdown]\n# prose\ncode = 1", "my lesson")


def test_a_lesson_begins_with_a_title_and_a_paragraph(tmp_path):
    (tmp_path / "lesson.py").write_text("# %%\nprint(1)\n")
    with pytest.raises(UserError, match="begin with"):
        percent.load(tmp_path)


@pytest.mark.parametrize("folder", percent.find(), ids=lambda folder: folder.name)
def test_notebook(folder):
    """Jupyter's format 4.5, every code cell valid Python, and the lesson's text in it, whole."""
    lesson = percent.load(folder)
    notebook = json.loads(percent.notebook(lesson))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = notebook["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells) == len(lesson.cells) + 1
    for cell in cells:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            compile(text, cell["id"], "exec")
            assert cell["outputs"] == [] and cell["execution_count"] is None
    for cell, shown in zip(lesson.cells[1:], cells[2:], strict=True):
        folded = cell.answer and cell.kind == "markdown"
        text = "".join(shown["source"])
        assert cell.text in text and (text == cell.text) == (not folded)


def test_a_notebook_finds_the_lessons_from_anywhere(tmp_path):
    setup = "".join(json.loads(percent.notebook(percent.load(percent.find("01")[0])))["cells"][1]["source"])
    (tmp_path / "copy/lessons/tool").mkdir(parents=True)  # a repository around it comes first
    for folder, found in ((tmp_path, percent.ROOT), (tmp_path / "copy", tmp_path / "copy")):
        command = [sys.executable, "-c", f"{setup}\nprint(sys.path[0])"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.stdout == f"{found}\n", done.stderr


def test_a_notebook_runs_in_a_kernel_with_its_figures_and_players(tmp_path, monkeypatch):
    """Anywhere, with no more than the package installed."""
    monkeypatch.setenv("LESSONS_FAST", "1")
    notebook = nbformat.reads(percent.notebook(percent.load(percent.find("01")[0])), as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in data for data in shown) >= 3
    assert sum("<audio" in data.get("text/html", "") for data in shown) >= 3
