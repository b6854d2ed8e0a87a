"""Make new music with a trained run.

    python -m ddim_from_scratch.sample --run runs/mine --num 4 --seconds 5.12
    python -m ddim_from_scratch.sample continue song.wav --run runs/mine --seconds 20

The subcommands are its system's modes (spectrogram/modes.py); without one it draws. Each call writes a set of clips
(runtime/sets.py): a WAV file per clip, a picture of the first ones, and set.json, which says how they were made. Under
mpirun the clips are shared out among the processes, and come out the same.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

from .audio.contract import FRAMES_PER_SECOND
from .audio.inverter import add_inverter_option, load_inverter
from .experiments.pictures import save_log_mels
from .nn.fast import computing
from .runtime import mpi
from .runtime.backend import CLIPS_AT_ONCE
from .runtime.cli import Parser, Subcommand, add_hardware_options, at_least, counted, run_command
from .runtime.errors import UserError, printable
from .runtime.sets import new_set
from .systems import add_run_options, chosen_system

PICTURED = 8
DRAW = "draw"


@mpi.together()
def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    system = chosen_system(argv)
    args = parse(argv, system)
    mode, run, leads = system.MODES[args.mode], args.run or system.OWN_RUN, mpi.rank() == 0  # the leader writes files
    with computing(args) as device:
        saved = system.read_run(run, args.best)
        drawing = mode.compose(args, system.composer(args, saved.model(device)))
        invert = load_inverter(args.inverter, device)
        folder = args.out or (args.run or Path()) / mode.folder
        described = about(args, run, saved, argv) | {"inverter": invert.name}
        with new_set(folder, described, numbered=not args.out) if leads else nullcontext(folder) as out:
            log_mels = drawing.draw()
            for start in range(0, len(log_mels), CLIPS_AT_ONCE):  # sound takes 40 times the memory of its log-mels
                for i, samples in enumerate(invert(log_mels[start : start + CLIPS_AT_ONCE, drawing.heard]), start):
                    if leads:
                        drawing.write(out / f"sample_{i:03d}.wav", samples)
            if leads:
                save_log_mels(out / "samples.png", {"generated": log_mels[:PICTURED]}, drawing.seams, drawing.notes)
    if leads:
        n, seconds = counted(len(log_mels), "clip"), drawing.seconds or log_mels.shape[1] / FRAMES_PER_SECOND
        print(f"{n} of {seconds:g} s in {printable(out)}/sample_*.wav, their picture in samples.png there")


def about(args: argparse.Namespace, run: Path, saved: Any, argv: list[str]) -> dict[str, Any]:
    """The content of a set's set.json: which network drew it, and how."""
    options = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    return saved.origin(run) | {
        "mode": args.mode,
        "seed": args.seed,
        "options": options,
        "command": shlex.join(["python", "-m", "ddim_from_scratch.sample", *argv]),
    }


def parse(argv: list[str], system: ModuleType) -> argparse.Namespace:
    parser = Parser(
        prog="python -m ddim_from_scratch.sample",
        description="Make new music with a trained run: a WAV file per clip, and a picture of them.",
        epilog=f"python -m ddim_from_scratch.sample {DRAW} --help lists the options of a mode. "
        "example: python -m ddim_from_scratch.sample --run runs/mine --num 4 --steps 100",
    )
    modes = parser.add_subparsers(dest="mode", metavar="MODE", parser_class=Subcommand)
    for name, mode in system.MODES.items():
        default = " (default)" if name == DRAW else ""
        command = modes.add_parser(name, help=mode.summary + default, description=mode.summary.capitalize() + ".")
        for option, settings in mode.options.items():
            command.add_argument(option, **settings)
        own = " (default: the one that comes with the package)" if system.OWN_RUN else ""
        add_run_options(command, "folder that the training wrote" + own, required=not own)
        command.add_argument("--best", action="store_true", help="use the checkpoint that train --fad-every found best")
        command.add_argument("--num", type=at_least(1), default=mode.num, help=f"number of clips (default: {mode.num})")
        command.add_argument("--seed", type=at_least(0), default=0, help="random seed (default: 0)")
        command.add_argument(
            "--out",
            type=Path,
            help=f"new folder (default: {mode.folder}, {mode.folder}-2, ... in RUN, or here without one)",
        )
        add_inverter_option(command)
        add_hardware_options(command)
    if former := [name for name in system.MODES if f"--{name}" in argv]:
        raise UserError(f"--{former[0]} has become a mode: python -m ddim_from_scratch.sample {former[0]} --help")
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv = [DRAW, *argv]
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_command(main, "the same command with another --out, or without it, draws a new set")
