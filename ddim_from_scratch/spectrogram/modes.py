"""What the `sample` command can do with a trained run: its subcommands, and the options of each."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from ..audio.contract import FRAMES_PER_SECOND
from ..diffusion import DEFAULT_SAMPLING, SAMPLERS, SPACINGS, Sampling, T
from ..runtime.cli import at_least
from ..runtime.errors import UserError
from .compose import RESAMPLINGS, Composer, drawn_frames, frames_at_once, length, read_log_mel, seconds
from .config import Config, whole_frames
from .model import Model


class Mode(NamedTuple):
    """A subcommand of `sample`.

    compose(args, composer): reads the files, and returns a function that draws log-mels (num, frames, 128).
    Raises UserError for what cannot be drawn.
    """

    help: str
    folder: str  # within the run, for its files
    add_options: Callable[[argparse.ArgumentParser], None]
    compose: Callable[[argparse.Namespace, Composer], Callable[[], np.ndarray]]


def composer(args: argparse.Namespace, model: Model) -> Composer:
    """How the options of a mode say that the model draws; those that it lacks have their defaults."""
    overlap = overlap_frames(model.config, getattr(args, "overlap", None))
    return Composer(model, sampling(args), args.seed, 0, overlap, getattr(args, "resamplings", RESAMPLINGS))


def sampling(args: argparse.Namespace) -> Sampling:
    given = {name: getattr(args, name) for name in Sampling.__dataclass_fields__ if hasattr(args, name)}
    return Sampling(**given)


def draw(args: argparse.Namespace, composer: Composer) -> Callable[[], np.ndarray]:
    return partial(composer.draw, args.num, drawn_frames(composer.model.config, args.seconds))


def go_on(args: argparse.Namespace, composer: Composer) -> Callable[[], np.ndarray]:
    config = composer.model.config
    recording = read_log_mel(args.recording, composer.model.scaler, composer.needed)
    prompt = recording[-max(composer.needed, config.window_frames) :]
    new = whole_frames("--seconds", length(config, args.seconds))
    return partial(composer.go_on, np.repeat(prompt[None], args.num, axis=0), new)


def infill(args: argparse.Namespace, composer: Composer) -> Callable[[], np.ndarray]:
    if not np.isfinite(args.gap).all():
        raise UserError(f"--gap is {args.gap[0]} {args.gap[1]}: give two numbers of seconds")
    start, stop = (round(second * FRAMES_PER_SECOND) for second in args.gap)
    recording = read_log_mel(args.recording, composer.model.scaler)
    return partial(composer.fill, recording, start, stop, args.num)


def vary(args: argparse.Namespace, composer: Composer) -> Callable[[], np.ndarray]:
    if not 0 <= args.strength <= 1:
        raise UserError(f"--strength is {args.strength}: give a number from 0 (the clip itself) to 1")
    (clip,) = _beginnings(args, composer.model, args.recording)
    return partial(composer.vary, clip, args.strength, args.num)


def between(args: argparse.Namespace, composer: Composer) -> Callable[[], np.ndarray]:
    a, b = _beginnings(args, composer.model, args.a, args.b)
    return partial(composer.between, a, b, args.num)


def _beginnings(args: argparse.Namespace, model: Model, *recordings: str) -> list[np.ndarray]:
    frames = model.config.frames("--seconds", length(model.config, args.seconds))
    return [read_log_mel(recording, model.scaler, frames)[:frames] for recording in recordings]


def overlap_frames(config: Config, overlap: float | None) -> int | None:
    """--overlap in frames. Raises UserError if no music can be continued from so much."""
    if overlap is None:
        return None
    at_once, least = frames_at_once(config), 0 if config.context else 1
    if not (np.isfinite(overlap) and least <= round(overlap * FRAMES_PER_SECOND) < at_once):
        raise UserError(
            f"--overlap is {overlap}: give {least / FRAMES_PER_SECOND:g} or more"
            f"{'' if config.context else ' (0 is for runs with --context)'}, and less than the {seconds(at_once)} "
            "that the network draws at once"
        )
    return round(overlap * FRAMES_PER_SECOND)


def add_steps(parser: argparse.ArgumentParser) -> None:
    """--steps and --spacing."""
    default = DEFAULT_SAMPLING.steps
    parser.add_argument(
        "--steps", type=at_least(1), default=default, help=f"1 to {T}; more is finer (default: {default})"
    )
    parser.add_argument(
        "--spacing",
        choices=SPACINGS,
        default=DEFAULT_SAMPLING.spacing,
        help="how the time steps are spaced: uniform, quadratic (denser near t = 0), or uniform in log-SNR "
        f"(default: {DEFAULT_SAMPLING.spacing})",
    )


def add_sampler(parser: argparse.ArgumentParser) -> None:
    """--sampler, --eta, --steps and --spacing."""
    about = "; ".join(f"{name}: {sampler.help}" for name, sampler in SAMPLERS.items())
    default = DEFAULT_SAMPLING.sampler
    parser.add_argument("--sampler", choices=SAMPLERS, default=default, help=f"{about} (default: {default})")
    parser.add_argument(
        "--eta",
        type=float,
        default=DEFAULT_SAMPLING.eta,
        help="DDIM's eta: 0 is deterministic, 1 adds as much noise per step as DDPM (default: 0)",
    )
    add_steps(parser)


def add_seconds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, help="length of the new music (default: a training window)")


def add_growth(parser: argparse.ArgumentParser) -> None:
    """--overlap and --resamplings, of clips that grow piece by piece."""
    parser.add_argument(
        "--overlap",
        type=float,
        metavar="SECONDS",
        help="a clip longer than the network draws at once grows piece by piece; how much of the piece before each "
        "begins with (default: half a training window; 0 is for runs with --context)",
    )
    add_resamplings(parser)


def add_resamplings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--resamplings",
        type=at_least(1),
        default=RESAMPLINGS,
        metavar="U",
        help="repeat each step U times, so that new music agrees with what is kept; takes U times as long "
        f"(default: {RESAMPLINGS})",
    )


def add_recording(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recording", metavar="FILE", help="the recording")


def _options(*parts: Callable[[argparse.ArgumentParser], None]) -> Callable[[argparse.ArgumentParser], None]:
    def add(parser: argparse.ArgumentParser) -> None:
        for part in parts:
            part(parser)

    return add


def add_gap(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gap",
        type=float,
        nargs=2,
        required=True,
        metavar=("START", "STOP"),
        help="the part to generate anew, in seconds of the recording",
    )


def add_strength(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--strength",
        type=float,
        default=0.5,
        metavar="S",
        help="how far to depart from the recording, from 0 (unchanged) to 1 (almost unrelated) (default: 0.5)",
    )


def add_ends(parser: argparse.ArgumentParser) -> None:
    for name in "ab":
        parser.add_argument(name, metavar=name.upper(), help="a recording")


MODES = {
    "draw": Mode("new music from noise", "samples", _options(add_seconds, add_sampler, add_growth), draw),
    "continue": Mode(
        "continue a recording", "continued", _options(add_recording, add_seconds, add_sampler, add_growth), go_on
    ),
    "infill": Mode(
        "regenerate a part of a recording",
        "infilled",
        _options(add_recording, add_gap, add_sampler, add_resamplings),
        infill,
    ),
    "vary": Mode(
        "variations of the beginning of a recording",
        "varied",
        _options(add_recording, add_strength, add_seconds, add_sampler),
        vary,
    ),
    "between": Mode(
        "clips on the way from one recording to another", "between", _options(add_ends, add_seconds, add_steps), between
    ),
}
