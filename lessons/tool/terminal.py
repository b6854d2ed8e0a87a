"""Prose and equations for a terminal: wrapped paragraphs, equations in Unicode as far as it goes."""

from __future__ import annotations

import re
import shutil
import textwrap
import unicodedata

from latex2mathml.symbols_parser import convert_symbol
from pygments import highlight
from pygments.formatters import TerminalFormatter
from pygments.lexers import PythonLexer

BLOCK = re.compile(r"(```.*?```|\$\$.*?\$\$)", re.DOTALL)
WORDS = r"\\(?:text|mathrm|mathbf|mathbb|mathcal|operatorname|begin|end)\s*\{([^{}]*)\}"
ACCENTS = {"hat": "\u0302", "bar": "\u0304", "tilde": "\u0303", "overline": "\u0304", "vec": "\u20d7"}
DIGITS = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")


def prose(markdown: str, colour: bool) -> str:
    """Markdown for the terminal: about 88 columns wide, headings in bold, links without their brackets."""
    width = min(shutil.get_terminal_size().columns, 88)
    parts = []
    for block in BLOCK.split(markdown):
        if block.startswith("$$"):
            parts.append(textwrap.indent(equation(block.strip("$")), "      "))
        elif block.startswith("```"):
            parts.append(textwrap.indent("\n".join(block.splitlines()[1:-1]), "    "))
        else:
            parts += [paragraph(text, width, colour) for text in re.split(r"\n\s*\n", block) if text.strip()]
    return "\n\n".join(parts)


def code(text: str, colour: bool) -> str:
    """Code behind a bar, so that it stands out from what it prints."""
    text = highlight(text, PythonLexer(), TerminalFormatter()).rstrip() if colour else text
    return textwrap.indent(text, "  │ ", lambda line: True)


def paragraph(text: str, width: int, colour: bool) -> str:
    text = text.strip("\n")
    text = re.sub(r"\$([^$]+)\$", lambda found: equation(found[1]), text)
    if text.lstrip().startswith("|"):  # a table is legible as it stands
        return text
    text = re.sub(r"!?\[([^\]]*)\]\(([^)]*)\)", r"\1 (\2)", text)
    text = re.sub(r"\*\*(.+?)\*\*", "\033[1m\\1\033[0m" if colour else r"\1", text, flags=re.DOTALL)
    if text.startswith("#"):
        heading = text.lstrip("# ")
        return f"\033[1m{heading}\033[0m" if colour else f"{heading}\n{'=' * len(heading)}"
    text = re.sub(r"^> ?", "  ", text, flags=re.MULTILINE)
    lines = []
    for item in re.split(r"\n(?=\s*(?:[-*]|\d+\.) )", text):  # a list's items stay apart
        mark = re.match(r"\s*(?:(?:[-*]|\d+\.) )?", item)[0]
        inset = " " * (len(mark) - len(mark.lstrip()))
        lines.append(
            textwrap.fill(" ".join(item.split()), width, initial_indent=inset, subsequent_indent=" " * len(mark))
        )
    return "\n".join(lines)


def equation(tex: str) -> str:
    r"""TeX in Unicode: \alpha becomes α, \frac{a}{b} (a)/(b), x^2 x². What it doesn't know stays TeX."""
    for _ in range(4):  # from the inside out
        tex = re.sub(WORDS, lambda found: "" if found[1] in {"align*", "cases", "matrix"} else found[1], tex)
        tex = re.sub(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"(\1)/(\2)", tex)
        tex = re.sub(r"\\sqrt\s*\{([^{}]*)\}", r"√(\1)", tex)
        tex = re.sub(r"([_^])\{([^{}\s])\}", r"\1\2", tex)
        tex = re.sub(r"\^\{([0-9+-]+)\}", lambda found: found[1].translate(DIGITS), tex)
        tex = re.sub(r"([_^])\{([^{}]*)\}", r"\1(\2)", tex)
    tex = re.sub(r"\^(\d)", lambda found: found[1].translate(DIGITS), tex)
    for name, mark in ACCENTS.items():
        tex = re.sub(rf"\\{name}\s*\{{?(\\[a-zA-Z]+|\w)\}}?", lambda found, mark=mark: symbol(found[1]) + mark, tex)
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
