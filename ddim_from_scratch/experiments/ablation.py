"""What lowers the Frechet distance: a base recipe, and beside it the same with one thing changed, and its luck.

    python -m ddim_from_scratch.experiments ablation --data recordings/ --out ablations/mine --epochs 50

Every row is trained for equally many epochs on the same windows, draws its clips from the same noise, and is compared
with the same music, by the stages of table.py. Rows of the base with other seeds show how much a score moves when
nothing has changed but the random numbers.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

from ..audio.contract import FRAMES_PER_SECOND
from ..audio.inverter import add_inverter_option, default_inverter
from ..diffusion import SAMPLERS, T
from ..fad import load_embedding
from ..fad.embeddings import NAMES, default_embedding
from ..nn.fast import use_plain
from ..runtime.backend import chosen_device
from ..runtime.cli import add_hardware_options, at_least
from ..runtime.errors import UserError
from ..spectrogram.config import PAPER, Config, add_options, given_options
from .reports import number, warn, write_files
from .table import Task, finish_all, finished, keep_settings

SIZE = ("window_seconds", "window_hop_seconds", "windows_per_track", "widths", "block_depth")

# Fields of Config, or of a table's Task where it is the drawing that changes. What the base has already is left out.
CHANGES: dict[str, dict[str, Any]] = {
    "base": {},
    "seed-1": {"seed": 1},
    "seed-2": {"seed": 2},
    "untrained": {"trained": False},
    "paper": {name: value for name, value in PAPER.items() if name not in SIZE},  # its recipe, at the base's size
    "eps-prediction": {"prediction": "eps"},
    "v-prediction": {"prediction": "v"},
    "x0-prediction": {"prediction": "x0"},
    "paper-signal-rates": {"min_signal_rate": 0.02, "max_signal_rate": 0.95},
    "tuned-signal-rates": {"min_signal_rate": 0.195, "max_signal_rate": 0.933},  # what the paper's search found
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
    "ddim-50": {"sampler": "ddim", "steps": 50, "spacing": "uniform"},  # as the paper draws
}
UNCHANGED = ("base", "seed-1", "seed-2")

NOTES = {
    "distance": "Frechet distance of the new clips from all the training music, in the space of the embedding, lower "
    "is nearer, with its 95 % bootstrap interval for other clips of the same kind. How much another training would "
    "move it, the rows of other seeds say.",
    "limit": "FAD-infinity, the score extrapolated to any number of new clips.",
    "nearest": "how far a new clip is from its nearest training clip, as a share of how far real clips are from other "
    "tracks'. Well below 1, the network recites.",
    "noise loss": "of the last 50 steps, to be compared only between rows of one schedule.",
}


class Settings(NamedTuple):
    """What holds for all rows. base: the Config that they change. seconds: of a clip."""

    base: dict[str, Any]
    clips: int
    seconds: float
    sampler: str
    steps: int
    inverter: str
    embedding: str

    def values(self) -> dict[str, Any]:
        """All that a change can change, as the base has it."""
        how = {"sampler": self.sampler, "steps": self.steps, "spacing": "log-snr", "trained": True}
        return self.base | how

    def names(self) -> list[str]:
        """The base, and every change that it has not made already."""
        made = self.values().items()
        return [name for name, change in CHANGES.items() if name == "base" or not change.items() <= made]

    def task(self, name: str) -> Task:
        """The row of a change, or of several together: "gain+random-crops"."""
        change = changes(name)
        values = self.values() | change
        base, config = (
            Config.from_json(json.dumps({field: of[field] for field in self.base})) for of in (self.base, values)
        )
        drawing = {field: value for field, value in values.items() if field not in self.base}
        about = {"change": change, "epochs": config.epochs, "batch_size": config.batch_size}
        training = "base" if config == base and values["trained"] else name
        return Task(training, config, music(base, self.seconds), about=about, **drawing)


def changes(name: str) -> dict[str, Any]:
    """What a name of CHANGES, or several joined by +, stand for. Raises UserError for any other, and for a conflict."""
    together: dict[str, Any] = {}
    for one in name.split("+"):
        if one not in CHANGES:
            raise UserError(f"--changes {name}: there is no {one}: choose from {', '.join(CHANGES)}")
        if twice := together.keys() & CHANGES[one]:
            raise UserError(f"--changes {name} changes {min(twice)} twice: choose one")
        together |= CHANGES[one]
    return together


def music(base: Config, seconds: float) -> Config:
    """All that the training windows show of each track, in windows of `seconds` that do not overlap."""
    shown = base.window_seconds + base.window_hop_seconds * (base.windows_per_track - 1)
    count = max(round(shown * FRAMES_PER_SECOND) // round(seconds * FRAMES_PER_SECOND), 1)
    return dataclasses.replace(base, window_seconds=seconds, window_hop_seconds=seconds, windows_per_track=count)


def write_report(out: Path, settings: Settings, rows: dict[str, dict]) -> str:
    """Write ablation.md, .html, .png and .json, the nearest row first. Returns the Markdown."""
    rows = dict(sorted(rows.items(), key=lambda name_row: name_row[1]["fad"]))
    header = ["row", "distance", "95 %", "of base", "limit", "nearest", "noise loss", "steps", "training h"]
    cells = []
    for name, row in rows.items():
        near, limit = row["nearest"], row["fad_infinity"]
        of_base = row["fad"] / rows["base"]["fad"] if "base" in rows else None
        cells.append(
            [
                name,
                number(row["fad"]),
                " to ".join(map(number, row["interval"])) if row["interval"] else number(None),
                number(of_base),
                number(limit and limit["score"]),
                number(near and near["generated"] / max(near["real"], 1e-12)),
                number(row["noise_loss"]),
                f"{row['training_steps']}",
                f"{row['training_seconds'] / 3600:.2f}",
            ]
        )
    any_row = next(iter(rows.values()))
    lucky = [rows[name]["fad"] for name in UNCHANGED if name in rows]
    defaults = json.loads(Config(data=settings.base["data"]).to_json())
    differs = {k: v for k, v in settings.base.items() if v != defaults[k]}
    facts = (
        f"Base: {', '.join(f'{k} {v}' for k, v in differs.items()) or 'the defaults'}; data {settings.base['data']}; "
        f"{any_row['n']} clips of {settings.seconds:g} s by {settings.sampler} in {settings.steps} steps, against "
        f"{any_row['n_training']} of real music; embedding {settings.embedding}, inverter {settings.inverter}, "
        f"{'; '.join(sorted({row['hardware'] for row in rows.values()}))}. Floor, real music against real music: "
        f"{number(any_row['floor'])}. Ceiling, the same with one half through the inverter: "
        f"{number(any_row['ceiling'])}."
    )
    if len(lucky) > 1:
        facts += (
            f" Luck: the base with {len(lucky)} seeds lies between {number(min(lucky))} and {number(max(lucky))}; what "
            "moves a score no further is not known to matter."
        )
    title = "One change at a time"
    return write_files(
        out, "ablation", title, warn(settings._asdict(), rows), header, cells, facts, NOTES, settings._asdict(), rows
    )


def add_command(commands: argparse._SubParsersAction) -> None:
    """experiments ablation."""
    parser = commands.add_parser(
        "ablation",
        help="what lowers the distance: a recipe with one change at a time",
        description="Trains a base recipe, and the same with one change at a time, for equally many epochs; draws, "
        "scores, and writes ablation.md, .html with sound, and .json into --out. Stopped, it goes on with the same "
        "command; with other --changes it adds rows. The options of train are those of the base.",
        epilog=f"Changes: {', '.join(CHANGES)}. Several together: gain+random-crops.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument(
        "--changes", nargs="+", metavar="NAME", help="see below (default: all that the base has not made already)"
    )
    parser.add_argument("--clips", type=at_least(2), default=50, help="to draw for each row (default: 50)")
    parser.add_argument("--seconds", type=float, default=5.12, help="length of a clip (default: 5.12)")
    parser.add_argument("--sampler", choices=SAMPLERS, default="dpm++2m", help="default: dpm++2m")
    parser.add_argument("--steps", type=at_least(1), default=20, help=f"of the sampler, up to {T} (default: 20)")
    parser.add_argument("--jobs", type=at_least(1), default=1, help="trainings at a time, a process each (default: 1)")
    parser.add_argument("--embedding", choices=NAMES, help="default: vggish where it is at hand, else musicnn")
    add_inverter_option(parser)
    add_options(parser)
    add_hardware_options(parser)


def main(args: argparse.Namespace) -> None:
    base = Config(**given_options(args))
    device = chosen_device(args.gpu)
    use_plain(args.plain)
    base.frames("--seconds", args.seconds)
    embedding = args.embedding or default_embedding()
    if args.seconds < (least := load_embedding(embedding).seconds):
        raise UserError(
            f"--seconds is {args.seconds:g}, but {embedding} hears {least:g} s at a time: give that or more"
        )
    how = args.clips, args.seconds, args.sampler, args.steps, args.inverter or default_inverter(), embedding
    settings = Settings(json.loads(base.to_json()), *how)
    tasks = {name: settings.task(name) for name in args.changes or settings.names()}
    keep_settings(args.out, settings)
    errors = finish_all(tasks, args.out, settings, device, args.jobs, args.threads)
    if done := finished(args.out, tasks):
        print(write_report(args.out, settings, done))
    if errors:
        raise UserError("; ".join(errors))
