"""The mode of the `sample` command for a band: it plays notes."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from ..runtime.errors import UserError
from ..spectrogram.model import Model
from ..spectrogram.modes import SAMPLER, Drawing, Mode, option, sampling
from .compose import GUIDANCE, Player
from .score import read_notes


def composer(args: argparse.Namespace, model: Model) -> Player:
    """How the options say that the model plays."""
    if not 0 <= args.guidance <= 100:
        raise UserError(f"--guidance is {args.guidance}: give a number from 0 to 100, 1 for none")
    return Player(model, sampling(args), args.seed, scores=(read_notes(args.notes),), guidance=args.guidance)


def play(args: argparse.Namespace, player: Player) -> Drawing:
    return Drawing(partial(player.play, args.num), notes=player.scores[0])


NOTES = option("--notes", type=Path, required=True, metavar="FILE", help="MIDI file to play") | option(
    "--guidance",
    type=float,
    default=GUIDANCE,
    metavar="W",
    help=f"weight of the notes: 1 as trained; more follows them closer, in twice the time (default: {GUIDANCE:g})",
)
MODES = {"draw": Mode("music from notes", "played", NOTES | SAMPLER, play, num=1)}
