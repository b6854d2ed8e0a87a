"""Mistakes planted into the solutions of the lessons: none passes its check, and four in five are named.

A mistake is an edit of the solution's text, as a student might have written it (planted.txt, beside the solution). The
examples of check.py must find it without the package's tests; the hints are written independently of this list.
"""

import ast
import re

import pytest

from lessons.tool.check import exercises, on_examples
from lessons.tool.percent import find

UNHURT = "def column(a, x):\n    return np.reshape(a, (-1,) + (1,) * (x.ndim - 1)) if np.ndim(a) else a\n"


def edits(folder):
    """The planted mistakes, (old, new), by the name of the function."""
    found, pairs = {}, []
    for line in (folder / "planted.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            old, new = line.strip().replace("\\n", "\n").split(" => ")
            pairs.append((old, new))
        else:
            pairs = found[line] = []
    return found


def planted(text, name, old, new):
    """The function `name` of a solution's text, with one edit."""
    (node,) = (n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == name)
    function = ast.get_source_segment(text, node)
    assert old in function, f"{name} has no {old!r}"
    namespace = {}
    exec(text + "\n" + UNHURT + function.replace(old, new), namespace)
    return namespace[name]


@pytest.mark.usefixtures("two_cores")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("folder", [f for f in find() if (f / "solution.py").exists()], ids=lambda folder: folder.name)
def test_planted_mistakes_fail_and_are_named(folder):
    text = (folder / "solution.py").read_text(encoding="utf-8")
    mistakes, found, unnamed = edits(folder), {}, []
    for exercise in exercises(folder):
        assert len(mistakes[exercise.name]) >= 6 <= len(exercise.mistakes)
        assert on_examples(exercise, planted(text, exercise.name, "", "")) is None  # the right answer
        for old, new in mistakes[exercise.name]:
            place = f"{exercise.name}: {old!r} -> {new!r}"
            found[place] = on_examples(exercise, planted(text, exercise.name, old, new))
            if found[place] and not re.search("\nlikely: | in place, ", found[place].message):
                unnamed.append(place)
    assert [place for place, verdict in found.items() if verdict is None] == []
    assert len(unnamed) <= 0.2 * len(found), unnamed
