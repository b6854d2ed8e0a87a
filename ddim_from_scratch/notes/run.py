"""A trained run in Python: `run = ddim_from_scratch.open_run("runs/band")`, and `run.sample("song.mid")`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..audio.inverter import load_inverter
from ..diffusion import DEFAULT_SAMPLING, Sampling
from ..spectrogram.run import Run as Spectrogram
from .compose import GUIDANCE, Player
from .score import Notes, read_notes


class Run(Spectrogram):
    """A trained model that plays. inverter: what makes sound, as `load_inverter` names it."""

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

    def sample(self, notes: Notes | str | Path, num: int = 1, seed: int = 0, **how: object) -> np.ndarray:  # type: ignore[override]
        """The same as sound, float32 (num, samples), 16 kHz."""
        return load_inverter(self.inverter, self.model.device)(self.log_mels(notes, num, seed, **how))  # type: ignore[arg-type]
