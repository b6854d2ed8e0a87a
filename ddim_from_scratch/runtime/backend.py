"""NumPy and CuPy from one text: where an array lives, which threads work on it, which memory it takes.

This is the only file that imports CuPy. Everything else asks `array_module(x)` for the namespace
that `x` belongs to, or simply uses methods and operators, which need no namespace.
"""

from __future__ import annotations

import math
import os
import platform
import sys
import threading
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
from threadpoolctl import ThreadpoolController

from .errors import UserError

try:
    import cupy
except ImportError:
    cupy = None

Array = np.ndarray  # or cupy.ndarray: the two have the same interface


class BackendError(UserError):
    """The device that was asked for is not there; the message says what to install."""


def array_module(x: Array) -> ModuleType:
    """The namespace of `x`: `numpy` or `cupy`."""
    return np if cupy is None else cupy.get_array_module(x)


def fft_module(x: Array) -> ModuleType:
    """`scipy.fft` for a NumPy array, `cupyx.scipy.fft` for a CuPy array."""
    if array_module(x) is np:
        return scipy.fft
    import cupyx.scipy.fft

    return cupyx.scipy.fft


def to_host(x: Array) -> np.ndarray:
    """`x` as a NumPy array; no copy if it is one."""
    return x if array_module(x) is np else cupy.asnumpy(x)


def to_device(x: np.ndarray, device: str = "cpu") -> Array:
    """`x` on `device`, "cpu" or "gpu"; no copy if it is there already.

    Raises BackendError if CuPy or a CUDA device is missing.
    """
    if device == "cpu":
        return to_host(x)
    require_gpu()
    return cupy.asarray(x)


def chosen_device(gpu: bool) -> str:
    """The device that --gpu asks for, or its absence: "gpu" or "cpu". Raises BackendError as `require_gpu` does."""
    if gpu:
        require_gpu()
    return "gpu" if gpu else "cpu"


def require_gpu() -> None:
    """Raise BackendError, saying what to install, unless CuPy and a CUDA device are there."""
    if cupy is None:
        raise BackendError(
            "--gpu needs CuPy, which is not installed: pip install 'ddim_from_scratch[gpu]' "
            "(CUDA 13; for CUDA 12: pip install cupy-cuda12x), or leave out --gpu"
        )
    if not cupy.is_available():
        raise BackendError(
            "--gpu: CuPy is installed but finds no CUDA device: check that nvidia-smi lists one "
            "and that its driver matches CuPy's CUDA version, or leave out --gpu"
        )


def hardware(device: str = "cpu") -> str:
    """What `device` is, in words, for reports of times."""
    if device == "gpu":
        return cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return f"{processor()}, {worker_count()} threads"


def processor() -> str:
    """The name of this machine's processor."""
    with suppress(OSError):  # Linux
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def fused(expression: str, out: Array, **arrays: Array) -> None:
    """out = expression, of arrays that broadcast to out's shape and have its dtype, on a GPU: one kernel, one pass.

    The expression is C, and so plain that it is Python as well: what stands in for CuPy in the tests reads it.
    """
    _kernel(expression, tuple(arrays))(*arrays.values(), out)


@lru_cache
def _kernel(expression: str, names: tuple[str, ...]) -> Callable:
    return cupy.ElementwiseKernel(", ".join(f"T {name}" for name in names), "T out", f"out = {expression}")


WORK_BYTES = 1 << 28  # of a GPU, for what a layer needs in between


# Threads. NumPy's matmul and ufuncs release the GIL, so Python threads over samples or row blocks
# use every core; on the narrow matrices of this network they beat BLAS's own threads, which are
# limited to one meanwhile (two by two is slower than one).


class _Context(NamedTuple):
    """What `threads` provides to its caller's thread, and, without the pool, to each thread of the pool."""

    pool: ThreadPoolExecutor | None
    workers: int
    memory: Memory


class _Local(threading.local):
    context: _Context | None = None


_local = _Local()


def available_cores() -> int:
    """How many cores this process may use (fewer than the machine's in a container)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_bytes() -> int:
    """A core's L2 cache; 1 MB, a common size, where the system does not tell, and at most 2 MB."""
    size = 1 << 20
    with suppress(OSError, ValueError):  # Linux: "2048K"
        size = int(Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text().rstrip("K\n")) << 10
    return min(size, 2 << 20)


@lru_cache
def _blas() -> ThreadpoolController:
    """The BLAS libraries of this process; finding them takes a millisecond, limiting them does not."""
    return ThreadpoolController()


@contextmanager
def threads(count: int | None = None) -> Iterator[None]:
    """Within this context `parallel` uses `count` threads (default: every core) and `empty` reuses memory.

    It holds for the thread that opens it. The process's BLAS setting is restored on leaving.
    """
    outer = _local.context
    count = count or available_cores()
    memory = Memory()

    def join() -> None:
        _local.context = _Context(None, 1, memory)

    with _blas().limit(limits=1, user_api="blas"), ThreadPoolExecutor(max(count - 1, 1), initializer=join) as pool:
        _local.context = _Context(pool, count, memory)
        try:
            yield
        finally:
            _local.context = outer


def worker_count() -> int:
    """How many threads `parallel` uses here."""
    return _local.context.workers if _local.context else available_cores()


def parallel(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """`[function(item) for item in items]`, over the threads of the enclosing `threads` context, or of a brief one.

    Within one of those threads it runs serially.
    """
    items = list(items)
    if len(items) < 2 or worker_count() == 1:
        return [function(item) for item in items]
    if _local.context is None:
        with threads():
            return parallel(function, items)
    queue: deque[tuple[int, Any]] = deque(enumerate(items))
    results: list[Any] = [None] * len(items)
    outer = _local.context

    def work() -> None:
        while True:
            try:
                i, item = queue.popleft()
            except IndexError:  # nothing is left
                return
            try:
                results[i] = function(item)
            except BaseException:
                queue.clear()
                raise

    assert outer.pool  # a thread of the pool has one worker, and returned above
    others = [outer.pool.submit(work) for _ in range(min(outer.workers, len(items)) - 1)]
    _local.context = _Context(None, 1, outer.memory)
    try:
        work()
    finally:
        _local.context = outer
        wait(others)
    for other in others:
        other.result()
    return results


def blocks(x: Array, bytes_per_block: int = 1 << 19) -> list[slice]:
    """Slices that cut the first axis of `x` into pieces that stay in a core's L2 cache, and occupy every thread.

    One piece in all on a GPU, where a kernel does its own cutting.
    """
    length = len(x)
    if array_module(x) is not np or length == 0:
        return [slice(0, length)]
    pieces = max(-(-x.nbytes // bytes_per_block), min(worker_count(), length))
    step = -(-length // pieces)
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def samples(x: Array, bytes_of_one: int = 0) -> list[slice]:
    """Slices of the first axis of `x`, one a sample.

    A GPU prefers few, large kernels: there one in all, or as many samples together as take WORK_BYTES, if the work on
    one takes `bytes_of_one`.
    """
    together = 1
    if array_module(x) is not np:
        together = max(WORK_BYTES // bytes_of_one if bytes_of_one else len(x), 1)
    return [slice(start, start + together) for start in range(0, len(x), together)]


def rows(x: Array) -> list[tuple[slice, slice]]:
    """(samples, rows) that cut the first two axes of `x`: one sample and rows as in `blocks`; one piece on a GPU."""
    if array_module(x) is not np:
        return [(slice(0, len(x)), slice(0, x.shape[1]))]
    return [(slice(i, i + 1), part) for i in range(len(x)) for part in blocks(x[i])]


# Memory. A training step asks for the same arrays again and again, and fresh pages from the kernel
# cost as much as the arithmetic on them. A buffer that nobody refers to any more is given out again,
# for an array of its size or somewhat less.

LINE = 64  # bytes of a cache line; a vector that lies across two of them costs two accesses
MOST_WASTE = 2  # a buffer at most so many times the size of its array


def empty(shape: tuple[int, ...], like: Array, dtype: Any = None) -> Array:
    """An uninitialised array with `like`'s dtype (unless `dtype` is given), on `like`'s device.

    Within `threads` its memory comes from a pool. CuPy has a pool of its own.
    """
    dtype = np.dtype(dtype or like.dtype)
    xp = array_module(like)
    if xp is not np or _local.context is None:
        return xp.empty(shape, dtype)
    size = math.prod(shape) * dtype.itemsize
    buffer = _local.context.memory.take(size + LINE)
    start = -buffer.__array_interface__["data"][0] % LINE
    return buffer[start : start + size].view(dtype).reshape(shape)


class Memory:
    """A pool of reusable buffers. Their total size never exceeds the most that was in use at one time."""

    def __init__(self) -> None:
        self.buffers: list[np.ndarray] = []  # in order of size
        self.most_in_use = 0
        self.lock = threading.Lock()

    def take(self, size: int) -> np.ndarray:
        """The smallest unused buffer that is large enough, or a new one in place of the largest unused ones."""
        with self.lock:
            for i in range(bisect_left(self.buffers, size, key=len), len(self.buffers)):
                if len(self.buffers[i]) > MOST_WASTE * size:
                    break
                if self._unused(i):
                    return self.buffers[i]
            unused = [i for i in range(len(self.buffers)) if self._unused(i)]
            total = sum(map(len, self.buffers)) + size
            self.most_in_use = max(self.most_in_use, total - sum(len(self.buffers[i]) for i in unused))
            while unused and total > self.most_in_use:
                total -= len(self.buffers.pop(unused.pop()))
            buffer = np.empty(size, np.uint8)
            insort(self.buffers, buffer, key=len)
            return buffer

    def _unused(self, i: int) -> bool:
        """Views refer to their buffer: 2 means the list and getrefcount's argument, no view."""
        return sys.getrefcount(self.buffers[i]) == 2
