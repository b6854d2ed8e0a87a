"""Experiments on trained runs.

    python -m ddim_from_scratch.experiments compare --run runs/mine

`compare` says how far a run's samples are from its training music, on a scale that has both ends: noise and
an untrained network on one, real music on the other.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .audio import find_audio, griffin_lim, load_audio, log_mel
from .backend import parallel, threads
from .config import FRAMES_PER_SECOND, N_MELS, Parser, UserError, at_least, replacing, run_command
from .data import Scaler, Windows, load_windows
from .fad import frechet_distance, gaussian, log_mel_statistics
from .pictures import save_log_mels
from .sample import sample_log_mels
from .train import init_state, load_checkpoint, read_log

EMBEDDING = "mean, standard deviation and frame-to-frame change of each log-mel bin"
PICTURED = 4
UNTRAINED_STEPS = 5  # a fresh network's output layer is zero, so few steps give what many would


def through_sound(log_mels: np.ndarray, label: str) -> np.ndarray:
    """The log-mels of the sound that Griffin-Lim makes of log-mels: (n, frames, 128) to the same."""
    with tqdm(total=len(log_mels), desc=f"inverting {label}", unit="clip") as bar:

        def clip(one: np.ndarray) -> np.ndarray:
            bar.update()
            return log_mel(griffin_lim(one))

        return np.stack(parallel(clip, log_mels))


def apart(windows: Windows) -> np.ndarray:
    """Indices of windows that do not overlap, so that two sets of them share no sound."""
    chosen, last = [], (-1, 0)
    for i, (track, start) in enumerate(windows.starts):
        if track != last[0] or start >= last[1]:
            chosen.append(i)
            last = track, start + windows.frames
    return np.array(chosen)


def distances(reference: np.ndarray, sets: dict[str, np.ndarray]) -> dict[str, float]:
    """The Frechet distance of each set of log-mels (n, frames, 128) from the reference."""
    background = gaussian(log_mel_statistics(reference))
    return {name: frechet_distance(*background, *gaussian(log_mel_statistics(clips))) for name, clips in sets.items()}


def compare(run: Path) -> dict:
    """Distances of noise, an untrained network, the run's samples and real music from the training music.

    All sets have the same number of clips, since the distance depends on it. Writes metrics.json and
    comparison.png into the run's folder and returns what metrics.json holds.
    """
    checkpoint = load_checkpoint(run)
    config, scaler = checkpoint["config"], Scaler(**checkpoint["scaler"])
    rng = np.random.default_rng(config.seed)
    files = find_audio(run / "samples") if (run / "samples").is_dir() else []
    samples = [log_mel(load_audio(file)) for file in files]
    if len({len(sample) for sample in samples}) != 1:
        raise UserError(f"{run / 'samples'} must hold clips of one length: ddim_from_scratch.sample makes them")
    # Windows as long as the samples, whatever length the network was trained on.
    windows = load_windows(dataclasses.replace(config, window_seconds=len(samples[0]) / FRAMES_PER_SECOND))
    chosen = rng.permutation(apart(windows))
    n = min(len(files), len(chosen) // 2)
    if n < 2:
        raise UserError(
            f"{run / 'samples'} has {len(files)} clips and {config.data} {len(chosen)} windows apart: 2 clips and "
            "4 windows are needed (python -m ddim_from_scratch.sample --num 16)"
        )
    samples = np.stack(samples[:n])
    one_half, other_half = windows.take(chosen[:n]), windows.take(chosen[n : 2 * n])
    noise = scaler.restore(rng.standard_normal((n, windows.frames, N_MELS), dtype=np.float32))
    fresh = init_state(config, rng)["average"]
    untrained = sample_log_mels(fresh, scaler, config, n, windows.frames, UNTRAINED_STEPS, rng)
    sets = {
        "noise": through_sound(noise, "noise"),
        "untrained": through_sound(untrained, "untrained"),
        "generated": samples,
        "griffin_lim": through_sound(other_half, "training clips"),
        "real": other_half,
    }
    rows = np.array(read_log(run / "log.csv"))
    metrics = {
        "distance": distances(one_half, sets),
        "embedding": EMBEDDING,
        "clips_per_set": n,
        "noise_loss": {"first 50 steps": rows[:50, 2].mean(), "last 50 steps": rows[-50:, 2].mean()},
        "training_seconds": rows[:, 4].sum(),
        "steps": len(rows),
    }
    with replacing(run / "metrics.json") as file:
        file.write(json.dumps(metrics, indent=2).encode())
    save_log_mels(run / "comparison.png", {"training": one_half[:PICTURED], "generated": samples[:PICTURED]})
    return metrics


MEANING = {
    "noise": "standardised noise, made audible",
    "untrained": "what the network drew before training",
    "generated": "the new music",
    "griffin_lim": "other training clips, through Griffin-Lim as the new music is",
    "real": "the same clips as they are: how far two halves of the music lie apart",
}


def report(run: Path, metrics: dict) -> str:
    """The numbers of `compare` in words."""
    lines = [f"Frechet distance from {metrics['clips_per_set']} training clips, lower is nearer ({EMBEDDING}):"]
    lines += [f"  {value:12.1f}  {name:12s} {MEANING[name]}" for name, value in metrics["distance"].items()]
    lines.append("So few clips of real music are not at 0 either: read the others against that.")
    before, after = metrics["noise_loss"].values()
    lines.append(f"Noise loss {before:.3f} at first, {after:.3f} at last; 1.0 is a network that has learnt nothing.")
    lines.append(f"Listen to {run}/samples/*.wav; look at {run}/comparison.png and {run}/loss.png.")
    return "\n".join(lines)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m ddim_from_scratch.experiments", description="Experiments on trained runs.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    command = commands.add_parser(
        "compare",
        help="how far a run's samples are from its training music",
        description="Measures a run's samples against noise, an untrained network, and real music.",
    )
    command.add_argument("--run", type=Path, required=True, help="folder with a trained run and its samples")
    command.add_argument("--threads", type=at_least(1), metavar="N", help="CPU threads (default: every core)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    with threads(args.threads):
        print(report(args.run, compare(args.run)))


if __name__ == "__main__":
    run_command(main)
