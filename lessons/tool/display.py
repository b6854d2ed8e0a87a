"""What a lesson shows beside its text: source, figures, sounds, films.

Everything shown knows three forms of itself: text for the terminal (`str`), HTML for the page (`html`), and,
by the methods that IPython looks for, a notebook's. `show` sends it to whichever is there.
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

from ddim_from_scratch.audio import write_wav
from ddim_from_scratch.audio.contract import SR

from . import terminal
from .percent import ROOT

FAST = bool(os.environ.get("LESSONS_FAST"))  # lessons shrink their trainings, as tests need only see them run

# Figures: 6 inches wide, so that their letters can be read on a phone; colours that colour-blind readers can tell apart
# (Okabe & Ito).
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

recording: list[Any] | None = None  # where `show` puts things while the tool runs a lesson


def show(item: Any) -> None:
    """Show `item` on the page that is being made, else in the notebook, else in the terminal."""
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
    """Print to the terminal even while what a lesson prints is recorded; `run` replaces this."""
    print(text)


def data_uri(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


@dataclass
class Text:
    """What a cell printed."""

    text: str

    def __str__(self) -> str:
        return self.text

    def html(self) -> str:
        return f'<pre class="output" tabindex="0">{html.escape(self.text.rstrip())}</pre>'


@dataclass
class Source:
    """A piece of the package's own text."""

    code: str
    place: str  # file and line

    def __str__(self) -> str:
        return f"[{self.place}]\n{terminal.code(self.code, sys.__stdout__.isatty())}"

    def html(self) -> str:
        name, code = html.escape(self.place), code_html(self.code)
        return f'<figure class="source"><figcaption>{name}</figcaption>{code}</figure>'

    def _repr_markdown_(self) -> str:
        return f"`{self.place}`\n```python\n{self.code}\n```"


@dataclass
class Picture:
    """A figure; `still`, if there is one, stands in for a film where motion is not wanted."""

    mime: str
    data: bytes
    description: str  # for those who can't see it
    still: bytes = b""

    def __str__(self) -> str:
        return f"[{'film' if self.still else 'figure'}: {self.description}]"

    def html(self) -> str:
        image = f'<img src="{data_uri(self.mime, self.data)}" alt="{html.escape(self.description)}">'
        if self.still:
            still = data_uri("image/png", self.still)
            image = (
                f'<picture><source media="(prefers-reduced-motion: reduce), print" srcset="{still}">{image}</picture>'
            )
        return f'<figure class="picture">{image}</figure>'

    _repr_html_ = html


@dataclass
class Sound:
    wav: bytes
    seconds: float
    label: str

    def __str__(self) -> str:
        return f"[sound, {self.seconds:.1f} s: {self.label}]"

    def html(self) -> str:
        label = html.escape(self.label)
        player = f'<audio controls preload="metadata" src="{data_uri("audio/wav", self.wav)}" aria-label="{label}">'
        return f'<figure class="sound"><figcaption>{label}</figcaption>{player}</audio></figure>'

    _repr_html_ = html


def code_html(code: str) -> str:
    """Python as highlighted HTML; it scrolls sideways in its own box, which the keyboard can reach."""
    return highlight(code, PythonLexer(), HtmlFormatter(cssclass="code")).replace("<pre>", '<pre tabindex="0">', 1)


# What lessons call.


def show_source(*functions: Callable) -> None:
    """Show the source of functions or classes of the package, as it is installed, with its file and line."""
    for function in functions:
        function = inspect.unwrap(function)
        lines, first = inspect.getsourcelines(function)
        path = Path(inspect.getsourcefile(function)).resolve()
        place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
        show(Source("".join(lines).rstrip(), f"{place}, line {first}"))


def sound(samples: np.ndarray, label: str, sr: int = SR) -> None:
    """A player for samples (n,) in [-1, 1] (values beyond are clipped), `sr` a second, named by `label`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sound.wav")
        write_wav(path, np.asarray(samples), sr)
        show(Sound(path.read_bytes(), len(samples) / sr, label))


def film(figure: plt.Figure, draw: Callable[[int], Any], frames: int, label: str, frames_per_second: int = 15) -> None:
    """A film of `figure`: draw(i) changes it into frame i, for i = 0 .. frames - 1. It repeats.

    draw should move what is there (`line.set_ydata`), not plot anew. Readers who ask their system for less
    motion see the last frame. About 60 frames keep a page small.
    """
    images = []
    for i in range(frames):
        draw(i)
        with io.BytesIO() as file:
            figure.savefig(file, format="png", dpi=110)
            images.append(Image.open(file).convert("RGBA"))
    plt.close(figure)
    with io.BytesIO() as file, io.BytesIO() as still:
        images[-1].save(still, format="png")
        options = {"duration": 1000 // frames_per_second, "loop": 0, "quality": 80, "method": 3}
        images[0].save(file, format="webp", save_all=True, append_images=images[1:], **options)
        show(Picture("image/webp", file.getvalue(), label, still.getvalue()))


def show_figures(**_: Any) -> None:
    """Show matplotlib's open figures as SVG, and close them. `run` puts it in the place of `plt.show`."""
    for number in plt.get_fignums():
        figure = plt.figure(number)
        with io.BytesIO() as file:
            figure.savefig(file, format="svg", metadata={"Date": None})
            show(Picture("image/svg+xml", file.getvalue(), description(figure)))
        plt.close(figure)


def description(figure: plt.Figure) -> str:
    """A figure in words: its titles and what its axes measure."""
    parts = [figure.get_suptitle()]
    for axis in figure.axes:
        measures = " against ".join(filter(None, [axis.get_ylabel(), axis.get_xlabel()]))
        parts.append(": ".join(filter(None, [axis.get_title(), measures])))
    words = "; ".join(filter(None, parts)).replace("\n", " ") or "figure"
    return re.sub(r"\$([^$]+)\$", lambda found: terminal.equation(found[1]), words)
