"""Names from files are printed harmlessly."""

from pathlib import Path

import pytest

from ddim_from_scratch.runtime.errors import printable


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
