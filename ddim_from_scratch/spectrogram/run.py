"""A trained run in Python: `run = ddim_from_scratch.open_run("runs/mine")`, and `run.sample(num, seconds, seed)`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..audio.inverter import load_inverter
from ..diffusion import DEFAULT_SAMPLING, Sampling
from .compose import Composer, drawn_frames
from .config import Config
from .model import Model


@dataclass(frozen=True)
class Run:
    """A trained model that draws. inverter: what makes sound, as `load_inverter` names it."""

    model: Model
    inverter: str | None = None

    @property
    def config(self) -> Config:
        return self.model.config

    def log_mels(
        self, num: int = 4, seconds: float | None = None, seed: int = 0, sampling: Sampling = DEFAULT_SAMPLING
    ) -> np.ndarray:
        """New clips as log-mels, float32 (num, frames, 128). seconds: a training window unless given."""
        return Composer(self.model, sampling, seed).draw(num, drawn_frames(self.config, seconds))

    def sample(
        self, num: int = 4, seconds: float | None = None, seed: int = 0, sampling: Sampling = DEFAULT_SAMPLING
    ) -> np.ndarray:
        """New clips as sound, float32 (num, samples), 16 kHz."""
        invert = load_inverter(self.inverter, self.model.device)
        return invert(self.log_mels(num, seconds, seed, sampling))
