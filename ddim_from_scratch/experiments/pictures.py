"""Pictures of spectrograms and of training, with matplotlib.

Each function draws on a figure of its own. pyplot, its list of open figures and its backend belong to the user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ..audio.contract import FRAMES_PER_SECOND
from ..runtime.files import replacing

SMOOTHING = 50  # steps
MOST_FRAMES = 4096  # of a spectrogram in a picture, many more than it has pixels


def save_log_mels(path: str | Path, rows: Mapping[str, Sequence[np.ndarray]]) -> None:
    """A grid of log-mel spectrograms, one labelled row for each key, on one colour scale. Each is (frames, 128)."""
    seconds = {label: [len(clip) / FRAMES_PER_SECOND for clip in clips] for label, clips in rows.items()}
    rows = {label: [clip[:: -(-len(clip) // MOST_FRAMES)] for clip in clips] for label, clips in rows.items()}
    columns = max(len(clips) for clips in rows.values())
    every_value = np.concatenate([np.ravel(clip) for clips in rows.values() for clip in clips])
    low, high = np.percentile(every_value, [1, 99.8])
    figure = Figure(figsize=(3 * columns + 0.6, 2.3 * len(rows) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
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
            )
            axis.tick_params(labelsize=8)
        row[0].set_ylabel(f"{label}\nmel bin", fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("time (s)", fontsize=9)
    figure.colorbar(image, ax=axes, label="ln(mel magnitude)", fraction=0.02, pad=0.01)
    _save(figure, path)


def save_film(path: str | Path, log_mels: Sequence[np.ndarray], seconds: float = 4.0) -> None:
    """A moving picture (WebP) of log-mels (frames, 128), one after the other, that stands still at the end and repeats.

    The colour scale is the last one's.
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


def save_losses(path: str | Path, steps: np.ndarray, losses: Mapping[str, np.ndarray]) -> None:
    """A curve for each loss: every step as a dot, a running mean as a line, on a logarithmic scale."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for name, values in losses.items():
        window = min(SMOOTHING, len(values))
        mean = np.convolve(values, np.full(window, 1 / window), "valid")
        (line,) = axis.plot(steps[window - 1 :], mean, label=name)
        axis.plot(steps, values, ".", markersize=1.5, alpha=0.3, color=line.get_color())
    axis.axhline(1, color="grey", linewidth=0.8, linestyle="--", label="noise loss of predicting zero")
    axis.set(xlabel="step", ylabel="mean squared error", yscale="log")
    axis.legend(frameon=False)
    _save(figure, path)


def save_step_curves(path: str | Path, points: Sequence[Mapping], reference: tuple[str, int]) -> None:
    """What `steps.measure` found: a curve for each sampler over its evaluations, of the rms and of the distance.

    The dashed line and the band are the reference's Frechet distance and its interval.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for sampler in dict.fromkeys(point["sampler"] for point in points):
        curve = sorted((p for p in points if p["sampler"] == sampler), key=lambda point: point["evaluations"])
        evaluations, fad = [p["evaluations"] for p in curve], [p["fad"] for p in curve]
        away = [p for p in curve if p["rms"] > 0]  # the reference is 0 from itself
        left.plot([p["evaluations"] for p in away], [p["rms"] for p in away], "o-", label=sampler)
        right.plot(evaluations, fad, "o-", label=sampler)
    for point in points:
        if (point["sampler"], point["evaluations"]) == reference:
            right.axhspan(*point["interval"], color="grey", alpha=0.2)
            right.axhline(point["fad"], color="grey", linestyle="--", linewidth=0.8)
    left.set(ylabel=f"rms from {reference[0]} in {reference[1]} steps (standardised)", yscale="log")
    right.set(ylabel="Frechet distance from the training music")
    for axis in (left, right):
        axis.set(xlabel="evaluations of the network", xscale="log")
        axis.legend(frameon=False)
    _save(figure, path)


def save_scores(path: str | Path, rows: Mapping[str, Mapping], papers: Mapping[str, float]) -> None:
    """Each row's "fad" with its "interval", beside its "floor" and "ceiling", and the paper's number, if any."""
    figure = Figure(figsize=(8, 0.5 * len(rows) + 1.4), layout="constrained")
    axis = figure.subplots()
    for y, (name, row) in enumerate(rows.items()):
        if row["interval"]:
            axis.plot(row["interval"], [y, y], color="C0", linewidth=3, alpha=0.4)
        marks = {"distance": (row["fad"], "o", "C0"), "floor": (row["floor"], "|", "C2")}
        marks |= {"ceiling": (row["ceiling"], "|", "C1"), "paper": (papers.get(name), "x", "black")}
        for label, (value, marker, color) in marks.items():
            if value is not None:
                axis.plot(value, y, marker, color=color, markersize=9, label=label)
    axis.set(xlabel="Frechet distance, lower is nearer", yticks=range(len(rows)), yticklabels=list(rows))
    axis.set_xlim(left=0)
    axis.invert_yaxis()
    handles, labels = axis.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axis.legend(once.values(), once.keys(), frameon=False)
    _save(figure, path)


def save_study(
    path: str | Path,
    scores: Mapping[int, float],
    courses: Mapping[int, Mapping[int, float]],
    importance: Mapping[str, float],
) -> None:
    """A study's history, the course of each of its trainings, and how much each option mattered.

    scores: of finished trials, by number. courses: distances by epoch, by trial. importance: shares by option, which
    may be empty while there are too few trials.
    """
    figure = Figure(figsize=(14, 4), layout="constrained")
    history, course, bars = figure.subplots(1, 3)
    numbers = sorted(scores)
    values = [scores[number] for number in numbers]
    history.plot(numbers, values, "o")
    history.step(numbers, np.minimum.accumulate(values), where="post", label="best so far")
    history.set(xlabel="trial", ylabel="Frechet distance")
    history.legend(frameon=False)
    for number, points in courses.items():
        epochs = sorted(points)
        finished = number in scores
        course.plot(epochs, [points[epoch] for epoch in epochs], "o-" if finished else "x:", alpha=0.7)
    course.set(xlabel="epoch", ylabel="Frechet distance", title="dotted: given up")
    bars.barh(list(importance)[::-1], list(importance.values())[::-1])
    bars.set(xlabel="importance" if importance else "importance: too few trials to say", xlim=(0, 1))
    _save(figure, path)


def _save(figure: Figure, path: str | Path) -> None:
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=100)
