"""Training on several processes of one thread each: seconds a step, and how they divide into arithmetic and waiting.

    mpirun -n 1 python -m bench.scale; mpirun -n 2 python -m bench.scale

The paper's network, --batch-size windows a step among all processes. See docs/scale.md for what to expect.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np

from ddim_from_scratch import mpi, train
from ddim_from_scratch.backend import threads
from ddim_from_scratch.config import N_MELS, Config
from ddim_from_scratch.model import init_state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=4, help="windows in a step, of all processes (default: 4)")
    parser.add_argument("--steps", type=int, default=5, help="timed, after one that is not (default: 5)")
    args = parser.parse_args()
    config = Config(data="none")
    state = init_state(config, np.random.default_rng(0))
    frames = config.frames("", config.window_seconds)
    x0 = np.random.default_rng(1).standard_normal((args.batch_size, frames, N_MELS, 1), dtype=np.float32)
    messages, seconds, cpu = [], [], []

    def timed(function):  # what is spent in messages, waiting for the slowest included
        def call(*values):
            started = time.perf_counter()
            result = function(*values)
            messages[-1] += time.perf_counter() - started
            return result

        return call

    mpi.gather, mpi.add_up = timed(mpi.gather), timed(mpi.add_up)
    with threads(1):
        for step in range(1, args.steps + 2):
            messages.append(0.0)
            started, used = time.perf_counter(), time.process_time()
            train.train_step(state, x0, config, step, np.random.default_rng(step))
            seconds.append(time.perf_counter() - started)
            cpu.append(time.process_time() - used)
    if mpi.rank() == 0:
        print(
            f"{mpi.size()} processes, {args.batch_size} windows: {median(seconds[1:]):.2f} s a step, of which messages "
            f"and waiting {median(messages[1:]):.2f} s; {median(cpu[1:]):.2f} s of a processor"
        )


if __name__ == "__main__":
    main()
