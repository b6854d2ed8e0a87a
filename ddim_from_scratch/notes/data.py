"""Training data: windows of recordings, and the notes in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..runtime.errors import UserError, printable
from ..spectrogram.data import Windows
from .pairs import require_match
from .roll import roll
from .score import Notes, read_notes


@dataclass(frozen=True)
class Scored(Windows):
    """Windows whose notes are known. scores: those of each track. programs: the network's, in its order."""

    scores: Sequence[Notes] = ()
    programs: tuple[int, ...] = ()

    @property
    def rolls(self) -> np.ndarray:
        """What is played in each window, float32 (n, frames, features(programs))."""
        return np.stack([roll(self.scores[t], start, self.frames, self.programs) for t, start in self.starts])


def scored(windows: Windows, notes: dict[Path, Path], programs: tuple[int, ...]) -> Scored:
    """notes: of each recording. programs: none is all that there are. Raises UserError for a program that is not there.

    Notes of other programs than the given ones are left out.
    """
    scores = [read_notes(notes[path]) for path in windows.paths]
    for path, track, score in zip(windows.paths, windows.tracks, scores, strict=True):
        require_match(path, track, score)
    there = sorted({int(program) for score in scores for program in score.program})
    if other := set(programs) - set(there):
        raise UserError(f"--programs has {min(other)}, which no notes have: they have {', '.join(map(str, there))}")
    programs = programs or tuple(there)
    scores = [score.where(np.isin(score.program, programs)) for score in scores]
    for path, score in zip(windows.paths, scores, strict=True):
        if not len(score.start):
            raise UserError(f"{printable(path)} has no notes of the programs {programs}: leave it out")
    return Scored(windows.tracks, windows.starts, windows.frames, windows.paths, scores, programs)
