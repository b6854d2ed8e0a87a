"""The systems that `train` and `sample` know, by name.

A system is a folder of this package. To add one, write its folder, and its name into SYSTEMS. Its system.py has
    Config                      its options: see training/options.py
    training(config, saved, device)   what `training.loop` trains
    read_run(run, best)         a run's checkpoint: config, state, step
    Run(model, inverter)        a trained run in Python
    MODES, composer             sample's subcommands, and what they draw with
    OWN_RUN                     the run that comes with the package, or None
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from .runtime.backend import chosen_device
from .runtime.cli import Parser
from .runtime.errors import UserError
from .training.checkpoint import FIRST_SYSTEM, holds_run, system_of
from .training.guards import locked

SYSTEMS = ("spectrogram", "notes")
DEFAULT = FIRST_SYSTEM


def load_system(name: str) -> ModuleType:
    """Raises UserError for a name that is not in SYSTEMS."""
    if name not in SYSTEMS:
        raise UserError(f"--system {name}: choose from {', '.join(SYSTEMS)}")
    return import_module(f".{name}.system", __package__)


def chosen_system(argv: list[str] | None) -> ModuleType:
    """The system that --system names, or that the run was trained with. It decides which options there are."""
    parser = Parser(add_help=False)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--system")
    parser.add_argument("--notes")
    args, _ = parser.parse_known_args(argv)
    trained = system_of(args.run) if args.run else None
    if args.system and trained and args.system != trained:
        raise UserError(f"--system is {args.system}, but {args.run} was trained with {trained}: leave it out")
    if args.notes and (args.system or trained) == DEFAULT:
        raise UserError(f"--notes is for runs of notes, and {args.run or '--system'} is of {DEFAULT}: leave one out")
    return load_system(args.system or trained or ("notes" if args.notes else DEFAULT))


def add_run_options(parser: Parser, run: str, required: bool = True) -> None:
    """Adds --run, with this help text, and --system."""
    parser.add_argument("--run", type=Path, required=required, help=run)
    about = "the paper's system, or one that plays notes, whose other options --system notes --help lists "
    parser.add_argument("--system", choices=SYSTEMS, help=f"{about}(default: the run's; for a new run {DEFAULT})")


def load_run(run: Path) -> Any:
    """The last checkpoint of a run of any system: see `read_run` above."""
    return load_system(system_of(run) or DEFAULT).read_run(run)


def open_run(run: str | Path, best: bool = False, gpu: bool = False, inverter: str | None = None) -> Any:
    """Opens a trained run of any system: run.sample(num, seconds, seed) gives sound. See spectrogram/compose.py.

    A run of notes has run.sample(notes, num, seed): see notes/compose.py.
    best: the best checkpoint (train's fad_every). inverter: as `audio.load_inverter` names it.
    Raises UserError if there is no checkpoint, or it is damaged.
    """
    system = load_system(system_of(Path(run)) or DEFAULT)
    return system.Run(system.read_run(Path(run), best).model(chosen_device(gpu)), inverter)


def train_run(run: str | Path, system: str = DEFAULT, gpu: bool = False, **options: Any) -> Any:
    """Train a new run with options of the `train` command, those that its config.json holds, and open it.

    Raises UserError for an option that there is not, or whose value is wrong, and if the folder holds a run.
    """
    from .train import train

    run, module = Path(run), load_system(system)
    config = module.Config(**module.Config.named(options))
    with locked(run):
        if holds_run(run):
            raise UserError(f"{run} holds a trained run: choose another folder")
        train(module.training(config, device=chosen_device(gpu)), run)
    return open_run(run, gpu=gpu)
