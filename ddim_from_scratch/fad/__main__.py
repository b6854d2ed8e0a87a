"""The Frechet audio distance between two sets of recordings, and how reliable it is.

    python -m ddim_from_scratch.fad BACKGROUND EVAL

Under mpirun the processes share the embedding of recordings. The rest is computed by each, and the first one prints.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from ..audio import find_audio
from ..nn.fast import computing
from ..runtime import mpi
from ..runtime.cli import Parser, add_hardware_options, counted, output_file, run_command
from ..runtime.errors import UserError, printable
from ..runtime.files import write_json
from .embeddings import NAMES, embed_files, embed_set, load_embedding
from .musicnn import load_musicnn, tag_probabilities, top_tags
from .reliability import distance, floor, infinity, interval
from .statistics import Set, holds_statistics, load_statistics, save_statistics
from .weights import vggish_at_hand


def find_recordings(path: Path) -> list[Path]:
    """The recordings in a folder, or the one that `path` is itself."""
    if path.is_dir():
        return find_audio(path)
    if not path.is_file():
        raise UserError(f"{printable(path)} does not exist: give a folder of recordings, or statistics (.npz)")
    return [path]


def print_tags(path: Path) -> None:
    """Prints musicnn's most likely tags for each recording."""
    params = load_musicnn()
    for name, features in embed_files(load_embedding("musicnn"), find_recordings(path), "tags").items():
        tags = ", ".join(
            f"{tag} {probability:.2f}" for tag, probability in top_tags(tag_probabilities(params, features))
        )
        print(f"{printable(name)}: {tags}")


def measure(background: Set, evaluated: Set, with_infinity: bool = False) -> dict[str, Any]:
    """Everything that the command reports on two sets. "notes" says in sentences why a value is None."""
    sides = {"background": background, "eval": evaluated}
    notes = [
        f"all embeddings of the {name} are equal, as those of silence are: how reliable the distance is can't be told"
        for name, side in sides.items()
        if side.constant
    ]
    telling = not notes
    rngs = np.random.default_rng(0).spawn(3)  # the floor is the same with --infinity and without
    extrapolation = infinity(background, evaluated, rngs[2]) if with_infinity and telling else None
    if with_infinity and telling and not extrapolation:
        notes.append("there is no FAD-infinity: the evaluated set needs recordings with 4 embeddings or more")
    if extrapolation and extrapolation.score < 0:  # of a set and itself: its subsets are not independent of it
        notes.append(
            f"there is no FAD-infinity: the line leads to {extrapolation.score:.3g}, and no distance is below 0"
        )
        extrapolation = None
    result: dict[str, Any] = {
        "fad": distance(background, evaluated),
        "interval": interval(background, evaluated, rngs[0]) if telling else None,
        "floor": floor(background, rngs[1]) if telling else None,
        "fad_infinity": extrapolation and extrapolation._asdict(),
        "dimension": len(background.mean),
        "notes": notes,
    }
    for name, side in sides.items():
        result[f"n_{name}"] = side.n or None
        result[f"clips_{name}"] = len(side.clips) or None
        result[f"rank_{name}"] = side.rank
    return result


def summary(result: dict) -> str:
    """The result of `measure` in words."""
    lines = [f"Frechet audio distance ({result['embedding']}): {result['fad']:.4g}"]
    if result["interval"]:
        low, high = result["interval"]
        lines.append(f"  95 % interval      {low:.4g} to {high:.4g}, for other clips of the same kind")
    if result["floor"] is not None:
        half = counted(result["clips_background"] // 2, "clip")
        lines.append(f"  real against real  {result['floor']:.4g}, two halves of the background, {half} each")
    if result["fad_infinity"]:
        score, slope, r_squared = result["fad_infinity"].values()
        lines.append(f"  FAD-infinity       {score:.4g}, slope {slope:.4g}, r^2 {r_squared:.3f}")
    for name in ("background", "eval"):
        clips, n, rank = (result[f"{key}_{name}"] for key in ("clips", "n", "rank"))
        size = "statistics" if clips is None else counted(clips, "clip")
        lines.append(f"  {name:10s}  {size}, {n or 'unknown'} embeddings, rank {rank} of {result['dimension']}")
        if 0 < rank < result["dimension"]:
            lines.append(
                f"warning: the {name}'s covariance has rank {rank} of {result['dimension']}: the distance depends "
                "mostly on the number of embeddings. Compare only sets of the same size, or add clips"
            )
    lines += [f"warning: {note}" for note in result["notes"]]
    if result["skipped"]:
        lines.append(f"  skipped {counted(len(result['skipped']), 'unusable recording')}, named above")
    return "\n".join(lines)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m ddim_from_scratch.fad",
        description="The Frechet audio distance between two sets of recordings: the distance between two Gaussians "
        "fitted to their embeddings. Lower is better. Embeddings are cached in the user's cache folder (DDIM_CACHE).",
        epilog="example: python -m ddim_from_scratch.fad gtzan/genres/classical runs/mine/samples --embedding musicnn. "
        "Compare the distance with `real against real`, which is what identical music would have with so few clips.",
    )
    either = "folder of recordings, or statistics: an .npz with mu and sigma, a folder with mu.npy and cov.npy"
    parser.add_argument("background", type=Path, help=f"real music: a {either}")
    parser.add_argument("eval", type=Path, help="the music to evaluate: likewise")
    parser.add_argument(
        "--embedding",
        choices=NAMES,
        help="vggish (default): the paper's; musicnn: pretrained, comes with this package; mel: no network",
    )
    parser.add_argument(
        "--weights", type=Path, help="VGGish's weights: a SavedModel folder, TF1 checkpoint, torchvggish .pth or .npz"
    )
    parser.add_argument("--infinity", action="store_true", help="also extrapolate to infinitely many embeddings")
    parser.add_argument("--tags", action="store_true", help="print musicnn's tags for each clip")
    parser.add_argument("--json", type=output_file, metavar="FILE", help="also write the numbers to a file")
    parser.add_argument("--save", type=output_file, metavar="FILE", help="write the background's statistics (.npz)")
    add_hardware_options(parser)
    args = parser.parse_args(argv)
    if args.save and args.save.suffix != ".npz":  # as a path without it, they would be taken for a recording
        args.save = args.save.with_name(f"{args.save.name}.npz")
    if args.weights and args.embedding not in (None, "vggish"):
        raise UserError(f"--weights is for VGGish, and --embedding is {args.embedding}: leave one out")
    return args


@mpi.together()
def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    name = args.embedding or "vggish"
    paths = args.background, args.eval
    sides, skipped = [], []
    with computing(args) as device:
        if not all(map(holds_statistics, paths)):
            if not (args.embedding or args.weights or vggish_at_hand()):
                raise UserError(
                    "VGGish, the paper's embedding, is not installed. --embedding vggish downloads it, or give "
                    "--weights (a SavedModel, TF1 checkpoint or torchvggish .pth); --embedding musicnn works now"
                )
            embedding = load_embedding(name, device, args.weights)
        for path in paths:
            if holds_statistics(path):
                sides.append(load_statistics(path, name))
            else:
                side, left_out = embed_set(embedding, find_recordings(path), str(path))
                sides.append(side)
                skipped += left_out
        background, evaluated = sides
        if background.mean.shape != evaluated.mean.shape:
            raise UserError(
                f"{paths[0]} has {len(background.mean)} dimensions and {paths[1]} {len(evaluated.mean)}: "
                "are both of one embedding?"
            )
        result = measure(background, evaluated, args.infinity) | {"embedding": name, "skipped": skipped}
        if args.tags and all(map(holds_statistics, paths)):
            result["notes"].append("--tags needs recordings, and both sides are statistics")
        for path in paths if args.tags else ():
            if not holds_statistics(path):
                print_tags(path)
    if mpi.rank():
        return
    print(summary(result))
    if args.json:
        write_json(args.json, result)
    if args.save:
        save_statistics(args.save, background, name)
        print(f"the background's statistics are in {args.save}")


if __name__ == "__main__":
    run_command(main, "the same command begins again, with the embeddings that it has cached")
