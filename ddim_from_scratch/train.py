"""Train a system: the paper's on a folder of recordings, unless --system says otherwise.

    python -m ddim_from_scratch.train --data recordings/ --run runs/mine

What the run folder gets is in training/loop.py, and loss.png besides. --resume continues from the checkpoint and comes
to the same weights, bit for bit, as a run that never stopped. Ctrl-C, SIGTERM and SIGHUP save first.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .experiments.pictures import save_losses
from .nn.fast import computing
from .runtime import mpi
from .runtime.cli import Parser, add_hardware_options, flag, run_command
from .runtime.errors import UserError
from .systems import add_run_options, chosen_system
from .training import loop
from .training.checkpoint import holds_run, read_log
from .training.guards import locked


@mpi.together()
def main(argv: list[str] | None = None) -> None:
    system = chosen_system(argv)
    args = parse(argv, system)
    options = system.Config.given(args)
    config = None if args.resume else system.Config(**options)
    if args.resume and not holds_run(args.run):
        raise UserError(
            f"{args.run} holds no checkpoint: check the path, or leave out --resume; a training that was killed in its "
            "first epoch begins again"
        )
    with computing(args) as device, locked(args.run) if mpi.rank() == 0 else nullcontext():
        mpi.gather(0)  # nobody reads before rank 0 has the folder
        saved = system.read_run(args.run) if args.resume else None
        if saved:
            config = resumed(saved.config, options, args.run)
        elif holds_run(args.run):
            raise UserError(f"{args.run} holds a trained run: add --resume to continue it, or choose another --run")
        train(system.training(config, saved, device), args.run, saved)


def train(
    system: loop.System,
    run: Path,
    saved: Any = None,
    report: Callable[[int, float], None] | None = None,
    again: str | None = None,
) -> None:
    """Train as `loop.train` does, and draw loss.png: every step's loss as a dot, the mean of the last 50 as a line."""
    loop.train(system, run, saved, report, again)
    if mpi.rank() == 0:
        rows = np.array(read_log(run / "log.csv", 4))
        save_losses(
            run / "loss.png",
            rows[:, 0],
            {"noise loss": rows[:, 2], "reconstruction loss": rows[:, 3]},
            system.loss_of_nothing,
        )


def parse(argv: list[str] | None, system: ModuleType) -> argparse.Namespace:
    parser = Parser(
        prog="python -m ddim_from_scratch.train",
        description="Train the denoiser on a folder of recordings: WAV, FLAC, OGG or MP3, nested as you like. "
        "Sample from the run with python -m ddim_from_scratch.sample --run RUN.",
        epilog="example: python -m ddim_from_scratch.train --data recordings/ --run runs/mine --epochs 50. "
        "A network that has learnt nothing has a loss of 1.0 on the default schedule, with --prediction v of 0.4, with "
        "x0 of 1.4; music becomes recognisable well below 0.2.",
    )
    add_run_options(parser, "folder for the run's files")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the run; only --data, --fad-every and, with a constant learning rate, --epochs may differ",
    )
    system.Config.add_options(parser)
    add_hardware_options(parser)
    return parser.parse_args(argv)


def resumed(saved: Any, options: dict[str, Any], run: Path) -> Any:
    """The configuration of a resumed run. Raises UserError if an option would change what it computes."""
    for name, value in options.items():
        if name not in saved.free and value != getattr(saved, name):
            raise UserError(
                f"{flag(name)} is {value}, but {run} was begun with {getattr(saved, name)}: "
                "leave it out, or begin a new run"
            )
    return dataclasses.replace(saved, **options)


if __name__ == "__main__":
    run_command(main, "--resume continues the run from its last checkpoint, if it has one")
