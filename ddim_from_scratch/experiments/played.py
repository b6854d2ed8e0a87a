"""Measures a network that plays notes: it plays those of other recordings, and a judge listens for them."""

from __future__ import annotations

import numpy as np

from ..audio.contract import FRAMES_PER_SECOND
from ..notes.judge import load_judge, mean_f1
from ..notes.pairs import read_beside
from ..notes.score import Notes
from ..runtime.errors import UserError, say_once
from ..spectrogram.data import Windows

PLAYED = 40  # clips at most
PLAYED_SECONDS = 5.12  # of a clip at least

JUDGED = {
    "generated": "clips of the trained network",
    "real": "the recordings themselves: what the judge can hear",
    "ceiling": "the recordings, inverted: what a perfect network would reach",
    "others": "the recordings, judged by the notes of others: what chance hears",
}


def notes_of(windows: Windows, programs: tuple[int, ...]) -> tuple[Notes, ...]:
    """The notes in each of these windows, of these programs, times in seconds from the window's start."""
    scores = {track: read_beside(windows.paths[track]) for track in np.unique(windows.starts[:, 0])}
    parts = []
    for track, first in windows.starts:
        score, start = scores[track], first / FRAMES_PER_SECOND
        known = score.where(np.isin(score.program, programs))
        parts.append(known.between(start, start + windows.frames / FRAMES_PER_SECOND))
    return tuple(parts)


def onset_f1(sets: dict[str, np.ndarray], notes: tuple[Notes, ...]) -> dict[str, float] | None:
    """{name of JUDGED: mean onset F1}. sets: "generated", "real", "ceiling", clips (n, samples) of these notes.

    None, and a line on stderr, without the judge.
    """
    try:
        judge = load_judge()
    except UserError as error:
        say_once(f"note: no onset F1: {error}")
        return None
    scores = {name: mean_f1(judge, sets[name], notes, name) for name in ("generated", "real", "ceiling")}
    return scores | {"others": mean_f1(judge, sets["real"], (*notes[1:], notes[0]), "others")}


def summary(scores: dict[str, float]) -> list[str]:
    """Lines for the scores of `onset_f1`."""
    lines = ["Notes that basic-pitch hears (onset F1 within 50 ms, higher is better):"]
    return lines + [f"  {name:10s} {score:8.3f}  {JUDGED[name]}" for name, score in scores.items()]
