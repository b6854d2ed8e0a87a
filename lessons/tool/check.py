"""Checks a student's function: it replaces the package's, and the package's own tests run on it.

A lesson's check.py lists its exercises. Each is judged in its own process, and the student's file runs in another, so
that a wrong or endless function cannot affect the others, nor decide on itself. First come examples: small inputs on
which the student's answer is compared with the package's, and known mistakes are recognised by their answers. Then the
package's tests run, with the student's function in place of the package's. Some exercises ask for a test, too: it is
scored by the known mistakes that it finds.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import inspect
import json
import os
import random
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ddim_from_scratch.diffusion import SAMPLERS
from ddim_from_scratch.runtime.backend import available_cores
from ddim_from_scratch.runtime.errors import UserError

from . import apart
from .channel import Channel
from .percent import ROOT, SOLVED

TIME_LIMIT = 120  # seconds for one exercise; the tests of a good answer take a few

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
    test_to_write: whether the student also writes `test_NAME(NAME)`. It must accept the right function and find the
        mistakes, which take all arguments of the function then.
    """

    replaces: str
    tests: tuple[str, ...]
    examples: Mapping[str, Probe]
    mistakes: Mapping[str, Callable] = field(default_factory=dict)
    tolerance: float = 1e-6
    test_to_write: bool = False

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


def tasks(folder: Path) -> list[str]:
    """The names of the functions that the lesson in `folder` asks for, tests among them."""
    found = exercises(folder)
    return [*(e.name for e in found), *(f"test_{e.name}" for e in found if e.test_to_write)]


def check(folder: Path, path: Path, time_limit: float = TIME_LIMIT) -> dict[str, Verdict]:
    """Judges every exercise of a lesson, as written in the file `path`, each in its own process."""
    if not path.exists():
        raise UserError(f"{path} does not exist: write the exercises of {folder.name} there")
    names = tasks(folder)
    with ThreadPoolExecutor(available_cores()) as pool:
        verdicts = pool.map(lambda name: judge_apart(folder, name, path, time_limit), names)
        return dict(zip(names, verdicts, strict=True))


def judge_apart(folder: Path, name: str, path: Path, time_limit: float) -> Verdict:
    """`judge` in a new process, and the student's file in another. Both are killed after `time_limit` seconds."""
    return Verdict(*apart.judged(folder.name, name, path, time_limit))


def judge(exercise: Exercise, channel: Channel, file: str) -> Verdict:
    """Replaces the package's function by the student's in the process at the other end of `channel`.

    Runs the examples, then the tests. file: the name of the student's file.
    """
    if problem := imported(channel, file):
        return Verdict("failed", problem)
    original = exercise.original()

    @functools.wraps(original)
    def student(*args: Any, **kwargs: Any) -> Any:
        return channel.call(exercise.name, *args, **kwargs)

    return on_examples(exercise, student) or run_tests(exercise, replace(original, student))


def on_examples(exercise: Exercise, student: Callable) -> Verdict | None:
    """Compares the function `student` with the package's. Returns None if they agree on all examples."""
    original, in_place = exercise.original(), changed_in_place(exercise)
    for label, probe in exercise.examples.items():
        right, given, answers = [], [], []
        expected = probe(on_copies(original, [], right, in_place))
        try:
            obtained = probe(on_copies(student, given, answers, in_place))
        except NotImplementedError:
            return Verdict("to do", "not written yet")
        except Exception as error:
            if answers and right and kind(answers[0]) != kind(right[0]):
                return of_another_kind(label, right[0], answers[0])
            return Verdict("failed", f"{label} fails. {describe(error)}")
        if obtained is None or obtained is ...:
            return of_another_kind(label, expected, obtained)
        if difference := compare(expected, obtained, exercise.tolerance):
            if answers and right and isinstance(right[0], tuple) and not isinstance(answers[0], tuple | list):
                return of_another_kind(label, right[0], answers[0])
            hints = recognise(exercise, probe, expected, obtained)
            return Verdict("failed", "\n".join([f"{label}: {difference}", *(f"likely: {hint}" for hint in hints)]))
        if changed := [name for name, before, after in given if not same(before, after)]:
            advice = (
                f"you changed {changed[0]} in place, and others still need it: compute a new array, or copy it first"
            )
            return Verdict("failed", f"{label}: the values are right, but {advice}")
    return None


def of_another_kind(label: str, right: Any, answer: Any) -> Verdict:
    """The verdict on an answer that is nothing yet, or that the example could not read."""
    if answer is None or answer is ...:
        return Verdict("to do", f"{label} returns {answer}")
    return Verdict("failed", f"{label}: expected {kind(right)}, obtained {kind(answer)}")


def judge_test(exercise: Exercise, channel: Channel, file: str) -> Verdict:
    """Scores the student's test of an exercise, in the process at the other end of `channel`.

    The right function comes three times among the mistakes, in random order: counting calls does not help a test.
    """
    if problem := imported(channel, file):
        return Verdict("failed", problem)
    functions = [*exercise.mistakes.items(), *[("", exercise.original())] * 3]
    alive = set()
    for sentence, function in random.SystemRandom().sample(functions, len(functions)):
        try:
            channel.call(f"test_{exercise.name}", disguised(function))
        except NotImplementedError:
            return Verdict("to do", "not written yet")
        except Exception as error:
            if not sentence:
                return Verdict("failed", f"It rejects the right {exercise.name}. {describe(error)}")
        else:
            alive.add(sentence)
    missed = [sentence for sentence in exercise.mistakes if sentence in alive]
    score = f"finds {len(exercise.mistakes) - len(missed)} of {len(exercise.mistakes)} wrong functions"
    return Verdict("failed", "\n".join([f"{score}; not:", *missed])) if missed else Verdict("passed", score)


def disguised(function: Callable) -> Callable:
    """`function` without its name."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


def imported(channel: Channel, file: str) -> str:
    """Imports the student's file at the other end. Returns what is wrong with it, or an empty text."""
    try:
        return str(channel.call("load"))
    except Exception as error:
        return f"{file} can't be imported. {describe(error)}"


def changed_in_place(exercise: Exercise) -> set[str]:
    """The names of the arguments that the package's function is to change, seen in the examples."""
    original, seen = exercise.original(), []
    names = list(inspect.signature(original).parameters)

    def watched(*args: Any, **kwargs: Any) -> Any:
        seen.extend(zip(names, map(copied, args), args, strict=False))  # names are fewer where the signature has *args
        return original(*args, **kwargs)

    for probe in exercise.examples.values():
        probe(watched)
    return {name for name, before, after in seen if not same(before, after)}


def on_copies(
    function: Callable, given: list[tuple[str, Any, Any]], answers: list[Any], in_place: Collection[str] = ()
) -> Callable:
    """`function` called with copies of its arrays, but for the arguments `in_place`, which it is to change.

    Appends (name, original, copy) of each argument to `given`. So an answer that changes its arguments spoils no later
    example, and can be told so. answers: holds what the last call has returned, and nothing while it runs.
    """
    names = list(inspect.signature(function).parameters)

    def called(*args: Any, **kwargs: Any) -> Any:
        named = [*names, *[""] * len(args)]
        copies = [arg if name in in_place else copied(arg) for name, arg in zip(named, args, strict=False)]
        given.extend(zip(names, args, copies, strict=False))
        answers.clear()
        answers.append(function(*copies, **kwargs))
        return answers[0]

    return called


def kind(x: Any) -> str:
    """What an answer is, for a message: "array", "function", "(array, {w, b})"."""
    if isinstance(x, tuple):
        return f"({', '.join(map(kind, x))})"
    if isinstance(x, dict):
        return f"{{{', '.join(sorted(map(str, x)))}}}"
    names = {np.ndarray: "array", type(None): "None"}
    return names.get(type(x)) or getattr(x, "kind", "") or type(x).__name__


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


def replace(original: Callable, student: Callable) -> list[None]:
    """Replaces `original` by `student` in all modules of the package.

    Returns a list that gets one more element with every call of the function.
    """
    calls: list[None] = []

    @functools.wraps(original)
    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        return student(*args, **kwargs)

    for place, module in list(sys.modules.items()):
        if place.partition(".")[0] == "ddim_from_scratch":
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
        parts = obtained.flat if isinstance(obtained, np.ndarray) else [obtained]
        return f"expected numbers, obtained {', '.join(dict.fromkeys(map(kind, parts)))}"
    beside = f"\n  expected {show_array(a)}\n  obtained {show_array(b)}"
    if a.shape != b.shape:
        return f"the shape is {b.shape}, not {a.shape}"
    largest = np.abs(a[np.isfinite(a)]).max(initial=1e-30)
    if np.allclose(b, a, rtol=0, atol=tolerance * largest, equal_nan=True):  # a known mistake may give NaN
        if isinstance(expected, np.ndarray) and isinstance(obtained, list):
            return "the values are right, but in a list: return an array, np.array(...)"
        other = a.dtype != b.dtype and {a.dtype.kind, b.dtype.kind} & {"f", "c"}
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


def describe(error: BaseException) -> str:
    """An error in one line. One of the student's says where it happened."""
    return getattr(error, "sentence", "") or f"{type(error).__name__}: {error}"


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

    def __init__(self) -> None:
        self.passed, self.trouble = 0, ""

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
            story = in_words(error) if isinstance(error, AssertionError) else describe(error)
            self.trouble = "\n".join([*lines, *story.strip().splitlines()[:15]])


def run_tests(exercise: Exercise, calls: list[None]) -> Verdict:
    """Runs the package's tests on the package as it is now."""
    import pytest

    plugin = Judge()
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


def main(folder: str, name: str, file: str, read_fd: str, write_fd: str, verdict_fd: str) -> None:
    (exercise,) = (e for e in exercises(Path(folder)) if name in {e.name, f"test_{e.name}"})
    channel = Channel(int(read_fd), int(write_fd), {}, trusts=False)
    result = (judge if name == exercise.name else judge_test)(exercise, channel, file)
    if channel.ended:
        result = Verdict("ended", "")
    with os.fdopen(int(verdict_fd), "w") as pipe:
        json.dump((result.state, result.message[:8000]), pipe)


if __name__ == "__main__":
    main(*sys.argv[1:])
