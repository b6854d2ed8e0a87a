"""Names from files are printed harmlessly, and Python's exceptions in words."""

import json
import zipfile
from pathlib import Path

import pytest

from ddim_from_scratch.runtime.errors import printable, why


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("a b/naïve 音楽.wav", "a b/naïve 音楽.wav"),
        (Path("x.wav"), "x.wav"),
        (b"caf\xe9.wav", r"caf\xe9.wav"),
        ("caf\udce9.wav", r"caf\xe9.wav"),
        ("a\nerror: fine\r.wav", r"a\nerror: fine\r.wav"),
        ("\x1b[2J\x07\x9b31m", r"\x1b[2J\x07\x9b31m"),
        ("gpj.\u202egnp\u2028", r"gpj.\u202egnp\u2028"),  # shown from right to left; a line break
        ("\ud800", r"\ud800"),
    ],
)
def test_a_name_is_one_line_that_any_terminal_can_show(name, printed):
    assert printable(name) == printed
    assert printable(name).encode() and printable(name).isprintable()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("b'\\xff'.decode()", "it is not text in UTF-8"),
        ("json.loads('{')", "it is not JSON (line 1, column 2)"),
        ("json.loads('[' * 100_000)", "it is nested too deeply"),
        ("[][0]", "it holds something else"),
        ("{}['step']", "it has no step"),
        ("float('x')", "it holds something else"),
        ("eval(',')", "it holds something else"),
        ("10.0**400", "a number in it is too large"),
        ("zipfile.ZipFile(__file__)", "it is cut short, damaged or of another kind"),
        ("open('/nowhere')", "No such file or directory"),
        ("__import__('nowhere')", "nowhere is not installed"),
        ("class Foreign(Exception): ...\nraise Foreign('pages\\nof text')", "pages of text"),
    ],
)
def test_an_exception_is_told_in_words(code, said):
    with pytest.raises(Exception) as caught:
        exec(code, {"json": json, "zipfile": zipfile, "__file__": __file__})
    assert why(caught.value) == said
