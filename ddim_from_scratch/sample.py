"""Make new music with a trained run.

    python -m ddim_from_scratch.sample --run runs/mine --num 4 --steps 50

Noise is turned into log-mel spectrograms by DDIM, or another sampler, with the averaged weights, and those into
sound by an inverter: see audio/inverter.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from . import tree
from .audio import write_wav
from .audio.inverter import add_inverter_option, load_inverter
from .backend import require_gpu, threads, to_device
from .checkpoint import load_checkpoint
from .config import FRAMES_PER_SECOND, Parser, UserError, add_hardware_options, at_least, run_command
from .data import Scaler
from .model import SAMPLERS, SPACINGS, T, sample_log_mels
from .pictures import save_log_mels

PICTURED = 8


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m ddim_from_scratch.sample",
        description="Make new music with a trained run: a WAV file (16 kHz) a clip, and a picture of them all.",
        epilog="example: python -m ddim_from_scratch.sample --run runs/mine --num 4 --steps 100",
    )
    parser.add_argument("--run", type=Path, required=True, help="folder that the training wrote")
    parser.add_argument("--best", action="store_true", help="use the checkpoint that train --fad-every found best")
    parser.add_argument("--num", type=at_least(1), default=4, help="how many clips (default: 4)")
    parser.add_argument(
        "--sampler",
        choices=SAMPLERS,
        default="ddim",
        help="ddpm adds fresh noise at every step and wants many; dpm++2m and heun make do with few, though a step of "
        "heun runs the network twice (default: ddim)",
    )
    parser.add_argument("--steps", type=at_least(1), default=50, help=f"1 to {T}; more is finer (default: 50)")
    parser.add_argument(
        "--spacing",
        choices=SPACINGS,
        default="uniform",
        help="of the steps: equal in time, small near the data, or equal in log-SNR (default: uniform)",
    )
    parser.add_argument("--eta", type=float, help="of ddim: fresh noise a step, from 0 to DDPM's at 1 (default: 0)")
    parser.add_argument("--seconds", type=float, help="length of a clip (default: the training windows')")
    parser.add_argument("--out", type=Path, help="folder for the files (default: RUN/samples)")
    parser.add_argument("--seed", type=at_least(0), default=0, help="of the noise (default: 0)")
    add_inverter_option(parser)
    add_hardware_options(parser)
    args = parser.parse_args(argv)
    if args.steps > T:
        raise UserError(f"--steps is {args.steps}: the schedule has {T} times, give that or fewer")
    if args.eta is not None and args.sampler != "ddim":
        raise UserError(f"--eta is {args.eta}, but --sampler {args.sampler} has none: leave it out")
    args.eta = args.eta or 0.0
    if not 0 <= args.eta <= 1:
        raise UserError(f"--eta is {args.eta}: give a number from 0 (DDIM) to 1 (DDPM)")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    device = "gpu" if args.gpu else "cpu"
    if args.gpu:
        require_gpu()
    checkpoint = load_checkpoint(args.run, args.best)
    config, scaler = checkpoint["config"], Scaler(**checkpoint["scaler"])
    frames = config.frames("--seconds", config.window_seconds if args.seconds is None else args.seconds)
    invert = load_inverter(args.inverter, device)
    out = args.out or args.run / "samples"
    out.mkdir(parents=True, exist_ok=True)
    with threads(1 if args.gpu else args.threads):  # a GPU has its own
        network = tree.map(lambda leaf: to_device(leaf, device), checkpoint["state"]["average"])
        rng = np.random.default_rng(args.seed)
        how = {"sampler": args.sampler, "spacing": args.spacing, "eta": args.eta}
        log_mels = sample_log_mels(network, scaler, config, args.num, frames, args.steps, rng, device, **how)
        for i, samples in enumerate(invert(log_mels)):
            write_wav(out / f"sample_{i:03d}.wav", samples)
    save_log_mels(out / "samples.png", {"generated": log_mels[:PICTURED]})
    length = f"{frames / FRAMES_PER_SECOND:g} s"
    print(f"{args.num} clips of {length} in {out}/sample_*.wav, their picture in {out}/samples.png")


if __name__ == "__main__":
    run_command(main)
