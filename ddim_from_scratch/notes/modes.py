"""The mode of the `sample` command for a band: it plays notes."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from ..spectrogram.model import Model
from ..spectrogram.modes import SAMPLER, Drawing, Mode, guidance, option, sampling
from .compose import GUIDANCE, Player
from .score import read_notes


def composer(args: argparse.Namespace, model: Model) -> Player:
    """How the options say that the model plays."""
    return Player(model, sampling(args), args.seed, scores=(read_notes(args.notes),), guidance=guidance(args))


def play(args: argparse.Namespace, player: Player) -> Drawing:
    return Drawing(partial(player.play, args.num), notes=player.scores[0])


NOTES = option("--notes", type=Path, required=True, metavar="FILE", help="MIDI file to play")
WEIGHT = option(
    "--guidance",
    type=float,
    default=GUIDANCE,
    metavar="W",
    help=f"weight of the notes: 1 as trained; more follows them closer, in twice the time (default: {GUIDANCE:g})",
)
MODES = {"draw": Mode("music from notes", "played", NOTES | SAMPLER | WEIGHT, play, num=1)}
