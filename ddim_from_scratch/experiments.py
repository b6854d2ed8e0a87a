"""Experiments on trained runs.

    python -m ddim_from_scratch.experiments compare --run runs/mine
    python -m ddim_from_scratch.experiments ceiling --data recordings/ --run runs/mine

`compare` says how far a run's samples are from its training music, on a scale that has both ends: noise and
an untrained network on one, real music on the other. `ceiling` says how much of that distance is the
inverter's: what real music loses when it becomes a log-mel spectrogram and sound again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .audio import AudioError, find_audio, load_audio, log_mel
from .audio.inverter import Inverter, add_inverter_option, load_inverter
from .audio.mel import HOP_LENGTH
from .backend import threads
from .checkpoint import load_checkpoint, read_log
from .config import FRAMES_PER_SECOND, N_MELS, Parser, UserError, at_least, replacing, run_command
from .data import Scaler, Windows, load_windows
from .fad import frechet_distance, gaussian, log_mel_statistics
from .model import init_state, sample_log_mels
from .pictures import save_log_mels

EMBEDDING = "mean, standard deviation and frame-to-frame change of each log-mel bin"
PICTURED = 4
UNTRAINED_STEPS = 5  # a fresh network's output layer is zero, so few steps give what many would


def through_sound(invert: Inverter, log_mels: np.ndarray, label: str) -> np.ndarray:
    """The log-mels of the sound that an inverter makes of log-mels: (n, frames, 128) to the same."""
    return np.stack([log_mel(samples) for samples in invert(log_mels, label)])


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


def compare(run: Path, invert: Inverter) -> dict:
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
        "noise": through_sound(invert, noise, "noise"),
        "untrained": through_sound(invert, untrained, "untrained"),
        "generated": samples,
        "inverted": through_sound(invert, other_half, "training clips"),
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
    "inverted": "other training clips, through the inverter as the new music is",
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


def ceiling(
    recordings: Sequence[np.ndarray],
    generated: Sequence[np.ndarray],
    invert: Inverter,
    embed: Callable[[Sequence[np.ndarray]], np.ndarray],
) -> dict:
    """What an inverter makes of real log-mels: the best that any model which is heard through it can reach.

    recordings, generated: clips of one length, a multiple of 320 samples, float32 (samples,), 16 kHz. There may
        be none generated.
    embed: clips to embeddings (n, D).

    "distance" is the Frechet distance from one half of the recordings to: "inverted", these very recordings
    after the inverter; "real", the other half as it is; "ceiling", the other half after the inverter, which is
    what a perfect model's new music would be; "generated". All sets have "clips_per_set" clips, since the
    distance depends on it. "log_mel_error" is the mean |log_mel(inverted) - log_mel(recording)|.
    Raises UserError if a set would have fewer than 2 clips.
    """
    n = min(len(recordings) // 2, len(generated) or len(recordings))
    if n < 2:
        raise UserError(
            f"{len(recordings)} clips of recordings and {len(generated)} generated: 4 and, beside a run, 2 are needed: "
            "add recordings, or sample more or shorter clips"
        )
    one_half, other_half = recordings[:n], recordings[n : 2 * n]
    log_mels = np.stack([log_mel(clip) for clip in recordings[: 2 * n]])
    sound = invert(log_mels, "real music")
    sets = {"inverted": sound[:n], "real": other_half, "ceiling": sound[n:]}
    if len(generated):
        sets["generated"] = generated[:n]
    background = gaussian(embed(one_half))
    return {
        "distance": {name: frechet_distance(*background, *gaussian(embed(clips))) for name, clips in sets.items()},
        "log_mel_error": float(np.mean([np.abs(log_mel(x) - m).mean() for x, m in zip(sound, log_mels, strict=True)])),
        "clips_per_set": n,
    }


def embed_by_log_mels(clips: Sequence[np.ndarray]) -> np.ndarray:
    """`log_mel_statistics` of clips of one length."""
    return log_mel_statistics(np.stack([log_mel(clip) for clip in clips]))


def read_sets(data: Path, run: Path | None, count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """At most `count` clips of the recordings in `data`, in random order, and a run's samples, all of one length.

    The samples' length, or the paper's 5.12 s without a run. Recordings that cannot be read are skipped with a
    warning on stderr.
    """
    generated = [load_audio(path) for path in find_audio(run / "samples")] if run else []
    n = min(map(len, generated), default=256 * HOP_LENGTH) // HOP_LENGTH * HOP_LENGTH
    clips = []
    for path in tqdm(find_audio(data), desc="reading tracks", unit="track"):
        try:
            track = load_audio(path)
        except AudioError as error:
            print(f"warning: skipped: {error}", file=sys.stderr)
            continue
        clips += [track[i : i + n] for i in range(0, len(track) - n + 1, n)]
    chosen = np.random.default_rng(0).permutation(len(clips))[:count]
    return [clips[i] for i in chosen], [clip[:n] for clip in generated]


CEILING_MEANING = {
    "inverted": "the same recordings, inverted: the inverter's own damage",
    "real": "other recordings, as they are",
    "ceiling": "other recordings, inverted: what a perfect model would reach",
    "generated": "the run's samples",
}


def report_ceiling(results: dict) -> str:
    """The numbers of `ceiling` in words."""
    lines = [f"Frechet distance from {results['clips_per_set']} clips of recordings, lower is nearer ({EMBEDDING}):"]
    lines += [f"  {value:12.2f}  {name:12s} {CEILING_MEANING[name]}" for name, value in results["distance"].items()]
    lines.append(f"Mean log-mel error of the inverted recordings: {results['log_mel_error']:.4f} (0.1 is 0.9 dB).")
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
    bound = commands.add_parser(
        "ceiling",
        help="what real music loses in the inverter",
        description="Inverts real log-mels and measures how far they are from the recordings, beside a run's samples.",
    )
    bound.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="folder of recordings")
    bound.add_argument("--run", type=Path, help="folder with a trained run and its samples, to measure beside")
    bound.add_argument("--clips", type=at_least(4), default=100, help="clips to use, half a set (default: 100)")
    for either in (command, bound):
        add_inverter_option(either)
        either.add_argument("--threads", type=at_least(1), metavar="N", help="CPU threads (default: every core)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    invert = load_inverter(args.inverter)
    with threads(args.threads):
        if args.command == "compare":
            print(report(args.run, compare(args.run, invert)))
        else:
            print(report_ceiling(ceiling(*read_sets(args.data, args.run, args.clips), invert, embed_by_log_mels)))


if __name__ == "__main__":
    run_command(main)
