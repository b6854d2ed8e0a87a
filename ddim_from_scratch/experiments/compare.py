"""How far a run's samples are from its training music, on a scale that has both ends.

Noise and an untrained network are on one, real music is on the other.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from ..audio import find_audio, load_audio, log_mel
from ..audio.contract import FRAMES_PER_SECOND, HOP_LENGTH, N_MELS
from ..audio.inverter import Inverter
from ..diffusion import Sampling
from ..fad import Embedding, Set, embed_clips
from ..fad.reliability import distance, interval
from ..runtime.backend import parallel
from ..runtime.errors import UserError
from ..runtime.files import write_json
from ..spectrogram.compose import Composer
from ..spectrogram.data import load_windows
from ..spectrogram.model import init_state, read_run
from ..training.log import read_log
from .pictures import save_log_mels

PICTURED = 4
UNTRAINED = Sampling(steps=5)  # a fresh network's output layer is zero, so few steps give what many would

MEANING = {
    "noise": "standardised noise, made audible",
    "untrained": "what the network drew before training",
    "generated": "the new music",
    "ceiling": "other recordings, through the inverter as new music is: what a perfect model would score",
    "real": "the same as they are: how far two halves of the music lie apart",
    "inverted": "the very recordings that the others are compared with, through the inverter",
}


def score(embedding: Embedding, background: np.ndarray, sets: dict[str, np.ndarray]) -> dict:
    """Frechet distances of sets of clips from the background, all samples (n, samples) at 16 kHz.

    Returns {"embedding": its name, "clips_per_set": n, "fad": {set: distance}, "interval": {set: [low, high]}}.
    """
    reference = Set.of(embed_clips(embedding, background, "the background"))
    found = {name: Set.of(embed_clips(embedding, clips, name)) for name, clips in sets.items()}
    return {
        "embedding": embedding.name,
        "clips_per_set": len(background),
        "fad": {name: distance(reference, clips) for name, clips in found.items()},
        "interval": {name: interval(reference, clips, np.random.default_rng(0)) for name, clips in found.items()},
    }


def log_mel_error(sound: np.ndarray, log_mels: np.ndarray) -> float:
    """The mean |log_mel(sound) - log_mels|, natural logarithms: 0.1 is 0.9 dB."""
    return float(np.mean([np.abs(log_mel(one) - target).mean() for one, target in zip(sound, log_mels, strict=True)]))


def compare(run: Path, invert: Inverter, embedding: Embedding) -> dict:
    """Distances of noise, an untrained network, the run's samples and real music from the training music.

    All sets have the same number of clips, since the distance depends on it. Real music is other windows of the
    training music, or, of a run with --hold-out, tracks that it never saw. Writes metrics.json and comparison.png
    into the run's folder and returns what metrics.json holds.
    """
    model = read_run(run).model()
    config = model.config
    rng = np.random.default_rng(config.seed)
    files = find_audio(run / "samples") if (run / "samples").is_dir() else []
    samples = parallel(load_audio, files)
    if len({len(sample) for sample in samples}) != 1:
        raise UserError(f"{run / 'samples'} must hold clips of one length: ddim_from_scratch.sample makes them")
    # Windows as long as the samples, whatever length the network was trained on.
    as_long = dataclasses.replace(config, window_seconds=len(samples[0]) / HOP_LENGTH / FRAMES_PER_SECOND)
    windows = load_windows(as_long)
    chosen = rng.permutation(windows.apart())
    n = min(len(files), len(chosen) // 2)
    others, other = windows, chosen[n:]
    if config.hold_out:
        others = load_windows(as_long, held_out=True)
        other = rng.permutation(others.apart())
        n = min(len(files), len(chosen), len(other))
    if n < 2:
        raise UserError(
            f"{run / 'samples'} has {len(files)} clips and {config.data} {len(chosen)} windows apart: 2 clips and "
            "4 windows are needed (python -m ddim_from_scratch.sample --num 16)"
        )
    samples = np.stack(samples[:n])
    one_half, other_half = chosen[:n], other[:n]
    noise = model.scaler.restore(rng.standard_normal((n, windows.frames, N_MELS), dtype=np.float32))
    fresh = dataclasses.replace(model, network=init_state(config, rng)["average"])
    untrained = Composer(fresh, UNTRAINED, config.seed).draw(n, windows.frames)
    inverted = invert(others.take(other_half), "real music")
    sets = {
        "noise": invert(noise, "noise"),
        "untrained": invert(untrained, "untrained"),
        "generated": samples,
        "ceiling": inverted,
        "real": others.sound(other_half),
    }
    rows = np.array(read_log(run / "log.csv"))
    metrics = score(embedding, windows.sound(one_half), sets) | {
        "log_mel_error": log_mel_error(inverted, others.take(other_half)),
        "noise_loss": {"first 50 steps": rows[:50, 2].mean(), "last 50 steps": rows[-50:, 2].mean()},
        "training_seconds": rows[:, 4].sum(),
        "steps": len(rows),
    }
    write_json(run / "metrics.json", metrics)
    pictured = {
        "training": windows.take(one_half[:PICTURED]),
        "generated": np.stack([*map(log_mel, samples[:PICTURED])]),
    }
    save_log_mels(run / "comparison.png", pictured)
    return metrics


def report(metrics: dict) -> str:
    """The numbers of `compare` or `ceiling` in words."""
    n, name = metrics["clips_per_set"], metrics["embedding"]
    lines = [f"Frechet distance from {n} recordings ({name}), lower is nearer (95 % interval):"]
    for kind, value in metrics["fad"].items():
        low, high = metrics["interval"][kind]
        lines.append(f"  {kind:10s} {value:8.4g}  ({low:.4g} to {high:.4g})  {MEANING[kind]}")
    lines.append(
        f"So few clips of real music are not at 0 either. The inverter moves a log-mel by "
        f"{metrics['log_mel_error']:.4f} on average (0.1 is 0.9 dB)."
    )
    if "noise_loss" in metrics:
        before, after = metrics["noise_loss"].values()
        lines.append(
            f"Noise loss {before:.3f} at first, {after:.3f} at last; 1.0 is a network that has learnt nothing."
        )
    return "\n".join(lines)
