"""Fewer steps for the same music: every sampler's quality against how often it asks the network, on a trained run.

All begin with the same noise. Two things are measured: how far the spectrograms are from those that the deterministic
DDIM draws in as many steps as the schedule has, and the Frechet distance of their sound from the training music. The
first is the sampler's own error, the second is what it means to the ear, or to the embedding that stands in for one.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..audio.contract import FRAMES_PER_SECOND
from ..audio.inverter import Inverter
from ..diffusion import SAMPLERS, Sampling, T
from ..fad import Embedding, Set, embed_clips
from ..fad.reliability import distance, interval
from ..runtime import tree
from ..runtime.errors import UserError
from ..runtime.files import write_json
from ..spectrogram.compose import Composer
from ..spectrogram.data import load_windows
from ..spectrogram.model import read_run
from .pictures import save_step_curves

EVALUATIONS = (5, 10, 20, 50, 100, 200)
REFERENCE = "ddim", T  # sampler, evaluations
BACKGROUND = 100  # clips of the training music, at most
CLAIMS = (("dpm++2m", 20), ("ddim", 100)), (("dpm++2m", 50), REFERENCE)  # the first is no worse than the second


def measure(
    run: Path,
    clips: int,
    seconds: float | None,
    evaluations: Iterable[int],
    spacing: str,
    invert: Inverter,
    embedding: Embedding,
    device: str = "cpu",
) -> dict:
    """Measure every sampler at every number of evaluations, and the reference, keeping each result in RUN/steps.json.

    A call with the same settings goes on where the last one stopped. seconds: of a clip; None is a training window,
    or what the embedding needs. Returns {"settings": ..., "points": [{"sampler", "steps", "evaluations", "seconds"
    (of drawing), "rms" (standardised log-mels; from the reference), "fad", "interval"}, ...]}, and draws steps.png.
    Raises UserError if the training music is too short for two clips.
    """
    saved = read_run(run)
    config, scaler, model = saved.config, saved.scaler, saved.model(device)
    least = max(config.window_frames, config.frames_lasting(embedding.seconds))
    frames = config.frames("--seconds", seconds) if seconds else least
    settings = {
        "trained_steps": saved.step,
        "clips": clips,
        "seconds": frames / FRAMES_PER_SECOND,
        "spacing": spacing,
        "embedding": embedding.name,
    }
    found, reference = recall(run, settings)
    wanted = [REFERENCE, *((sampler, n) for n in sorted(evaluations) for sampler in SAMPLERS)]
    wanted = [(sampler, SAMPLERS[sampler].steps(n)) for sampler, n in wanted]
    missing = [point for point in dict.fromkeys(wanted) if point not in {(p["sampler"], p["steps"]) for p in found}]
    if missing:
        windows = load_windows(dataclasses.replace(config, window_seconds=frames / FRAMES_PER_SECOND))
        chosen = np.random.default_rng(config.seed).permutation(windows.apart())[:BACKGROUND]
        if len(chosen) < 2:
            raise UserError(f"{config.data} has one clip of {settings['seconds']:g} s, 2 are needed: lower --seconds")
        background = Set.of(embed_clips(embedding, windows.sound(chosen), "the training music"))
    for sampler, steps in missing:
        started = time.perf_counter()
        log_mels = Composer(model, Sampling(sampler, steps, spacing), config.seed).draw(clips, frames)
        took = time.perf_counter() - started
        if reference is None:
            reference = log_mels
            tree.save(run / "steps.npz", {"reference": reference})
        label = f"{sampler}, {steps} steps"
        sound = Set.of(embed_clips(embedding, invert(log_mels, label), label))
        found.append(
            {
                "sampler": sampler,
                "steps": steps,
                "evaluations": SAMPLERS[sampler].evaluations * (steps - 1) + 1,
                "seconds": took,
                "rms": rms(scaler.standardise(log_mels) - scaler.standardise(reference)),
                "fad": distance(background, sound),
                "interval": interval(background, sound, np.random.default_rng(0)),
            }
        )
        write_json(run / "steps.json", {"settings": settings, "points": found})
    points = [point for point in found if (point["sampler"], point["steps"]) in wanted]
    save_step_curves(run / "steps.png", points, REFERENCE)
    return {"settings": settings, "points": points}


def recall(run: Path, settings: dict) -> tuple[list[dict], np.ndarray | None]:
    """The points that steps.json has for these settings, and the reference's spectrograms; nothing for others."""
    try:
        kept = json.loads((run / "steps.json").read_text())
        if kept["settings"] == settings:
            return kept["points"], tree.load(run / "steps.npz")["reference"]
    except (OSError, ValueError, KeyError):  # none yet, or damaged
        pass
    return [], None


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def report(result: dict) -> str:
    """The points as a table, and whether few steps of DPM-Solver++ are as good as many of DDIM."""
    settings, points = result["settings"], result["points"]
    lines = [
        f"{settings['clips']} clips of {settings['seconds']:g} s, steps of {settings['spacing']} spacing, "
        f"Frechet distance by {settings['embedding']} (95 % interval)",
        f"{'sampler':10s} evaluations  steps  seconds  from DDIM's {T} steps  Frechet distance",
    ]
    for point in sorted(points, key=lambda point: (point["sampler"], point["evaluations"])):
        low, high = point["interval"]
        lines.append(
            f"{point['sampler']:10s} {point['evaluations']:11d}  {point['steps']:5d}  {point['seconds']:7.1f}  "
            f"{point['rms']:21.4f}  {point['fad']:8.4g} ({low:.4g} to {high:.4g})"
        )
    at = {(point["sampler"], point["evaluations"]): point for point in points}
    for few, many in CLAIMS:
        if few in at and many in at:
            holds = at[few]["fad"] <= at[many]["interval"][1]
            lines.append(
                f"{few[0]} at {few[1]} evaluations is {'no worse than' if holds else 'worse than'} {many[0]} at "
                f"{many[1]}: {at[few]['fad']:.4g}, which scores {at[many]['fad']:.4g}, at most "
                f"{at[many]['interval'][1]:.4g}"
            )
    return "\n".join(lines)
