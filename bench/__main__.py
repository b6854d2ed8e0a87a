"""As fast as the frameworks? Training, inference and the front end beside PyTorch, Keras and librosa.

    make bench        or        python -m bench [--quick] [--only NAME ...] [--threads N]

Every competitor has a process of its own and waits in it, asleep, for its turn. After one turn that is not
counted, they take turns, so that all of them meet the same moods of the machine. A ratio is the median over the
rounds of ours / theirs; where a library has variants (two memory layouts, eager or compiled), its best one counts.
Below 1 is faster or smaller than theirs. Writes a table to the terminal and ratios to build/bench.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from ddim_from_scratch.runtime.backend import available_cores, cpu_name
from ddim_from_scratch.runtime.cli import Parser, at_least, run_command
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.runtime.files import write_json

OUTPUT = Path("build/bench.json")
TURN_SECONDS = 0.5  # a turn is one call, or as many as fill this time
PAUSE_SECONDS = 0.1  # threads go on spinning for a while after their work

TORCH = [(f"PyTorch, {layout}", {"library": "torch", "layout": layout}) for layout in ("NCHW", "channels_last")]
COMPILED = [(f"{name}, compiled", settings | {"compiled": True}) for name, settings in TORCH]
KERAS = [("Keras", {"library": "keras"})]  # with XLA, twice as slow on a CPU
LIBROSA = [("librosa", {"library": "librosa"})]
# By default glibc gives a large array's pages back to the kernel when it is freed, and fetches new ones for the
# next. Raised thresholds keep them: PyTorch gains a lot at batch 16. We keep buffers of our own.
MALLOC_RAISED = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(16 << 30)}


class Contest(NamedTuple):
    """One table's worth: what is done, by whom beside us, and in what environment."""

    title: str
    key: str  # of the ratios in the JSON; of contests with the same key, the ratio that flatters us least
    work: dict[str, Any]
    theirs: list[tuple[str, dict[str, Any]]]
    environment: dict[str, str] = {}  # noqa: RUF012


def step(batch: int, depth: int = 2) -> dict[str, Any]:
    return {"work": "train_step", "batch": batch, "depth": depth}


def forward(batch: int) -> dict[str, Any]:
    return {"work": "forward", "batch": batch, "depth": 2}


CONTESTS = [
    Contest("training step, batch 4", "train_step_batch4", step(4), TORCH + COMPILED + KERAS),
    Contest("training step, batch 16", "train_step_batch16", step(16), TORCH + COMPILED),
    Contest("training step, batch 16, malloc raised", "train_step_batch16", step(16), TORCH + COMPILED, MALLOC_RAISED),
    Contest("training step, batch 16, Keras", "train_step_batch16", step(16), KERAS),
    Contest("training step, batch 4, depth 4", "train_step_batch4_depth4", step(4, 4), TORCH + KERAS),
    Contest("training step, batch 16, depth 4", "train_step_batch16_depth4", step(16, 4), TORCH),
    Contest("forward pass, batch 1", "forward_batch1", forward(1), TORCH + COMPILED + KERAS),
    Contest("forward pass, batch 8", "forward_batch8", forward(8), TORCH + COMPILED + KERAS),
    Contest("log-mel of 30 s", "log_mel", {"work": "log_mel", "seconds": 30.0}, LIBROSA),
]


class Worker:
    """A competitor's process: see bench/worker.py."""

    def __init__(self, settings: dict[str, Any], environment: dict[str, str]):
        command = [sys.executable, "-m", "bench.worker", json.dumps(settings)]
        self.process = subprocess.Popen(
            command, env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.version = self._answer()["version"]

    def turn(self, calls: int) -> dict[str, float]:
        """What it answers: "seconds" and "cpu_seconds" a call, "peak_bytes"."""
        self.process.stdin.write(f"{calls}\n")
        self.process.stdin.flush()
        answer = self._answer()
        time.sleep(PAUSE_SECONDS)
        return answer

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a competitor ended with status {self.process.wait()}; its error is above")
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


class Entry(NamedTuple):
    """What a competitor achieved."""

    name: str
    library: str
    version: str
    seconds: list[float]  # a call, by round
    cpu_seconds: list[float]
    peak_bytes: int


def hold(contest: Contest, rounds: int, threads: int) -> list[Entry]:
    """Ours first, then theirs."""
    environment = contest.environment | {
        "OMP_WAIT_POLICY": "PASSIVE",  # who waits must not spin
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
    }
    entrants = [("ours", {"library": "ours"}), *contest.theirs]
    workers: list[Worker] = []
    try:
        for _, settings in entrants:
            workers.append(Worker(contest.work | settings | {"threads": threads}, environment))
        for worker in workers:
            worker.turn(1)
        calls = max(1, round(TURN_SECONDS / workers[0].turn(1)["seconds"]))
        turns = [[worker.turn(calls) for worker in workers] for _ in range(rounds)]
    finally:
        for worker in workers:
            worker.close()
    return [
        Entry(
            name,
            settings["library"],
            worker.version,
            [answer["seconds"] for answer in answers],
            [answer["cpu_seconds"] for answer in answers],
            answers[-1]["peak_bytes"],
        )
        for (name, settings), worker, answers in zip(entrants, workers, zip(*turns, strict=True), strict=True)
    ]


class Ratios(NamedTuple):
    """Ours as a multiple of theirs."""

    time: float
    cpu_time: float
    memory: float


def ratios(ours: Entry, theirs: Entry) -> Ratios:
    def middle(a: list[float], b: list[float]) -> float:
        return median(x / y for x, y in zip(a, b, strict=True))

    return Ratios(
        middle(ours.seconds, theirs.seconds),
        middle(ours.cpu_seconds, theirs.cpu_seconds),
        ours.peak_bytes / theirs.peak_bytes,
    )


def summary(results: list[tuple[Contest, list[Entry]]]) -> dict[str, float]:
    """The ratios by key. The better variant of theirs, and the least flattering contest, is the largest ratio."""
    found: dict[str, list[float]] = defaultdict(list)
    for contest, (ours, *others) in results:
        for theirs in others:
            ratio = ratios(ours, theirs)
            found[f"{contest.key}_vs_{theirs.library}"].append(ratio.time)
            if contest.work["work"] == "train_step":
                found[f"peak_memory_vs_{theirs.library}"].append(ratio.memory)
    return {key: round(max(values), 3) for key, values in found.items()}


def table(contest: Contest, entries: list[Entry]) -> str:
    lines = [
        f"| {contest.title} | time | ours / theirs | CPU time | ours / theirs | peak memory | ours / theirs |",
        "|---|---|---|---|---|---|---|",
    ]
    for entry in entries:
        ratio = ratios(entries[0], entry)
        time, cpu_time = (duration(median(seconds)) for seconds in (entry.seconds, entry.cpu_seconds))
        cells = [entry.name, time, f"{ratio.time:.2f}", cpu_time, f"{ratio.cpu_time:.2f}"]
        cells += [f"{entry.peak_bytes / 1e9:.2f} GB", f"{ratio.memory:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def duration(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds >= 0.1 else f"{1000 * seconds:.2f} ms"


def main(argv: list[str] | None = None) -> None:
    parser = Parser(prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds instead of 9")
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME", help="contests whose key contains NAME")
    parser.add_argument("--threads", type=at_least(1), default=available_cores(), help="of each (default: every core)")
    args = parser.parse_args(argv)
    rounds = 3 if args.quick else 9
    chosen = [contest for contest in CONTESTS if any(name in contest.key for name in args.only)]
    if not chosen:
        keys = ", ".join(sorted({contest.key for contest in CONTESTS}))
        raise UserError(f"--only {' '.join(args.only)} names no contest: choose from {keys}")
    print(f"{cpu_name()}, {available_cores()} cores, {args.threads} threads each, {rounds} rounds")
    print(
        f"Python {platform.python_version()}, NumPy {version('numpy')}, {platform.libc_ver()[0]} "
        f"{platform.libc_ver()[1]}; the paper's network on 256 x 128, depth 2 where nothing else is said\n"
    )
    results = []
    for contest in chosen:
        results.append((contest, hold(contest, rounds, args.threads)))
        print(table(*results[-1]), flush=True)
    versions = {entry.library: entry.version for _, entries in results for entry in entries[1:]}
    print("versions:", ", ".join(f"{library} {number}" for library, number in versions.items()))
    print(json.dumps(summary(results), indent=2))
    OUTPUT.parent.mkdir(exist_ok=True)
    write_json(OUTPUT, report(results, rounds, args.threads))


def report(results: list[tuple[Contest, list[Entry]]], rounds: int, threads: int) -> dict[str, Any]:
    """What build/bench.json holds: the ratios, where and with what they were measured, and every measurement."""
    return summary(results) | {
        "machine": {"processor": cpu_name(), "cores": available_cores(), "threads": threads, "rounds": rounds},
        "versions": {"python": platform.python_version(), "numpy": version("numpy")}
        | {entry.library: entry.version for _, entries in results for entry in entries[1:]},
        "contests": [
            {
                "title": contest.title,
                "work": contest.work,
                "malloc": contest.environment or "default",
                "entries": [entry._asdict() for entry in entries],
            }
            for contest, entries in results
        ],
    }


if __name__ == "__main__":
    run_command(main)
