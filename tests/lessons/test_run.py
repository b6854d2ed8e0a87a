"""Lessons run from top to bottom; what they show reaches the terminal and the page; errors name their line."""

import os
import re
import subprocess
import sys

import pytest

from ddim_from_scratch.runtime.errors import UserError
from lessons.__main__ import main
from lessons.tool import page, percent, terminal
from lessons.tool.display import Picture, Sound, Source, Text
from lessons.tool.percent import ROOT, Lesson, find, parse
from lessons.tool.run import LessonError, run

LESSON = """# %% [markdown]
# # Title
#
# Prose with $\\\\alpha \\\\le 1$ and **weight**.

# %%
import matplotlib.pyplot as plt
import numpy as np
from lessons import film, show_source, sound
from ddim_from_scratch.audio.stft import hann

print("first")
plt.plot([1, 2])
plt.title("a line")
plt.show()
print("second")
sound(np.zeros(1600), "silence")
show_source(hann)

# %% tags=["hide-input"]
plt.plot([3])
fig, ax = plt.subplots()
line, = ax.plot([0, 1])
film(fig, lambda i: line.set_ydata([0, i]), 3, "a film")
""".replace("\\\\", "\\")


def lesson(text, path):
    path.write_text(text)
    return Lesson(path, parse(text))


@pytest.mark.parametrize("folder", find(), ids=lambda folder: folder.name)
def test_every_lesson_runs_in_fast_mode(site, folder):
    number = folder.name[:2]
    done = site.run(number)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Warning" not in done.stderr, done.stderr


def test_what_a_lesson_shows_in_its_order(tmp_path, capsys):
    done = run(lesson(LESSON, tmp_path / "lesson.py"))
    text, picture, again, silence, source = done.steps[1].shown
    assert (text.text, again.text) == ("first\n", "second\n")
    assert picture.mime == "image/svg+xml" and picture.description == "a line" and b"<svg" in picture.data
    assert silence.seconds == 0.1 and silence.data[:4] == b"RIFF" and len(silence.data) == 44 + 2 * 1600
    assert re.fullmatch(r"ddim_from_scratch/audio/stft.py, line \d+", source.place) and source.code.startswith(
        "@lru_cache\ndef hann"
    )
    film, plot = done.steps[2].shown  # a figure that nobody showed appears at the end of its cell
    assert film.mime == "image/webp" and film.data[8:12] == b"WEBP" and film.data.count(b"ANMF") == 3
    assert film.still[8:12] == b"WEBP" and isinstance(plot, Picture)
    printed = capsys.readouterr().out
    assert "Prose with α ≤ 1 and weight." in printed and '│ print("first")' in printed and "def hann" in printed
    assert "[sound, 0.1 s: silence]" in printed and "show_source(hann)" not in printed and "fig, ax" not in printed


def test_a_model_answer_is_folded_unprinted_and_leaves_no_names(tmp_path, capsys):
    text = (
        LESSON.splitlines(keepends=True)[0] + "# # Title\n#\n# Prose.\n\n# %%\nx = 1\n\n"
        '# %% [markdown] tags=["answer"]\n# The result is two.\n\n# %% tags=["answer"]\nx = 2\nprint("here", x)\n\n'
        '# %% tags=["answer"]\nx += 1\nassert x == 3\n\n# %%\nassert x == 1\n'
    )
    done = run(lesson(text, tmp_path / "lesson.py"))
    printed = capsys.readouterr().out
    assert "result is two" not in printed and "here" not in printed
    written = page.write_lesson(tmp_path, done, [done.lesson]).read_text()
    before, folded = written.split('<details class="answer">')
    inside, _, after = folded.partition("</details>")
    assert "The result is two." in inside and "here 2" in inside and "here 2" not in before + after
    assert "answer" not in percent.without_answers(text) and percent.without_answers(text).count("# %%") == 3


def test_an_error_names_the_lesson_and_its_line(tmp_path, capsys):
    text = "# %% [markdown]\n# # T\n#\n# P\n\n# %%\nx = 1\n\ndef f():\n    return x / 0\n\n# %%\nf()\n"
    with pytest.raises(LessonError):
        run(lesson(text, tmp_path / "lesson.py"))
    error = capsys.readouterr().err
    assert re.search(
        r'Traceback.*\n.*lesson\.py", line 13, in <module>\n(.*\n)+.*line 10, in f\n(.*\n)+ZeroDivision', error
    )
    assert "tool" not in error


def test_a_lesson_that_leaves_early_has_failed(tmp_path, capsys):
    with pytest.raises(LessonError):
        run(lesson("# %% [markdown]\n# # T\n#\n# P\n\n# %%\nraise SystemExit(0)\n", tmp_path / "lesson.py"))
    assert "SystemExit" in capsys.readouterr().err


def test_a_page_is_not_too_large(tmp_path):
    done = run(lesson("# %% [markdown]\n# # T\n#\n# P\n\n# %%\nprint('1' * 10_000_000)\n", tmp_path / "lesson.py"))
    with pytest.raises(UserError, match=r"html: 10\.\d MB: show fewer"):
        page.write_lesson(tmp_path, done, [done.lesson])


def test_html_in_a_lessons_text_is_text():
    for text in ("<script>alert(1)</script>", "a <form> b", '<meta http-equiv="refresh" content="0">'):
        shown = page.prose_html(page.markdown_renderer(), text, [], "here")
        assert "<script" not in shown and "<form" not in shown and "<meta" not in shown and "&lt;" in shown


def test_a_lesson_that_fails_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    texts = {
        "01_wrong": "# %% [markdown]\n# # T\n#\n# P\n\n# %%\nassert 1 == 2\n",
        "02_no_tex": "# %% [markdown]\n# # T\n#\n# P\n#\n# $\\nosuchthing$\n",
        "03_right": "# %% [markdown]\n# # T\n#\n# P\n\n# %%\nprint('runs')\n",
    }
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "lesson.py").write_text(text)
    monkeypatch.setattr(percent, "LESSONS", tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["run", "--out", str(tmp_path / "pages")])
    assert stop.value.code == "failed: lesson 01_wrong, 02_no_tex"  # printed to stderr, with status 1
    printed = capsys.readouterr()
    assert "AssertionError" in printed.err and "02_no_tex/lesson.py:2: TeX that can't be shown" in printed.err
    assert "runs" in (tmp_path / "pages/03.html").read_text()
    assert "not been run yet" in (tmp_path / "pages/01.html").read_text()


def test_the_command_exits_with_1_or_2():
    command = [sys.executable, "-m", "lessons", "run", "99"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: there is no lesson 99")


@pytest.mark.parametrize(
    ("tex", "plain"),
    [
        (r"\frac{a+b}{\sqrt{c}}", "(a+b)/(√(c))"),
        (r"\frac{x}{\sqrt{\bar{\alpha}_t} + \sqrt{\bar\alpha}}", "(x)/(√(ᾱ_t) + √(ᾱ))"),
        (r"\bar\alpha_t \cdot x^{2}", "ᾱ_t · x²"),
        (r"\begin{align*} a &= b \\ c &\le \ln x \end{align*}", "a = b\nc ≤ ln x"),
        (r"\mathbb{E}\,\|\epsilon - \epsilon_\theta(x_t, t)\|^2", "E ‖ϵ - ϵ_θ(x_t, t)‖²"),
    ],
)
def test_equations_for_the_terminal(tex, plain):
    assert terminal.equation(tex) == plain.replace("ᾱ", "α\u0304")


def test_equations_for_the_page():
    assert "<mfrac>" in page.mathml(r"\frac{a}{b}")
    assert (
        page.mathml("|x|/2").count('<mo stretchy="false" lspace="0" rspace="0">') == 3
    )  # operators have spaces, TeX's | not
    assert "<mo>&#x0223C;</mo>" in page.mathml(r"x \sim y")  # a relation, not a letter
    for tex in (r"2 \ln x", r"2 \operatorname{tr} A", r"\frac{1}{2} \ln x"):
        assert page.mathml(tex).count(page.THIN) == 2
    assert page.mathml(r"\operatorname{var}(x) = \max_i x_i").count(page.THIN) == 0  # the index keeps its place
    for tex in (r"\nosuchthing", r"\begin{aligned} a &= b \end{aligned}"):
        with pytest.raises(ValueError, match="can't be shown"):
            page.mathml(tex)
    with pytest.raises(ValueError, match="here: a \\$ that begins or ends no equation"):  # the second line is a list
        page.prose_html(page.markdown_renderer(), "Here $a\n+ b$ is cut.", [], "here")


def test_what_is_shown_is_escaped():
    for item in (Text("<b>"), Source("x < y & z", "<b>"), Sound(b"", b"", 1, "<b>"), Picture("image/png", b"", "<b>")):
        assert "<b>" not in item.html() and "&lt;" in item.html()


def test_terminal_wraps_lists_and_quotes(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = terminal.prose("- one " + "word " * 9 + "\n- two\n\n> a quote\n> of $x_t$", colour=False)
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[1].startswith("   word") and " • two" in lines and lines[-1].endswith("a quote of x_t")
    assert max(map(len, lines)) <= 40
