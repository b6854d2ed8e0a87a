"""The checks: nothing written fails, solutions pass, known mistakes are named, and no trick counts as an answer."""

import csv
import functools
import importlib
import itertools
import json
import os
import re
import textwrap

import psutil
import pytest

from lessons.tool.check import check, compare, exercises, judge_apart, on_examples, recognise, tasks
from lessons.tool.form import form_report, read_form
from lessons.tool.grade import grade, student_copy
from lessons.tool.percent import ROOT, find, load

SOUND = find("01")[0]
LESSONS = pytest.mark.parametrize("folder", find(), ids=lambda folder: folder.name)
SOLVED = pytest.mark.parametrize(
    "folder", [f for f in find() if (f / "solution.py").exists()], ids=lambda folder: folder.name
)


@LESSONS
def test_exercises_untouched_are_to_do(folder):
    assert {"lesson.py", "exercise.py", "check.py"} <= {path.name for path in folder.iterdir()}
    untouched = importlib.import_module(f"lessons.{folder.name}.exercise")
    assert 2 <= len(exercises(folder)) <= 4
    for exercise in exercises(folder):
        assert on_examples(exercise, getattr(untouched, exercise.name)).state == "to do"
        for answer in (None, 0.0):  # neither is met by an error of Python's
            half = functools.wraps(exercise.original())(lambda *_, answer=answer, **__: answer)
            assert "Error" not in on_examples(exercise, half).message
        if exercise.test_to_write:
            with pytest.raises(NotImplementedError):
                getattr(untouched, f"test_{exercise.name}")(exercise.original())


@SOLVED
def test_solutions_pass(folder):
    verdicts = check(folder, folder / "solution.py")
    assert {verdict.state for verdict in verdicts.values()} == {"passed"}, verdicts


@pytest.mark.usefixtures("two_cores")
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


def judged(tmp_path, text, name="hann", time_limit=600):
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
        ("def hann(n): return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).tolist()", "failed", "in a list"),
        ("def hann(n):\n    return 1 / 0", "failed", "line 3, `return 1 / 0`: ZeroDivisionError"),
        ("def hann(n) return", "failed", "line 2: "),
        ("raise SystemExit(0)", "failed", "can't be imported"),
        ("import os; os._exit(0)", "failed", "Python ended before the check did (status 0)"),
        ("class Window: ...\ndef hann(n): return Window()", "failed", "expected numbers, obtained Window"),
        ("from functools import partial\nhann = partial(np.hanning)", "failed", "hann is a partial, not a function"),
        ("x = 1", "failed", "has no function hann"),
        ("from ddim_from_scratch.audio.stft import hann", "failed", "hann is imported"),
        (
            "from ddim_from_scratch.audio import mel\nfrom ddim_from_scratch.audio.stft import hann as h\n"
            "def hann(n): return h(n)",
            "failed",
            "write it without",
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


ENDS = "assert hann(8)[0] == 0 and hann(8)[4] == 1"


@pytest.mark.parametrize(
    ("text", "state", "message"),
    [
        ("def test_hann(hann): ...", "failed", "finds 0 of 9 wrong functions; not:\nthis is the symmetric window"),
        (f"def test_hann(hann): {ENDS}", "failed", "not:\nthis is the square root"),
        ("def test_hann(hann): assert hann(8)[0] == 1", "failed", "rejects the right hann. line 2, `def test_hann"),
        ("calls = []\ndef test_hann(hann): calls.append(0); assert len(calls) == 10", "failed", "rejects the right"),
        (
            f"from ddim_from_scratch.audio.stft import hann as right\ndef test_hann(hann): {ENDS}; right(8)",
            "failed",
            "write it",
        ),
        ("def test_hann(hann): assert hann.__name__ == 'hann'", "failed", "rejects the right"),
        ("def test_hann(hann): raise NotImplementedError", "to do", "not written yet"),
    ],
)
def test_a_test_is_scored_by_the_mistakes_it_finds(tmp_path, text, state, message):
    verdict = judged(tmp_path, text, "test_hann")
    assert verdict.state == state, verdict
    assert message in verdict.message


def test_a_loop_that_never_ends_is_stopped(tmp_path):
    verdict = judged(tmp_path, "def hann(n):\n    while True: pass", time_limit=1)
    assert verdict.state == "failed" and "not done after 1 s: does a loop never end?" in verdict.message


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


CHEATS = {
    "the package's function in a default argument": """
        from ddim_from_scratch.audio.stft import hann as package
        def hann(n, function=package): return function(n)""",
    "the package's function in a list": """
        from ddim_from_scratch.audio.stft import hann as package
        kept = [package]
        def hann(n): return kept[0](n)""",
    "the package's module, run again": """
        import importlib.util, sys
        import ddim_from_scratch.audio
        place = sys.modules["ddim_from_scratch.audio.stft"].__file__
        spec = importlib.util.spec_from_file_location("again", place)
        again = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(again)
        def hann(n): return again.hann(n)""",
    "the solution, opened": """
        names = {}
        exec(open("ROOT/lessons/01_sound/solution.py").read(), names)
        def hann(n): return names["hann"](n)""",
    "the solution, imported": """
        import importlib.util
        spec = importlib.util.spec_from_file_location("solved", "ROOT/lessons/01_sound/solution.py")
        solved = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(solved)
        def hann(n): return solved.hann(n)""",
    "a verdict written to every descriptor": """
        import os
        for descriptor in range(3, 64):
            try: os.write(descriptor, b'["passed", "well done"]')
            except OSError: pass
        os._exit(0)""",
    "a verdict written at exit": """
        import atexit, os, sys
        atexit.register(lambda: [os.write(int(x), b'["passed", ""]') for x in sys.argv if x.isdigit()])
        def hann(n): sys.exit(0)""",
    "the runner's functions replaced": """
        import sys
        for module in list(sys.modules.values()):
            for name in ("compare", "judge", "run_tests", "describe"):
                if hasattr(module, name): setattr(module, name, lambda *a, **k: None)
        def hann(n): return np.zeros(n)""",
    "NumPy's comparison replaced": """
        np.allclose = np.array_equal = np.isclose = lambda *a, **k: True
        def hann(n): return np.zeros(n)""",
    "an answer that equals everything": """
        class Equal(np.ndarray):
            def __eq__(self, other): return True
            def __sub__(self, other): return np.zeros(self.shape)
        def hann(n): return np.zeros(n).view(Equal)""",
    "tests skipped": """
        import pytest
        def hann(n):
            if n != 8: pytest.skip("not today")
            return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)""",
    "code in the answer": """
        import struct, sys
        bomb = b"cbuiltins\\nexec\\n(S'import os; os.write(5, b\\'[]\\')'\\ntR."
        def hann(n):
            frame = sys._getframe()
            while frame and "self" not in frame.f_locals: frame = frame.f_back
            channel = frame.f_locals["self"]
            channel.write(bomb)
            return np.zeros(n)""",
    "a child that goes on": """
        import os
        if os.fork() == 0:
            while True: pass
        def hann(n): return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)""",
    "endless printing": """
        def hann(n):
            while True: print("x" * 1000)""",
    "memory": """
        kept = [np.ones(1 << 28) for _ in range(4)]
        def hann(n): return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)""",
}


@pytest.mark.parametrize("name", CHEATS)
def test_no_trick_counts_as_an_answer(tmp_path, name):
    verdict = judged(tmp_path, CHEATS[name].replace("ROOT", str(ROOT)))
    assert verdict.state == "failed" and "The check itself stopped" not in verdict.message, verdict
    commands = [process.info["cmdline"] or () for process in psutil.process_iter(["cmdline"])]
    assert not [command for command in commands if str(tmp_path) in " ".join(command)]


def test_the_form_of_an_experiment_is_read_and_not_run(tmp_path):
    path = tmp_path / "exercise.py"
    for text, said in (
        ("x = 1", "is missing"),
        ('EXPERIMENT = """\n| 2 | ? |\n\nIs it so? ?\n"""\nraise SystemExit(1)', "2 blanks"),
        ('EXPERIMENT = """\n| 2 | 3 |\nIs it so? Yes."""', "filled in"),
    ):
        path.write_text(text)
        assert said in form_report(path)
    assert read_form(path) == "| 2 | 3 |\nIs it so? Yes." and read_form(tmp_path) == ""


def submit(folder, name, text, lesson=SOUND.name):
    path = folder / name / "lessons" / lesson / "exercise.py"
    path.parent.mkdir(parents=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_one_submission_ends_nobody_elses_grading(tmp_path, monkeypatch):
    for name in ("check", "grade"):  # one of the lesson's exercises
        monkeypatch.setattr(f"lessons.tool.{name}.tasks", lambda folder: tasks(folder)[:1])
    inbox, scores = tmp_path / "in", tmp_path / "scores.json"
    good = submit(inbox, "good", GOOD + '\nEXPERIMENT = """\nTwice as loud.\n"""\n')
    submit(inbox, "crash", f"import os\ntry: open({str(good)!r}, 'w').write('')\nfinally: os.abort()")
    submit(inbox, "surrogate", "raise ValueError('\\ud800')")
    submit(inbox, os.fsdecode(b"J\xfcrgen"), GOOD)
    submit(inbox, "zeros", b"\x00\xff")
    for name in ("link", "folder", "pipe", "twice"):
        (inbox / name / SOUND.name).mkdir(parents=True)
    (inbox / "link" / SOUND.name / "exercise.py").symlink_to(good)
    (inbox / "folder" / SOUND.name / "exercise.py").mkdir()
    os.mkfifo(inbox / "pipe" / SOUND.name / "exercise.py")
    (inbox / "twice" / SOUND.name / "exercise.py").write_text(GOOD)
    submit(inbox, "twice/old", "")
    (inbox / "=nothing").mkdir()
    (inbox / "me").symlink_to(inbox / "good")
    result = grade(inbox, scores, time_limit=600)
    assert json.loads(scores.read_text()) == result
    points = {name: lessons[SOUND.name]["points"] for name, lessons in result.items()}
    assert points.pop("good") == points.pop("J\\xfcrgen") == 1
    assert points == dict.fromkeys(["=nothing", "crash", "folder", "link", "pipe", "surrogate", "twice", "zeros"], 0)

    def said(name):
        return result[name][SOUND.name]["exercises"]["hann"]["message"]

    assert "2 copies" in said("twice") and "not a file" in said("folder")
    assert all(lessons[SOUND.name]["of"] == 1 for lessons in result.values())
    assert scores.with_suffix(".md").read_text() == "## 01 good\n\nTwice as loud.\n"
    rows = list(csv.reader(scores.with_suffix(".csv").read_text().splitlines()))
    assert rows[0][:3] == ["student", "01", "02"] and rows[1][0] == "'=nothing" and len(rows) == len(result) + 2
    assert next(row for row in rows if row[0] == "good")[:2] == ["good", "1"]


def test_student_copy_has_no_solutions_and_can_be_worked_in(tmp_path):
    (ROOT / "scores.json.left").write_text("a teacher's file")
    try:
        student_copy(tmp_path / "copy")
    finally:
        (ROOT / "scores.json.left").unlink()
    files = {path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*")}
    assert f"lessons/{SOUND.name}/exercise.py" in files
    assert {"Makefile", "pyproject.toml", "ddim_from_scratch/audio/stft.py", "tests/audio/test_stft.py"} <= files
    assert "scores.json.left" not in files
    unwanted = re.compile(r"solution|planted\.txt|\.git/|^build/")
    assert not [name for name in files if unwanted.search(name)]
    lessons = [path.read_text(encoding="utf-8") for path in (tmp_path / "copy").glob("lessons/*/lesson.py")]
    assert len(lessons) == len(find()) and not [text for text in lessons if 'tags=["answer"' in text]
    for folder in (ROOT / "copy", tmp_path / "copy"):
        with pytest.raises(ValueError, match="name a new folder"):
            student_copy(folder)


def test_every_experiment_has_an_answer_and_a_form():
    for folder in find():
        after = [b for a, b in itertools.pairwise(load(folder).cells) if a.text.startswith("## Experiment")]
        assert [cell.answer for cell in after] == [True], folder.name
        assert "blanks" in form_report(folder / "exercise.py"), folder.name


def test_every_lesson_has_its_row_in_the_readme():
    readme = (ROOT / "lessons/README.md").read_text()
    for folder in find():
        (row,) = (line for line in readme.splitlines() if line.startswith(f"| {folder.name[:2]} "))
        assert row.rsplit("`", 2)[1].split() == tasks(folder)
