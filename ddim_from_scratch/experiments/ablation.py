"""Ablation study: trains a base configuration and variants of it that change one option each.

    python -m ddim_from_scratch.experiments ablation --data recordings/ --out ablations/mine --epochs 50

Every row is trained for the same number of epochs on the same windows, starts its clips from the same noise, and is
compared with the same music, by the stages of table.py. The base with other seeds shows the noise of the comparison.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

from ..audio.contract import FRAMES_PER_SECOND
from ..audio.inverter import GRIFFIN_LIM
from ..diffusion import SAMPLERS, Sampling, T
from ..fad import load_embedding
from ..fad.embeddings import default_embedding
from ..runtime.backend import chosen_device
from ..runtime.cli import at_least, counted
from ..runtime.errors import UserError
from ..spectrogram.config import PAPER, Config, whole_frames
from .reports import Report, number, write_report
from .table import Task, add_table_options, finish_all, keep_settings, read_metrics

SIZE = ("window_seconds", "window_hop_seconds", "windows_per_track", "widths", "block_depth")

# Fields of Config, or of a table's Task where sampling changes. Variants equal to the base are left out.
CHANGES: dict[str, dict[str, Any]] = {
    "base": {},
    "seed-1": {"seed": 1},
    "seed-2": {"seed": 2},
    "untrained": {"trained": False},
    "paper": {name: value for name, value in PAPER.items() if name not in SIZE},  # its options, at the base's size
    "eps-prediction": {"prediction": "eps"},
    "v-prediction": {"prediction": "v"},
    "x0-prediction": {"prediction": "x0"},
    "paper-signal-rates": {"min_signal_rate": 0.02, "max_signal_rate": 0.95},
    "tuned-signal-rates": {"min_signal_rate": 0.195, "max_signal_rate": 0.933},  # found by the paper's search
    "linear-schedule": {"schedule": "linear"},
    "cosine-schedule": {"schedule": "cosine"},
    "global-standardisation": {"standardise": "global"},
    "batch-norm": {"norm": "batch"},
    "group-norm": {"norm": "group"},
    "random-crops": {"crops": "random"},
    "gain": {"augment": "gain"},
    "mix": {"augment": "mix"},
    "warmup-cosine": {"learning_rate_schedule": "warmup-cosine"},
    "learning-rate-3e-4": {"learning_rate": 3e-4},
    "learning-rate-1e-3": {"learning_rate": 1e-3},
    "learning-rate-3e-3": {"learning_rate": 3e-3},
    "ema-0.99": {"ema": 0.99},
    "ema-0.999": {"ema": 0.999},
    "ema-0.9999": {"ema": 0.9999},
    "constant-ema": {"ema_schedule": "constant"},
    "warmup-ema": {"ema_schedule": "warmup"},
    "batch-16": {"batch_size": 16},
    "no-attention": {"attention": "none"},
    "ddim-50": {"sampler": "ddim", "steps": 50, "spacing": "uniform"},  # as the paper samples
}
SEEDS = ("base", "seed-1", "seed-2")


class Settings(NamedTuple):
    """The settings of all rows. base: the fields of the Config that they change. seconds: length of a clip."""

    base: dict[str, Any]
    clips: int
    seconds: float
    sampler: str
    steps: int
    inverter: str
    embedding: str

    @property
    def frames(self) -> int:
        return round(self.seconds * FRAMES_PER_SECOND)

    def values(self) -> dict[str, Any]:
        """Everything that a variant can change, with the base's values."""
        return self.base | {"sampler": self.sampler, "steps": self.steps, "spacing": "log-snr", "trained": True}

    def names(self) -> list[str]:
        """The base, and every variant that differs from it."""
        base = self.values().items()
        return [name for name, change in CHANGES.items() if name == "base" or not change.items() <= base]

    def task(self, name: str) -> Task:
        """The row of a variant, or of several combined: "gain+random-crops"."""
        change = changes(name)
        values = self.values() | change
        base, config = (
            Config.from_json(json.dumps({field: of[field] for field in self.base})) for of in (self.base, values)
        )
        drawing = {field: value for field, value in values.items() if field not in self.base}
        about = {"change": change, "epochs": config.epochs, "batch_size": config.batch_size}
        training = "base" if config == base and values["trained"] else name
        return Task(training, config, music(base, self.seconds), self.frames, about=about, **drawing)


def changes(name: str) -> dict[str, Any]:
    """The options of one or several names of CHANGES, joined by +. Raises UserError for unknown names and conflicts."""
    together: dict[str, Any] = {}
    for one in name.split("+"):
        if one not in CHANGES:
            raise UserError(f"--changes {name}: there is no {one}: choose from {', '.join(CHANGES)}")
        if twice := together.keys() & CHANGES[one]:
            raise UserError(f"--changes {name} changes {min(twice)} twice: choose one")
        together |= CHANGES[one]
    return together


def music(base: Config, seconds: float) -> Config:
    """Of windows of `seconds`: those that do not overlap, in the part of each track that the training windows cover."""
    covered = base.window_seconds + base.window_hop_seconds * (base.windows_per_track - 1)
    count = max(round(covered * FRAMES_PER_SECOND) // round(seconds * FRAMES_PER_SECOND), 1)
    return dataclasses.replace(base, window_hop_seconds=seconds, windows_per_track=count)


def report(out: Path, settings: Settings, rows: dict[str, dict]) -> str:
    """Writes ablation.md, ablation.png and ablation.json, sorted by distance. Returns the Markdown."""
    rows = dict(sorted(rows.items(), key=lambda item: item[1]["fad"]))
    base_fad = rows["base"]["fad"] if "base" in rows else None
    rows = {name: row | {"of_base": base_fad and row["fad"] / base_fad} for name, row in rows.items()}
    columns = ["distance", "95 %", "of base", "limit", "nearest", "noise loss", "steps", "training h"]
    return write_report(out, Report("ablation", "Ablation", settings._asdict(), rows, columns, facts(settings, rows)))


def facts(settings: Settings, rows: dict[str, dict]) -> str:
    """The settings that all rows share, and how much the distance varies with the seed alone."""
    row = next(iter(rows.values()))
    defaults = json.loads(Config(data=settings.base["data"]).to_json())
    differs = ", ".join(f"{k} {v}" for k, v in settings.base.items() if v != defaults[k]) or "the defaults"
    text = (
        f"Base: {differs}; data {settings.base['data']}. {counted(row['n'], 'clip')} of {settings.seconds:g} s by "
        f"{settings.sampler} in {counted(settings.steps, 'step')}, compared with {row['n_training']} of real music; "
        f"embedding {settings.embedding}, inverter {settings.inverter}, "
        f"{'; '.join(sorted({row['hardware'] for row in rows.values()}))}. Floor: {number(row['floor'])}. "
        f"Ceiling: {number(row['ceiling'])}."
    )
    seeds = [rows[name]["fad"] for name in SEEDS if name in rows]
    if len(seeds) > 1:
        text += (
            f" Noise: the base with {len(seeds)} seeds lies between {number(min(seeds))} and {number(max(seeds))}. "
            "Smaller differences are not known to matter."
        )
    return text


def add_command(commands: argparse._SubParsersAction) -> None:
    """experiments ablation."""
    parser = commands.add_parser(
        "ablation",
        help="a base configuration and variants that change one option each",
        description="Trains a base configuration and variants that change one option each, for the same number of "
        "epochs. Samples, measures, and writes ablation.md, .png and .json into --out. The same command "
        "continues after a stop; with other --changes it adds rows. The base is given by the options of train.",
        epilog=f"Changes: {', '.join(CHANGES)}. Several together: gain+random-crops.",
    )
    parser.add_argument(
        "--changes", nargs="+", metavar="NAME", help="variants, listed below (default: all that differ from the base)"
    )
    parser.add_argument("--seconds", type=float, default=5.12, help="length of a clip (default: 5.12)")
    parser.add_argument("--sampler", choices=SAMPLERS, default="dpm++2m", help="default: dpm++2m")
    parser.add_argument("--steps", type=at_least(1), default=20, help=f"sampling steps, up to {T} (default: 20)")
    Config.add_options(parser)
    add_table_options(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> None:
    base = Config(**Config.given(args))
    chosen_device(args.gpu)
    if base.hold_out:
        raise UserError(f"--hold-out is {base.hold_out:g}, but each seed would hold out other tracks: leave it out")
    Sampling(args.sampler, args.steps)  # what is wrong with it, or with --data, is said before the settings are kept
    base.recordings({})
    seconds = whole_frames("--seconds", args.seconds) / FRAMES_PER_SECOND
    embedding = args.embedding or default_embedding()
    if seconds < (least := load_embedding(embedding).seconds):
        raise UserError(f"--seconds is {args.seconds:g}, but {embedding} needs clips of {least:g} s or more")
    how = args.clips, seconds, args.sampler, args.steps, args.inverter or GRIFFIN_LIM, embedding
    settings = Settings(json.loads(base.to_json()), *how)
    tasks = {name: settings.task(name) for name in args.changes or settings.names()}
    keep_settings(args.out, settings)
    errors = finish_all(tasks, args.out, settings, args)
    if rows := read_metrics(args.out, tasks):
        print(report(args.out, settings, rows))
    if errors:
        raise UserError("; ".join(errors))
