"""How far a run's clips are from its training music, on a scale between noise and real music."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from ..audio import find_audio, load_audio, log_mel
from ..audio.contract import FRAMES_PER_SECOND, HOP_LENGTH, N_MELS
from ..audio.distance import WINDOWS, distances_from_recordings
from ..audio.inverter import Inverter, add_inverter_option, load_inverter
from ..diffusion import Sampling
from ..fad import Embedding, Set, embed_clips, load_embedding
from ..fad.embeddings import add_embedding_option
from ..fad.reliability import distance, interval
from ..runtime.backend import parallel, threads
from ..runtime.cli import add_threads_option
from ..runtime.errors import UserError
from ..runtime.files import write_json
from ..spectrogram.compose import Composer
from ..spectrogram.config import Config
from ..spectrogram.data import Windows, load_windows
from ..spectrogram.model import init_state, read_run
from ..training.log import read_log
from .pictures import save_log_mels

PICTURED = 4  # clips per row of a picture
UNTRAINED = Sampling(steps=5)  # an untrained network predicts zero, so few steps give the same result as many

MEANING = {
    "noise": "standardised noise, inverted",
    "untrained": "clips of the network before training",
    "generated": "clips of the trained network",
    "ceiling": "other recordings, inverted as generated clips are: what a perfect model would reach",
    "real": "other recordings, not inverted: how far apart two halves of the music are",
    "inverted": "the reference recordings themselves, inverted",
}


def distances(embedding: Embedding, background: np.ndarray, sets: dict[str, np.ndarray]) -> dict:
    """Frechet distance of each set of clips from the background. All clips are (n, samples) at 16 kHz.

    Returns {"embedding": its name, "clips_per_set": n, "fad": {set: distance}, "interval": {set: [low, high]}}.
    """
    reference = Set.of(embed_clips(embedding, background, "the background"))
    embedded = {name: Set.of(embed_clips(embedding, clips, name)) for name, clips in sets.items()}
    return {
        "embedding": embedding.name,
        "clips_per_set": len(background),
        "fad": {name: distance(reference, clips) for name, clips in embedded.items()},
        "interval": {name: interval(reference, clips, np.random.default_rng(0)) for name, clips in embedded.items()},
    }


def log_mel_error(sound: np.ndarray, log_mels: np.ndarray) -> float:
    """Mean |log_mel(sound) - log_mels|, in natural logarithms: 0.1 is 0.9 dB."""
    return float(np.mean([np.abs(log_mel(clip) - target).mean() for clip, target in zip(sound, log_mels, strict=True)]))


def inversion_errors(sound: np.ndarray, log_mels: np.ndarray, recordings: np.ndarray) -> dict[str, float]:
    """How far inverted log-mels are from themselves, and from the recordings that they are of. Means over the clips.

    sound, recordings: (n, samples). log_mels: (n, frames, 128). Returns {"log_mel_error": `log_mel_error`'s} and what
    `distances_from_recordings` does.
    """
    return {"log_mel_error": log_mel_error(sound, log_mels)} | distances_from_recordings(sound, recordings)


def load_clips(run: Path) -> np.ndarray:
    """The clips in RUN/samples, (n, samples) at 16 kHz. Raises UserError if there are none or their lengths differ."""
    folder = run / "samples"
    clips = parallel(load_audio, find_audio(folder) if folder.is_dir() else [])
    if not clips:
        raise UserError(
            f"{folder} holds no clips: make some with python -m ddim_from_scratch.sample --run {run} --num 16"
        )
    seconds = sorted({len(clip) / HOP_LENGTH / FRAMES_PER_SECOND for clip in clips})
    if len(seconds) > 1:
        raise UserError(
            f"{folder} holds clips of {seconds[0]:g} s and of {seconds[-1]:g} s; FAD needs one length. "
            "Move the others to another folder"
        )
    return np.stack(clips)


def choose_windows(
    config: Config, most: int, rng: np.random.Generator
) -> tuple[Windows, np.ndarray, Windows, np.ndarray]:
    """Two disjoint sets of at most `most` windows that do not overlap: the reference, and other real music.

    With --hold-out the others are from tracks that the network never saw, else from the training music.
    Returns (windows, indices of the reference, other windows, indices of the others).
    """
    windows = load_windows(config)
    chosen = rng.permutation(windows.apart())
    n = min(most, len(chosen) // 2)
    if not config.hold_out:
        return windows, chosen[:n], windows, chosen[n : 2 * n]
    held_out = load_windows(config, held_out=True)
    others = rng.permutation(held_out.apart())
    n = min(most, len(chosen), len(others))
    return windows, chosen[:n], held_out, others[:n]


def compare(run: Path, invert: Inverter, embedding: Embedding) -> dict:
    """Frechet distances of noise, an untrained network, the run's clips and real music from the training music.

    All sets have the same number of clips, because the distance depends on it. Writes metrics.json and comparison.png
    into the run's folder, and returns the content of metrics.json.
    """
    model = read_run(run).model()
    config = model.config
    rng = np.random.default_rng(config.seed)
    clips = load_clips(run)
    seconds = clips.shape[1] / HOP_LENGTH / FRAMES_PER_SECOND  # as long as the clips, whatever the training windows are
    windows, reference, others, other = choose_windows(
        dataclasses.replace(config, window_seconds=seconds), len(clips), rng
    )
    n, frames = len(reference), windows.frames
    if n < 2:
        raise UserError(
            f"{run / 'samples'} has {len(clips)} clips and {config.data} {n} pairs of windows of {seconds:g} s; 2 of "
            "each are needed. Draw more or shorter clips: python -m ddim_from_scratch.sample --num 16"
        )
    noise = model.scaler.restore(rng.standard_normal((n, frames, N_MELS), dtype=np.float32))
    untrained_model = dataclasses.replace(model, network=init_state(config, rng)["average"], outline=None)
    untrained = Composer(untrained_model, UNTRAINED, config.seed).draw(n, frames)
    real_log_mels, real = others.take(other), others.sound(other)
    inverted = invert(real_log_mels, "real music")
    sets = {
        "noise": invert(noise, "noise"),
        "untrained": invert(untrained, "untrained"),
        "generated": clips[:n],
        "ceiling": inverted,
        "real": real,
    }
    rows = np.array(read_log(run / "log.csv"))
    metrics = distances(embedding, windows.sound(reference), sets) | inversion_errors(inverted, real_log_mels, real)
    metrics |= {
        "noise_loss": {"first 50 steps": rows[:50, 2].mean(), "last 50 steps": rows[-50:, 2].mean()},
        "training_seconds": rows[:, 4].sum(),
        "steps": len(rows),
    }
    write_json(run / "metrics.json", metrics)
    generated = np.stack([*map(log_mel, clips[: min(n, PICTURED)])])
    pictured = {"training": windows.take(reference[:PICTURED]), "generated": generated}
    save_log_mels(run / "comparison.png", pictured)
    return metrics


def summary(metrics: dict) -> str:
    """The metrics of `compare` or `ceiling` in words."""
    n, name = metrics["clips_per_set"], metrics["embedding"]
    lines = [f"Frechet distance from {n} recordings (embedding {name}), lower is better (95 % interval):"]
    for kind, value in metrics["fad"].items():
        low, high = metrics["interval"][kind]
        lines.append(f"  {kind:10s} {value:8.4g}  ({low:.4g} to {high:.4g})  {MEANING[kind]}")
    lines.append(
        "Real music is not at 0 either, because the sets are small. The inverter changes a log-mel by "
        f"{metrics['log_mel_error']:.4f} on average (0.1 is 0.9 dB)."
    )
    lines.append("Its sound's distance from the recordings (SC: spectral convergence, LM: log magnitudes):")
    lines += [f"  window {w:4d}   SC {metrics[f'sc_{w}']:.3f}   LM {metrics[f'lm_{w}']:.3f}" for w in WINDOWS]
    if "noise_loss" in metrics:
        first, last = metrics["noise_loss"].values()
        lines.append(
            f"Noise loss: {first:.3f} in the first steps, {last:.3f} in the last; an untrained network has 1.0."
        )
    return "\n".join(lines)


def add_listening_options(parser: argparse.ArgumentParser) -> None:
    """--inverter and --embedding, for the experiments that measure sound."""
    add_inverter_option(parser)
    add_embedding_option(parser)


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """--json, for the experiments that end with `print_summary`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers to a JSON file")


def print_summary(metrics: dict, json: Path | None) -> None:
    """Writes the metrics to the file `json`, if there is one, and prints them in words."""
    if json:
        write_json(json, metrics)
    print(summary(metrics))


def add_command(commands: argparse._SubParsersAction) -> None:
    """experiments compare."""
    parser = commands.add_parser(
        "compare",
        help="how far a run's clips are from its training music",
        description="Compares a run's clips with noise, an untrained network and real music, by the Frechet distance.",
    )
    parser.add_argument("--run", type=Path, required=True, help="folder of a trained run with samples")
    add_listening_options(parser)
    add_json_option(parser)
    add_threads_option(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> None:
    with threads(args.threads):
        print_summary(compare(args.run, load_inverter(args.inverter), load_embedding(args.embedding)), args.json)
    print(f"Listen to {args.run}/samples/*.wav; look at {args.run}/comparison.png and {args.run}/loss.png.")
