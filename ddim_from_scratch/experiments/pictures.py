"""Pictures of spectrograms and trainings, with matplotlib, and the film of a clip's generation.

Each function draws on its own figure. pyplot, its list of open figures and its backend belong to the user.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from ..audio.contract import FRAMES_PER_SECOND
from ..audio.mel import mel_bin
from ..audio.midi import Notes
from ..audio.synth import frequency_hz
from ..diffusion import Sampling
from ..diffusion.process import stream
from ..runtime.backend import threads
from ..runtime.cli import add_threads_option, at_least
from ..runtime.errors import UserError, printable
from ..runtime.files import replacing, require_writable
from ..spectrogram.compose import Composer
from ..spectrogram.model import read_run
from ..spectrogram.modes import GUIDANCE, guidance

SMOOTHING = 50  # steps in the running mean of a loss
LONG_SECONDS = 6  # longer clips get a row of their own, and a wider one
MAX_FRAMES = 4096  # longer spectrograms are thinned out: a picture has far fewer pixels


def save_log_mels(
    path: str | Path,
    rows: Mapping[str, Sequence[np.ndarray] | np.ndarray],
    seams: Sequence[float] = (),
    notes: Notes | None = None,
) -> None:
    """Draws a grid of log-mel spectrograms (frames, 128), one labelled row per key, on one colour scale.

    Long clips have a wide row each. seams: seconds at which a line is drawn in every clip. notes: drawn over every
    clip, each as a line at its fundamental.
    """
    longest = max(len(clip) for clips in rows.values() for clip in clips) / FRAMES_PER_SECOND
    if longest > LONG_SECONDS:
        rows = {f"{label} {i}": [clip] for label, clips in rows.items() for i, clip in enumerate(clips)}
    width = 3 * float(np.clip(longest / LONG_SECONDS, 1, 2.5))
    seconds = {label: [len(clip) / FRAMES_PER_SECOND for clip in clips] for label, clips in rows.items()}
    rows = {label: [clip[:: -(-len(clip) // MAX_FRAMES)] for clip in clips] for label, clips in rows.items()}
    columns = max(len(clips) for clips in rows.values())
    values = np.concatenate([np.ravel(clip) for clips in rows.values() for clip in clips])
    low, high = np.percentile(values, [1, 99.8])
    figure = Figure(figsize=(width * columns + 0.6, 2.3 * len(rows) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), columns, sharex=True, sharey=True, squeeze=False)
    for row, (label, clips) in zip(axes, rows.items(), strict=True):
        for axis in row[len(clips) :]:
            axis.axis("off")
        for axis, clip, length in zip(row, clips, seconds[label], strict=False):
            image = axis.imshow(
                np.asarray(clip).T,
                origin="lower",
                aspect="auto",
                cmap="magma",
                vmin=low,
                vmax=high,
                extent=(0, length, 0, clip.shape[1]),
                interpolation="nearest",
                interpolation_stage="data",  # colours of every frame of a long clip would take 256 kB a second
            )
            axis.tick_params(labelsize=8)
            for seam in seams:
                axis.axvline(seam, color="white", linewidth=1, linestyle="--")
            if notes:
                bins = mel_bin(frequency_hz(notes.pitch))
                axis.hlines(bins, notes.start, np.minimum(notes.stop, length), color="cyan", linewidth=1)
        row[0].set_ylabel(f"{label}\nmel bin", fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("time (s)", fontsize=9)
    figure.colorbar(image, ax=axes, label="ln(mel magnitude)", fraction=0.02, pad=0.01)
    _save(figure, path)


def save_film(path: str | Path, log_mels: Sequence[np.ndarray] | np.ndarray, seconds: float = 4.0) -> None:
    """Writes an animated WebP of log-mels (frames, 128). It stops on the last one for 2 s, then repeats.

    The last log-mel sets the colour scale. seconds: duration before the stop.
    """
    low, high = np.percentile(log_mels[-1], [1, 99.8])
    images = []
    for log_mel in log_mels:
        shades = np.clip((log_mel.T[::-1] - low) / (high - low), 0, 1)
        image = Image.fromarray((matplotlib.colormaps["magma"](shades)[..., :3] * 255).astype(np.uint8))
        images.append(image.resize((3 * image.width, 2 * image.height), Image.Resampling.NEAREST))
    durations = [round(1000 * seconds / len(images))] * (len(images) - 1) + [2000]  # milliseconds
    with replacing(path) as file:
        images[0].save(file, "webp", save_all=True, append_images=images[1:], duration=durations, loop=0, quality=40)


def save_losses(path: str | Path, steps: np.ndarray, losses: Mapping[str, np.ndarray], nothing: float) -> None:
    """Draws each loss on a logarithmic scale: every step as a dot, the running mean as a line.

    nothing: the noise loss of a network that has learnt nothing, a dashed line.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for name, values in losses.items():
        window = min(SMOOTHING, len(values))
        mean = np.convolve(values, np.full(window, 1 / window), "valid")
        (line,) = axis.plot(steps[window - 1 :], mean, label=name)
        axis.plot(steps, values, ".", markersize=1.5, alpha=0.3, color=line.get_color())
    axis.axhline(nothing, color="grey", linewidth=0.8, linestyle="--", label="noise loss of predicting zero")
    axis.set(xlabel="step", ylabel="mean squared error", yscale="log")
    axis.legend(frameon=False)
    _save(figure, path)


def save_step_curves(path: str | Path, points: Sequence[Mapping], reference: tuple[str, int]) -> None:
    """Draws the results of `steps.measure`: error and Frechet distance of each sampler over its network evaluations.

    The dashed line and the band show the reference's Frechet distance and its interval.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for sampler in dict.fromkeys(point["sampler"] for point in points):
        curve = sorted((p for p in points if p["sampler"] == sampler), key=lambda point: point["evaluations"])
        evaluations, fad = [p["evaluations"] for p in curve], [p["fad"] for p in curve]
        others = [p for p in curve if p["rms"] > 0]  # the reference's own error is 0, which has no logarithm
        left.plot([p["evaluations"] for p in others], [p["rms"] for p in others], "o-", label=sampler)
        right.plot(evaluations, fad, "o-", label=sampler)
    for point in points:
        if (point["sampler"], point["evaluations"]) == reference:
            right.axhspan(*point["interval"], color="grey", alpha=0.2)
            right.axhline(point["fad"], color="grey", linestyle="--", linewidth=0.8)
    left.set(ylabel=f"rms difference from {reference[0]} in {reference[1]} steps", yscale="log")
    right.set(ylabel="Frechet distance from the training music")
    for axis in (left, right):
        axis.set(xlabel="network evaluations", xscale="log")
        axis.legend(frameon=False)
    _save(figure, path)


def save_distances(path: str | Path, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Draws each row's "fad" with its "interval", beside "floor", "ceiling" and the number of the "paper", if any."""
    figure = Figure(figsize=(8, 0.5 * len(rows) + 1.4), layout="constrained")
    axis = figure.subplots()
    for y, row in enumerate(rows.values()):
        if row["interval"]:
            axis.plot(row["interval"], [y, y], color="C0", linewidth=3, alpha=0.4)
        marks = {"distance": (row["fad"], "o", "C0"), "floor": (row["floor"], "|", "C2")}
        marks |= {"ceiling": (row["ceiling"], "|", "C1"), "paper": (row.get("paper"), "x", "black")}
        for label, (value, marker, color) in marks.items():
            if value is not None:
                axis.plot(value, y, marker, color=color, markersize=9, label=label)
    axis.set(xlabel="Frechet distance (lower is better)", yticks=range(len(rows)), yticklabels=list(rows))
    axis.set_xlim(left=0)
    axis.invert_yaxis()
    handles, labels = axis.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axis.legend(unique.values(), unique.keys(), frameon=False)
    _save(figure, path)


def save_study(
    path: str | Path,
    distances: Mapping[int, float],
    curves: Mapping[int, Mapping[int, float]],
    importance: Mapping[str, float],
) -> None:
    """Draws a study: the distance of each trial, the curve of each training, and the importance of each option.

    distances: of finished trials, by number. curves: distance by epoch, by trial number. importance: share by option;
    empty while there are too few trials.
    """
    figure = Figure(figsize=(14, 4), layout="constrained")
    history, curve, bars = figure.subplots(1, 3)
    numbers = sorted(distances)
    values = [distances[number] for number in numbers]
    history.plot(numbers, values, "o")
    history.step(numbers, np.minimum.accumulate(values), where="post", label="best so far")
    history.set(xlabel="trial", ylabel="Frechet distance")
    history.legend(frameon=False)
    for number, points in curves.items():
        epochs = sorted(points)
        finished = number in distances
        curve.plot(epochs, [points[epoch] for epoch in epochs], "o-" if finished else "x:", alpha=0.7)
    curve.set(xlabel="epoch", ylabel="Frechet distance", title="dotted: pruned")
    bars.barh(list(importance)[::-1], list(importance.values())[::-1])
    bars.set(xlabel="importance" if importance else "importance: too few trials to say", xlim=(0, 1))
    _save(figure, path)


def _save(figure: Figure, path: str | Path) -> None:
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=100)


def film(run: Path, seconds: float | None, steps: int, weight: float = 1) -> np.ndarray:
    """Writes RUN/film.webp: one clip on its way from noise to music, by DDIM. Returns its log-mels, one per step.

    weight: of guidance, as in `Composer`.
    """
    require_writable(run)
    model = read_run(run).model()
    frames = model.config.drawn_frames(seconds)
    if frames > (most := model.config.frames_at_once):
        raise UserError(f"--seconds is {seconds:g}, and the network draws {most / FRAMES_PER_SECOND:g} s at once")
    rngs = [stream(model.config.seed, 0)]
    x_T = model.start(model.config.halvable(frames), rngs)
    walk = Composer(model, Sampling("ddim", steps), guidance=weight).walk(rngs)
    xs = tqdm(walk(x_T), total=steps + 1, desc="sampling", unit="step")
    log_mels = model.restored(np.concatenate([*xs]))[:, :frames]
    save_film(run / "film.webp", log_mels)
    return log_mels


def add_command(commands: argparse._SubParsersAction) -> None:
    """experiments film."""
    parser = commands.add_parser(
        "film",
        help="animated picture of a clip's generation",
        description="Writes RUN/film.webp: a spectrogram on its way from noise to music.",
    )
    parser.add_argument("--run", type=Path, required=True, help="folder of a trained run")
    parser.add_argument("--seconds", type=float, help="length of the clip (default: a training window)")
    parser.add_argument("--steps", type=at_least(1), default=60, help="DDIM steps, one frame each (default: 60)")
    for name, settings in GUIDANCE.items():
        parser.add_argument(name, **settings)
    add_threads_option(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> None:
    with threads(args.threads):
        film(args.run, args.seconds, args.steps, guidance(args))
    print(f"Look at {printable(args.run)}/film.webp.")
