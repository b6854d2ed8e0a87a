"""Time several ways to compute the same, alternately, so that all of them meet the same moods of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median


def side_by_side(ways: dict[str, Callable[[], object]], repeats: int = 7) -> dict[str, float]:
    """The median seconds of each way, after one call each that is not counted."""
    for way in ways.values():
        way()
    seconds = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            time.sleep(0.1)  # OpenMP's threads go on spinning for a while after a parallel region
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return {name: median(times) for name, times in seconds.items()}


def table(title: str, seconds: dict[str, float], work: float | None = None, unit: str = "") -> str:
    """A line a way: its seconds, its ratio to the first, and `work` a second. Ratios above 1 are slower than ours."""
    ours = next(iter(seconds.values()))
    lines = [title]
    for name, value in seconds.items():
        rate = "" if work is None else f"{work / value:10.1f} {unit}/s"
        lines.append(f"  {name:28s} {1000 * value:9.1f} ms  {value / ours:6.2f}{rate}")
    return "\n".join(lines)
