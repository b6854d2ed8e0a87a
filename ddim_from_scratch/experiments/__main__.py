"""Experiments on trained runs and on inverters.

python -m ddim_from_scratch.experiments compare --run runs/mine
python -m ddim_from_scratch.experiments ceiling --data recordings/
python -m ddim_from_scratch.experiments steps --run runs/mine
python -m ddim_from_scratch.experiments film --run runs/mine
python -m ddim_from_scratch.experiments table --out tables/paper
python -m ddim_from_scratch.experiments ablation --data recordings/ --out ablations/mine
python -m ddim_from_scratch.experiments share --run runs/mine --out mine
"""

from __future__ import annotations

from ..runtime.cli import Parser, Subcommand, run_command
from . import ablation, ceiling, compare, pictures, share, steps, table


def main(argv: list[str] | None = None) -> None:
    parser = Parser(prog="python -m ddim_from_scratch.experiments", description="Experiments on runs and inverters.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Subcommand)
    for module in (compare, ceiling, steps, pictures, table, ablation, share):
        module.add_command(commands)
    args = parser.parse_args(argv)
    args.main(args)


if __name__ == "__main__":
    run_command(main, "the same command begins again; steps, table and ablation continue where they were")
