"""Experiments on trained runs and on inverters.

    python -m ddim_from_scratch.experiments compare --run runs/mine
    python -m ddim_from_scratch.experiments ceiling --data recordings/
    python -m ddim_from_scratch.experiments steps --run runs/mine
    python -m ddim_from_scratch.experiments film --run runs/mine
    python -m ddim_from_scratch.experiments table --out tables/paper
    python -m ddim_from_scratch.experiments ablation --data recordings/ --out ablations/mine

`compare` says how far a run's samples are from its training music, on a scale that has both ends: noise and
an untrained network on one, real music on the other. `ceiling` says how much of that distance is the
inverter's: what real music loses when it becomes a log-mel spectrogram and sound again. `steps` says how few
steps each sampler can do with. `film` shows the way from noise to music. `table` is the paper's. `ablation` changes
one thing of a recipe at a time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..audio.inverter import add_inverter_option, load_inverter
from ..diffusion import SPACINGS, T
from ..fad import load_embedding
from ..fad.embeddings import NAMES
from ..runtime.backend import threads
from ..runtime.cli import Parser, at_least, run_command
from ..runtime.errors import UserError
from . import ablation, steps, table
from .ceiling import ceiling
from .compare import compare, report
from .film import film


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m ddim_from_scratch.experiments", description="Experiments on runs and inverters.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    table.add_command(commands)
    ablation.add_command(commands)
    command = commands.add_parser(
        "compare",
        help="how far a run's samples are from its training music",
        description="Measures a run's samples against noise, an untrained network, and real music.",
    )
    command.add_argument("--run", type=Path, required=True, help="folder with a trained run and its samples")
    bound = commands.add_parser(
        "ceiling",
        help="what real music loses in the inverter",
        description="Inverts real log-mels and measures how far they are from the recordings.",
    )
    bound.add_argument("--data", required=True, metavar="FOLDER", help="folder of recordings")
    bound.add_argument("--seconds", type=float, default=5.12, help="length of a clip (default: 5.12, the paper's)")
    bound.add_argument("--clips", type=at_least(2), default=50, help="clips in each set, at most (default: 50)")
    fewer = commands.add_parser(
        "steps",
        help="how few steps each sampler can do with",
        description="Draws the same clips with every sampler in few and many steps, and measures how far they are from "
        f"DDIM's in {T} steps, and from the training music. RUN/steps.json keeps every result as soon as it is there: "
        "the same command goes on after a stop. RUN/steps.png is its picture.",
    )
    fewer.add_argument("--run", type=Path, required=True, help="folder with a trained run")
    fewer.add_argument("--clips", type=at_least(2), default=16, help="clips to draw each time (default: 16)")
    fewer.add_argument(
        "--seconds", type=float, help="length of a clip (default: a training window, or what the embedding needs)"
    )
    fewer.add_argument(
        "--evaluations",
        type=at_least(1),
        nargs="+",
        default=list(steps.EVALUATIONS),
        metavar="N",
        help=f"of the network, for each clip, up to {T} (default: {' '.join(map(str, steps.EVALUATIONS))})",
    )
    fewer.add_argument(
        "--spacing",
        choices=SPACINGS,
        default="log-snr",
        help="of the steps, as in sample; uniform ones end with a leap from a noisy time, whatever the sampler "
        "(default: log-snr)",
    )
    moving = commands.add_parser(
        "film", help="the way from noise to music", description="Writes RUN/film.webp: a clip on its way from noise."
    )
    moving.add_argument("--run", type=Path, required=True, help="folder with a trained run")
    moving.add_argument("--seconds", type=float, help="length of the clip (default: the training windows')")
    moving.add_argument("--steps", type=at_least(1), default=60, help="of DDIM, a frame each (default: 60)")
    moving.add_argument("--threads", type=at_least(1), metavar="N", help="CPU threads (default: every core)")
    for each in (command, bound, fewer):
        add_inverter_option(each)
        each.add_argument("--embedding", choices=NAMES, help="default: vggish where it is at hand, else musicnn")
        each.add_argument("--threads", type=at_least(1), metavar="N", help="CPU threads (default: every core)")
    args = parser.parse_args(argv)
    if args.command == "steps" and max(args.evaluations) > T:
        raise UserError(f"--evaluations has {max(args.evaluations)}: the schedule has {T} times, give that or fewer")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    if args.command in ("table", "ablation"):
        return {"table": table, "ablation": ablation}[args.command].main(args)
    with threads(args.threads):
        if args.command == "film":
            film(args.run, args.seconds, args.steps)
            print(f"Look at {args.run}/film.webp.")
            return
        invert, embedding = load_inverter(args.inverter), load_embedding(args.embedding)
        if args.command == "compare":
            print(report(compare(args.run, invert, embedding)))
            print(f"Listen to {args.run}/samples/*.wav; look at {args.run}/comparison.png and {args.run}/loss.png.")
        elif args.command == "steps":
            how = args.clips, args.seconds, args.evaluations, args.spacing
            print(steps.report(steps.measure(args.run, *how, invert, embedding)))
            print(f"Look at {args.run}/steps.png; the numbers are in {args.run}/steps.json.")
        else:
            print(report(ceiling(args.data, args.seconds, args.clips, invert, embedding)))


if __name__ == "__main__":
    run_command(main)
