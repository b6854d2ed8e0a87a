"""How few network evaluations each sampler needs: the quality of its clips against their number, on a trained run.

All samplers start from the same noise. Two things are measured: the difference of the spectrograms from those of
deterministic DDIM with as many steps as the schedule has, which is the sampler's own error, and the Frechet distance of
the sound from the training music, which says how audible it is.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..audio.contract import FRAMES_PER_SECOND, N_MELS
from ..audio.inverter import Inverter, load_inverter
from ..diffusion import SAMPLERS, SPACINGS, Sampling, T
from ..diffusion.process import stream
from ..fad import Embedding, Set, embed_clips, load_embedding
from ..fad.reliability import distance, interval
from ..runtime import tree
from ..runtime.backend import CLIPS_AT_ONCE, threads, to_host
from ..runtime.cli import add_threads_option, at_least, counted
from ..runtime.errors import UserError, printable, warn
from ..runtime.files import conforms, read_json, require_writable, write_json
from ..spectrogram.compose import Composer
from ..spectrogram.config import Config
from ..spectrogram.data import load_windows, require_unchanged
from ..spectrogram.model import Model, read_run
from .compare import add_listening_options
from .pictures import save_step_curves

EVALUATIONS = (5, 10, 20, 50, 100, 200)
REFERENCE = "ddim", T  # sampler, evaluations
BACKGROUND = 100  # most clips of the training music
CLAIMS = (("dpm++2m", 20), ("ddim", 100)), (("dpm++2m", 50), REFERENCE)  # the first is no worse than the second

POINT: dict[str, Any] = {"sampler": str, "steps": int, "evaluations": int, "seconds": float, "rms": float, "fad": float}
POINT["interval"] = [float, float]


class Plan(NamedTuple):
    """The clips to draw, of `seconds` (None: a training window, or what the embedding needs) with each sampler."""

    clips: int
    seconds: float | None
    evaluations: Sequence[int]
    spacing: str

    def points(self) -> list[tuple[str, int]]:
        """(sampler, steps), the reference first."""
        pairs = [REFERENCE, *((sampler, n) for n in sorted(self.evaluations) for sampler in SAMPLERS)]
        return list(dict.fromkeys((sampler, SAMPLERS[sampler].steps(n)) for sampler, n in pairs))


def measure(run: Path, plan: Plan, invert: Inverter, embedding: Embedding) -> dict:
    """Measures every point of the plan. Each result is written to RUN/steps.json at once; steps.png shows them all.

    A call with the same settings continues where the last one stopped. Returns {"settings": ..., "points": [{"sampler",
    "steps", "evaluations", "seconds" (drawing time), "rms" (difference of standardised log-mels from the reference's),
    "fad", "interval"}, ...]}. Raises UserError if the training music is too short for two clips.
    """
    saved = read_run(run)
    config, scaler, model = saved.config, saved.scaler, saved.model()
    shortest = max(config.window_frames, config.frames_lasting(embedding.seconds))
    frames = config.drawn_frames(plan.seconds) if plan.seconds is not None else shortest
    settings: dict[str, Any] = {
        "trained_steps": saved.step,
        "network": saved.origin(run)["network"],
        "inverter": invert.name,
        "clips": plan.clips,
        "seconds": frames / FRAMES_PER_SECOND,
        "spacing": plan.spacing,
        "embedding": embedding.name,
    }
    done, reference = read_points(run, settings)
    missing = [point for point in plan.points() if point not in {(p["sampler"], p["steps"]) for p in done}]
    if missing:
        require_writable(run)
        require_unchanged(config, saved.contents)
        background = embed_background(config, frames, embedding)
        print(forecast(model, missing, plan.clips, frames), file=sys.stderr)
    for sampler, steps in missing:
        started = time.perf_counter()
        log_mels = Composer(model, Sampling(sampler, steps, plan.spacing), config.seed).draw(plan.clips, frames)
        seconds = time.perf_counter() - started
        if reference is None:
            reference = log_mels
            tree.save(run / "steps.npz", {"reference": reference})
        label = f"{sampler}, {steps} steps"
        clips = Set.of(embed_clips(embedding, invert(log_mels, label), label))
        point = {
            "sampler": sampler,
            "steps": steps,
            "evaluations": SAMPLERS[sampler].cost(steps),
            "seconds": seconds,
            "rms": rms(scaler.standardise(log_mels) - scaler.standardise(reference)),
            "fad": distance(background, clips),
            "interval": interval(background, clips, np.random.default_rng(0)),
        }
        done.append(point)
        write_json(run / "steps.json", {"settings": settings, "points": done})
    points = [point for point in done if (point["sampler"], point["steps"]) in plan.points()]
    save_step_curves(run / "steps.png", points, REFERENCE)
    return {"settings": settings, "points": points}


def embed_background(config: Config, frames: int, embedding: Embedding) -> Set:
    """Embeddings of at most BACKGROUND windows of the training music, as long as the clips and without overlap."""
    windows = load_windows(config, frames=frames)
    chosen = np.random.default_rng(config.seed).permutation(windows.apart())[:BACKGROUND]
    if len(chosen) < 2:
        raise UserError(
            f"{config.data} has one clip of {frames / FRAMES_PER_SECOND:g} s; 2 are needed. Lower --seconds"
        )
    return Set.of(embed_clips(embedding, windows.sound(chosen), "the training music"))


def forecast(model: Model, points: Sequence[tuple[str, int]], clips: int, frames: int) -> str:
    """How long drawing will take, in words, from the time of one network evaluation."""
    composer, eps_model = Composer(model), model.eps_model()
    piece = min(model.config.halvable(frames), composer.piece)
    pieces = 1 + len(composer.starts(piece, frames))
    x = model.start(piece, [stream(0, clip) for clip in range(min(clips, CLIPS_AT_ONCE))])
    for _ in range(2):  # the first call also warms up
        started = time.perf_counter()
        to_host(eps_model(x, T))
        seconds = (time.perf_counter() - started) * -(-clips // CLIPS_AT_ONCE) * pieces
    evaluations = sum(SAMPLERS[sampler].cost(steps) for sampler, steps in points)
    minutes = seconds * evaluations / 60
    times = f"{minutes:.0f} minutes" if minutes >= 2 else f"{60 * minutes:.0f} seconds"
    return f"drawing {counted(len(points), 'point')} of {counted(clips, 'clip')} will take about {times}"


def read_points(run: Path, settings: dict) -> tuple[list[dict], np.ndarray | None]:
    """The points in RUN/steps.json and the reference's log-mels; none if there is no such file, or it is damaged.

    Raises UserError if they were made with other settings: they are not to be lost.
    """
    path = run / "steps.json"
    if not path.exists():
        return [], None
    try:
        saved = read_json(path)
        if not conforms(saved, {"settings": {"clips": int, "seconds": float}, "points": [POINT]}):
            raise ValueError
        begun, points, reference = saved["settings"], saved["points"], tree.load(run / "steps.npz")["reference"]
        shape = begun["clips"], round(begun["seconds"] * FRAMES_PER_SECOND), N_MELS
        if not tree.is_finite(reference) or reference.shape != shape:
            raise ValueError
        different = [name for name in settings if begun.get(name) != settings[name]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        warn(f"{path}, or steps.npz beside it, is damaged or missing: everything is measured again")
        return [], None
    if different:
        name = different[0]
        was = printable(begun.get(name))
        raise UserError(
            f"{path} was made with {name.replace('_', ' ')} {was}, not {settings[name]}: give the same options to add "
            "to it, or move it elsewhere to begin anew"
        )
    return points, reference


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def summary(result: dict) -> str:
    """The points as a table, and whether DPM-Solver++ with few evaluations is as good as DDIM with many."""
    settings, points = result["settings"], result["points"]
    lines = [
        f"{counted(settings['clips'], 'clip')} of {settings['seconds']:g} s, {settings['spacing']} spacing, "
        f"Frechet distance with {settings['embedding']} (95 % interval)",
        f"{'sampler':10s} evaluations  steps  seconds  rms from {T} steps  Frechet distance",
    ]
    for point in sorted(points, key=lambda point: (point["sampler"], point["evaluations"])):
        low, high = point["interval"]
        lines.append(
            f"{point['sampler']:10s} {point['evaluations']:11d}  {point['steps']:5d}  {point['seconds']:7.1f}  "
            f"{point['rms']:19.4f}  {point['fad']:8.4g} ({low:.4g} to {high:.4g})"
        )
    at = {(point["sampler"], point["evaluations"]): point for point in points}
    for few, many in CLAIMS:
        if few in at and many in at:
            least, most = at[few]["fad"], at[many]["interval"][1]
            lines.append(
                f"{few[0]} with {few[1]} evaluations is {'no worse' if least <= most else 'worse'} than {many[0]} with "
                f"{many[1]}: {least:.4g} against {at[many]['fad']:.4g} (at most {most:.4g})"
            )
    return "\n".join(lines)


def add_command(commands: argparse._SubParsersAction) -> None:
    """experiments steps."""
    parser = commands.add_parser(
        "steps",
        help="how few steps each sampler needs",
        description="Draws the same clips with every sampler and various numbers of steps. Measures how far they are "
        f"from DDIM's in {T} steps and from the training music. Each result is saved in RUN/steps.json, and the same "
        "command continues after a stop. RUN/steps.png shows the results.",
    )
    parser.add_argument("--run", type=Path, required=True, help="folder of a trained run")
    parser.add_argument("--clips", type=at_least(2), default=16, help="number of clips per point (default: 16)")
    parser.add_argument(
        "--seconds", type=float, help="length of a clip (default: a training window, or what the embedding needs)"
    )
    parser.add_argument(
        "--evaluations",
        type=at_least(1),
        nargs="+",
        default=list(EVALUATIONS),
        metavar="N",
        help=f"network evaluations per clip, up to {T} (default: {' '.join(map(str, EVALUATIONS))})",
    )
    parser.add_argument(
        "--spacing",
        choices=SPACINGS,
        default="log-snr",
        help="how the time steps are spaced, as in sample; with uniform spacing the last step is too large for every "
        "sampler (default: log-snr)",
    )
    add_listening_options(parser)
    add_threads_option(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> None:
    if max(args.evaluations) > T:
        raise UserError(f"--evaluations has {max(args.evaluations)}; the schedule has {T} steps. Give that or fewer")
    plan = Plan(args.clips, args.seconds, args.evaluations, args.spacing)
    with threads(args.threads):
        result = measure(args.run, plan, load_inverter(args.inverter), load_embedding(args.embedding))
    print(summary(result))
    print(f"Look at {printable(args.run)}/steps.png; the numbers are in steps.json there.")
