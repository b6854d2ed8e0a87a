"""Time and memory on a GPU beside PyTorch: training (batch 4, 16) and inference (batch 1, 8) of the paper's network.

    python -m bench.gpu [--compile] [--profile] [--norm batch] [--seconds N]
    python -m bench.gpu --device cpu --tiny --compile --profile       rehearsal without a GPU; its numbers mean nothing

Every contest has one setting of TF32. Its competitors take turns in one process, and a turn is a loop of calls between
two synchronisations, timed by the wall clock. The ratio is the median over the rounds of ours / PyTorch's best eager
variant; below 1, ours is faster. Competitors are warmed up first. Prints a Markdown table and writes gpu.json to the
folder $OUT, or to build/. A section that fails or takes too long is reported in one line; the others go on.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from bench import torch_unet
from ddim_from_scratch.diffusion import T
from ddim_from_scratch.nn.fast.gpu import conv
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.backend import graph_memory, to_device
from ddim_from_scratch.spectrogram.config import PRESETS, Config
from ddim_from_scratch.spectrogram.model import Model, init_state
from ddim_from_scratch.spectrogram.system import Batch, Training
from ddim_from_scratch.training.loop import ahead

Once = Callable[[], object]

CONTESTS = [  # (work, batch, TF32), the most important first
    *(("train_step", batch, True) for batch in (16, 4)),
    *(("forward", batch, True) for batch in (8, 1)),
    *(("train_step", batch, False) for batch in (16, 4)),
    *(("forward", batch, False) for batch in (8, 1)),
]
EAGER: dict[str, dict[str, Any]] = {
    "NCHW": {"layout": "NCHW"},
    "channels_last": {"layout": "channels_last"},
    "NCHW, padded heads": {"layout": "NCHW", "head_padding": 3},
    "channels_last, padded heads": {"layout": "channels_last", "head_padding": 3},
}
OURS, COMPILED = "ours", "compiled"
ROUNDS, TURN_SECONDS, WARM_UP = 7, 0.1, 3
SECTION_SECONDS, COMPILE_SECONDS = 60, 75  # limits of a section
KERNELS = 15  # rows of a profile
SIZE, TINY_SIZE = (256, 128), (32, 16)  # frames and mel bins


def ours(work: str, config: Config, x: np.ndarray, tf32: bool) -> Once:
    """Our "train_step" or "forward" on the device, as a function to call again and again.

    config: config.batch_size is the batch. x: (batch, frames, mels, 1), float32, on the host. Each call of the result
    may return before the device has finished.
    """
    rng = np.random.default_rng(config.seed)
    state = tree.pack(tree.to_device(init_state(config, rng), "gpu"))
    training, batch = Training(config, device="gpu"), Batch(x)
    examples = ahead((training.noisy(batch, rng) for _ in count()), "gpu")
    eps_model, device_x = Model(state["network"], config, None, "gpu").eps_model(), to_device(x, "gpu")

    def once() -> object:
        conv.EXACT = not tf32
        return training.step(state, next(examples), 1) if work == "train_step" else eps_model(device_x, T // 2)

    return once


# The device.


class Device:
    """What differs between a GPU and a rehearsal on the processor: synchronisation and memory."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.gpu = name != "cpu"
        self.cupy = None
        if self.gpu:
            try:
                import cupy

                self.cupy = cupy
            except ImportError as error:
                say(f"without CuPy: {error}")

    def synchronise(self) -> None:
        """Waits for everything on the device, CuPy's work included."""
        if self.gpu:
            torch.cuda.synchronize()

    def use_tf32(self, tf32: bool) -> None:
        """PyTorch's setting for products and convolutions. (cuDNN tries its algorithms for each setting.)"""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer versions prefer another name
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True

    def release(self, graphs: bool = False) -> None:
        """Gives memory that nobody uses back to the device; graphs: and that of graphs, none of which may run again.

        (To the pool a graph's memory is unused between two runs.)
        """
        gc.collect()
        if self.gpu:
            torch.cuda.empty_cache()
        if self.cupy:
            self.cupy.get_default_memory_pool().free_all_blocks()
            if graphs:
                graph_memory().free_all_blocks()

    def held(self) -> dict[str, int]:
        """Bytes in use and bytes reserved, of PyTorch and CuPy together. Only one of them works at a time."""
        if not self.gpu:
            return {"in_use": 0, "reserved": 0}
        pools = [self.cupy.get_default_memory_pool(), graph_memory()] if self.cupy else []
        return {
            "in_use": torch.cuda.memory_allocated() + sum(pool.used_bytes() for pool in pools),
            "reserved": torch.cuda.memory_reserved() + sum(pool.total_bytes() for pool in pools),
        }

    def peak(self, once: Once, before: dict[str, int], calls: int) -> dict[str, int]:
        """Peak memory of `calls` calls, beyond what was held `before` this competitor was made.

        peak_bytes: most in use at one time, of PyTorch only. reserved_bytes: what the memory pool took from the
        device, fragmentation included. What cuDNN tried during the warm-up is not counted.
        """
        self.release()
        if self.gpu:
            torch.cuda.reset_peak_memory_stats()
        for _ in range(calls):
            once()
        self.synchronise()
        if not self.gpu:
            return {"peak_bytes": 0, "reserved_bytes": 0}
        pool_in_use = self.held()["in_use"] - torch.cuda.memory_allocated()
        return {
            "peak_bytes": torch.cuda.max_memory_allocated() + pool_in_use - before["in_use"],
            "reserved_bytes": self.held()["reserved"] - before["reserved"],
        }

    def description(self) -> dict[str, Any]:
        versions = {"python": sys.version.split()[0], "numpy": np.__version__, "torch": torch.__version__}
        if not self.gpu:
            return versions | {"device": "processor (rehearsal)"}
        versions |= {"device": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
        versions["cudnn"] = torch.backends.cudnn.version()
        return versions | ({"cupy": self.cupy.__version__} if self.cupy else {})


# Sections that may fail.


class TooLong(BaseException):
    """Raised by the alarm. Not an Exception, so that no library takes it for an error of its own."""


def say(text: str) -> None:
    print(text, flush=True)


class Report:
    """The results. Written after each section, so that a run that is cut short leaves what it has."""

    def __init__(self, path: Path, deadline: float) -> None:
        self.path, self.deadline, self.start = path, deadline, time.monotonic()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.results: dict[str, Any] = {"contests": {}, "profiles": {}, "compiled": {}, "sections": {}, "errors": {}}

    def left(self) -> float:
        return self.deadline - (time.monotonic() - self.start)

    def section(self, name: str, function: Callable[[], None], limit: float = SECTION_SECONDS) -> None:
        """Calls `function` for at most `limit` seconds, and at most until the deadline. Records its time or error."""
        start = time.monotonic()

        def ring(*_: object) -> None:
            raise TooLong(f"stopped after {time.monotonic() - start:.0f} s")

        try:
            if self.left() < 1:
                raise TooLong("no time left")
            signal.signal(signal.SIGALRM, ring)
            signal.setitimer(signal.ITIMER_REAL, min(limit, self.left()))
            function()
        except (Exception, TooLong) as error:
            self.fail(name, error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self.results["sections"][name] = round(time.monotonic() - start, 2)
        say(f"[{time.monotonic() - self.start:6.1f} s] {name}: {self.results['sections'][name]:.1f} s")
        self.save()

    def fail(self, name: str, error: BaseException) -> None:
        line = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        self.results["errors"][name] = line
        say(f"{name}: {line}")

    def save(self) -> None:
        self.path.write_text(json.dumps(self.results, indent=1))


# Measuring.


def key(work: str, batch: int, tf32: bool) -> str:
    return f"{work} batch {batch} {'TF32' if tf32 else 'FP32'}"


def inputs(options: argparse.Namespace, batch: int) -> tuple[Config, np.ndarray]:
    """The paper's configuration with the chosen normalisation, and spectrograms (batch, frames, mels, 1)."""
    settings = PRESETS["paper"] | {"data": "none", "batch_size": batch, "norm": options.norm}
    size = SIZE
    if options.tiny:
        settings |= {"widths": (8, 16), "block_depth": 1}
        size = TINY_SIZE
    x = np.random.default_rng(1).standard_normal((batch, *size, 1), dtype=np.float32)
    return Config(**settings), x


def competitor(name: str, work: str, batch: int, tf32: bool, options: argparse.Namespace, **variant: Any) -> Once:
    config, x = inputs(options, batch)
    if name == OURS:
        return ours(work, config, x, tf32)
    return getattr(torch_unet, work)(config, x, device=options.device, **variant)


def seconds_a_call(device: Device, once: Once, calls: int) -> float:
    device.synchronise()
    start = time.perf_counter()
    for _ in range(calls):
        once()
    device.synchronise()
    return (time.perf_counter() - start) / calls


def contest(
    report: Report, device: Device, name: str, makers: dict[str, Callable[[], Once]]
) -> tuple[dict[str, dict[str, Any]], dict[str, list[float]]]:
    """Makes and warms up every competitor, then times them in turns.

    Returns for each its measurements, and its seconds a call in each round. One that fails is recorded and left out.
    """
    ways: dict[str, Once] = {}
    measured: dict[str, dict[str, Any]] = {}
    device.release(graphs=True)  # of the contest before
    for way, make in makers.items():
        device.release()
        before = device.held()
        try:
            start = time.perf_counter()
            once = make()
            once()
            device.synchronise()
            first = time.perf_counter() - start
            for _ in range(WARM_UP):
                once()
            memory = device.peak(once, before, WARM_UP)
            calls = max(1, min(500, round(TURN_SECONDS / seconds_a_call(device, once, WARM_UP))))
        except Exception as error:
            report.fail(f"{name}, {way}", error)
            continue
        ways[way], measured[way] = once, {"first_call_seconds": first, "calls": calls, **memory}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, once in ways.items():
            seconds[way].append(seconds_a_call(device, once, measured[way]["calls"]))
    for way, times in seconds.items():
        measured[way] |= {"ms": 1e3 * median(times), "ms_least": 1e3 * min(times), "ms_most": 1e3 * max(times)}
    return measured, seconds


def ratio(a: list[float], b: list[float]) -> float:
    return median(x / y for x, y in zip(a, b, strict=True))


def measure(report: Report, device: Device, options: argparse.Namespace, work: str, batch: int, tf32: bool) -> None:
    device.use_tf32(tf32)
    name = key(work, batch, tf32)
    chosen = partial(competitor, work=work, batch=batch, tf32=tf32, options=options)
    makers = {way: partial(chosen, way, **variant) for way, variant in EAGER.items()} | {OURS: partial(chosen, OURS)}
    measured, seconds = contest(report, device, name, makers)
    result: dict[str, Any] = {"work": work, "batch": batch, "tf32": tf32, "ways": measured}
    eager = [way for way in measured if way != OURS]
    if eager:
        result["best_eager"] = best = min(eager, key=lambda way: measured[way]["ms"])
        if OURS in measured:
            result["ratio"] = ratio(seconds[OURS], seconds[best])
    report.results["contests"][name] = result
    say("  " + "; ".join(f"{way} {m['ms']:.3f} ms" for way, m in measured.items()))


def measure_compiled(report: Report, device: Device, options: argparse.Namespace, work: str, batch: int) -> None:
    """torch.compile, default mode, of the best eager variant, beside that variant and ours. With TF32."""
    device.use_tf32(True)
    name = key(work, batch, True)
    best = report.results["contests"].get(name, {}).get("best_eager", "channels_last")
    torch.compiler.reset()  # else the limit on recompilations sends a later competitor back to eager mode
    chosen = partial(competitor, work=work, batch=batch, tf32=True, options=options)
    makers = {
        COMPILED: partial(chosen, COMPILED, compiled=True, **EAGER[best]),
        best: partial(chosen, best, **EAGER[best]),
        OURS: partial(chosen, OURS),
    }
    measured, seconds = contest(report, device, f"{name}, torch.compile", makers)
    result: dict[str, Any] = {"work": work, "batch": batch, "tf32": True, "variant": best, "ways": measured}
    if {COMPILED, best} <= measured.keys():
        result["compiled / eager"] = ratio(seconds[COMPILED], seconds[best])
    if {COMPILED, OURS} <= measured.keys():
        result["ours / compiled"] = ratio(seconds[OURS], seconds[COMPILED])
    report.results["compiled"][name] = result
    say("  " + "; ".join(f"{way} {m['ms']:.3f} ms" for way, m in measured.items()))


# Where the time goes.


def events_of(once: Once, calls: int, device: Device) -> list[dict[str, Any]]:
    """What PyTorch's profiler records of `calls` calls, whoever launched it: Chrome's trace events."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.gpu else [])
    with profile(activities=activities) as profiler:
        for _ in range(calls):
            once()
        device.synchronise()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(path))
        return json.loads(path.read_bytes())["traceEvents"]


def profile_of(events: list[dict[str, Any]], calls: int, gpu: bool) -> dict[str, Any]:
    """The kernels that take longest, in microseconds a call, and how many of everything a call takes.

    busy_us: sum over kernels, copies and fills. span_us: from the first one's start to the last one's end. A span much
    longer than busy means that the device waits for the host.
    """
    kinds = {"kernel", "gpu_memcpy", "gpu_memset"} if gpu else {"cpu_op"}
    work = [event for event in events if event.get("cat") in kinds and "dur" in event]
    if not work:
        raise RuntimeError("the profiler recorded no kernels")
    us: dict[str, float] = defaultdict(float)
    count: dict[str, int] = defaultdict(int)
    for event in work:
        us[event["name"]] += event["dur"] / calls
        count[event["name"]] += 1
    runtime = [event["name"] for event in events if event.get("cat") in ("cuda_runtime", "cuda_driver")]
    span = max(e["ts"] + e["dur"] for e in work) - min(e["ts"] for e in work)
    top = sorted(us, key=us.get, reverse=True)[:KERNELS]
    return {
        "busy_us": sum(us.values()),
        "span_us": span / calls,
        "kernels": sum(event["cat"] == "kernel" for event in work) / calls,
        "copies_and_fills": sum(event["cat"] in ("gpu_memcpy", "gpu_memset") for event in work) / calls,
        "synchronisations": sum("Synchronize" in name for name in runtime) / calls,
        "allocations": sum("Malloc" in name for name in runtime) / calls,
        "top": [{"name": name, "us": us[name], "count": count[name] / calls} for name in top],
    }


def short(name: str, length: int = 72) -> str:
    """A kernel's name without what all of them share; its middle is left out if it is long."""
    for noise in ("void ", "at::native::", "(anonymous namespace)::", "<unnamed>::"):
        name = name.replace(noise, "")
    return name if len(name) <= length else f"{name[: length - 27]}...{name[-24:]}"


def measure_profile(
    report: Report, device: Device, options: argparse.Namespace, work: str, batch: int, who: str
) -> None:
    calls = 3
    device.use_tf32(True)
    device.release()
    once = competitor(who, work, batch, True, options, **EAGER.get(who, {}))
    for _ in range(WARM_UP):
        once()
    device.synchronise()
    found = profile_of(events_of(once, calls, device), calls, device.gpu)
    report.results["profiles"][f"{key(work, batch, True)}, {who}"] = found


# Tables.


def cell(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else format(value, form)


def megabytes(measured: dict[str, Any] | None) -> str:
    """Peak in use / reserved by the pool."""
    if measured is None:
        return "-"
    return " / ".join(f"{measured[name] / 1e6:.0f}" for name in ("peak_bytes", "reserved_bytes"))


def table(results: dict[str, Any]) -> str:
    lines = [
        f"Milliseconds a call on {results['machine']['device']}, PyTorch {results['machine']['torch']}, "
        f"{results['norm']} normalisation; memory is peak in use / reserved, MB.",
        "",
        f"| work | batch | TF32 | {' | '.join(EAGER)} | torch.compile | ours | ours / best eager | "
        "PyTorch's MB | ours MB |",
        "|---" * 2 + "|---" + "|---:" * (len(EAGER) + 5) + "|",
    ]
    for name, of in results["contests"].items():
        ways = of["ways"]
        compiled = results["compiled"].get(name, {}).get("ways", {}).get(COMPILED, {})
        cells = [
            *(cell(ways.get(way, {}).get("ms")) for way in EAGER),
            cell(compiled.get("ms")),
            cell(ways.get(OURS, {}).get("ms")),
            cell(of.get("ratio"), ".2f"),
            megabytes(ways.get(of.get("best_eager"))),
            megabytes(ways.get(OURS)),
        ]
        lines.append(f"| {of['work']} | {of['batch']} | {'on' if of['tf32'] else 'off'} | {' | '.join(cells)} |")
    for name, of in results["profiles"].items():
        lines += [
            "",
            f"{name}: busy {of['busy_us']:.0f} us of {of['span_us']:.0f} us a call; {of['kernels']:.0f} kernels, "
            f"{of['copies_and_fills']:.0f} copies and fills, {of['synchronisations']:.1f} synchronisations, "
            f"{of['allocations']:.1f} allocations",
            "",
            "| kernel | us a call | times |",
            "|---|---:|---:|",
            *(f"| `{short(k['name'])}` | {k['us']:.0f} | {k['count']:.1f} |" for k in of["top"]),
        ]
    return "\n".join(lines)


@contextmanager
def tables_at_the_end(report: Report) -> Iterator[None]:
    try:
        yield
    finally:
        report.save()
        say("\n" + table(report.results))
        for name, error in report.results["errors"].items():
            say(f"failed: {name}: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--norm", choices=("group", "batch"), default="group", help="normalisation (default: group)")
    parser.add_argument("--compile", action="store_true", help="time torch.compile, too, as far as --seconds allows")
    parser.add_argument("--profile", action="store_true", help="list the kernels of a training step at batch 16")
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT", help="contests whose names contain a TEXT")
    parser.add_argument("--seconds", type=float, default=300, help="stop after this time (default: 300)")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu for a rehearsal")
    parser.add_argument("--tiny", action="store_true", help="a small network on small spectrograms, for a rehearsal")
    options = parser.parse_args()

    device = Device(options.device)
    report = Report(Path(os.environ.get("OUT") or "build", "gpu.json"), options.seconds)
    report.results |= {"machine": device.description(), "norm": options.norm, "tiny": options.tiny}
    say(json.dumps(report.results["machine"]))
    chosen = [c for c in CONTESTS if any(text in key(*c) for text in options.only)]
    with tables_at_the_end(report):
        for tf32 in (True, False):
            some = [c for c in chosen if c[2] == tf32]
            for c in some:
                report.section(key(*c), partial(measure, report, device, options, *c))
            for work, batch, _ in some if options.compile and tf32 else []:
                job = partial(measure_compiled, report, device, options, work, batch)
                report.section(f"compile {work} {batch}", job, limit=COMPILE_SECONDS)
        if options.profile:
            for who in ("channels_last", OURS):
                name = f"profile {who}"
                report.section(name, partial(measure_profile, report, device, options, "train_step", 16, who))


if __name__ == "__main__":
    main()
