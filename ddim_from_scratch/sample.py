"""Make new music with a trained run.

    python -m ddim_from_scratch.sample --run runs/mine --num 4 --steps 50
    python -m ddim_from_scratch.sample --run runs/mine --seconds 60
    python -m ddim_from_scratch.sample --run runs/mine --continue song.wav --seconds 20

Under mpirun the clips are shared out among the processes, and come out the same; the first one writes the files.
Noise is turned into log-mel spectrograms by DDIM, or another sampler, with the averaged weights, and those into
sound by an inverter: see audio/inverter.py. What needs more than noise to begin with is in compose.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from .audio import write_wav
from .audio.inverter import add_inverter_option, load_inverter
from .audio.mel import FRAMES_PER_SECOND, N_MELS
from .experiments.pictures import save_log_mels
from .nn.fast import use_plain
from .runtime import mpi, tree
from .runtime.backend import chosen_device, threads
from .runtime.cli import Parser, add_hardware_options, at_least, run_command
from .runtime.errors import UserError
from .runtime.memory import require_memory
from .spectrogram.compose import Composer, frames_at_once, read_log_mel, seconds
from .spectrogram.config import Config, whole_frames
from .spectrogram.data import Scaler
from .spectrogram.model import CLIPS_AT_ONCE, SAMPLERS, SPACINGS, T
from .training.checkpoint import load_checkpoint

PICTURED = 8
RESAMPLINGS = 2
FOLDERS = {"continue": "continued", "infill": "infilled", "vary": "varied", "between": "between"}  # else samples
ONLY_WITH = {"gap": "infill", "strength": "vary"}


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
    parser.add_argument(
        "--seconds", type=float, help="length of a clip, or of what --continue adds to one (default: a training window)"
    )
    parser.add_argument(
        "--out", type=Path, help="folder for the files (default: samples, continued, infilled ... within RUN)"
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="of the noise (default: 0)")
    add_inverter_option(parser)
    group = parser.add_argument_group("to begin with a recording, one of")
    recordings = group.add_mutually_exclusive_group()
    recordings.add_argument("--continue", metavar="FILE", help="go on from its end, with --seconds of new music")
    recordings.add_argument("--infill", metavar="FILE", help="keep it, but compose a part anew: --gap says which")
    recordings.add_argument(
        "--vary", metavar="FILE", help="variations of its first --seconds: noise it in part, and draw from there"
    )
    recordings.add_argument(
        "--between", nargs=2, metavar=("A", "B"), help="clips on the way from the beginning of one to that of another"
    )
    group.add_argument(
        "--gap", type=float, nargs=2, metavar=("START", "STOP"), help="of --infill, in seconds of the recording"
    )
    group.add_argument(
        "--strength",
        type=float,
        metavar="S",
        help="of --vary: 0 leaves the clip, 1 hardly anything of it (default: 0.5)",
    )
    group = parser.add_argument_group(
        "how music goes on",
        "What is longer than the network draws at once (a training window; four, if it has neither attention nor "
        "context) grows piece by piece. Each piece begins with the end of the one before, which is kept.",
    )
    group.add_argument(
        "--overlap",
        type=float,
        metavar="SECONDS",
        help="how much of the piece before is kept (default: half a training window; 0 is for runs with --context)",
    )
    group.add_argument(
        "--resamplings",
        type=at_least(1),
        default=RESAMPLINGS,
        metavar="U",
        help="of each step, so that what is composed agrees with what is kept; takes U times as long "
        f"(default: {RESAMPLINGS})",
    )
    add_hardware_options(parser)
    args = parser.parse_args(argv)
    if args.steps > T:
        raise UserError(f"--steps is {args.steps}: the schedule has {T} times, give that or fewer")
    if args.eta is not None and args.sampler != "ddim":
        raise UserError(f"--eta is {args.eta}, but --sampler {args.sampler} has none: leave it out")
    args.eta = args.eta or 0.0
    if not 0 <= args.eta <= 1:
        raise UserError(f"--eta is {args.eta}: give a number from 0 (DDIM) to 1 (DDPM)")
    args.task = next((name for name in FOLDERS if getattr(args, name)), None)
    for option, task in ONLY_WITH.items():
        if getattr(args, option) is not None and args.task != task:
            raise UserError(f"--{option} is of --{task}: give both, or leave it out")
    if args.task == "infill" and not args.gap:
        raise UserError("--infill needs --gap START STOP: the part to compose anew, in seconds")
    if args.gap and not np.isfinite(args.gap).all():
        raise UserError(f"--gap is {args.gap[0]} {args.gap[1]}: give two numbers of seconds")
    if args.task == "infill" and args.seconds is not None:
        raise UserError("--seconds: --infill keeps the recording's length, leave it out")
    if args.task == "between" and (args.sampler, args.eta) != ("ddim", 0):
        raise UserError("--between goes through DDIM's inversion: leave out --sampler and --eta")
    args.strength = 0.5 if args.strength is None else args.strength
    if not 0 <= args.strength <= 1:
        raise UserError(f"--strength is {args.strength}: give a number from 0 (the clip itself) to 1")
    return args


def overlap_frames(config: Config, overlap: float | None) -> int:
    """--overlap in frames. Raises UserError if no music can go on from so much."""
    if overlap is None:
        return config.window_frames // 2
    at_once, least = frames_at_once(config), 0 if config.context else 1
    if not (np.isfinite(overlap) and least <= round(overlap * FRAMES_PER_SECOND) < at_once):
        raise UserError(
            f"--overlap is {overlap}: give {least / FRAMES_PER_SECOND:g} or more"
            f"{'' if config.context else ' (0 is for runs with --context)'}, and less than the {seconds(at_once)} "
            "that the network draws at once"
        )
    return round(overlap * FRAMES_PER_SECOND)


def task(args: argparse.Namespace, composer: Composer) -> tuple[Callable[[], np.ndarray], int]:
    """Builds the requested generation function, which returns log-mels (num, frames, 128). Returns it and `frames`."""
    config, num = composer.config, args.num
    length = config.window_seconds if args.seconds is None else args.seconds
    if args.task == "infill":
        start, stop = (round(second * FRAMES_PER_SECOND) for second in args.gap)
        recording = read_log_mel(args.infill)
        return partial(composer.fill, recording, start, stop, num), len(recording)
    if args.task == "continue":
        recording = read_log_mel(getattr(args, "continue"), composer.needed)
        prompt = recording[-max(composer.needed, config.window_frames) :]
        new = whole_frames("--seconds", length)
        return partial(composer.go_on, np.repeat(prompt[None], num, axis=0), new), len(prompt) + new
    if args.task is None and (frames := whole_frames("--seconds", length)) > frames_at_once(config):
        return partial(composer.draw, num, frames), frames
    frames = config.frames("--seconds", length)  # drawn in one piece, which the network has to halve
    if args.task == "vary":
        compose = partial(composer.vary, read_log_mel(args.vary, frames)[:frames], args.strength, num)
    elif args.task == "between":
        first, last = (read_log_mel(path, frames)[:frames] for path in args.between)
        compose = partial(composer.between, first, last, num)
    else:
        compose = partial(composer.draw, num, frames)
    return compose, frames


@mpi.together()
def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    device = chosen_device(args.gpu)
    use_plain(args.plain)
    checkpoint = load_checkpoint(args.run, args.best)
    config, scaler = checkpoint["config"], Scaler(**checkpoint["scaler"])
    network = tree.to_device(checkpoint["state"]["average"], device)
    rng, overlap = np.random.default_rng(args.seed), overlap_frames(config, args.overlap)
    how = args.steps, args.sampler, args.spacing, args.eta, args.resamplings, device
    compose, frames = task(args, Composer(network, scaler, config, rng, overlap, *how))
    require_memory(3 * 4 * N_MELS * args.num * frames, f"{args.num} clips", "--num or --seconds")
    invert = load_inverter(args.inverter, device)
    out = args.out or args.run / FOLDERS.get(args.task, "samples")
    leads = mpi.rank() == 0  # writes the files
    if leads:
        out.mkdir(parents=True, exist_ok=True)
    with threads(1 if args.gpu else args.threads):  # a GPU has its own
        log_mels = compose()
        for start in range(0, args.num, CLIPS_AT_ONCE):
            for i, samples in enumerate(invert(log_mels[start : start + CLIPS_AT_ONCE]), start):
                if leads:
                    write_wav(out / f"sample_{i:03d}.wav", samples)
    if not leads:
        return
    save_log_mels(out / "samples.png", {"generated": log_mels[:PICTURED]})
    print(f"{args.num} clips of {seconds(log_mels.shape[1])} in {out}/sample_*.wav, their picture in {out}/samples.png")
    if args.task == "continue":
        print(f"Each begins with the recording's end; the last {args.seconds or config.window_seconds:g} s are new.")


if __name__ == "__main__":
    run_command(main)
