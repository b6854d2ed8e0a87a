"""The HTML pages: one self-contained file per lesson, without scripts and without external resources."""

from __future__ import annotations

import ast
import html
import itertools
import os
import re
from pathlib import Path
from typing import Any
from unicodedata import normalize

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments.formatters import HtmlFormatter

from ddim_from_scratch.audio import load_audio
from ddim_from_scratch.audio.contract import SR
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.runtime.files import replacing

from .display import Picture, Sound, code_html, data_uri, spectrogram_picture
from .percent import ANSWER, LESSONS, ROOT, Lesson
from .run import Run, Step

HERE = Path(__file__).parent
FILM, MUSIC = ROOT / "docs/film.webp", ROOT / "docs/demo.ogg"  # what the index shows and plays
LARGEST = 10e6  # bytes of a page
TIME = "This page was made by running the lesson: "
OPERATOR = r'<mi(?:>[a-z]{2,}| mathvariant="normal">(?:[A-Za-z]{2,}|E))</mi>'  # the name of a function
ALONE = "(?<!<msub>)(?<!<msup>)(?<!<msubsup>)(?<!<munder>)"  # with an index, the operator is the first of two children
# An equation and the marks beside it, which a browser would put on different lines.
WHOLE = r"""(?:\(|&quot;)*<span class="math inline">.*?</span>(?:[.,;:?!)'-]|&quot;)*"""
THIN = '<mspace width="0.167em" />'  # what TeX sets around a function's name
BEFORE_A_SIGN = r"(<mo[^>]*>(?:\(|\[|,|=|&#x0003D;|&#x00028;|&#x0002C;)</mo>(?:<mspace[^>]*/>)*)"
# The browser enforces this: it may show what is in the file, and load nothing.
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; font-src data:"

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def proofread(lesson: Lesson) -> None:
    """Raises UserError, with file and line, for an equation that cannot be rendered, before the lesson runs."""
    for cell in lesson.cells:
        if cell.kind == "markdown":
            prose_html(markdown_renderer(), cell.text, [], f"{lesson.path}:{cell.line}")


def write_lesson(folder: Path, done: Run, lessons: list[Lesson]) -> Path:
    """Writes FOLDER/NN.html for a lesson that has run. lessons: all of them, for the links.

    Raises UserError if the page, which is written all the same, is too large.
    """
    headings: list[tuple[str, str]] = []  # (id, text) of the sections
    markdown = markdown_renderer()

    def step_html(step: Step) -> str:
        cell, shown = step
        if cell.kind == "markdown":
            return prose_html(markdown, cell.text, headings, f"{done.lesson.path}:{cell.line}")
        results = "".join(item.html() for item in shown)
        code = folded_imports(cell.code)
        if cell.hidden:  # folded, below its results
            results, code = "", f"{results}<details><summary>code of this figure</summary>{code}</details>"
        return f'<div class="cell">{code}{results}</div>'

    parts = []
    for answer, steps in itertools.groupby(done.steps, lambda step: step.cell.answer):
        found = [step_html(step) for step in steps]
        folded = f'<details class="answer"><summary>{ANSWER}</summary>{"".join(found)}</details>'
        parts += [folded] if answer else found
    sections = "".join(f'<li><a href="#{name}">{text}</a></li>' for name, text in headings)
    place = [lesson.number for lesson in lessons].index(done.lesson.number)
    before, after = lessons[place - 1 : place], lessons[place + 1 : place + 2]
    links = "".join(
        f'<a class="{name}" href="{lesson.number}.html"><small>{name}</small>{lesson.number} {prose(lesson.title)}</a>'
        for name, found in (("previous", before), ("next", after))
        for lesson in found
    )
    body = (
        f'<header><a href="index.html">Music from noise</a><span>Lesson {done.lesson.number}</span></header>'
        f'<main class="columns"><div class="title">{parts[0]}<p class="time">{TIME}{done.time_taken}.</p></div>'
        f'<nav class="contents" aria-label="On this page"><ol>{sections}</ol></nav>'
        f'<div class="text">{"".join(parts[1:])}'
        f'<nav class="turn" aria-label="Lessons">{links}</nav></div></main>'
    )
    write(folder / f"{done.lesson.number}.html", f"{done.lesson.number} {done.lesson.title}", body)
    for lesson in lessons:  # so that no link is broken
        if not (folder / f"{lesson.number}.html").exists():
            waiting = (
                f"<p>This lesson has not been run yet: <code>make lesson-{lesson.number}</code> makes its page.</p>"
            )
            front = f"<main><h1>{prose(lesson.title)}</h1>{waiting}<p><a href='index.html'>All lessons</a></p></main>"
            write(folder / f"{lesson.number}.html", lesson.title, front)
    write_index(folder, lessons)
    path = folder / f"{done.lesson.number}.html"
    size = path.stat().st_size
    if size > LARGEST:
        raise UserError(f"{path}: {size / 1e6:.1f} MB: show fewer or shorter sounds, films and pictures")
    return path


def folded_imports(code: str) -> str:
    """Python as HTML. Imports at its beginning are folded if they are more than three lines."""
    lines = code.splitlines()
    imports = itertools.takewhile(lambda part: isinstance(part, ast.Import | ast.ImportFrom), ast.parse(code).body)
    end = max((part.end_lineno or 0 for part in imports), default=0)
    if end <= 3:
        return code_html(code) if code else ""
    rest = "\n".join(lines[end:]).strip("\n")
    first = f"<details><summary>imports</summary>{code_html(chr(10).join(lines[:end]))}</details>"
    return first + (code_html(rest) if rest else "")


def facts() -> dict[str, tuple[str, str, str]]:
    """What each lesson needs, its difficulty and its reading time, from the table in the course's README."""
    rows = re.findall(r"^\| (\d\d) .*?\| (.*?) \| (.*?) \| (.*?) \|", (LESSONS / "README.md").read_text(), re.MULTILINE)
    return {number: (needs, difficulty, reading) for number, needs, difficulty, reading in rows}


def write_index(folder: Path, lessons: list[Lesson]) -> None:
    """Writes FOLDER/index.html: a film, a sound, and the lessons in order with what they need. FOLDER/readme.html is
    the repository's README, FOLDER/sources.html lists what the lessons cite.

    How long a lesson runs is what its page says, which its last run has measured.
    """
    about, items = facts(), ""
    for lesson in lessons:
        needs, difficulty, reading = about.get(lesson.number, ("", "", ""))
        ran = re.search(f"{TIME}(.*?)\\.</p>", (folder / f"{lesson.number}.html").read_text(encoding="utf-8"))
        parts = [f"{reading} to read" if reading else "", f"ran in {ran[1]}" if ran else ""]
        parts += [difficulty, f"needs {needs}" if needs else ""]
        items += (
            f'<li><a href="{lesson.number}.html"><span>{lesson.number}</span><strong>{prose(lesson.title)}</strong>'
            f"<p>{without_links(prose(lesson.summary))}</p><small>{' · '.join(filter(None, parts))}</small></a></li>"
        )
    lead = (
        "How a machine learns to make music: a diffusion system in NumPy, taken apart and put together again. "
        "Every number and every sound in the lessons was computed by the code beside it."
    )
    film = Picture("image/webp", FILM.read_bytes(), "A spectrogram on its way from noise to music")
    samples, label = load_audio(MUSIC), "Three clips after three minutes of training: make demo"
    music = Sound(MUSIC.read_bytes(), spectrogram_picture(samples), len(samples) / SR, label, "audio/ogg")
    body = (
        f'<header><a href="readme.html">The project</a><a href="{os.path.relpath(ROOT, folder)}">Its files</a></header>'
        f'<main class="index"><h1>Music from noise</h1><p class="lead">{lead}</p>'
        f"{film.html()}{music.html()}"
        f'<ol>{items}</ol><p><a href="sources.html">All sources</a></p></main>'
    )
    write(folder / "index.html", "Music from noise", body)
    write(folder / "sources.html", "Sources", sources(lessons))
    write(folder / "readme.html", "ddim_from_scratch", readme(folder))


def sources(lessons: list[Lesson]) -> str:
    """The works that the lessons list at their ends as HTML, each once, with the numbers of the lessons."""
    found: dict[str, tuple[str, list[str]]] = {}
    for lesson in lessons:
        section = lesson.cells[-1].text.partition("## Sources")[2]
        for entry in re.findall(r"^- (.*?)(?=^- |\Z)", section, re.MULTILINE | re.DOTALL):
            links = re.match(r".*?\]\((\S+)\)(.*\]\(\S+\))?", " ".join(entry.split()))  # the first, and all others
            if links:
                found.setdefault(links[1], (links[0], []))[1].append(lesson.number)
    entries = [f"- {works} ({', '.join(numbers)})" for works, numbers in found.values()]
    # By the first author's surname, with accents after their letters.
    entries.sort(key=lambda entry: normalize("NFKD", re.sub(r"^- ([^\W\d_]\. )*\[?", "", entry).lower()))
    text = "# Sources\n\nIn parentheses: the lessons that use them.\n\n" + "\n".join(entries)
    listed = markdown_renderer().render(text)
    return f'<header><a href="index.html">Music from noise</a></header><main>{listed}</main>'


def readme(folder: Path) -> str:
    """The repository's README as HTML for `folder`: its pictures within it, its links leading into the repository."""
    text = prose_html(markdown_renderer(), (ROOT / "README.md").read_text(encoding="utf-8"), [], "README.md")

    def inside(found: re.Match) -> str:
        kind = f"image/{Path(found[1]).suffix[1:]}"
        return f'src="{data_uri(kind, (ROOT / found[1]).read_bytes())}"'

    text = re.sub(
        r'href="(?!https?:|#)', f'href="{os.path.relpath(ROOT, folder)}/', re.sub(r'src="(.*?)"', inside, text)
    )
    return f'<header><a href="index.html">Music from noise: the course</a></header><main>{text}</main>'


def write(path: Path, title: str, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    light, dark = (HtmlFormatter(style=name).get_style_defs(".code") for name in ("xcode", "github-dark"))
    font = data_uri("font/woff2", (HERE / "lesson_math.woff2").read_bytes())
    face = f'@font-face {{ font-family: "Lesson Math"; src: url({font}); }}'
    own = (HERE / "style.css").read_text()
    style = f"{light}\n@media screen and (prefers-color-scheme: dark) {{ {dark} }}\n{face}\n{own}"
    with replacing(path) as file:
        file.write(PAGE.format(policy=POLICY, title=html.escape(title), style=style, body=body).encode())


def markdown_renderer() -> MarkdownIt:
    """CommonMark with tables, Python in colours, and $TeX$ as MathML."""

    def fence(code: str, language: str, _: Any) -> str:
        return code_html(code) if language == "python" else ""

    def math(tex: str, options: dict[str, Any]) -> str:
        return mathml(tex, options["display_mode"])

    return (
        MarkdownIt("commonmark", {"highlight": fence, "html": False})
        .enable("table")
        .use(dollarmath_plugin, renderer=math, allow_labels=False)
    )


def mathml(tex: str, block: bool = False) -> str:
    """TeX as MathML. Raises UserError for a command that latex2mathml does not know."""
    result = convert(tex.strip(), display="block" if block else "inline")
    if "\\" in result or "<mi>&</mi>" in result:
        raise UserError(
            f"TeX that can't be shown: {tex.strip()!r}: write it otherwise (align* is known, aligned is not)"
        )
    result = result.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")  # \sim, with the space of a relation
    result = re.sub(r"<mo>([A-Za-z]+)</mo>", r'<mi mathvariant="normal">\1</mi>', result)  # \operatorname
    # \big: for a parenthesis that can grow Chromium leaves as much room as its largest form takes.
    grown = r'<mo stretchy="false" lspace="0" rspace="0" mathsize="\1">'
    result = re.sub(r'<mo minsize="(.*?)" maxsize=".*?">', grown, result)
    result = re.sub(
        rf"{BEFORE_A_SIGN}<mo>(&#x02212;|−)</mo>", r'\1<mo form="prefix" lspace="0" rspace="0">\2</mo>', result
    )
    result = re.sub(
        r'<mo(?: stretchy="false")?>(?=&#x000(?:2F|7C);)', '<mo stretchy="false" lspace="0" rspace="0">', result
    )
    result = re.sub(rf"(</m(?:[in]|su[bp]|frac)>)(?=(?:<msub>)?{OPERATOR})", rf"\1{THIN}", result)
    return re.sub(rf"{ALONE}({OPERATOR})(?=<m(?!o|space))", rf"\1{THIN}", result)


def prose_html(markdown: MarkdownIt, text: str, headings: list[tuple[str, str]], place: str) -> str:
    """A markdown cell as HTML. Its second-level headings get ids and are added to `headings`."""
    tokens = markdown.parse(text)
    for i, token in enumerate(tokens):
        if token.type == "heading_open" and token.tag == "h2":
            inner = markdown.renderer.render(tokens[i + 1].children, markdown.options, {})
            name = re.sub(r"[^a-z0-9]+", "-", tokens[i + 1].content.lower()).strip("-")
            name += f"-{len(headings)}" if name in dict(headings) else ""
            token.attrSet("id", name)
            headings.append((name, inner))
    try:
        result = markdown.renderer.render(tokens, markdown.options, {})
    except UserError as error:
        raise UserError(f"{place}: {error}") from None
    if "$" in re.sub(r"<code.*?</code>|<div class=\"code.*?</div>", "", result, flags=re.DOTALL):
        raise UserError(f"{place}: a $ that begins or ends no equation (a line with + or - first is a list)")
    result = re.sub(WHOLE, r'<span class="whole">\g<0></span>', result, flags=re.DOTALL)
    return result.replace("<table>", '<div class="table"><table>').replace("</table>", "</table></div>")


def without_links(text: str) -> str:
    """HTML to stand within a link, which cannot hold another."""
    return re.sub("</?a[^>]*>", "", text)


def prose(text: str) -> str:
    """One line of markdown as HTML."""
    return markdown_renderer().renderInline(text)
