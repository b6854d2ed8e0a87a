"""Training data: windows of recordings, and the notes in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..audio.contract import FRAMES_PER_SECOND
from ..networks.transformer import PAD
from ..runtime.errors import UserError
from ..spectrogram.data import Scaler, Windows
from .config import Config
from .pairs import read_beside
from .roll import known, pitches, require_trained, roll
from .score import Notes
from .tokens import encode


@dataclass(frozen=True)
class Scored(Windows):
    """Windows whose notes are known. scores: those of each track. programs: the network's, in its order."""

    scores: Sequence[Notes] = ()
    programs: tuple[int, ...] = ()

    def scaler(self, standardise: str = "bin") -> Scaler:
        """That of the sound, which keeps the pitches, too."""
        return replace(super().scaler(standardise), pitches=pitches(self.scores, self.programs))

    def told(self, config: Config) -> np.ndarray:
        """The notes in each window, as the network is told them."""
        scores = [self.scores[track] for track, _ in self.starts]
        return told(config, scores, [first for _, first in self.starts], self.frames)


def told(config: Config, scores: Sequence[Notes], firsts: Sequence[int], frames: int) -> np.ndarray:
    """The notes of each score as the network is told them, in `frames` frames from that number on.

    Rolls and that they are known, float32 (n, frames, config.features); or tokens, int32 (n, any number), filled up
    with PAD. All 0 says nothing.
    """
    if config.notes_as == "roll":
        pairs = zip(scores, firsts, strict=True)
        return known(np.stack([roll(notes, first, frames, config.programs) for notes, first in pairs]))
    for notes in scores:
        require_trained(notes, config.programs)
    seconds = frames / FRAMES_PER_SECOND
    starts = [first / FRAMES_PER_SECOND for first in firsts]
    sentences = [encode(notes.between(at, at + seconds), seconds) for notes, at in zip(scores, starts, strict=True)]
    padded = np.full((len(sentences), max(map(len, sentences))), PAD, np.int32)
    for row, sentence in zip(padded, sentences, strict=True):
        row[: len(sentence)] = sentence
    return padded


def scored(windows: Windows, programs: tuple[int, ...]) -> Scored:
    """Windows with their notes. programs: none means all. Raises UserError for a program that no notes have.

    Notes of other programs than the given ones are left out.
    """
    scores = [read_beside(path) for path in windows.paths]
    there = sorted({int(program) for score in scores for program in score.program})
    if other := set(programs) - set(there):
        raise UserError(f"--programs has {min(other)}, which no notes have: they have {', '.join(map(str, there))}")
    programs = programs or tuple(there)
    scores = [score.where(np.isin(score.program, programs)) for score in scores]
    return Scored(windows.tracks, windows.starts, windows.frames, windows.paths, scores, programs)
