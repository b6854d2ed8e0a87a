"""A film of the way from noise to music."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..diffusion import T, ddim, uniform_tau
from ..runtime.streams import stream
from ..spectrogram.model import read_run
from .pictures import save_film


def film(run: Path, seconds: float | None, evaluations: int) -> np.ndarray:
    """Write RUN/film.webp: a clip on its way from noise to music, by DDIM. Returns its frames' log-mels."""
    model = read_run(run).model()
    frames = model.config.frames("--seconds", seconds or model.config.window_seconds)
    x_T = model.noise(1, frames, stream(model.config.seed, 0))
    walk = ddim(model.eps_model(), x_T, model.alpha_bar, uniform_tau(T, evaluations))
    log_mels = model.restored(np.concatenate([*tqdm(walk, total=evaluations + 1, desc="sampling", unit="step")]))
    save_film(run / "film.webp", log_mels)
    return log_mels
