"""The notes' system: the paper's, told what to play."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np

from ..runtime.tree import Tree
from ..spectrogram import system as spectrogram
from ..spectrogram.data import Windows
from ..spectrogram.model import Model, context_channel
from ..spectrogram.model import read_run as read_any_run
from ..spectrogram.system import PROBE, PROBE_CLIPS
from .compose import Player, Run
from .config import Config
from .data import Scored, scored
from .modes import MODES, composer

__all__ = ["MODES", "OWN_RUN", "Config", "Run", "composer", "read_run", "training"]  # see systems.py

OWN_RUN = Path(__file__).parent / "band"
DROPPED = 0.1  # share of the windows that are trained on as if nothing were known of them: for guidance

read_run = partial(read_any_run, options=Config)


class Training(spectrogram.Training):
    """A `training.loop.System`. Its windows are `Scored`."""

    windows: Scored

    @staticmethod
    def prepared(config: spectrogram.Config, windows: Windows) -> tuple[spectrogram.Config, Windows]:
        """The windows with their notes, and the programs that there are."""
        assert isinstance(config, Config)
        there = scored(windows, config.programs)
        return dataclasses.replace(config, programs=there.programs), there

    def init(self, rng: np.random.Generator) -> Tree:
        """Without the early network: a player's guidance leads away from silence about the notes."""
        state = super().init(rng)
        del state["early"]
        return state

    def conditions(self, windows: Windows, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """The segment before, and the notes; of some windows neither."""
        assert isinstance(windows, Scored) and isinstance(self.config, Config)
        dropped = rng.random(len(windows)) < DROPPED
        past = [self.scaler.standardise(before) for before in windows.before()]
        conditions = context_channel(past, windows.frames), windows.told(self.config)
        for one in conditions:
            one[dropped] = 0
        return conditions

    def drawn(self, model: Model, frames: int) -> np.ndarray:
        """The beginnings of the first recordings' notes, played."""
        return Player(model, PROBE, self.config.seed, scores=tuple(self.windows.scores)).draw(PROBE_CLIPS, frames)


training = partial(spectrogram.training, kind=Training)
