"""A trained network plays notes, segment after segment, each hearing the one before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..audio.contract import FRAMES_PER_SECOND
from ..diffusion import DEFAULT_SAMPLING, EpsModel, Sampling
from ..runtime.backend import Array, to_device
from ..runtime.errors import warn
from ..spectrogram import compose
from .config import Config
from .data import told
from .roll import untrained
from .score import Notes, read_notes

TAIL_SECONDS = 1.0  # after the last note's end
OVERLAP = 16  # frames of the segment before that a segment begins with
GUIDANCE = 1.5  # at 2 a few more notes are heard, and the sound is further from the recordings: docs/results.md


@dataclass(frozen=True)
class Player(compose.Composer):
    """How a model plays. scores: one for all clips, or one for each. guidance: the weight of what they tell.

    A clip's random numbers do not depend on its notes: other notes are the same performance otherwise.
    """

    overlap: int | None = OVERLAP
    guidance: float = GUIDANCE
    scores: tuple[Notes, ...] = ()

    def play(self, num: int) -> np.ndarray:
        """The whole of the notes, `num` times: log-mels (num, frames, 128).

        Warns, on stderr, of pitches outside those of the training. Raises UserError for notes that it can't be told of.
        """
        config = self.model.config
        assert isinstance(config, Config)
        for notes in self.scores:
            config.require_tellable(notes)
            if warning := untrained(notes, config.programs, self.model.scaler.pitches):
                warn(warning)
        seconds = max(notes.seconds for notes in self.scores) + TAIL_SECONDS
        return self.draw(num, round(seconds * FRAMES_PER_SECOND))

    def conditions(self, clips: slice, before: np.ndarray, first: int, frames: int) -> tuple[Array, ...]:
        config = self.model.config
        assert isinstance(config, Config)
        scores = [self.scores[i % len(self.scores)] for i in range(clips.start, clips.stop)]
        notes = told(config, scores, [first] * len(scores), frames)
        return (*super().conditions(clips, before, first, frames), to_device(notes, self.model.device))

    def worse(self, conditions: tuple[Array, ...], levels: np.ndarray) -> EpsModel:
        """The network that is told nothing."""
        return self.model.eps_model(tuple(0 * one for one in conditions), levels)


class Run(compose.Run):
    """A trained model in Python: run.sample("song.mid")."""

    def log_mels(  # type: ignore[override]
        self,
        notes: Notes | str | Path,
        num: int = 1,
        seed: int = 0,
        sampling: Sampling = DEFAULT_SAMPLING,
        guidance: float = GUIDANCE,
    ) -> np.ndarray:
        """Performances of the notes, or of those in a MIDI file, as log-mels, float32 (num, frames, 128)."""
        notes = notes if isinstance(notes, Notes) else read_notes(notes)
        return Player(self.model, sampling, seed, scores=(notes,), guidance=guidance).play(num)
