"""The options of a training run of the notes' system: those of the paper's, with other defaults, and the programs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..audio import LeftOut
from ..audio.contract import FRAMES_PER_SECOND
from ..runtime.errors import UserError, printable
from ..spectrogram.config import Config as Spectrogram
from ..training.options import option
from .pairs import notes_beside, read_beside, require_match, with_notes
from .roll import features
from .score import Notes
from .tokens import LAST_STEP, STEP_SECONDS, VOCABULARY, require_room

ALL_PROGRAMS = 129  # General MIDI's, and drums


def _other(name: str, default: Any) -> Any:
    """The option of this name with another default."""
    return dataclasses.field(default=default, metadata=Spectrogram.__dataclass_fields__[name].metadata)


@dataclass(frozen=True)
class Config(Spectrogram):
    """Everything that decides what a run computes."""

    SYSTEM = "notes"
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {}
    FORMER: ClassVar[dict[str, Any]] = {}

    data: str = option(
        "",
        "folder of recordings and their notes, song.mid beside song.wav, nested as you like; or a data set: guitarset, "
        "maestro",
        metavar="FOLDER",
    )
    programs: tuple[int, ...] = option(
        (),
        "instruments, by their numbers in the notes' MIDI programs, 128 for drums (default: all in the training notes)",
        nargs="+",
        metavar="P",
    )
    notes_as: str = option(
        "roll",
        "how the network is told the notes: frame by frame, or in words as Hawthorne et al. have them (with --network "
        "transformer)",
        choices=("roll", "tokens"),
    )
    window_seconds: float = _other("window_seconds", 1.28)
    window_hop_seconds: float = _other("window_hop_seconds", 0.64)
    windows_per_track: int = _other("windows_per_track", 10**6)
    crops: str = _other("crops", "random")
    widths: tuple[int, ...] = _other("widths", (16, 32, 64, 96))
    block_depth: int = _other("block_depth", 1)
    attention: str = _other("attention", "none")
    context: bool = _other("context", True)
    min_signal_rate: float = _other("min_signal_rate", 0.195)
    max_signal_rate: float = _other("max_signal_rate", 0.933)
    prediction: str = _other("prediction", "v")
    learning_rate: float = _other("learning_rate", 2e-3)
    learning_rate_schedule: str = _other("learning_rate_schedule", "warmup-cosine")
    clip_gradient: float = _other("clip_gradient", 1.0)
    ema: float = _other("ema", 0.99)
    epochs: int = _other("epochs", 20)

    def check(self) -> None:
        programs = self.programs
        self.require("programs", len(set(programs)) == len(programs) <= ALL_PROGRAMS, "name each once")
        self.require("programs", all(0 <= one < ALL_PROGRAMS for one in programs), "give numbers from 0 to 128")
        if self.notes_as == "tokens":
            self.require("network", self.network == "transformer", "--notes-as tokens needs --network transformer")
            self.require("window_seconds", self.window_seconds <= LAST_STEP * STEP_SECONDS, "tokens count 10 s")
        self.require("context", self.context, "a player hears the segment before: leave it out")
        if self.augment != "none":
            raise UserError(f"--augment is {self.augment}, which would not change the notes: leave it out")

    def recordings(self, left_out: LeftOut) -> list[Path]:
        return with_notes(self.data, left_out)

    def beside(self, path: Path) -> list[Path]:
        return [notes] if (notes := notes_beside(path)) else []

    def check_track(self, path: Path, log_mels: np.ndarray) -> None:
        """Raises UserError if its notes cannot be read, do not belong to it, are all of other programs, or too many."""
        notes = read_beside(path)
        require_match(path, log_mels, notes)
        if self.programs:
            notes = notes.where(np.isin(notes.program, self.programs))
        if not len(notes.start):
            named = " ".join(map(str, self.programs))
            raise UserError(f"{printable(path)} has no notes of --programs {named}: leave it out")
        try:
            self.require_tellable(notes)
        except UserError as error:
            raise UserError(f"{printable(path)}: {error}") from None

    def require_tellable(self, notes: Notes) -> None:
        """Raises UserError for more notes in a window than the network can be told of."""
        if self.notes_as == "tokens":
            require_room(notes, self.window_frames / FRAMES_PER_SECOND)

    @property
    def features(self) -> int:
        """A frame's roll, and whether it is known."""
        return features(self.programs) + 1 if self.notes_as == "roll" else 0

    @property
    def vocabulary(self) -> int:
        return VOCABULARY if self.notes_as == "tokens" else 0
