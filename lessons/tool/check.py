"""Checks a student's function: it replaces the package's, and the package's own tests run on it.

A lesson's check.py lists its exercises. Each is judged in its own process, so that a wrong or endless function cannot
affect the others. First come examples: small inputs on which the student's answer is compared with the package's, and
known mistakes are recognised by their answers. Then the package's tests run, with the student's function in place of
the package's.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ddim_from_scratch.diffusion import SAMPLERS
from ddim_from_scratch.runtime.backend import available_cores
from ddim_from_scratch.runtime.errors import UserError

from .display import SOLVED
from .percent import ROOT

TIME_LIMIT = 120  # seconds for one exercise; the tests of a good answer take a few
PRINTED = 50_000_000  # bytes that a student's code may print

Probe = Callable[[Callable], Any]  # calls the function it is given, and returns what it answers


@dataclass(frozen=True)
class Exercise:
    """A function for the student to write, with the package's name.

    replaces: the function of the package, as "package.module.function".
    tests: node ids of the package's tests, "tests/audio/test_stft.py::test_parseval"; without TensorFlow.
    examples: calls by label, {"hann(4)": lambda hann: hann(4)}, which return arrays or numbers.
    mistakes: functions that make a known mistake, by the sentence that explains it. A mistake is recognised if it
        answers an example as the student's function does, and differently from the package's.
    tolerance: of examples, relative to the largest value of the answer.
    """

    replaces: str
    tests: tuple[str, ...]
    examples: Mapping[str, Probe]
    mistakes: Mapping[str, Callable] = field(default_factory=dict)
    tolerance: float = 1e-6

    @property
    def name(self) -> str:
        return self.replaces.rpartition(".")[2]

    def original(self) -> Callable:
        module, _, name = self.replaces.rpartition(".")
        return getattr(importlib.import_module(module), name)


class Verdict(NamedTuple):
    state: str  # "passed", "failed" or "to do"
    message: str  # several lines, for the student


def exercises(folder: Path) -> list[Exercise]:
    """The exercises of the lesson in `folder`."""
    return importlib.import_module(f"lessons.{folder.name}.check").EXERCISES


def check(folder: Path, path: Path, time_limit: float = TIME_LIMIT) -> dict[str, Verdict]:
    """Judges every exercise of a lesson, as written in the file `path`, each in its own process."""
    if not path.is_file():
        raise UserError(f"{path} does not exist: write the exercises of {folder.name} there")
    names = [exercise.name for exercise in exercises(folder)]
    with ThreadPoolExecutor(available_cores()) as pool:
        verdicts = pool.map(lambda name: judge_apart(folder, name, path, time_limit), names)
        return dict(zip(names, verdicts, strict=True))


def judge_apart(folder: Path, name: str, path: Path, time_limit: float) -> Verdict:
    """`judge` in a new process. After `time_limit` seconds it is killed, with all processes that it started."""
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as printed:
        verdict = Path(scratch, "verdict.json")
        command = [sys.executable, "-m", __spec__.name, folder.name, name, str(path.resolve()), str(verdict)]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            start_new_session=True,
        )
        try:
            process.wait(time_limit)
        except subprocess.TimeoutExpired:
            return Verdict("failed", f"not done after {time_limit:g} s: does a loop never end?")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if verdict.is_file():
            return Verdict(*json.loads(verdict.read_text(encoding="utf-8")))
        printed.seek(max(0, printed.seek(0, os.SEEK_END) - 2000))
        last = printed.read().decode(errors="replace").strip()
        return Verdict("failed", f"Python ended before the check did (status {process.returncode}).\n{last}".strip())


def judge(exercise: Exercise, path: Path) -> Verdict:
    """Replaces the package's function by that of the file `path`, and runs the examples, then the tests."""
    original = exercise.original()
    expected = {label: probe(original) for label, probe in exercise.examples.items()}
    try:
        module = load(path)
    except (Exception, SystemExit) as error:
        return Verdict("failed", f"{path.name} can't be imported. {describe(error, path)}")
    student = getattr(module, exercise.name, None)
    if not callable(student):
        return Verdict("failed", f"{path.name} has no function {exercise.name}: put it back")
    if inspect.unwrap(student).__code__.co_filename != str(path):
        return Verdict("failed", f"{exercise.name} is imported: write it in {path.name}")
    calls = replace(original, student)
    for label, probe in exercise.examples.items():
        given: list[tuple[str, Any, Any]] = []
        try:
            obtained = probe(on_copies(student, given))
        except NotImplementedError:
            return Verdict("to do", "not written yet")
        except (Exception, SystemExit) as error:
            return Verdict("failed", f"{label} fails. {describe(error, path)}")
        if obtained is None or obtained is ...:
            return Verdict("to do", f"{label} returns {obtained}")
        if difference := compare(expected[label], obtained, exercise.tolerance):
            hints = recognise(exercise, probe, expected[label], obtained)
            return Verdict("failed", "\n".join([f"{label}: {difference}", *(f"likely: {hint}" for hint in hints)]))
        if changed := [name for name, before, after in given if not same(before, after)]:
            advice = (
                f"you changed {changed[0]} in place, and others still need it: compute a new array, or copy it first"
            )
            return Verdict("failed", f"{label}: the values are right, but {advice}")
    return run_tests(exercise, calls, path)


def on_copies(function: Callable, given: list[tuple[str, Any, Any]]) -> Callable:
    """`function` called with copies of its arrays. Appends (name, original, copy) of each argument to `given`.

    So an answer that changes its arguments spoils no later example, and can be told so.
    """
    names = list(inspect.signature(function).parameters)

    def called(*args: Any, **kwargs: Any) -> Any:
        copies = [copied(arg) for arg in args]
        given.extend(zip(names, args, copies, strict=False))  # names are fewer where the signature has *args
        return function(*copies, **kwargs)

    return called


def copied(x: Any) -> Any:
    """x with its arrays copied: an array, or lists, tuples and dicts of them; anything else as it is."""
    if isinstance(x, np.ndarray):
        return x.copy()
    if isinstance(x, dict):
        return {name: copied(value) for name, value in x.items()}
    return type(x)(map(copied, x)) if type(x) in (list, tuple) else x


def same(x: Any, y: Any) -> bool:
    """Whether the arrays in x and in its copy y are still equal. What was taken out of a dict is not looked at."""
    if isinstance(x, np.ndarray):
        return x.shape == y.shape and np.array_equal(x, y, equal_nan=x.dtype.kind in "fc")
    if isinstance(x, dict):
        return all(same(x[name], y[name]) for name in x if name in y)
    return all(map(same, x, y)) if type(x) in (list, tuple) and len(x) == len(y) else True


def load(path: Path) -> ModuleType:
    """Imports a file that is not on the import path."""
    spec = importlib.util.spec_from_file_location("exercise", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["exercise"] = module
    spec.loader.exec_module(module)
    return module


def replace(original: Callable, student: Callable) -> list[None]:
    """Replaces `original` by `student` in all modules of the package and in the student's file.

    Returns a list that gets one more element with every call of the function.
    """
    calls: list[None] = []

    @functools.wraps(student)
    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        return student(*args, **kwargs)

    for place, module in list(sys.modules.items()):
        if place.partition(".")[0] in {"ddim_from_scratch", "exercise"}:
            for name in [name for name, value in vars(module).items() if value is original]:
                setattr(module, name, counted)
    for name, sampler in SAMPLERS.items():
        if sampler.function is original:
            SAMPLERS[name] = sampler._replace(function=counted)
    return calls


def compare(expected: Any, obtained: Any, tolerance: float) -> str | None:
    """Describes how `obtained` differs from `expected`, or returns None. Both are arrays or numbers."""
    try:
        a, b = np.asarray(expected), np.asarray(obtained)
    except ValueError as error:
        return f"what it returns is no array ({error})"
    if b.dtype.kind not in "biufc":
        return f"expected numbers, obtained {type(obtained).__name__}"
    beside = f"\n  expected {show_array(a)}\n  obtained {show_array(b)}"
    if a.shape != b.shape:
        return f"the shape is {b.shape}, not {a.shape}"
    largest = np.abs(a[np.isfinite(a)]).max(initial=1e-30)
    if np.allclose(b, a, rtol=0, atol=tolerance * largest, equal_nan=True):  # a known mistake may give NaN
        other = a.dtype.kind in "fc" and a.dtype != b.dtype
        return f"the values are right, but the dtype is {b.dtype}, not {a.dtype}{beside}" if other else None
    where = np.unravel_index(np.nan_to_num(np.abs(a - b), nan=np.inf).argmax(), a.shape)
    place = f", most at [{', '.join(map(str, where))}]: {b[where]:.6g}, not {a[where]:.6g}" if a.shape else ""
    place += f"; the dtype is {b.dtype}, not {a.dtype}" * (a.dtype.kind in "fc" and b.dtype.kind != a.dtype.kind)
    return f"the values differ{place}{beside}"


def show_array(x: np.ndarray) -> str:
    """Dtype, shape and some values of an array, on at most four lines."""
    prefix = " " * 11
    text = np.array2string(x, precision=4, suppress_small=True, threshold=12, edgeitems=2, separator=" ", prefix=prefix)
    first, *rest = text.splitlines()
    rows = [first, *rest[:3], *([f"{prefix}..."] if len(rest) > 3 else [])]
    return " ".join(filter(None, [str(x.dtype), str(x.shape or ""), "\n".join(rows)]))


def recognise(exercise: Exercise, probe: Probe, expected: Any, obtained: Any) -> list[str]:
    """The mistakes with the student's answer to the example, or else those with the same wrong shape.

    None if three or more fit: then the example can't tell them apart, and most of the hints would be wrong.
    """
    equal, alike = [], []
    for sentence, mistaken in exercise.mistakes.items():
        with contextlib.suppress(Exception):  # a mistake need not work on every example
            answer = probe(mistaken)
            if compare(answer, obtained, exercise.tolerance) is None:
                equal.append(sentence)
            elif np.shape(answer) == np.shape(obtained) != np.shape(expected):
                alike.append(sentence)
    hints = equal or alike
    return hints if len(hints) < 3 else []


def describe(error: BaseException, path: Path) -> str:
    """An exception in one line, with the last line of the student's file in its traceback."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}: {(error.text or '').strip()}"
    if isinstance(error, RecursionError):
        return "It calls the function of the package that it replaces, and so itself: write it without."
    place = f"line {lines[-1].lineno}, `{lines[-1].line}`: " if lines else ""
    return f"{place}{type(error).__name__}: {error}"


def in_words(error: AssertionError) -> str:
    """A failed assertion in two lines: what the test expected, and what was obtained in its place."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if str(ROOT / "tests") in f.filename]
    line = (frames[-1].line if frames else "") or ""
    text = str(error).strip().removeprefix("assert ")
    actual, _, desired = text.partition("DESIRED: ")  # numpy.testing's words
    if desired:
        actual = actual.rpartition("ACTUAL: ")[2]
        return f"expected: {' '.join(desired.split())[:300]}\nobtained: {' '.join(actual.split())[:300]}\nby: {line}"
    return f"expected: {line.removeprefix('assert ')}\nobtained: {text}"


class Judge:
    """A pytest plugin that counts passed tests and describes the first other outcome."""

    def __init__(self, path: Path) -> None:
        self.path, self.passed, self.trouble = path, 0, ""

    def pytest_collection_finish(self) -> None:
        with contextlib.suppress(ImportError):
            from hypothesis import Phase, settings  # shrinking a wrong answer takes minutes

            settings.register_profile("judge", settings(), phases=[Phase.explicit, Phase.generate])
            settings.load_profile("judge")

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.trouble = self.trouble or f"{report.nodeid} can't be collected: {report.longrepr}"

    def pytest_runtest_makereport(self, item: Any, call: Any) -> None:
        if call.excinfo is None:
            self.passed += call.when == "call"
        elif not self.trouble:
            error, purpose = call.excinfo.value, inspect.getdoc(item.function)
            lines = [f"{item.nodeid} fails" + (f": {purpose.splitlines()[0]}" if purpose else "")]
            story = in_words(error) if isinstance(error, AssertionError) else describe(error, self.path)
            self.trouble = "\n".join([*lines, *story.strip().splitlines()[:15]])


def run_tests(exercise: Exercise, calls: list[None], path: Path) -> Verdict:
    """Runs the package's tests on the package as it is now."""
    import pytest

    plugin = Judge(path)
    calls.clear()
    options = ["-q", "-x", "-p", "no:cacheprovider", "--no-header", "--tb=no"]
    status = pytest.main([*options, *exercise.tests], plugins=[plugin])
    if plugin.trouble:
        return Verdict("failed", plugin.trouble)
    if status != 0 or plugin.passed < len(exercise.tests) or not calls:
        raise RuntimeError(f"{exercise.name}: {plugin.passed} tests passed (status {status}), {len(calls)} calls")
    return Verdict("passed", f"as in the package on {len(exercise.examples)} examples and {plugin.passed} tests")


def report(verdicts: Mapping[str, Verdict]) -> str:
    """Verdicts for the terminal."""
    width = max(map(len, verdicts))
    rows = []
    for name, (state, message) in verdicts.items():
        first, *rest = message.splitlines()
        rows += [f"{name:{width}}  {state:6}  {first}", *(" " * (width + 10) + line for line in rest)]
    passed = sum(verdict.state == "passed" for verdict in verdicts.values())
    return "\n".join([*rows, "", f"{passed} of {len(verdicts)} pass."])


def remember(verdicts: Mapping[str, Verdict]) -> None:
    """Adds the names of passed functions to the file that `show_answer` reads."""
    solved = set(SOLVED.read_text(encoding="utf-8").split()) if SOLVED.exists() else set()
    solved |= {name for name, verdict in verdicts.items() if verdict.state == "passed"}
    SOLVED.parent.mkdir(parents=True, exist_ok=True)
    SOLVED.write_text("\n".join(sorted(solved)) + "\n", encoding="utf-8")


def main(folder: str, name: str, path: str, verdict: str) -> None:
    with contextlib.suppress(ImportError, ValueError):  # not on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (PRINTED, PRINTED))
    (exercise,) = (e for e in exercises(Path(folder)) if e.name == name)
    result = judge(exercise, Path(path))
    Path(verdict).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
