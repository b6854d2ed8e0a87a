"""The modes of the `sample` command: its subcommands, and the options of each."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..audio import write_wav
from ..audio.contract import FRAMES_PER_SECOND
from ..audio.midi import Notes
from ..audio.splice import Recording
from ..diffusion import DEFAULT_SAMPLING, SAMPLERS, SPACINGS, Sampling, T
from ..runtime.cli import at_least
from ..runtime.errors import UserError
from .compose import RESAMPLINGS, Composer, read_log_mel, seconds
from .config import LONGEST_SECONDS, Config
from .model import Model

MARGIN = 50  # frames beside new music that are inverted with it, so that its seams are sound


class Drawing(NamedTuple):
    """Clips that a mode is about to draw: draw() gives log-mels (num, frames, 128).

    heard: the frames that become sound. write(path, samples): writes that sound (16 kHz), or a recording with it.
    seconds: the length of the files, if not that of the log-mels. seams: where new music begins or ends, in seconds of
    the log-mels. notes: those that are played, for the picture.
    """

    draw: Callable[[], np.ndarray]
    heard: slice = slice(None)
    write: Callable[[Path, np.ndarray], None] = write_wav
    seconds: float | None = None
    seams: tuple[float, ...] = ()
    notes: Notes | None = None


class Mode(NamedTuple):
    """A subcommand of `sample`.

    compose(args, composer): reads the files. Raises UserError for what cannot be drawn.
    """

    summary: str
    folder: str  # within the run, for its files
    options: dict[str, dict[str, Any]]  # by name, as argparse has them
    compose: Callable[[argparse.Namespace, Any], Drawing]
    num: int = 4  # clips, unless --num says otherwise


def composer(args: argparse.Namespace, model: Model) -> Composer:
    """A Composer with the options of a mode; those that the mode lacks have their defaults."""
    overlap = overlap_frames(model.config, getattr(args, "overlap", None))
    resamplings = getattr(args, "resamplings", RESAMPLINGS)
    return Composer(model, sampling(args), args.seed, 0, overlap, resamplings, guidance(args))


def sampling(args: argparse.Namespace) -> Sampling:
    given = {name: getattr(args, name) for name in Sampling.__dataclass_fields__ if hasattr(args, name)}
    return Sampling(**given)


def guidance(args: argparse.Namespace) -> float:
    weight = getattr(args, "guidance", 1)
    if not 0 <= weight <= 100:
        raise UserError(f"--guidance is {weight}: give a number from 0 to 100, 1 for none")
    return weight


def draw(args: argparse.Namespace, composer: Composer) -> Drawing:
    return Drawing(partial(composer.draw, args.num, composer.model.config.drawn_frames(args.seconds)))


def go_on(args: argparse.Namespace, composer: Composer) -> Drawing:
    """The recording itself, and new music after it. Its last frames, which look beyond its end, are drawn, too."""
    config = composer.model.config
    remedy = "give a longer recording" + ("" if config.context else ", or lower --overlap")
    log_mels = read_log_mel(args.recording, composer.model.scaler, composer.needed, remedy)
    prompt = log_mels[-max(composer.needed, config.window_frames) :]
    new = config.drawn_frames(args.seconds)
    recording = Recording.read(args.recording)
    beyond = round(recording.seconds * FRAMES_PER_SECOND) - len(log_mels)
    first = max(len(prompt) - MARGIN, 0)
    begins, end = (len(log_mels) - len(prompt) + first) / FRAMES_PER_SECOND, recording.seconds

    def write(path: Path, sound: np.ndarray) -> None:
        recording.write(path, recording.spliced(sound, begins, end, end + new / FRAMES_PER_SECOND))

    return Drawing(
        partial(composer.go_on, np.repeat(prompt[None], args.num, axis=0), new + beyond + 1),
        slice(first, None),
        write,
        end + new / FRAMES_PER_SECOND,
        (len(prompt) / FRAMES_PER_SECOND,),
    )


def infill(args: argparse.Namespace, composer: Composer) -> Drawing:
    """The recording, with new music in the gap."""
    if not np.isfinite(args.gap).all():
        raise UserError(f"--gap is {args.gap[0]} {args.gap[1]}: give two numbers of seconds")
    start, stop = (round(second * FRAMES_PER_SECOND) for second in args.gap)
    log_mels = read_log_mel(args.recording, composer.model.scaler)
    recording, first = Recording.read(args.recording), max(start - MARGIN, 0)

    def write(path: Path, sound: np.ndarray) -> None:
        recording.write(path, recording.spliced(sound, first / FRAMES_PER_SECOND, *args.gap))

    draw = partial(composer.fill, log_mels, start, stop, args.num)
    return Drawing(draw, slice(first, stop + MARGIN), write, recording.seconds, tuple(args.gap))


def vary(args: argparse.Namespace, composer: Composer) -> Drawing:
    if not 0 <= args.strength <= 1:
        raise UserError(f"--strength is {args.strength}: give a number from 0 (the clip itself) to 1")
    clip = _part(args, composer.model, args.recording, args.at)
    return Drawing(partial(composer.vary, clip, args.strength, args.num))


def between(args: argparse.Namespace, composer: Composer) -> Drawing:
    if len(args.at) > 2:
        raise UserError(f"--at has {len(args.at)} numbers: give one, or one for each recording")
    a, b = (_part(args, composer.model, *one) for one in zip((args.a, args.b), (*args.at, *args.at), strict=False))
    return Drawing(partial(composer.between, a, b, args.num))


def _part(args: argparse.Namespace, model: Model, recording: str, at: float) -> np.ndarray:
    """The log-mels of a recording from second `at` on, as long as --seconds says."""
    if not 0 <= at <= LONGEST_SECONDS:
        raise UserError(f"--at is {at}: give a second of the recording, 0 or more")
    frames = model.config.drawn_frames(args.seconds)
    remedy = "give a longer recording, or lower --seconds" + (" or --at" if at else "")
    return read_log_mel(recording, model.scaler, frames, remedy, at)[:frames]


def overlap_frames(config: Config, overlap: float | None) -> int | None:
    """--overlap in frames. Raises UserError if it is too short or too long."""
    if overlap is None:
        return None
    at_once, least = config.frames_at_once, 0 if config.context else 1
    if not (np.isfinite(overlap) and least <= round(overlap * FRAMES_PER_SECOND) < at_once):
        raise UserError(
            f"--overlap is {overlap}: give {least / FRAMES_PER_SECOND:g} or more"
            f"{'' if config.context else ' (0 is for runs with --context)'}, and less than the {seconds(at_once)} "
            "that the network draws at once"
        )
    return round(overlap * FRAMES_PER_SECOND)


def option(name: str, **settings: Any) -> dict[str, dict[str, Any]]:
    """An argument of a mode, with its settings for argparse."""
    return {name: settings}


RECORDING = option("recording", metavar="FILE", help="the recording")
BOTH = option("a", metavar="A", help="a recording") | option("b", metavar="B", help="a recording")
SECONDS = option("--seconds", type=float, help="length of the new music (default: a training window)")
STEPS = option(
    "--steps",
    type=at_least(1),
    default=DEFAULT_SAMPLING.steps,
    help=f"1 to {T}; more is finer (default: {DEFAULT_SAMPLING.steps})",
) | option(
    "--spacing",
    choices=SPACINGS,
    default=DEFAULT_SAMPLING.spacing,
    help="how the time steps are spaced: uniform, quadratic (denser near t = 0), or uniform in log-SNR "
    f"(default: {DEFAULT_SAMPLING.spacing})",
)
GUIDANCE = option(
    "--guidance",
    type=float,
    default=1,
    metavar="W",
    help="weight of the network against what it was early in its training: 1 is the network as it is, more goes on "
    "in the direction in which it learnt, in twice the time (default: 1)",
)
SAMPLER = (
    option(
        "--sampler",
        choices=SAMPLERS,
        default=DEFAULT_SAMPLING.sampler,
        help="; ".join(f"{name}: {sampler.summary}" for name, sampler in SAMPLERS.items())
        + f" (default: {DEFAULT_SAMPLING.sampler})",
    )
    | option(
        "--eta",
        type=float,
        default=DEFAULT_SAMPLING.eta,
        help="DDIM's eta: 0 is deterministic, 1 adds as much noise per step as DDPM (default: 0)",
    )
    | GUIDANCE
    | STEPS
)
RESAMPLED = option(
    "--resamplings",
    type=at_least(1),
    default=RESAMPLINGS,
    metavar="U",
    help="take each step U times, so that new music agrees more with what is kept; takes U times as long "
    f"(default: {RESAMPLINGS})",
)
GROWTH = RESAMPLED | option(
    "--overlap",
    type=float,
    metavar="SECONDS",
    help="a clip longer than the network draws at once grows piece by piece; how much of the piece before each begins "
    "with (default: half a training window; 0 is for runs with --context)",
)
GAP = option(
    "--gap",
    type=float,
    nargs=2,
    required=True,
    metavar=("START", "STOP"),
    help="the part to generate anew, in seconds of the recording",
)
STRENGTH = option(
    "--strength",
    type=float,
    default=0.5,
    metavar="S",
    help="how far to depart from the recording, from 0 (unchanged) to 1 (almost unrelated) (default: 0.5)",
)
AT = {"type": float, "metavar": "SECONDS"}
FROM = option("--at", default=0.0, help="where in the recording to begin (default: 0)", **AT)
FROM_BOTH = option(
    "--at", nargs="+", default=[0.0], help="where to begin in both recordings, or in A and in B (default: 0)", **AT
)

MODES = {
    "draw": Mode("new music from noise", "samples", SECONDS | SAMPLER | GROWTH, draw),
    "continue": Mode(
        "continue a recording: its own sound, and new music after it",
        "continued",
        RECORDING | SECONDS | SAMPLER | GROWTH,
        go_on,
    ),
    "infill": Mode(
        "regenerate a part of a recording, and keep the rest as it is",
        "infilled",
        RECORDING | GAP | SAMPLER | RESAMPLED,
        infill,
    ),
    "vary": Mode(
        "variations of a part of a recording", "varied", RECORDING | STRENGTH | FROM | SECONDS | SAMPLER, vary
    ),
    "between": Mode(
        "clips on the way from one recording to another",
        "between",
        BOTH | FROM_BOTH | SECONDS | STEPS,
        between,
    ),
}
