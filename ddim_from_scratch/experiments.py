"""Experiments on trained runs and on inverters.

    python -m ddim_from_scratch.experiments compare --run runs/mine
    python -m ddim_from_scratch.experiments ceiling --data recordings/
    python -m ddim_from_scratch.experiments steps --run runs/mine
    python -m ddim_from_scratch.experiments film --run runs/mine
    python -m ddim_from_scratch.experiments table --out tables/paper
    python -m ddim_from_scratch.experiments ablation --data recordings/ --out ablations/mine

`compare` says how far a run's samples are from its training music, on a scale that has both ends: noise and
an untrained network on one, real music on the other. `ceiling` says how much of that distance is the
inverter's: what real music loses when it becomes a log-mel spectrogram and sound again. `steps` says how few
steps each sampler can do with. `film` shows the way from noise to music. `table` is the paper's. `ablation` changes
one thing of a recipe at a time.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import ablation, steps, table
from .audio import find_audio, load_audio, log_mel
from .audio.inverter import Inverter, add_inverter_option, load_inverter
from .audio.mel import HOP_LENGTH
from .backend import parallel, threads
from .checkpoint import load_checkpoint, read_log
from .config import FRAMES_PER_SECOND, N_MELS, Config, Parser, UserError, at_least, run_command, write_json
from .data import Scaler, load_windows
from .diffusion import ddim, uniform_tau
from .fad import Embedding, Set, embed_clips, load_embedding
from .fad.embeddings import NAMES
from .fad.reliability import distance, interval
from .model import SPACINGS, T, alpha_bar_table, init_state, network_eps_model, sample_log_mels
from .pictures import save_film, save_log_mels

PICTURED = 4
UNTRAINED_STEPS = 5  # a fresh network's output layer is zero, so few steps give what many would

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
    checkpoint = load_checkpoint(run)
    config, scaler = checkpoint["config"], Scaler(**checkpoint["scaler"])
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
    noise = scaler.restore(rng.standard_normal((n, windows.frames, N_MELS), dtype=np.float32))
    fresh = init_state(config, rng)["average"]
    untrained = sample_log_mels(fresh, scaler, config, n, windows.frames, UNTRAINED_STEPS, rng)
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


def ceiling(data: str, seconds: float, clips: int, invert: Inverter, embedding: Embedding) -> dict:
    """What an inverter makes of real log-mels: the best that any model which is heard through it can reach.

    clips: in each of two sets of windows of `seconds`, at most. Returns what `score` does, and "log_mel_error".
    """
    no_network = (1, 1)  # any even number of frames will do
    windows = load_windows(Config(data=data, window_seconds=seconds, window_hop_seconds=seconds, widths=no_network))
    chosen = np.random.default_rng(0).permutation(len(windows))
    n = min(clips, len(chosen) // 2)
    if n < 2:
        raise UserError(
            f"{data} has {len(chosen)} clips of {seconds:g} s, 4 are needed: add recordings, or lower --seconds"
        )
    one_half, other_half = chosen[:n], chosen[n : 2 * n]
    log_mels = windows.take(chosen[: 2 * n])
    sound = invert(log_mels, "real music")
    sets = {"ceiling": sound[n:], "real": windows.sound(other_half), "inverted": sound[:n]}
    return score(embedding, windows.sound(one_half), sets) | {"log_mel_error": log_mel_error(sound, log_mels)}


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


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m ddim_from_scratch.experiments", description="Experiments on runs and inverters.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    table.add_command(commands)
    ablation.add_command(commands)
    command = commands.add_parser(
        "compare",
        help="how far a run's samples are from its training music",
        description="Measures a run's samples against noise, an untrained network, and real music.",
    )
    command.add_argument("--run", type=Path, required=True, help="folder with a trained run and its samples")
    bound = commands.add_parser(
        "ceiling",
        help="what real music loses in the inverter",
        description="Inverts real log-mels and measures how far they are from the recordings.",
    )
    bound.add_argument("--data", required=True, metavar="FOLDER", help="folder of recordings")
    bound.add_argument("--seconds", type=float, default=5.12, help="length of a clip (default: 5.12, the paper's)")
    bound.add_argument("--clips", type=at_least(2), default=50, help="clips in each set, at most (default: 50)")
    fewer = commands.add_parser(
        "steps",
        help="how few steps each sampler can do with",
        description="Draws the same clips with every sampler in few and many steps, and measures how far they are from "
        f"DDIM's in {T} steps, and from the training music. RUN/steps.json keeps every result as soon as it is there: "
        "the same command goes on after a stop. RUN/steps.png is its picture.",
    )
    fewer.add_argument("--run", type=Path, required=True, help="folder with a trained run")
    fewer.add_argument("--clips", type=at_least(2), default=16, help="clips to draw each time (default: 16)")
    fewer.add_argument(
        "--seconds", type=float, help="length of a clip (default: a training window, or what the embedding needs)"
    )
    fewer.add_argument(
        "--evaluations",
        type=at_least(1),
        nargs="+",
        default=list(steps.EVALUATIONS),
        metavar="N",
        help=f"of the network, for each clip, up to {T} (default: {' '.join(map(str, steps.EVALUATIONS))})",
    )
    fewer.add_argument(
        "--spacing",
        choices=SPACINGS,
        default="log-snr",
        help="of the steps, as in sample; uniform ones end with a leap from a noisy time, whatever the sampler "
        "(default: log-snr)",
    )
    moving = commands.add_parser(
        "film", help="the way from noise to music", description="Writes RUN/film.webp: a clip on its way from noise."
    )
    moving.add_argument("--run", type=Path, required=True, help="folder with a trained run")
    moving.add_argument("--seconds", type=float, help="length of the clip (default: the training windows')")
    moving.add_argument("--steps", type=at_least(1), default=60, help="of DDIM, a frame each (default: 60)")
    moving.add_argument("--threads", type=at_least(1), metavar="N", help="CPU threads (default: every core)")
    for each in (command, bound, fewer):
        add_inverter_option(each)
        each.add_argument("--embedding", choices=NAMES, help="default: vggish where it is at hand, else musicnn")
        each.add_argument("--threads", type=at_least(1), metavar="N", help="CPU threads (default: every core)")
    args = parser.parse_args(argv)
    if args.command == "steps" and max(args.evaluations) > T:
        raise UserError(f"--evaluations has {max(args.evaluations)}: the schedule has {T} times, give that or fewer")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    if args.command in ("table", "ablation"):
        return {"table": table, "ablation": ablation}[args.command].main(args)
    with threads(args.threads):
        if args.command == "film":
            film(args.run, args.seconds, args.steps)
            print(f"Look at {args.run}/film.webp.")
            return
        invert, embedding = load_inverter(args.inverter), load_embedding(args.embedding)
        if args.command == "compare":
            print(report(compare(args.run, invert, embedding)))
            print(f"Listen to {args.run}/samples/*.wav; look at {args.run}/comparison.png and {args.run}/loss.png.")
        elif args.command == "steps":
            how = args.clips, args.seconds, args.evaluations, args.spacing
            print(steps.report(steps.measure(args.run, *how, invert, embedding)))
            print(f"Look at {args.run}/steps.png; the numbers are in {args.run}/steps.json.")
        else:
            print(report(ceiling(args.data, args.seconds, args.clips, invert, embedding)))


if __name__ == "__main__":
    run_command(main)
