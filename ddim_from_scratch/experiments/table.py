"""The paper's table: every row trained, sampled, inverted and measured, with a report.

    python -m ddim_from_scratch.experiments table --rows gtzan-10 --data gtzan=recordings/ --out tables/paper

A row goes through four stages, and each leaves its files in the table's folder: runs/ holds the trainings, which rows
that differ only in S share; rows/NAME/ holds log-mels (a file for every eight clips), their sound, and metrics.json.
The same command continues where it was stopped, and computes nothing twice.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_origin, get_type_hints

import numpy as np

from ..audio import load_audio, write_wav
from ..audio.contract import FRAMES_PER_SECOND
from ..audio.inverter import GRIFFIN_LIM, Inverter, load_inverter
from ..diffusion import Sampling
from ..diffusion.process import stream
from ..fad import Embedding, Set, embed_clips, load_embedding
from ..fad.embeddings import default_embedding
from ..fad.reliability import distance, floor, infinity, interval
from ..nn.fast import use_plain
from ..runtime import tree
from ..runtime.backend import CLIPS_AT_ONCE, available_cores, chosen_device, hardware, parallel, threads
from ..runtime.cli import add_hardware_options, at_least, counted
from ..runtime.errors import UserError, line, naming
from ..runtime.files import below, conforms, read_json, write_json
from ..spectrogram.compose import Composer
from ..spectrogram.config import PRESETS, Config
from ..spectrogram.data import Windows, load_windows
from ..spectrogram.model import read_run
from ..spectrogram.system import training
from ..train import train
from ..training.checkpoint import checkpoint_path, holds_run, read_log, save_checkpoint
from ..training.datasets import recordings
from ..training.guards import end_with_parent
from ..training.loop import checkpoint
from .compare import add_listening_options
from .heard import MEANING, heard, nearest
from .pictures import save_log_mels
from .reports import Report, write_report

PICTURED = 4  # clips per row of a picture


class Row(NamedTuple):
    """A row of the paper's table. steps: S, of the sampler. fad: the paper's, None where it gives no number."""

    corpus: str
    tracks: int
    seconds: float
    epochs: int
    steps: int
    batch_size: int
    fad: float | None = None
    windows_per_track: int = 20

    @property
    def training(self) -> str:
        """The name of the run that the row needs."""
        windows = f"-w{self.windows_per_track}" if self.windows_per_track != 20 else ""
        return f"{self.corpus}-{self.tracks}{windows}-{self.seconds:g}s-e{self.epochs}-b{self.batch_size}"

    def scaled(self, scale: float) -> Row:
        """The row with this share of its epochs (at least 1) and of its sampler's steps (at least 2)."""
        return self._replace(epochs=max(round(self.epochs * scale), 1), steps=max(round(self.steps * scale), 2))


ROWS = {
    "gtzan-100": Row("gtzan", 100, 5.12, 100, 1000, 16, 6.129),
    "gtzan-100-e200": Row("gtzan", 100, 5.12, 200, 1000, 16, 7.875),
    "gtzan-10": Row("gtzan", 10, 5.12, 200, 1000, 1, 5.00),
    "gtzan-10-10s": Row("gtzan", 10, 10.24, 200, 1000, 1, 5.011),
    "gtzan-50": Row("gtzan", 50, 5.12, 200, 1000, 4, 2.992),
    "gtzan-50-s500": Row("gtzan", 50, 5.12, 200, 500, 4, 3.715),
    "gtzan-50-s100": Row("gtzan", 50, 5.12, 200, 100, 4, 3.905),
    "carnatic-159": Row("carnatic", 159, 5.12, 100, 1000, 16, 7.030),
    "carnatic-50": Row("carnatic", 50, 5.12, 200, 1000, 4, 7.342),
}
# Can the network memorise ten clips? The paper tried several lengths, batch sizes and numbers of steps and gives no
# numbers. 2000 epochs of ten windows are half as many steps as those of gtzan-10.
ROWS |= {
    f"overfit-{seconds:.0f}s-b{batch_size}-s{steps}": Row("gtzan", 10, seconds, 2000, steps, batch_size, None, 1)
    for seconds in (5.12, 10.24)
    for batch_size in (1, 4)
    for steps in (100, 1000)
}
MAYBE = (float, None)
METRICS: dict[str, Any] = {  # of a row, in metrics.json
    **dict.fromkeys(("fad", "training_seconds", "drawing_seconds"), float),
    **dict.fromkeys(("floor", "ceiling", "seconds_a_step", "noise_loss"), MAYBE),
    **dict.fromkeys(("n", "n_training", "embeddings", "dimension", "training_steps", "windows"), int),
    "interval": ([float, float], None),
    "fad_infinity": ({"score": float}, None),
    "nearest": (dict.fromkeys(("generated", "copies", "real"), float), None),
    "heard": {side: dict.fromkeys(MEANING, float) for side in ("generated", "real")},
    "hardware": str,
}
ROW_METRICS: dict[str, Any] = {"seconds": float, "epochs": int, "steps": int, "batch_size": int, "paper": MAYBE}
CORPORA = {"gtzan": "gtzan:classical", "carnatic": "saraga"}  # where the recordings are, unless --data says otherwise


class Task(NamedTuple):
    """Everything that a row of any table needs.

    training: the name of its run, which rows can share. config: the run's. music: the configuration of the windows that
    the clips are compared with; its seed is that of the clips' noise. frames: length of these and of the clips. steps,
    sampler, spacing: of sampling. about: what metrics.json says of the row beside its metrics. trained: False for
    untrained weights.
    """

    training: str
    config: Config
    music: Config
    frames: int
    steps: int
    about: dict[str, Any]
    sampler: str = "ddim"
    spacing: str = "uniform"
    trained: bool = True


class Settings(NamedTuple):
    """The settings of a whole table. data: where each corpus's recordings are."""

    data: dict[str, str]
    scale: float
    preset: str
    clips: int
    inverter: str
    embedding: str

    def row(self, name: str) -> Row:
        return ROWS[name].scaled(self.scale)

    def config(self, row: Row) -> Config:
        options = {"limit": row.tracks, "window_seconds": row.seconds, "windows_per_track": row.windows_per_track}
        options |= {"epochs": row.epochs, "batch_size": row.batch_size}
        return Config(**PRESETS[self.preset] | options | {"data": self.data[row.corpus]})

    def task(self, name: str) -> Task:
        row = self.row(name)
        paper = row.fad if self.scale == 1 else None  # the paper's number is for other epochs and steps
        about = row._asdict() | {"paper": paper, "scale": self.scale}
        config = self.config(row)
        return Task(row.training, config, config, config.window_frames, row.steps, about)


Kind = TypeVar("Kind")


def keep_settings(out: Path, settings: Any) -> None:
    """Writes a table's settings, a NamedTuple. Raises UserError if the table was begun with others."""
    path = out / "settings.json"
    if path.exists():
        begun = tree.flatten(read_settings(out, type(settings))._asdict())
        for name, value in tree.flatten(settings._asdict()).items():
            if begun.get(name) != value:
                name, was = name.rpartition("/")[2], begun.get(name)
                raise UserError(f"{out} was begun with {name} {was}, not {value}: choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, settings._asdict())


def read_settings(out: Path, kind: Callable[..., Kind]) -> Kind:
    path = below(out, "settings.json")
    try:
        with naming(path, "is damaged", "choose another --out"):
            return settings_of(kind, read_json(path))
    except FileNotFoundError:
        raise UserError(f"{out} holds no table: check the path, or leave out --report to begin one") from None


def settings_of(kind: Callable[..., Kind], values: Any) -> Kind:
    """Settings from a file, a NamedTuple `kind`. Raises ValueError for others, or of other types."""
    types = {name: {str: str} if name == "data" else (get_origin(t) or t) for name, t in get_type_hints(kind).items()}
    base = values.pop("base", None) if isinstance(values, dict) else None
    if "base" in types:
        types.pop("base")
        Config.from_json(json.dumps(base))
    if not conforms(values, types) or values.keys() != types.keys():
        raise UserError("it is not of this version")
    return kind(**values | ({} if base is None else {"base": base}))


def check_data(names: list[str], settings: Settings) -> None:
    """Raises UserError, before anything is computed, if a row needs more tracks than there are."""
    available = {corpus: len(recordings(settings.data[corpus])) for corpus in {ROWS[name].corpus for name in names}}
    short = [name for name in names if available[ROWS[name].corpus] < ROWS[name].tracks]
    if short:
        row = ROWS[short[0]]
        raise UserError(
            f"{short[0]} needs {row.tracks} tracks, {settings.data[row.corpus]} has {available[row.corpus]}: give a "
            f"folder with more, --data {row.corpus}=FOLDER, or leave out the rows {' '.join(short)}"
        )


def row_folder(out: Path, name: str) -> Path:
    return below(out, "rows", name)


def finish(tasks: dict[str, Task], out: Path, settings: Any, device: str, thread_count: int | None) -> None:
    """Brings rows that share a training to their metrics.json, whichever stage each has reached."""
    if all((row_folder(out, name) / "metrics.json").exists() for name in tasks):
        return
    with threads(1 if device == "gpu" else thread_count):
        first = next(iter(tasks.values()))
        windows = load_windows(first.config)
        music = windows if first.music == first.config else load_windows(first.music, frames=first.frames)
        if len(music.apart()) < 2:
            length = f"{first.frames / FRAMES_PER_SECOND:g} s"
            raise UserError(f"{first.music.data} has one clip of {length}, and 2 are needed: add recordings")
        run = below(out, "runs", first.training)
        learn(first, windows, run, device)
        invert, embedding = load_inverter(settings.inverter, device), load_embedding(settings.embedding, device)
        for name, task in tasks.items():
            folder = row_folder(out, name)
            folder.mkdir(parents=True, exist_ok=True)
            draw(run, task, settings.clips, folder, device)
            make_audible(folder, settings.clips, invert)
            if not (folder / "metrics.json").exists():
                apart, scaler = music.some(music.apart()), read_run(run).scaler
                real, inverted = embed_music(apart, invert, embedding, out / "music")
                clips = parallel(load_audio, sound_files(folder, settings.clips))
                generated = Set.of(embed_clips(embedding, clips, "generated clips"))
                metrics = task.about | {"windows": len(windows), "hardware": hardware(device)}
                metrics |= measure(real, inverted, generated) | cost(run, folder, settings.clips)
                metrics["nearest"] = nearest(real.clips, apart.starts[:, 0], generated.clips, inverted.clips)
                both = {"generated": read_drawn(folder, settings.clips)[0], "real": apart.take()}
                metrics["heard"] = {side: heard(log_mels, scaler) for side, log_mels in both.items()}
                write_json(folder / "metrics.json", metrics)
                picture(folder, music, settings.clips)


def learn(task: Task, windows: Windows, run: Path, device: str) -> None:
    """Stage 1: trains, or continues training, up to the configuration's epochs."""
    config = task.config
    saved = read_run(run) if holds_run(run) else None
    if saved and saved.config != config:
        raise UserError(f"{run} was trained with other options, see its config.json: choose another --out")
    if not task.trained:
        run.mkdir(parents=True, exist_ok=True)
        system = training(config, windows=windows)
        save_checkpoint(checkpoint_path(run), checkpoint(system, system.init(stream(config.seed)), 0))
    elif not saved or saved.epochs_done < config.epochs:
        train(training(config, saved, device, windows), run, saved, again="the same command continues")


def drawn_files(folder: Path, clips: int) -> list[Path]:
    return [folder / f"drawn_{start:03d}.npz" for start in range(0, clips, CLIPS_AT_ONCE)]


def draw(run: Path, task: Task, clips: int, folder: Path, device: str) -> None:
    """Stage 2: draws log-mels, a file for every CLIPS_AT_ONCE."""
    missing = [(i, path) for i, path in enumerate(drawn_files(folder, clips)) if not path.exists()]
    if not missing:
        return
    model, sampling = read_run(run).model(device), Sampling(task.sampler, task.steps, task.spacing)
    for i, path in missing:
        started, first = time.perf_counter(), i * CLIPS_AT_ONCE
        composer = Composer(model, sampling, task.music.seed, first)
        log_mels = composer.draw(min(CLIPS_AT_ONCE, clips - first), task.frames)
        tree.save(path, {"log_mels": log_mels, "seconds": np.array(time.perf_counter() - started)})


def read_drawn(folder: Path, clips: int) -> tuple[np.ndarray, float]:
    """The log-mels that `draw` wrote, (clips, frames, 128), and the seconds that drawing took."""
    files = [tree.load(path) for path in drawn_files(folder, clips)]
    return np.concatenate([file["log_mels"] for file in files]), sum(float(file["seconds"]) for file in files)


def sound_files(folder: Path, clips: int) -> list[Path]:
    return [folder / f"sample_{i:03d}.wav" for i in range(clips)]


def make_audible(folder: Path, clips: int, invert: Inverter) -> None:
    """Stage 3: inverts what was drawn, a WAV file per clip."""
    missing = [i for i, path in enumerate(sound_files(folder, clips)) if not path.exists()]
    if missing:
        log_mels, _ = read_drawn(folder, clips)
        for i, sound in zip(missing, invert(log_mels[missing]), strict=True):
            write_wav(sound_files(folder, clips)[i], sound)


def embed_music(windows: Windows, invert: Inverter, embedding: Embedding, folder: Path) -> tuple[Set, Set]:
    """Embeddings of windows, and of the same windows inverted. They are kept in `folder` for other rows."""
    identity = [str(path) for path in windows.paths], windows.starts.tolist(), windows.frames
    path = below(folder.parent, folder.name) / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]}.npz"
    if not path.exists():
        sounds = {"as it is": windows.sound(), "inverted": invert(windows.take(), "training music")}
        folder.mkdir(exist_ok=True)
        tree.save(path, {name: np.stack(embed_clips(embedding, s, f"music {name}")) for name, s in sounds.items()})
    kept = tree.load(path)
    return Set.of([*kept["as it is"]]), Set.of([*kept["inverted"]])


def measure(real: Set, inverted: Set, generated: Set) -> dict[str, Any]:
    """Stage 4: the distance of generated clips from all the training music, and what it is worth.

    real: the training music in windows that do not overlap. inverted: the same windows, inverted. Floor and ceiling are
    distances between halves: real from real, and inverted from real.
    """
    limit_rng, interval_rng = np.random.default_rng(0).spawn(2)
    limit = infinity(real, generated, limit_rng)
    return {
        "fad": distance(real, generated),
        "interval": interval(real, generated, interval_rng),
        "fad_infinity": limit and limit._asdict(),
        "floor": floor(real, np.random.default_rng(0)),
        "ceiling": floor(real, np.random.default_rng(0), inverted),
        "n": len(generated.clips),
        "n_training": len(real.clips),
        "embeddings": generated.n,
        "dimension": len(generated.mean),
    }


def cost(run: Path, folder: Path, clips: int) -> dict[str, Any]:
    """Steps, times and the last losses of a row's training, and the time its clips took."""
    log = np.array(read_log(run / "log.csv", 5) if (run / "log.csv").exists() else np.empty((0, 5)))
    return {
        "training_steps": len(log),
        "training_seconds": float(log[:, 4].sum()),
        "seconds_a_step": float(np.median(log[:, 4])) if len(log) else None,
        "drawing_seconds": read_drawn(folder, clips)[1],
        "noise_loss": float(log[-50:, 2].mean()) if len(log) else None,
    }


def picture(folder: Path, music: Windows, clips: int) -> None:
    """Draws spectrograms.png: training music spread over the corpus, and the first generated clips."""
    chosen = music.apart()
    training = music.take(chosen[np.linspace(0, len(chosen) - 1, PICTURED).astype(int)])
    save_log_mels(
        folder / "spectrograms.png", {"training": training, "generated": read_drawn(folder, clips)[0][:PICTURED]}
    )


def progress(name: str, out: Path, settings: Settings) -> str | None:
    """How far an unfinished row is, in words, or None if it is finished."""
    folder = row_folder(out, name)
    if (folder / "metrics.json").exists():
        return None
    task = settings.task(name)
    run = out / "runs" / task.training
    if not holds_run(run):
        return "not begun"
    if (epochs := read_run(run).epochs_done) < task.config.epochs:
        return f"trained for {epochs} of {task.config.epochs} epochs"
    drawn = sum(path.exists() for path in drawn_files(folder, settings.clips)) * CLIPS_AT_ONCE
    return f"{min(drawn, settings.clips)} of {counted(settings.clips, 'clip')} drawn"


def finish_all(tasks: dict[str, Task], out: Path, settings: Any, args: argparse.Namespace) -> list[str]:
    """Finishes every row, those that share a training in one process. Returns an error message per failed group.

    args: of a command with --jobs and the hardware options.
    """
    groups: dict[str, dict[str, Task]] = defaultdict(dict)
    for name, task in tasks.items():
        groups[task.training][name] = task
    use_plain(args.plain)
    device, thread_count = chosen_device(args.gpu), max((args.threads or available_cores()) // args.jobs, 1)
    spawn = multiprocessing.get_context("spawn")
    pool = None if args.jobs == 1 else ProcessPoolExecutor(args.jobs, spawn, begin_worker, (os.getpid(), args.plain))
    errors = []
    with pool or nullcontext():
        work = {" ".join(g): partial(finish, g, out, settings, device, thread_count) for g in groups.values()}
        finished = {names: pool.submit(one).result if pool else one for names, one in work.items()}
        for names, result in finished.items():
            try:
                result()
            except (UserError, OSError, MemoryError) as error:
                errors.append(f"{names}: {line(error)}")
            except BrokenExecutor:
                errors.append(f"{names}: a process was killed, perhaps for lack of memory: try fewer --jobs")
    return errors


def begin_worker(parent: int, plain: bool) -> None:
    """Sets up a process of the pool: it ends with its parent, and computes with the same layers."""
    end_with_parent(parent)
    use_plain(plain)


def read_metrics(out: Path, names: Iterable[str], kinds: dict[str, Any] = METRICS) -> dict[str, dict]:
    """The metrics of every row that has them. Raises UserError if they are not of their kinds."""
    files = {name: below(out, "rows", name, "metrics.json") for name in names}
    found = {}
    for name, path in files.items():
        if path.exists():
            with naming(path, "is damaged", "remove it, and the row is measured again"):
                found[name] = read_json(path)
                json.dumps(found[name], allow_nan=False)  # the report's JSON holds it all
                if not conforms(found[name], kinds):
                    raise UserError("it holds something else")
    return found


def report(out: Path, settings: Settings, rows: dict[str, dict]) -> str:
    """Writes table.md, table.png and table.json. Returns the Markdown."""
    scaled = settings.scale != 1
    columns = ["window s", "epochs", "S", "batch", *([] if scaled else ["paper's FAD (VGGish)"]), "distance", "95 %"]
    columns += ["limit", "floor", "ceiling", "nearest", "n", "training h", "s per step", "sampling h"]
    facts = (
        f"Preset {settings.preset}, embedding {settings.embedding}, inverter {settings.inverter}, "
        f"{'; '.join(sorted({row['hardware'] for row in rows.values()}))}. "
        f"Recordings: {', '.join(f'{corpus} from {data}' for corpus, data in settings.data.items())}."
    )
    title = "The paper's rows, scaled down" if scaled else "The paper's table"
    return write_report(out, Report("table", title, settings._asdict(), rows, columns, facts))


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """The options that all tables share."""
    parser.add_argument("--out", type=Path, required=True, help="output folder")
    parser.add_argument("--clips", type=at_least(2), default=50, help="number of clips per row (default: 50)")
    parser.add_argument(
        "--jobs", type=at_least(1), default=1, help="number of trainings in parallel, one process each (default: 1)"
    )
    add_listening_options(parser)
    add_hardware_options(parser)


def add_command(commands: argparse._SubParsersAction) -> None:
    """experiments table."""
    parser = commands.add_parser(
        "table",
        help="the paper's table",
        description="Trains, samples and measures rows of the paper's table, and writes table.md, table.png and "
        "table.json into --out. The same command continues after a stop.",
        epilog="example: python -m ddim_from_scratch.experiments table --rows gtzan-10 --data gtzan=recordings/ "
        "--scale 0.05 --out tables/small",
    )
    rows_help = f"{', '.join(ROWS)} (default: all)"
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=rows_help)
    default = " ".join(f"{corpus}={data}" for corpus, data in CORPORA.items())
    parser.add_argument(
        "--data", nargs="+", default=[], metavar="SET=FOLDER", help=f"where the recordings are (default: {default})"
    )
    parser.add_argument("--report", action="store_true", help="only write the report again")
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="use this share of the epochs and of S, for a small machine; the report is then not called the paper's "
        "(default: 1)",
    )
    parser.add_argument("--preset", choices=PRESETS, default="paper", help="training options (default: paper)")
    add_table_options(parser)
    parser.set_defaults(main=main)


def read_data(arguments: list[str]) -> dict[str, str]:
    """Where each corpus is: CORPORA, changed by arguments SET=FOLDER."""
    data = dict(CORPORA)
    for argument in arguments:
        corpus, _, folder = argument.partition("=")
        if corpus not in CORPORA or not folder:
            raise UserError(f"--data {argument}: give SET=FOLDER, where SET is one of {', '.join(CORPORA)}")
        data[corpus] = folder
    return data


def main(args: argparse.Namespace) -> None:
    if not 0 < args.scale <= 1:
        raise UserError(f"--scale is {args.scale}: give a number above 0 and up to 1")
    errors: list[str] = []
    if args.report:
        settings = read_settings(args.out, Settings)
        if not (settings.preset in PRESETS and 0 < settings.scale <= 1 and settings.data.keys() == CORPORA.keys()):
            raise UserError(f"{args.out / 'settings.json'} is damaged: choose another --out")
        unfinished = {name: found for name in args.rows if (found := progress(name, args.out, settings))}
        if unfinished:
            first, found = next(iter(unfinished.items()))
            raise UserError(
                f"{len(unfinished)} of {len(args.rows)} rows are not finished, {first} is {found}: run the table "
                "without --report, or name the finished --rows"
            )
    else:
        inverter, embedding = args.inverter or GRIFFIN_LIM, args.embedding or default_embedding()
        settings = Settings(read_data(args.data), args.scale, args.preset, args.clips, inverter, embedding)
        check_data(args.rows, settings)
        keep_settings(args.out, settings)
        errors = finish_all({name: settings.task(name) for name in args.rows}, args.out, settings, args)
    if rows := read_metrics(args.out, args.rows, METRICS | ROW_METRICS):
        print(report(args.out, settings, rows))
    if errors:
        raise UserError("; ".join(errors))
