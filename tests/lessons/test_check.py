"""The checks: nothing written fails, solutions pass, known mistakes are named, and no trick counts as an answer."""

import importlib
import json
import textwrap

import pytest

from lessons.tool.check import check, compare, exercises, judge_apart, recognise
from lessons.tool.grade import grade, student_copy
from lessons.tool.percent import ROOT, find

SOUND = find("01")[0]
LESSONS = pytest.mark.parametrize("folder", find(), ids=lambda folder: folder.name)
SOLVED = pytest.mark.parametrize(
    "folder", [f for f in find() if (f / "solution.py").exists()], ids=lambda folder: folder.name
)


@LESSONS
def test_two_to_four_exercises_untouched(folder):
    verdicts = check(folder, folder / "exercise.py")
    assert 2 <= len(verdicts) <= 4
    assert {verdict.state for verdict in verdicts.values()} == {"to do"}


@SOLVED
def test_solutions_pass(folder):
    verdicts = check(folder, folder / "solution.py")
    assert {verdict.state for verdict in verdicts.values()} == {"passed"}, verdicts


@LESSONS
def test_every_known_mistake_fails_and_is_named(folder):
    for exercise in exercises(folder):
        right = {label: probe(exercise.original()) for label, probe in exercise.examples.items()}
        for sentence, mistaken in exercise.mistakes.items():
            named = False
            for label, probe in exercise.examples.items():
                try:
                    obtained = probe(mistaken)
                except Exception:
                    continue
                if compare(right[label], obtained, exercise.tolerance):
                    named = sentence in recognise(exercise, probe, right[label], obtained)
                    break
            assert named, f"{exercise.name}: never seen: {sentence}"


@LESSONS
def test_checks_need_no_later_lesson_and_no_reference_library(folder):
    for name in ("exercise.py", "check.py", "solution.py", "lesson.py"):
        if (folder / name).exists():
            text = (folder / name).read_text(encoding="utf-8")
            assert "import tensorflow" not in text and "import torch" not in text
            assert not any(f"lessons.{other.name}" in text for other in find() if other.name != folder.name)
    for exercise in exercises(folder):
        assert exercise.replaces.startswith("ddim_from_scratch.") and callable(exercise.original())
        assert exercise.tests and exercise.examples


def judged(tmp_path, text, name="hann", time_limit=60):
    path = tmp_path / "exercise.py"
    path.write_text("import numpy as np\n" + textwrap.dedent(text))
    return judge_apart(SOUND, name, path, time_limit)


@pytest.mark.parametrize(
    ("text", "state", "message"),
    [
        ("def hann(n): ...", "to do", "returns None"),
        ("def hann(n): return np.hanning(n)", "failed", "likely: this is the symmetric window"),
        ("def hann(n): return np.hanning(n + 1)", "failed", r"the shape is (9,), not (8,)"),
        ("def hann(n): return np.hanning(n + 1)[:-1].astype('f4')", "failed", "the dtype is float32, not float64"),
        ("def hann(n): return 'hann'", "failed", "expected numbers, obtained str"),
        ("def hann(n): return [[1], [2, 3]]", "failed", "no array"),
        ("def hann(n):\n    return 1 / 0", "failed", "line 3, `return 1 / 0`: ZeroDivisionError"),
        ("def hann(n) return", "failed", "line 2: "),
        ("raise SystemExit(0)", "failed", "can't be imported"),
        ("import os; os._exit(0)", "failed", "Python ended before the check did (status 0)"),
        ("x = 1", "failed", "has no function hann"),
        ("from ddim_from_scratch.audio.stft import hann", "failed", "hann is imported"),
        (
            "from ddim_from_scratch.audio import mel\nfrom ddim_from_scratch.audio.stft import hann as h\n"
            "def hann(n): return h(n)",
            "failed",
            "so itself",
        ),
        (  # right on the example only
            "def hann(n): return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) if n == 8 else np.hanning(n)",
            "failed",
            "test_hann_is_periodic fails",
        ),
        ("def hann(n): return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)", "passed", "2 tests"),
    ],
)
def test_verdicts(tmp_path, text, state, message):
    verdict = judged(tmp_path, text)
    assert verdict.state == state, verdict
    assert message in verdict.message


def test_two_mistakes_at_once_are_told_by_the_shape(tmp_path):
    text = """
        def stft(x, n, hop, n_fft, pad_end=True):
            return np.array([np.fft.rfft(x[m : m + n], n_fft) for m in range(0, len(x) - n + 1, hop)])
    """
    message = judged(tmp_path, text, "stft").message
    assert "the shape is (4, 9), not (6, 9)" in message and "likely: the last frames are missing" in message
    assert "no window" not in message


def test_expected_and_obtained_are_printed(tmp_path):
    message = judged(tmp_path, "def hann(n): return np.zeros(n)").message
    lines = [" ".join(line.split()) for line in message.splitlines()]
    assert lines[0] == "hann(8): the values differ, most at [4]: 0, not 1"
    assert lines[1] == "expected float64 (8,) [0. 0.1464 0.5 0.8536 1. 0.8536 0.5 0.1464]"
    assert lines[2] == "obtained float64 (8,) [0. 0. 0. 0. 0. 0. 0. 0.]"


GOOD = "import numpy as np\n\ndef hann(n): return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)\n"


def test_grading_survives_crashes_and_endless_loops(tmp_path):
    submissions = {
        "crash": "import os\nos.abort()",
        "good": GOOD,
        "loop": "def hann(n):\n    while True: pass",
        "noise": GOOD + "\nwhile True: print('x' * 1_000_000)",
        "syntax": "def",
    }
    for name, text in submissions.items():
        folder = tmp_path / "in" / name / "lessons" / SOUND.name
        folder.mkdir(parents=True)
        (folder / "exercise.py").write_text(text)
    (tmp_path / "in/nothing").mkdir()
    scores = tmp_path / "scores.json"
    result = grade(tmp_path / "in", scores, time_limit=15)
    assert json.loads(scores.read_text()) == result
    assert list(result) == ["crash", "good", "loop", "noise", "nothing", "syntax"]
    assert result["nothing"] == {}
    points = {name: lesson[SOUND.name]["points"] for name, lesson in result.items() if lesson}
    assert points == {"crash": 0, "good": 1, "loop": 0, "noise": 0, "syntax": 0}
    assert "never end" in result["loop"][SOUND.name]["exercises"]["hann"]["message"]
    assert result["good"][SOUND.name]["of"] == len(exercises(SOUND))


def test_student_copy_has_no_solutions_and_can_be_worked_in(tmp_path):
    student_copy(tmp_path / "copy")
    files = {path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*")}
    assert f"lessons/{SOUND.name}/exercise.py" in files
    assert {"Makefile", "pyproject.toml", "ddim_from_scratch/audio/stft.py", "tests/audio/test_stft.py"} <= files
    assert not [name for name in files if "solution" in name or ".git/" in name or name.startswith("build/")]
    for folder in (ROOT / "copy", tmp_path / "copy"):
        with pytest.raises(ValueError, match="name a new folder"):
            student_copy(folder)


def test_every_lesson_has_its_four_files():
    for folder in find():
        assert {"lesson.py", "exercise.py", "check.py"} <= {path.name for path in folder.iterdir()}
        importlib.import_module(f"lessons.{folder.name}.exercise")
