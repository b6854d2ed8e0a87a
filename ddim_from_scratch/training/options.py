"""A system's options: a frozen dataclass, from which its command line and its JSON file are made.

A group of options is a dataclass that checks itself. A system's Config inherits the groups that it needs, and adds its
own; `Options` has what all share.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..diffusion import PREDICTIONS, SCHEDULES, Schedule
from ..runtime.cli import flag
from ..runtime.errors import UserError, naming, printable, why
from ..runtime.files import parse_json, read_json

if TYPE_CHECKING:
    from typing import Self  # which Python 3.10 does not have

LARGEST, MOST, LONGEST = 1e9, 2**63 - 1, 4096  # any option's float, whole number, characters
COUNT = 10**9  # most of whatever is counted
LEARNING_RATE_SCHEDULES = ("constant", "warmup-cosine")
EMA_SCHEDULES = ("constant", "warmup")


def option(default: Any, about: str, **settings: Any) -> Any:
    """A field of an `Options` class. settings: as argparse has them, and "type" where the default does not tell."""
    return field(default=default, metadata={"help": about, **settings})


@dataclass(frozen=True)
class Options:
    """Values that decide what a run computes. Raises UserError, naming option, value and remedy, for a wrong one.

    A subclass adds fields by `option`, and a method `check` for what their types do not say.
    """

    SYSTEM: ClassVar[str]  # whose options they are
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {}
    FORMER: ClassVar[dict[str, Any]] = {}  # values of options that an old file does not have

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            if expected := _unlike(f, getattr(self, f.name)):
                raise UserError(f"{flag(f.name)} is {shortened(getattr(self, f.name))}: give {expected}")
            if choices := f.metadata.get("choices"):
                self.require(f.name, getattr(self, f.name) in choices, f"choose from {', '.join(choices)}")
        for group in reversed(type(self).__mro__):
            if check := vars(group).get("check"):
                check(self)

    def require(self, name: str, holds: bool, remedy: str) -> None:
        """Raises UserError, naming the option, its value and the remedy, unless it holds."""
        if not holds:
            value = getattr(self, name)
            text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            raise UserError(f"{flag(name)} is {printable(text[:60])}: {remedy}")

    def require_counts(self, *names: str, least: int = 1) -> None:
        """Raises UserError for whole numbers below `least` or above a billion."""
        for name in names:
            self.require(name, getattr(self, name) >= least, f"give {least} or more")
            self.require(name, getattr(self, name) <= COUNT, "give a billion or less")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises UserError for anything that `to_json` could not have written."""
        try:
            values = parse_json(text)
        except ValueError as error:
            raise UserError(f"not a configuration of this version ({why(error)})") from None
        return cls(**cls.FORMER | cls.named(values))

    @classmethod
    def named(cls, values: Any) -> dict[str, Any]:
        """The options in a JSON object or a dict, whose values may be NumPy's numbers and arrays, lists and paths.

        Raises UserError for anything else, and for unknown names.
        """
        if not isinstance(values, dict):
            raise UserError(f"not a configuration of this version ({shortened(values)} is no object)")
        if other := values.keys() - cls.__dataclass_fields__.keys():
            raise UserError(f"a config.json of this version has no {shortened(min(other))}: see a run's for the names")
        return {name: _plain(value) for name, value in values.items()}

    @classmethod
    def read(cls, path: Path) -> dict[str, Any]:
        """Some options from a JSON file: a run's config.json, or the result of ddim_from_scratch.tune.

        Raises OSError if it cannot be opened, and FileError for anything else.
        """
        with naming(f"--config {path}", "cannot be used", "see a run's config.json"):
            options = cls.named(read_json(path))
            cls(**{"data": "any"} | options)
        return options

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Adds --config, --preset where there is one, and an option for each field: no attribute unless given."""
        if cls.PRESETS:
            about = "the paper's values, which --config and the other options change"
            parser.add_argument("--preset", choices=cls.PRESETS, help=about)
        parser.add_argument(
            "--config", type=Path, metavar="FILE", help="take values from a JSON file, which the other options change"
        )
        for f in dataclasses.fields(cls):
            if isinstance(f.default, bool):
                parser.add_argument(flag(f.name), action="store_true", default=argparse.SUPPRESS, **f.metadata)
                continue
            settings = {"metavar": f.name.split("_")[-1].upper(), **f.metadata}
            if "choices" in settings:
                del settings["metavar"]
            kind = int if isinstance(f.default, tuple) else str if "choices" in settings else type(f.default)
            settings.setdefault("type", kind)
            default = " ".join(map(str, f.default)) if isinstance(f.default, tuple) else f.default
            if default or default == 0:
                settings["help"] += f" (default: {default})"
            parser.add_argument(flag(f.name), default=argparse.SUPPRESS, **settings)

    @classmethod
    def given(cls, args: argparse.Namespace) -> dict[str, Any]:
        """The fields that a command line sets: options override --config, which overrides --preset."""
        options = dict(cls.PRESETS[args.preset]) if cls.PRESETS and args.preset else {}
        if args.config:
            options |= cls.read(args.config)
        given = {name: value for name, value in vars(args).items() if name in cls.__dataclass_fields__}
        return options | cls.named(given)


@dataclass(frozen=True)
class Recordings(Options):
    """The recordings to train on."""

    data: str = option(
        "",
        "folder of recordings, WAV, FLAC, OGG or MP3, nested as you like; or a data set: gtzan, or a genre of it as in "
        "gtzan:jazz, guitarset, maestro, saraga",
        metavar="FOLDER",
    )
    limit: int | None = option(None, "use only the first N usable tracks, by name", type=int, metavar="N")
    hold_out: float = option(
        0.0, "share of the tracks to hold out of training, by other artists where the data tell", metavar="SHARE"
    )

    def check(self) -> None:
        if not self.data:
            raise UserError("--data is missing: name a folder of recordings")
        if self.limit is not None:
            self.require_counts("limit")
        self.require("hold_out", 0 <= self.hold_out < 1, "give a number from 0 up to, not including, 1")


@dataclass(frozen=True)
class Denoising(Options):
    """The noise, and what the network predicts."""

    schedule: str = option(
        "continuous-cosine",
        "noise schedule: the paper's, one whose log-SNR is linear in time, DDPM's linear, or Nichol's cosine",
        choices=tuple(SCHEDULES),
    )
    prediction: str = option(
        "eps",
        "what the network predicts: the noise (eps), the velocity (v), or the data (x0)",
        choices=tuple(PREDICTIONS),
    )
    min_signal_rate: float = option(0.02, "signal left at the noisiest time (continuous-cosine and log-snr)")
    max_signal_rate: float = option(0.95, "signal left at the cleanest time (continuous-cosine and log-snr)")

    def check(self) -> None:
        if not 0 < self.min_signal_rate < self.max_signal_rate < 1:
            raise UserError(
                f"--min-signal-rate is {self.min_signal_rate} and --max-signal-rate {self.max_signal_rate}: "
                "0 < minimum < maximum < 1 is needed, for example 0.02 and 0.95"
            )

    @property
    def noise_schedule(self) -> Schedule:
        return Schedule(self.schedule, self.min_signal_rate, self.max_signal_rate)


@dataclass(frozen=True)
class Learning(Options):
    """The length of the training, the optimizer, and the moving average of the weights."""

    epochs: int = option(200, "passes over the training windows")
    batch_size: int = option(4, "windows per step")
    learning_rate: float = option(3e-4, "AdamW's learning rate")
    learning_rate_schedule: str = option(
        "constant",
        "warmup-cosine rises from 0 during the first twentieth of the steps and falls to 0 at the last of --epochs, "
        "which --resume then cannot change",
        choices=LEARNING_RATE_SCHEDULES,
    )
    weight_decay: float = option(1e-4, "AdamW's weight decay, which the learning rate multiplies")
    epsilon: float = option(1e-7, "what AdamW adds to the square root of the second moment")
    clip_gradient: float = option(0.0, "clip the norm of the gradient to this; 0: never", metavar="NORM")
    ema: float = option(0.999, "decay of the moving average of the weights, which sampling uses")
    ema_schedule: str = option(
        "warmup",
        "decay of the average: constant, as in the paper, or lower at first, so that it soon forgets the untrained "
        "weights",
        choices=EMA_SCHEDULES,
    )
    fad_every: int = option(
        0,
        "measure the Frechet distance of a few clips every N epochs and keep the best checkpoint; 0: never",
        metavar="N",
    )
    seed: int = option(0, "random seed: weights, held-out tracks, order of the windows, noise")

    def check(self) -> None:
        self.require_counts("epochs", "batch_size")
        self.require_counts("fad_every", least=0)
        self.require("seed", self.seed >= 0, "give 0 or more")
        for name in ("learning_rate", "epsilon"):
            self.require(name, getattr(self, name) > 0, "give a positive number")
        for name in ("weight_decay", "clip_gradient"):
            self.require(name, getattr(self, name) >= 0, "give 0 or more")
        self.require("ema", 0 <= self.ema < 1, "give a number from 0 up to, not including, 1")

    @property
    def free(self) -> set[str]:
        """The options that may change when a run is resumed."""
        return {"data", "fad_every"} | ({"epochs"} if self.learning_rate_schedule == "constant" else set())


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return str(value) if isinstance(value, Path) else value


def shortened(value: Any) -> str:
    """A value on one short line, for an error message. (Python writes no whole number of 5000 digits.)"""
    try:
        text = str(value) if isinstance(value, (int, float)) else repr(value)
    except (ValueError, RecursionError):
        text = "too long to print"
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unlike(option: dataclasses.Field, value: Any) -> str | None:
    """The remedy for a value of the wrong type or out of range; None if it is right."""
    if value is None and option.default is None:
        return None
    kind = option.metadata.get("type", type(option.default))
    if kind is float:
        within = type(value) in (int, float) and abs(value) <= LARGEST  # which NaN is not
        return None if within else f"a finite number, {LARGEST:.0e} or less"
    if kind is tuple:
        whole = type(value) is tuple and all(type(one) is int for one in value)
        return None if whole else "whole numbers"
    if type(value) is not kind:
        return {bool: "true or false", int: "a whole number", str: "text"}[kind]
    if kind is int and abs(value) > MOST:
        return f"{MOST} or less"
    if kind is str and (len(value) > LONGEST or "\0" in value):
        return f"{LONGEST} characters or fewer, none of them 0"
    return None
