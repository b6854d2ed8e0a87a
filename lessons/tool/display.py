"""What a lesson shows beside its text: source, figures, sounds, films.

Each item has three forms: text for the terminal (`str`), HTML for the page (`html`), and the methods that IPython calls
in a notebook. `show` chooses the form.
"""

from __future__ import annotations

import base64
import html
import inspect
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from ddim_from_scratch.audio import log_mel, write_wav
from ddim_from_scratch.audio.contract import SR

from . import terminal
from .percent import ROOT, SOLVED

FAST = bool(os.environ.get("LESSONS_FAST"))  # tests set it: lessons shorten their trainings

# Figures are 6 inches wide, legible on a phone. The colours (Okabe & Ito) are distinguishable for colour-blind readers.
STYLE = {
    "figure.figsize": (6, 3),
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif",
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333"]),
    "image.cmap": "magma",
    "image.aspect": "auto",
    "image.origin": "lower",
    "legend.frameon": False,
    "savefig.transparent": True,
    "svg.hashsalt": "lessons",  # the same figure gives the same bytes
}
plt.rcParams.update(STYLE)

LOUDNESS = 0.06  # root mean square of every sound, of a full scale of 1: plucked strings then peak at about 0.8

recording: list[Any] | None = None  # items that `show` collects while a lesson runs


def show(item: Any) -> None:
    """Shows `item` on the page that is being written, else in the notebook, else in the terminal."""
    if recording is not None:
        recording.append(item)
        print_plain(str(item))
        return
    ipython = sys.modules.get("IPython")
    if ipython and ipython.get_ipython():
        ipython.display.display(item)
    else:
        print(item)


def print_plain(text: str) -> None:
    """Prints to the terminal while a lesson's output is recorded. `run` replaces this function."""
    print(text)


def data_uri(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


@dataclass
class Text:
    """The printed output of a cell."""

    text: str

    def __str__(self) -> str:
        return self.text

    def html(self) -> str:
        return f'<pre class="output" tabindex="0">{html.escape(self.text.rstrip())}</pre>'


@dataclass
class Source:
    """Source code of the package. An answer, the text of a function to be written, is folded."""

    code: str
    place: str  # file and line
    answer: bool = False

    def __str__(self) -> str:
        code = (
            "(an exercise: write it, then look)" if self.answer else terminal.code(self.code, sys.__stdout__.isatty())
        )
        return f"[{self.place}]\n{code}"

    def html(self) -> str:
        name, code = html.escape(self.place), code_html(self.code)
        if self.answer:
            code = f"<details><summary>an exercise: write it, then look</summary>{code}</details>"
        return f'<figure class="source"><figcaption>{name}</figcaption>{code}</figure>'

    def _repr_markdown_(self) -> str:
        code = f"```python\n{self.code}\n```"
        if self.answer:
            code = f"<details><summary>an exercise: write it, then look</summary>\n\n{code}\n\n</details>"
        return f"`{self.place}`\n{code}"


@dataclass
class Picture:
    """A figure, or a film with a `still` for readers who do not want motion."""

    mime: str
    data: bytes
    description: str  # for readers who cannot see it
    still: bytes = b""

    def __str__(self) -> str:
        return f"[{'film' if self.still else 'figure'}: {self.description}]"

    def html(self) -> str:
        image = f'<img src="{data_uri(self.mime, self.data)}" alt="{html.escape(self.description)}">'
        if self.still:
            still = data_uri(self.mime, self.still)
            image = (
                f'<picture><source media="(prefers-reduced-motion: reduce), print" srcset="{still}">{image}</picture>'
            )
        return f'<figure class="picture">{image}</figure>'

    _repr_html_ = html


@dataclass
class Sound:
    """A player, with a spectrogram beside it."""

    data: bytes
    picture: bytes  # WebP
    seconds: float
    label: str
    mime: str = "audio/wav"

    def __str__(self) -> str:
        return f"[sound, {self.seconds:.1f} s: {self.label}]"

    def html(self) -> str:
        label = html.escape(self.label)
        image = f'<img src="{data_uri("image/webp", self.picture)}" alt="log-mel spectrogram: {label}">'
        player = f'<audio controls preload="metadata" src="{data_uri(self.mime, self.data)}" aria-label="{label}">'
        return f'<figure class="sound"><figcaption>{label}</figcaption>{image}{player}</audio></figure>'

    _repr_html_ = html


def code_html(code: str) -> str:
    """Python as highlighted HTML, in a box that scrolls sideways and can be reached by keyboard."""
    return highlight(code, PythonLexer(), HtmlFormatter(cssclass="code")).replace("<pre>", '<pre tabindex="0">', 1)


# What lessons call.


def show_source(*functions: Callable) -> None:
    """Shows the installed source of functions or classes of the package, with file and line."""
    for function in functions:
        function = inspect.unwrap(function)
        lines, first = inspect.getsourcelines(function)
        path = Path(inspect.getsourcefile(function)).resolve()
        place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
        show(Source("".join(lines).rstrip(), f"{place}, line {first}"))


def show_answer(*functions: Callable) -> None:
    """`show_source` for functions that are exercises: folded, and left out where there are no solutions to see.

    A student's copy has no solutions: there a function's text appears once the student's own has passed its check.
    """
    solved = SOLVED.read_text(encoding="utf-8").split() if SOLVED.exists() else []
    for function in map(inspect.unwrap, functions):
        if any(ROOT.glob("lessons/*/solution.py")) or function.__name__ in solved:
            lines, first = inspect.getsourcelines(function)
            place = Path(inspect.getsourcefile(function)).resolve().relative_to(ROOT)
            show(Source("".join(lines).rstrip(), f"{place}, line {first}", answer=True))
        else:
            print(f"[{function.__name__} is an exercise: its text appears here when yours has passed its check]")


def sound(samples: np.ndarray, label: str) -> None:
    """Shows a player for samples (n,) at 16 kHz with a label, and their log-mel spectrogram.

    All players are equally loud (see LOUDNESS), so that a comparison compares nothing else, and none clips.
    """
    samples = np.asarray(samples)
    rms, peak = np.sqrt(np.mean(samples.astype(np.float64) ** 2)), np.abs(samples).max()
    if rms > 0:
        samples = samples * min(LOUDNESS / rms, 0.99 / peak)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sound.wav")
        write_wav(path, samples, SR)
        show(Sound(path.read_bytes(), spectrogram_picture(samples), len(samples) / SR, label))


def spectrogram_picture(samples: np.ndarray) -> bytes:
    """The log-mel spectrogram of `samples` as WebP: time to the right, mel bins up, 80 dB from black to white."""
    loudness = 20 / np.log(10) * log_mel(samples.astype(np.float32)).T[::-1]
    colours = plt.get_cmap("magma")((loudness - loudness.max()) / 80 + 1, bytes=True)
    with io.BytesIO() as file:
        Image.fromarray(colours[..., :3]).save(file, format="webp", quality=80)
        return file.getvalue()


def film(figure: plt.Figure, draw: Callable[[int], Any], frames: int, label: str, frames_per_second: int = 15) -> None:
    """Shows a film of `figure`, which repeats. draw(i) changes the figure into frame i, for i = 0 .. frames - 1.

    draw should change existing lines (`line.set_ydata`), not plot again. Readers whose system asks for less motion see
    the last frame. About 60 frames keep a page small.
    """
    images = []
    for i in sorted({*range(0, frames, 3 if FAST else 1), frames - 1}):
        draw(i)
        with io.BytesIO() as file:
            figure.savefig(file, format="png", dpi=110)
            images.append(Image.open(file).convert("RGBA"))
    plt.close(figure)
    with io.BytesIO() as file, io.BytesIO() as still:
        options = {"format": "webp", "quality": 65, "method": 3}
        images[-1].save(still, **options)
        motion = {"duration": 1000 // frames_per_second, "loop": 0}
        images[0].save(file, save_all=True, append_images=images[1:], **motion, **options)
        show(Picture("image/webp", file.getvalue(), label, still.getvalue()))


def show_figures(**_: Any) -> None:
    """Shows matplotlib's open figures as SVG and closes them. `run` replaces `plt.show` by it."""
    for number in plt.get_fignums():
        figure = plt.figure(number)
        with io.BytesIO() as file:
            figure.savefig(file, format="svg", metadata={"Date": None})
            show(Picture("image/svg+xml", file.getvalue(), description(figure)))
        plt.close(figure)


def description(figure: plt.Figure) -> str:
    """A figure in words: its titles and axis labels."""
    parts = [figure.get_suptitle()]
    for axis in figure.axes:
        measures = " against ".join(filter(None, [axis.get_ylabel(), axis.get_xlabel()]))
        parts.append(": ".join(filter(None, [axis.get_title(), measures])))
    words = "; ".join(filter(None, parts)).replace("\n", " ") or "figure"
    return re.sub(r"\$([^$]+)\$", lambda found: terminal.equation(found[1]), words)
