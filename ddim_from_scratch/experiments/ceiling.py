"""The inverter's share of the Frechet distance: what real music loses when its log-mels are inverted."""

from __future__ import annotations

import argparse

import numpy as np

from ..audio.inverter import Inverter, load_inverter
from ..fad import Embedding, load_embedding
from ..runtime.backend import threads
from ..runtime.cli import add_threads_option, at_least, counted
from ..runtime.errors import UserError
from ..spectrogram.config import Config, whole_frames
from ..spectrogram.data import load_windows
from .compare import add_json_option, add_listening_options, distances, embedded, inversion_errors, print_summary


def ceiling(data: str, seconds: float, clips: int, invert: Inverter, embedding: Embedding) -> dict:
    """Distances of inverted real log-mels from real music: the best that any model heard through this inverter can do.

    clips: the most in each of two sets of windows of `seconds`. Returns what `distances` and `inversion_errors` do.
    """
    whole_frames("--seconds", seconds)
    any_length = Config(data=data, window_seconds=seconds, window_hop_seconds=seconds, network="frames")
    windows = load_windows(any_length)
    chosen = np.random.default_rng(0).permutation(len(windows))
    n = min(clips, len(chosen) // 2)
    if n < 2:
        raise UserError(
            f"{data} has {counted(len(chosen), 'clip')} of {seconds:g} s; 4 are needed. Add recordings, or lower "
            "--seconds"
        )
    first, second = chosen[:n], chosen[n : 2 * n]
    log_mels = windows.take(chosen[: 2 * n])
    sound = invert(log_mels, "real music")
    real = windows.sound(first), windows.sound(second)
    sets = {"background": real[0], "ceiling": sound[n:], "real": real[1], "inverted": sound[:n]}
    found = embedded(embedding, sets)
    errors = inversion_errors(sound, log_mels, np.concatenate(real))
    return {"embedding": embedding.name} | distances(found.pop("background"), found) | errors


def add_command(commands: argparse._SubParsersAction) -> None:
    """experiments ceiling."""
    parser = commands.add_parser(
        "ceiling",
        help="how much real music loses in the inverter",
        description="Inverts log-mels of real recordings and measures how far the sound is from the recordings.",
    )
    parser.add_argument("--data", required=True, metavar="FOLDER", help="folder of recordings")
    parser.add_argument("--seconds", type=float, default=5.12, help="length of a clip (default: 5.12, as in the paper)")
    parser.add_argument("--clips", type=at_least(2), default=50, help="most clips in each set (default: 50)")
    add_listening_options(parser)
    add_json_option(parser)
    add_threads_option(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> None:
    with threads(args.threads):
        inverter, embedding = load_inverter(args.inverter), load_embedding(args.embedding)
        print_summary(ceiling(args.data, args.seconds, args.clips, inverter, embedding), args.json)
