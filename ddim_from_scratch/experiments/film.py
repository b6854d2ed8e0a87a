"""A film of the way from noise to music."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..audio.mel import N_MELS
from ..diffusion import ddim, uniform_tau
from ..spectrogram.data import Scaler
from ..spectrogram.model import T, alpha_bar_table, network_eps_model
from ..training.checkpoint import load_checkpoint
from .pictures import save_film


def film(run: Path, seconds: float | None, evaluations: int) -> np.ndarray:
    """Write RUN/film.webp: a clip on its way from noise to music, by DDIM. Returns its frames' log-mels."""
    checkpoint = load_checkpoint(run)
    config, scaler = checkpoint["config"], Scaler(**checkpoint["scaler"])
    frames = config.frames("--seconds", seconds or config.window_seconds)
    eps_model = network_eps_model(checkpoint["state"]["average"], config)
    x_T = np.random.default_rng(config.seed).standard_normal((1, frames, N_MELS, 1), dtype=np.float32)
    walk = ddim(eps_model, x_T, alpha_bar_table(config), uniform_tau(T, evaluations))
    log_mels = scaler.restore(
        np.concatenate([*tqdm(walk, total=evaluations + 1, desc="sampling", unit="step")])[..., 0]
    )
    save_film(run / "film.webp", log_mels)
    return log_mels
