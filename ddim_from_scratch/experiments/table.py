"""The paper's table: every row trained, sampled, made audible and scored, and a report of what the scores are worth.

    python -m ddim_from_scratch.experiments table --rows gtzan-10 --data gtzan=recordings/ --out tables/paper

A row goes through four stages, and each leaves its files in the table's folder: runs/ holds the trainings, which
rows that differ in S alone share; rows/NAME/ the spectrograms drawn, a file for every eight, their sound, and
metrics.json. The same command goes on where it was stopped, and computes nothing twice.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from ..audio import load_audio, write_wav
from ..audio.inverter import Inverter, add_inverter_option, default_inverter, load_inverter
from ..diffusion import Sampling
from ..fad import Embedding, Set, embed_clips, load_embedding
from ..fad.embeddings import NAMES, default_embedding
from ..fad.reliability import distance, floor, infinity, interval
from ..nn.fast import use_plain
from ..runtime import tree
from ..runtime.backend import CLIPS_AT_ONCE, available_cores, chosen_device, hardware, parallel, threads
from ..runtime.cli import add_hardware_options, at_least
from ..runtime.errors import UserError
from ..runtime.files import write_json
from ..runtime.streams import stream
from ..spectrogram.compose import Composer
from ..spectrogram.config import PRESETS, Config
from ..spectrogram.data import Windows, load_windows
from ..spectrogram.datasets import recordings
from ..spectrogram.model import read_run
from ..spectrogram.system import training
from ..train import train
from ..training.checkpoint import checkpoint_path, save_checkpoint
from ..training.guards import end_with_parent
from ..training.log import read_log
from ..training.loop import checkpoint
from .pictures import save_log_mels
from .reports import write_report

PICTURED = 4


class Row(NamedTuple):
    """A row of the paper's table. steps: S, of the sampler. fad: the paper's, None where it gives no number."""

    set: str
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
        clips = f"-w{self.windows_per_track}" if self.windows_per_track != 20 else ""
        return f"{self.set}-{self.tracks}{clips}-{self.seconds:g}s-e{self.epochs}-b{self.batch_size}"

    def scaled(self, scale: float) -> Row:
        """The row with so large a share of its epochs and of its sampler's steps, at least 1 and 2."""
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
# Can it learn ten clips by heart? The paper tried lengths, batch sizes and step counts and gives no numbers; 2000
# epochs of ten windows are half as many steps as those of gtzan-10.
ROWS |= {
    f"overfit-{seconds:.0f}s-b{batch_size}-s{steps}": Row("gtzan", 10, seconds, 2000, steps, batch_size, None, 1)
    for seconds in (5.12, 10.24)
    for batch_size in (1, 4)
    for steps in (100, 1000)
}
SETS = {"gtzan": "gtzan:classical", "carnatic": "saraga"}  # where a row's recordings are from, unless --data tells


class Task(NamedTuple):
    """What a row of any table needs.

    training: the name of its run, which rows can share. config: the run's. music: whose windows, as long as the clips,
    are compared with; its seed is that of the noise that clips begin with. steps, sampler, spacing: how they are
    drawn. about: what metrics.json says of the row beside its scores. trained: or else from fresh weights.
    """

    training: str
    config: Config
    music: Config
    steps: int
    about: dict[str, object]
    sampler: str = "ddim"
    spacing: str = "uniform"
    trained: bool = True


class Settings(NamedTuple):
    """What holds for a whole table. data: where each set's recordings are."""

    data: dict[str, str]
    scale: float
    preset: str
    clips: int
    inverter: str
    embedding: str

    def row(self, name: str) -> Row:
        return ROWS[name].scaled(self.scale)

    def config(self, row: Row) -> Config:
        settings = {"limit": row.tracks, "window_seconds": row.seconds, "windows_per_track": row.windows_per_track}
        settings |= {"epochs": row.epochs, "batch_size": row.batch_size}
        return Config(**PRESETS[self.preset] | settings | {"data": self.data[row.set]})

    def task(self, name: str) -> Task:
        row = self.row(name)
        paper = row.fad if self.scale == 1 else None  # of other epochs and steps: no comparison
        about = row._asdict() | {"paper": paper, "scale": self.scale}
        return Task(row.training, self.config(row), self.config(row), row.steps, about)


def keep_settings(out: Path, settings: NamedTuple) -> None:
    """Write a table's settings. Raises UserError if it was begun with others: scores would not be comparable."""
    path = out / "settings.json"
    if path.exists():
        begun = tree.flatten(read_settings(out, type(settings))._asdict())
        for name, value in tree.flatten(settings._asdict()).items():
            if begun.get(name) != value:
                name, was = name.rpartition("/")[2], begun.get(name)
                raise UserError(f"{out} was begun with {name} {was}, not {value}: choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, settings._asdict())


def read_settings(out: Path, kind: type[NamedTuple] = Settings) -> NamedTuple:
    try:
        return kind(**json.loads((out / "settings.json").read_bytes()))
    except FileNotFoundError:
        raise UserError(f"{out} holds no table: check the path, or leave out --report to begin one") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{out / 'settings.json'} is damaged ({error}): choose another --out") from None


def check_data(names: list[str], settings: Settings) -> None:
    """Raises UserError, before anything is computed, if a row needs more tracks than there are."""
    there = {name: len(recordings(settings.data[name])) for name in {ROWS[row].set for row in names}}
    short = [row for row in names if there[ROWS[row].set] < ROWS[row].tracks]
    if short:
        row = ROWS[short[0]]
        raise UserError(
            f"{short[0]} needs {row.tracks} tracks, {settings.data[row.set]} has {there[row.set]}: give a folder with "
            f"more, --data {row.set}=FOLDER, or leave out the rows {' '.join(short)}"
        )


def row_folder(out: Path, name: str) -> Path:
    return out / "rows" / name


def finish(tasks: dict[str, Task], out: Path, settings: NamedTuple, device: str, thread_count: int | None) -> None:
    """Bring rows that share a training to their metrics.json, from wherever each is.

    settings: of which "clips", "inverter" and "embedding" count.
    """
    if all((row_folder(out, name) / "metrics.json").exists() for name in tasks):
        return
    with threads(1 if device == "gpu" else thread_count):
        first = next(iter(tasks.values()))
        windows = load_windows(first.config)
        music = windows if first.music == first.config else load_windows(first.music)
        run = out / "runs" / first.training
        learn(first, windows, run, device)
        invert, embedding = load_inverter(settings.inverter, device), load_embedding(settings.embedding, device)
        for name, task in tasks.items():
            folder = row_folder(out, name)
            folder.mkdir(parents=True, exist_ok=True)
            draw(run, task, settings.clips, folder, device)
            make_audible(folder, settings.clips, invert)
            if not (folder / "metrics.json").exists():
                metrics = task.about | {"windows": len(windows), "hardware": hardware(device)}
                metrics |= score(music, run, folder, settings.clips, invert, embedding, out / "music")
                write_json(folder / "metrics.json", metrics)


def learn(task: Task, windows: Windows, run: Path, device: str) -> None:
    """Stage 1: train, or go on training, up to the configuration's epochs."""
    config = task.config
    saved = read_run(run) if checkpoint_path(run).exists() else None
    if saved and saved.config != config:
        raise UserError(f"{run} was trained with other options, see its config.json: choose another --out")
    if not task.trained:
        run.mkdir(parents=True, exist_ok=True)
        system = training(config, windows=windows)
        save_checkpoint(checkpoint_path(run), checkpoint(system, system.init(stream(config.seed)), 0))
    elif not saved or saved.epochs_done < config.epochs:
        train(training(config, saved, device, windows), run, saved)


def drawn_files(folder: Path, clips: int) -> list[Path]:
    return [folder / f"drawn_{start:03d}.npz" for start in range(0, clips, CLIPS_AT_ONCE)]


def draw(run: Path, task: Task, clips: int, folder: Path, device: str) -> None:
    """Stage 2: spectrograms, a file for every CLIPS_AT_ONCE."""
    missing = [(i, path) for i, path in enumerate(drawn_files(folder, clips)) if not path.exists()]
    if not missing:
        return
    model, how = read_run(run).model(device), Sampling(task.sampler, task.steps, task.spacing)
    for i, path in missing:
        started, first = time.perf_counter(), i * CLIPS_AT_ONCE
        composer = Composer(model, how, task.music.seed, first)
        log_mels = composer.draw(min(CLIPS_AT_ONCE, clips - first), task.music.window_frames)
        tree.save(path, {"log_mels": log_mels, "seconds": np.array(time.perf_counter() - started)})


def read_drawn(folder: Path, clips: int) -> tuple[np.ndarray, float]:
    """What `draw` wrote: log-mels (clips, frames, 128), and the seconds that drawing took."""
    files = [tree.load(path) for path in drawn_files(folder, clips)]
    return np.concatenate([file["log_mels"] for file in files]), sum(float(file["seconds"]) for file in files)


def sound_files(folder: Path, clips: int) -> list[Path]:
    return [folder / f"sample_{i:03d}.wav" for i in range(clips)]


def make_audible(folder: Path, clips: int, invert: Inverter) -> None:
    """Stage 3: the sound of what was drawn, a WAV file a clip."""
    missing = [i for i, path in enumerate(sound_files(folder, clips)) if not path.exists()]
    if missing:
        log_mels, _ = read_drawn(folder, clips)
        for i, samples in zip(missing, invert(log_mels[missing]), strict=True):
            write_wav(sound_files(folder, clips)[i], samples)


def embedded_music(windows: Windows, invert: Inverter, embedding: Embedding, folder: Path) -> tuple[Set, Set]:
    """Windows as they are, and through the inverter. Kept in `folder`, by what they are cut from, for other rows."""
    what = [str(path) for path in windows.paths], windows.starts.tolist(), windows.frames
    path = folder / f"{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]}.npz"
    if not path.exists():
        every = range(len(windows))
        sounds = {"as it is": windows.sound(every), "inverted": invert(windows.take(every), "training music")}
        folder.mkdir(exist_ok=True)
        kept = {name: np.stack(embed_clips(embedding, clips, f"music {name}")) for name, clips in sounds.items()}
        tree.save(path, kept)
    kept = tree.load(path)
    return Set.of([*kept["as it is"]]), Set.of([*kept["inverted"]])


def score(
    windows: Windows, run: Path, folder: Path, clips: int, invert: Inverter, embedding: Embedding, kept: Path
) -> dict[str, object]:
    """Stage 4: what metrics.json says of the new clips, and a picture of some.

    The distance is from all the training music, in windows that do not overlap. Floor and ceiling are of halves of
    it: real music from real music, and from real music that went through the inverter.
    """
    chosen = windows.apart()
    music, inverted = embedded_music(windows.some(chosen), invert, embedding, kept)
    new = Set.of(embed_clips(embedding, parallel(load_audio, sound_files(folder, clips)), "new music"))
    rngs = np.random.default_rng(0).spawn(2)
    extrapolation = infinity(music, new, rngs[0])
    log_mels, drawing_seconds = read_drawn(folder, clips)
    log = np.array(read_log(run / "log.csv") if (run / "log.csv").exists() else np.empty((0, 5)))
    some = chosen[np.linspace(0, len(chosen) - 1, PICTURED).astype(int)]
    save_log_mels(folder / "spectrograms.png", {"training": windows.take(some), "generated": log_mels[:PICTURED]})
    return {
        "fad": distance(music, new),
        "interval": interval(music, new, rngs[1]),
        "fad_infinity": extrapolation and extrapolation._asdict(),
        "floor": floor(music, np.random.default_rng(0)),
        "ceiling": floor(music, np.random.default_rng(0), inverted),
        "nearest": nearest(music.clips, windows.starts[chosen, 0], new.clips),
        "n": len(new.clips),
        "n_training": len(chosen),
        "embeddings": new.n,
        "dimension": len(new.mean),
        "training_steps": len(log),
        "training_seconds": float(log[:, 4].sum()),
        "seconds_a_step": float(np.median(log[:, 4])) if len(log) else None,
        "drawing_seconds": drawing_seconds,
        "noise_loss": float(log[-50:, 2].mean()) if len(log) else None,
    }


def nearest(music: list[np.ndarray], tracks: np.ndarray, clips: list[np.ndarray]) -> dict[str, float] | None:
    """How near new clips come to the training clips, beside how near those come to clips of other tracks.

    music, clips: embeddings (patches, D) of each clip, of which the mean counts. tracks: which one each training clip
    is of. Returns medians over the clips, of the distance to the nearest; None if there is only one track.
    A generated median far below the real one says that the network recites.
    """
    real, new = (np.stack([clip.mean(axis=0) for clip in side]) for side in (music, clips))
    if len(set(tracks)) < 2:
        return None
    between = np.where(tracks[:, None] == tracks, np.inf, cdist(real, real))
    return {
        "generated": float(np.median(cdist(new, real).min(axis=1))),
        "real": float(np.median(between.min(axis=1))),
    }


def state(name: str, out: Path, settings: Settings) -> str | None:
    """How far an unfinished row is, in words; None if it is finished."""
    folder = row_folder(out, name)
    if (folder / "metrics.json").exists():
        return None
    task = settings.task(name)
    run = out / "runs" / task.training
    if not checkpoint_path(run).exists():
        return "not begun"
    if (epochs := read_run(run).epochs_done) < task.config.epochs:
        return f"trained for {epochs} of {task.config.epochs} epochs"
    drawn = sum(path.exists() for path in drawn_files(folder, settings.clips)) * CLIPS_AT_ONCE
    return f"{min(drawn, settings.clips)} of {settings.clips} clips drawn"


def finish_all(
    tasks: dict[str, Task], out: Path, settings: NamedTuple, device: str, jobs: int, count: int | None
) -> list[str]:
    """Every row, those that share a training in one process after another. Returns what went wrong, a line a group."""
    groups: dict[str, dict[str, Task]] = defaultdict(dict)
    for name, task in tasks.items():
        groups[task.training][name] = task
    each = max((count or available_cores()) // jobs, 1)
    errors = []
    spawn = multiprocessing.get_context("spawn")
    with OneProcess() if jobs == 1 else ProcessPoolExecutor(jobs, spawn, end_with_parent, (os.getpid(),)) as pool:
        futures = {}
        for group in groups.values():
            futures[" ".join(group)] = pool.submit(finish, group, out, settings, device, each)
        for group, future in futures.items():
            try:
                future.result()
            except (UserError, OSError, MemoryError) as error:
                errors.append(f"{group}: {error}")
            except BrokenExecutor:
                errors.append(f"{group}: a process was killed, perhaps for want of memory: try with fewer --jobs")
    return errors


class OneProcess(Executor):
    """An executor that does the work at once, in the process that asks."""

    def submit(self, function, /, *arguments) -> Future:
        future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def finished(out: Path, names: Iterable[str]) -> dict[str, dict]:
    """The metrics of every row that has them."""
    files = {name: row_folder(out, name) / "metrics.json" for name in names}
    return {name: json.loads(path.read_bytes()) for name, path in files.items() if path.exists()}


def add_command(commands: argparse._SubParsersAction) -> None:
    """experiments table."""
    parser = commands.add_parser(
        "table",
        help="the paper's table",
        description="Trains, samples and scores rows of the paper's table, and writes table.md, table.html with "
        "sound, and table.json into --out. Stopped, it goes on with the same command.",
        epilog="example: python -m ddim_from_scratch.experiments table --rows gtzan-10 --data gtzan=recordings/ "
        "--scale 0.05 --out tables/small",
    )
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    where = " ".join(f"{name}={data}" for name, data in SETS.items())
    parser.add_argument(
        "--data", nargs="+", default=[], metavar="SET=FOLDER", help=f"where recordings are (default: {where})"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--report", action="store_true", help="compute nothing, only write the report again")
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="take this share of the epochs and of S, for a small machine; the report will not say paper (default: 1)",
    )
    parser.add_argument("--preset", choices=PRESETS, default="paper", help="the recipe (default: paper)")
    parser.add_argument("--clips", type=at_least(2), default=50, help="to draw for each row (default: 50)")
    parser.add_argument("--jobs", type=at_least(1), default=1, help="trainings at a time, a process each (default: 1)")
    parser.add_argument("--embedding", choices=NAMES, help="default: vggish where it is at hand, else musicnn")
    add_inverter_option(parser)
    add_hardware_options(parser)


def main(args: argparse.Namespace) -> None:
    if not 0 < args.scale <= 1:
        raise UserError(f"--scale is {args.scale}: give a share, above 0 up to 1")
    if args.report:
        settings = read_settings(args.out)
        unfinished = {name: found for name in args.rows if (found := state(name, args.out, settings))}
        if unfinished:
            first, found = next(iter(unfinished.items()))
            raise UserError(
                f"{len(unfinished)} of {len(args.rows)} rows are not finished, {first} is {found}: run the table "
                "without --report, or name the --rows that are"
            )
        errors = []
    else:
        data = dict(SETS)
        for one in args.data:
            name, _, where = one.partition("=")
            if name not in SETS or not where:
                raise UserError(f"--data {one}: give SET=FOLDER, where SET is one of {', '.join(SETS)}")
            data[name] = where
        device = chosen_device(args.gpu)
        use_plain(args.plain)
        chosen = args.inverter or default_inverter(), args.embedding or default_embedding()
        settings = Settings(data, args.scale, args.preset, args.clips, *chosen)
        check_data(args.rows, settings)
        keep_settings(args.out, settings)
        tasks = {name: settings.task(name) for name in args.rows}
        errors = finish_all(tasks, args.out, settings, device, args.jobs, args.threads)
    done = finished(args.out, args.rows)
    if done:
        print(write_report(args.out, settings._asdict(), done))
    if errors:
        raise UserError("; ".join(errors))
