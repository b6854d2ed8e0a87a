"""The options of a training run: one frozen dataclass, from which the command line and the JSON file are made."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..audio.contract import FRAMES_PER_SECOND, N_MELS
from ..diffusion import PREDICTIONS, SCHEDULES, Schedule
from ..runtime.cli import flag
from ..runtime.errors import UserError, printable
from ..runtime.files import read_json

NETWORKS = ("unet", "frames")
ATTENTIONS = ("none", "lowest", "all")
NORMS = ("batch", "group")
STANDARDISATIONS = ("bin", "global")
CROPS = ("fixed", "random")
LEARNING_RATE_SCHEDULES = ("constant", "warmup-cosine")
EMA_SCHEDULES = ("constant", "warmup")
LARGEST, MOST, LONGEST = 1e9, 2**63 - 1, 4096  # any option's float, whole number, characters
LONGEST_SECONDS = 4 * 3600  # as a recording
AUGMENTATIONS = ("none", "gain", "mix", "gain+mix")


def _option(default: Any, help: str, **settings: Any) -> Any:
    return field(default=default, metadata={"help": help, **settings})


@dataclass(frozen=True)
class Config:
    """Everything that decides what a run computes. The defaults are the paper's, or its authors' code's.

    Raises UserError, naming the option, its value and the remedy, if a value makes no sense.
    """

    data: str = _option(
        "",
        "folder of recordings, WAV, FLAC, OGG or MP3, nested as you like; or a data set: gtzan, or a genre of it as in "
        "gtzan:jazz, guitarset, maestro, saraga",
        metavar="FOLDER",
    )
    limit: int | None = _option(None, "use only the first N tracks, in the order of their names", type=int, metavar="N")
    hold_out: float = _option(
        0.0, "share of the tracks to hold out of training, by other artists where the data tell", metavar="SHARE"
    )
    window_seconds: float = _option(5.12, "length of a training window")
    window_hop_seconds: float = _option(1.0, "time from the start of one window to the start of the next")
    windows_per_track: int = _option(20, "windows to take from the beginning of a track, at most")
    crops: str = _option(
        "fixed",
        "where windows begin: at fixed places, or at a random frame of that part of the track at every use",
        choices=CROPS,
    )
    augment: str = _option(
        "none",
        "augmentation: gain scales by up to 6 dB; mix adds another window to every second one",
        choices=AUGMENTATIONS,
    )
    standardise: str = _option(
        "bin",
        "standardise each mel bin by its own mean and deviation, or all by common ones",
        choices=STANDARDISATIONS,
    )
    network: str = _option(
        "unet",
        "the paper's U-Net, or a network of residual blocks along time that has a frame's mel bins as channels",
        choices=NETWORKS,
    )
    frame_width: int = _option(256, "channels of the frame network")
    frame_blocks: int = _option(6, "residual blocks of the frame network")
    widths: tuple[int, ...] = _option(
        (32, 64, 96, 128), "channels at each level of the U-Net; the last is the bottom's", nargs="+", metavar="C"
    )
    block_depth: int = _option(2, "residual blocks in each block of the U-Net")
    attention: str = _option(
        "lowest",
        "up blocks with attention: none, the lowest (the authors' code), or all (the paper's text)",
        choices=ATTENTIONS,
    )
    norm: str = _option(
        "group",
        "normalisation: over the batch, as in the paper, or over groups of eight channels of each window",
        choices=NORMS,
    )
    schedule: str = _option(
        "continuous-cosine",
        "noise schedule: the paper's, one whose log-SNR is linear in time, DDPM's linear, or Nichol's cosine",
        choices=tuple(SCHEDULES),
    )
    prediction: str = _option(
        "eps",
        "what the network predicts: the noise (eps), the velocity (v), or the data (x0)",
        choices=tuple(PREDICTIONS),
    )
    min_signal_rate: float = _option(0.02, "signal left at the noisiest time (continuous-cosine and log-snr)")
    max_signal_rate: float = _option(0.95, "signal left at the cleanest time (continuous-cosine and log-snr)")
    context: bool = _option(False, "show the network the preceding window as well, so that it can continue music")
    epochs: int = _option(200, "passes over the training windows")
    batch_size: int = _option(4, "windows per step")
    learning_rate: float = _option(3e-4, "AdamW's learning rate")
    learning_rate_schedule: str = _option(
        "constant",
        "warmup-cosine rises from 0 during the first twentieth of the steps and falls to 0 at the last of --epochs, "
        "which --resume then cannot change",
        choices=LEARNING_RATE_SCHEDULES,
    )
    weight_decay: float = _option(1e-4, "AdamW's weight decay, which the learning rate multiplies")
    epsilon: float = _option(1e-7, "what AdamW adds to the square root of the second moment")
    clip_gradient: float = _option(0.0, "clip the norm of the gradient to this; 0: never", metavar="NORM")
    ema: float = _option(0.999, "decay of the moving average of the weights, which sampling uses")
    ema_schedule: str = _option(
        "warmup",
        "decay of the average: constant, as in the paper, or lower at first, so that it soon forgets the untrained "
        "weights",
        choices=EMA_SCHEDULES,
    )
    fad_every: int = _option(
        0,
        "measure the Frechet distance of a few clips every N epochs and keep the best checkpoint; 0: never",
        metavar="N",
    )
    seed: int = _option(0, "random seed: weights, order of the windows, noise")

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            if expected := _unlike(f, getattr(self, f.name)):
                raise UserError(f"{flag(f.name)} is {shortened(getattr(self, f.name))}: give {expected}")
        if not self.data:
            raise UserError("--data is missing: name a folder of recordings")
        for name in ("window_seconds", "window_hop_seconds"):
            _require(self, name, getattr(self, name) <= LONGEST_SECONDS, f"give {LONGEST_SECONDS} or less")
        at_least_one = ("windows_per_track", "block_depth", "epochs", "batch_size", "frame_width", "frame_blocks")
        for name in ("windows_per_track", "epochs", "batch_size", "fad_every"):
            _require(self, name, getattr(self, name) <= 10**9, "give a billion or less")
        for name in (*at_least_one, *(("limit",) if self.limit is not None else ())):
            _require(self, name, getattr(self, name) >= 1, "give 1 or more")
        for name in ("window_seconds", "window_hop_seconds", "learning_rate", "epsilon"):
            _require(self, name, getattr(self, name) > 0, "give a positive number")
        for name in ("weight_decay", "clip_gradient"):
            _require(self, name, getattr(self, name) >= 0, "give 0 or more")
        _require(self, "hold_out", 0 <= self.hold_out < 1, "give a number from 0 up to, not including, 1")
        _require(self, "ema", 0 <= self.ema < 1, "give a number from 0 up to, not including, 1")
        for name in ("seed", "fad_every"):
            _require(self, name, getattr(self, name) >= 0, "give 0 or more")
        _require(self, "widths", len(self.widths) >= 2 and min(self.widths) >= 1, "give two or more positive numbers")
        _require(self, "widths", max(self.widths) <= 1 << 16, "give 65536 or fewer channels")
        _require(self, "frame_width", self.frame_width <= 1 << 16, "give 65536 or fewer channels")
        for name in ("block_depth", "frame_blocks"):
            _require(self, name, getattr(self, name) <= 100, "give 100 or fewer")
        for f in dataclasses.fields(self):
            if choices := f.metadata.get("choices"):
                _require(self, f.name, getattr(self, f.name) in choices, f"choose from {', '.join(choices)}")
        if self.context and self.augment != "none":
            raise UserError(f"--augment is {self.augment}, which would not change what --context shows: leave one out")
        if not 0 < self.min_signal_rate < self.max_signal_rate < 1:
            raise UserError(
                f"--min-signal-rate is {self.min_signal_rate} and --max-signal-rate {self.max_signal_rate}: "
                "0 < minimum < maximum < 1 is needed, for example 0.02 and 0.95"
            )
        if round(self.window_hop_seconds * FRAMES_PER_SECOND) < 1:
            raise UserError(
                f"--window-hop-seconds is {self.window_hop_seconds}: give a frame, {1 / FRAMES_PER_SECOND:g} s, or more"
            )
        if N_MELS % self.size_divisor:
            most = (N_MELS & -N_MELS).bit_length()
            raise UserError(
                f"--widths has {len(self.widths)} levels, which halve {N_MELS} mel bins {len(self.widths) - 1} times: "
                f"give {most} or fewer"
            )
        self.frames("--window-seconds", self.window_seconds)

    @property
    def noise_schedule(self) -> Schedule:
        return Schedule(self.schedule, self.min_signal_rate, self.max_signal_rate)

    @property
    def free(self) -> set[str]:
        """The options that may change when a run is resumed."""
        return {"data", "fad_every"} | ({"epochs"} if self.learning_rate_schedule == "constant" else set())

    @property
    def size_divisor(self) -> int:
        """What the time and mel sizes must be divisible by: 2 to the number of halvings."""
        return 2 ** (len(self.widths) - 1) if self.network == "unet" else 1

    @property
    def local(self) -> bool:
        """Whether the network sees neighbourhoods only."""
        return not self.context and (self.network == "frames" or self.attention == "none")

    @property
    def window_frames(self) -> int:
        """The length of a training window."""
        return self.frames("--window-seconds", self.window_seconds)

    def frames(self, name: str, seconds: float) -> int:
        """`seconds` in spectrogram frames. Raises UserError, naming the option, if the network can't halve them."""
        frames = whole_frames(name, seconds)
        if frames % self.size_divisor:
            below = max(frames // self.size_divisor, 1) * self.size_divisor
            near = " or ".join(f"{n / FRAMES_PER_SECOND:g}" for n in (below, below + self.size_divisor))
            raise UserError(
                f"{name} {seconds:g} is {frames} frames, which the network can't halve {len(self.widths) - 1} times: "
                f"give {near}"
            )
        return frames

    def frames_lasting(self, seconds: float) -> int:
        """The fewest frames that the network can halve and whose sound lasts `seconds` or more."""
        return -(-round(seconds * FRAMES_PER_SECOND + 1) // self.size_divisor) * self.size_divisor

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Raises UserError for anything that `to_json` could not have written."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"not a configuration of this version ({shortened(error)})") from None
        options: dict[str, Any] = PAPER | FIRST | named(values)  # what is missing from an old file
        return cls(**options)


def named(values: Any) -> dict[str, Any]:
    """The options in a JSON file's object. Raises UserError if it is none, or has other names."""
    if not isinstance(values, dict):
        raise UserError(f"not a configuration of this version ({shortened(values)} is no object)")
    if other := values.keys() - Config.__dataclass_fields__.keys():
        raise UserError(f"not a configuration of this version (it has {shortened(min(other))})")
    widths = values.get("widths")
    return values | ({"widths": tuple(widths)} if isinstance(widths, list) else {})


def shortened(value: Any) -> str:
    """A value as an error tells of it, on one short line. (Python writes no whole number of 5000 digits.)"""
    try:
        text = str(value) if isinstance(value, (int, float, Exception)) else repr(value)
    except (ValueError, RecursionError):
        text = "too long to print"
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unlike(option: dataclasses.Field, value: Any) -> str | None:
    """What to give instead of a value of another type, or beyond all sense; None if it is right."""
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


def whole_frames(name: str, seconds: float) -> int:
    """`seconds` in spectrogram frames. Raises UserError, naming the option, if they are not one frame or more."""
    if not (math.isfinite(seconds) and seconds * FRAMES_PER_SECOND >= 0.5):
        raise UserError(f"{name} is {seconds}: give a positive number, {1 / FRAMES_PER_SECOND:g} or more")
    return round(seconds * FRAMES_PER_SECOND)


# The paper's recipe, with what its authors' code adds; and the values that its six trials of tuning found best.
PAPER = {
    "window_seconds": 5.12,
    "window_hop_seconds": 1.0,
    "windows_per_track": 20,
    "crops": "fixed",
    "augment": "none",
    "standardise": "bin",
    "network": "unet",
    "widths": (32, 64, 96, 128),
    "block_depth": 2,
    "attention": "lowest",
    "norm": "batch",
    "schedule": "continuous-cosine",
    "prediction": "eps",
    "min_signal_rate": 0.02,
    "max_signal_rate": 0.95,
    "learning_rate": 3e-4,
    "learning_rate_schedule": "constant",
    # TensorFlow Addons' AdamW takes 1e-4 of each weight at every step; ours multiplies by the learning rate.
    "weight_decay": 1e-4 / 3e-4,
    # The authors' loss is a sum over the plane, so that epsilon is small beside its gradient; ours is a mean.
    "epsilon": 1e-7 / (256 * 128),
    "ema": 0.999,
    "ema_schedule": "constant",
}
FIRST = {"epsilon": 1e-7}  # of every run from before it was an option, whatever the paper's
TUNED = {
    "learning_rate": 3.310677931449062e-5,
    "weight_decay": 0.06881110177645029,
    "min_signal_rate": 0.1952300533099572,
    "max_signal_rate": 0.9326085838636291,
    "block_depth": 4,
}
PRESETS: dict[str, dict[str, Any]] = {"paper": PAPER, "paper-tuned": PAPER | TUNED}


def given_options(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of Config that a command line sets: options override --config, which overrides --preset."""
    options = dict(PRESETS[args.preset]) if args.preset else {}
    if args.config:
        options |= read_options(args.config)
    given = {name: value for name, value in vars(args).items() if name in Config.__dataclass_fields__}
    return options | given | ({"widths": tuple(given["widths"])} if "widths" in given else {})


def read_options(path: Path) -> dict[str, Any]:
    """Some fields of Config from a JSON file: a run's config.json, or what ddim_from_scratch.tune found.

    Raises UserError for anything else.
    """
    try:
        options = named(read_json(path))
        Config(**{"data": "any"} | options)
    except FileNotFoundError:
        raise UserError(f"--config {path} does not exist: check the path") from None
    except UserError as error:
        raise UserError(f"--config {path}: {error}") from None
    except (OSError, ValueError) as error:
        why = shortened(error)
        raise UserError(f"--config {path} is not options of training ({why}): see a run's config.json") from None
    return options


def add_options(parser: argparse.ArgumentParser) -> None:
    """--preset, --config, and an option a field of Config, which leaves no attribute where it is not given."""
    parser.add_argument("--preset", choices=PRESETS, help="the paper's values, which the other options change")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="take values from a JSON file, which the other options change"
    )
    for f in dataclasses.fields(Config):
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


def _require(config: Config, name: str, holds: bool, remedy: str) -> None:
    if not holds:
        value = getattr(config, name)
        text = " ".join(map(str, value)) if name == "widths" else str(value)
        raise UserError(f"{flag(name)} is {printable(text[:60])}: {remedy}")
