"""python -m ddim_from_scratch.tune: see experiments/tune.py."""

from .experiments.tune import AGAIN, main
from .runtime.cli import run_command

if __name__ == "__main__":
    run_command(main, AGAIN)
