"""Prose, code and equations for a terminal."""

from __future__ import annotations

import re
import shutil
import textwrap
import unicodedata

from latex2mathml.symbols_parser import convert_symbol
from pygments import highlight
from pygments.formatters import TerminalFormatter
from pygments.lexers import PythonLexer
from rich.console import Console
from rich.markdown import Markdown

WORDS = r"\\(?:text|mathrm|mathbf|mathbb|mathcal|operatorname|begin|end)\s*\{([^{}]*)\}"
ACCENTS = {"hat": "\u0302", "bar": "\u0304", "tilde": "\u0303", "overline": "\u0304", "vec": "\u20d7"}
DIGITS = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")


def prose(markdown: str, colour: bool) -> str:
    """Markdown for the terminal, at most 88 columns wide, with equations in Unicode."""
    markdown = re.sub(r"\$\$(.+?)\$\$", lambda found: f"```text\n{equation(found[1])}\n```", markdown, flags=re.DOTALL)
    markdown = re.sub(r"\$([^$]+)\$", lambda found: re.sub(r"([\\`*_<>|[\]])", r"\\\1", equation(found[1])), markdown)
    console = Console(width=min(shutil.get_terminal_size().columns, 88), force_terminal=colour, no_color=not colour)
    with console.capture() as captured:
        console.print(Markdown(markdown))
    return captured.get().strip("\n")


def code(text: str, colour: bool) -> str:
    """Code behind a bar, which tells it from its output."""
    text = highlight(text, PythonLexer(), TerminalFormatter()).rstrip() if colour else text
    return textwrap.indent(text, "  │ ", lambda line: True)


def equation(tex: str) -> str:
    r"""TeX in Unicode: \alpha becomes α, \frac{a}{b} (a)/(b), x^2 x². Unknown commands stay TeX."""
    for name, mark in ACCENTS.items():
        accented = rf"\\{name}\s*(\{{)?(\\[a-zA-Z]+|\w)(?(1)\}})"
        tex = re.sub(accented, lambda found, mark=mark: symbol(found[2]) + mark, tex)
    for _ in range(4):  # from the inside out
        tex = re.sub(WORDS, lambda found: "" if found[1] in {"align*", "cases", "matrix"} else found[1], tex)
        tex = re.sub(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"(\1)/(\2)", tex)
        tex = re.sub(r"\\sqrt\s*\{([^{}]*)\}", r"√(\1)", tex)
        tex = re.sub(r"([_^])\{([^{}\s])\}", r"\1\2", tex)
        tex = re.sub(r"\^\{([0-9+-]+)\}", lambda found: found[1].translate(DIGITS), tex)
        tex = re.sub(r"([_^])\{([^{}]*)\}", r"\1(\2)", tex)
    tex = re.sub(r"\^(\d)", lambda found: found[1].translate(DIGITS), tex)
    tex = re.sub(r"\\(left|right|big|Big|displaystyle)(?![a-zA-Z])|&", "", tex)
    tex = tex.replace("\\\\", "\n")
    tex = re.sub(r"\\[,;:! ]|\\q?quad|~", " ", tex)
    tex = re.sub(r"\\[a-zA-Z]+|\\[{}|%]", lambda found: symbol(found[0]), tex)
    lines = (" ".join(line.split()) for line in tex.splitlines() if line.strip())
    return re.sub(r"\b(sin|cos|exp|ln|log|max|min) \(", r"\1(", "\n".join(lines))


def symbol(command: str) -> str:
    r"""The character that \alpha, \le or \sum stands for; a function's name for \cos."""
    code = convert_symbol(command)
    character = chr(int(code, 16)) if code else command.lstrip("\\")
    return f" {character} " if unicodedata.category(character[0]) == "Sm" or len(character) > 1 else character
