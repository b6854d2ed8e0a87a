"""Backend selection: array module, device, thread pool and buffer reuse.

This is the only file that imports CuPy. Other files ask `array_module(x)` for the namespace of `x`, or use methods and
operators, which need none.
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
from functools import lru_cache, wraps
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import psutil
import scipy.fft
from threadpoolctl import ThreadpoolController

from .errors import UserError, why

try:
    import cupy

    # Now, in one thread: cupy.get_array_module imports it at its first call, and two threads at once fail there.
    import cupyx.scipy.fft  # noqa: F401
except ImportError:
    cupy = None

Array = np.ndarray  # or cupy.ndarray: the two have the same interface


class BackendError(UserError):
    """Raised when the requested device is unavailable. The message says what to install."""


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
    """`x` as a NumPy array. No copy if it is one already."""
    return x if array_module(x) is np else cupy.asnumpy(x)


def to_device(x: np.ndarray, device: str = "cpu") -> Array:
    """`x` on `device`, "cpu" or "gpu". No copy if it is already there.

    Raises BackendError as `require_gpu` does.
    """
    if device == "cpu":
        return to_host(x)
    require_gpu()
    return cupy.asarray(x)


def chosen_device(gpu: bool) -> str:
    """Returns "gpu" with --gpu, else "cpu". Raises BackendError as `require_gpu` does.

    The processes of a machine take its devices in turn.
    """
    if gpu:
        from . import mpi  # which needs this file

        rank = mpi.local_rank()
        with suppress(Exception):  # require_gpu says what is wrong
            cupy.cuda.Device(rank % cupy.cuda.runtime.getDeviceCount()).use()
        require_gpu()  # after that: its computing opens a context, which takes memory, on the device in use
    return "gpu" if gpu else "cpu"


def constant(make: Callable[..., np.ndarray], *arguments: Any, like: Array) -> Array:
    """The table make(*arguments) in `like`'s dtype and on its device, brought there once."""
    return _constant(array_module(like), like.dtype, make, arguments)


@lru_cache(maxsize=64)
def _constant(xp: ModuleType, dtype: Any, make: Callable[..., np.ndarray], arguments: tuple) -> Array:
    return xp.asarray(make(*arguments), dtype)


def require_gpu() -> None:
    """Raises BackendError, which says what to install, unless CuPy can compile a kernel and multiply matrices."""
    if cupy is None:
        raise BackendError(
            "--gpu needs CuPy, which is not installed: pip install 'ddim_from_scratch[gpu]' "
            "(CUDA 13; for CUDA 12: pip install 'cupy-cuda12x[ctk]'), or leave out --gpu"
        )
    try:
        found = cupy.is_available() and _compute_on_gpu()
    except Exception as error:  # a library that is missing or of another version: CuPy raises many kinds
        raise BackendError(
            f"--gpu: CuPy cannot compute here ({why(error)}): pip install "
            "'ddim_from_scratch[gpu]' brings the CUDA libraries that it needs; or leave out --gpu"
        ) from None
    if not found:
        raise BackendError(
            "--gpu: CuPy is installed but finds no CUDA device: check that nvidia-smi lists one "
            "and that its driver matches CuPy's CUDA version, or leave out --gpu"
        )


def read(*scalars: Array) -> list[float]:
    """Scalars of one device as numbers, fetched together: on a GPU this waits for all work that is under way."""
    return to_host(array_module(scalars[0]).stack(scalars)).tolist()


def memory_held(device: str = "cpu") -> int:
    """Bytes that this process has held at most; of a GPU, those that CuPy's pools hold."""
    if device == "gpu":
        return cupy.get_default_memory_pool().total_bytes() + graph_memory().total_bytes()
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def require_memory(needed: int, purpose: str, remedy: str) -> None:
    """Raises UserError, naming the remedy, if `needed` bytes are more than the machine has available."""
    if needed > (available := psutil.virtual_memory().available):
        raise UserError(
            f"{purpose} would take {needed / 1e9:.2f} GB of memory; {available / 1e9:.2f} GB are free. Lower {remedy}"
        )


@lru_cache
def graph_memory() -> Any:
    """The pool of a GPU's memory in which recorded graphs work, one after the other (nn/fast/gpu/kernels.py)."""
    return cupy.cuda.MemoryPool()


@lru_cache
def _compute_on_gpu() -> bool:
    """A kernel, which needs NVRTC, and a product, which needs cuBLAS: True, or what CuPy raises."""
    x = cupy.ones((2, 2), cupy.float32)
    return bool((x @ (x + x) == 4).all())


def hardware(device: str = "cpu") -> str:
    """The name of the hardware behind `device`, to print beside measured times."""
    if device == "gpu":
        return cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
    return f"{cpu_name()}, {worker_count()} threads"


def cpu_name() -> str:
    """The name of this machine's processor."""
    with suppress(OSError):  # Linux
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


CLIPS_AT_ONCE = 8  # generated or inverted per batch, which limits the memory


# Threads. NumPy's matmul and ufuncs release the GIL, so Python threads over batch elements or rows use every core. On
# this network's narrow matrices they are faster than BLAS's own threads, which are limited to one meanwhile.


class _Context(NamedTuple):
    """Provided by `threads` to its caller's thread, and, without the pool, to each thread of the pool."""

    pool: ThreadPoolExecutor | None
    workers: int
    memory: Memory


class _Local(threading.local):
    context: _Context | None = None


_local = _Local()


def available_cores() -> int:
    """Number of cores that this process may use. In a container these can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_bytes() -> int:
    """Size of a core's L2 cache, at most 2 MB. 1 MB, a common size, if the system does not say."""
    size = 1 << 20
    with suppress(OSError, ValueError):  # Linux: "2048K"
        size = int(Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text().rstrip("K\n")) << 10
    return min(size, 2 << 20)


@lru_cache
def _blas() -> ThreadpoolController:
    """The BLAS libraries of this process, cached because finding them takes a millisecond."""
    return ThreadpoolController()


@contextmanager
def threads(count: int | None = None) -> Iterator[None]:
    """Within this context `parallel` uses `count` threads (default: all cores) and `empty` reuses memory.

    It applies to the thread that opens it. The BLAS setting of the process is restored on exit.
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
    """Number of threads that `parallel` uses here."""
    return _local.context.workers if _local.context else available_cores()


def parallel(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """`[function(item) for item in items]`, on the threads of the enclosing `threads` context, or of a temporary one.

    Called within one of those threads, it runs serially.
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
            except IndexError:  # the queue is empty
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
    """Slices of the first axis of `x`: of about `bytes_per_block`, for a core's L2 cache, and one a thread or more.

    A single slice on a GPU, where each kernel divides its own work.
    """
    length = len(x)
    if array_module(x) is not np or length == 0:
        return [slice(0, length)]
    pieces = max(-(-x.nbytes // bytes_per_block), min(worker_count(), length))
    step = -(-length // pieces)
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def rows(x: Array) -> list[tuple[slice, slice]]:
    """Slices of the first two axes of `x`: one element, and its rows as in `blocks`."""
    return [(slice(i, i + 1), part) for i in range(len(x)) for part in blocks(x[i])]


def elementwise(function: Callable[..., None]) -> Callable[..., None]:
    """A function of arrays of one shape, then numbers, that changes the arrays in place, each element by itself.

    On a processor the threads take blocks of the arrays; on a GPU all of it is one kernel. There the function must not
    compute with two of its numbers, as in 1 - decay: cupy.fuse does that in float16 (CuPy 14.2).
    """
    fused: list[Callable[..., None]] = []

    @wraps(function)
    def call(*arguments: Array | float) -> None:
        arrays: list[Any] = [a for a in arguments if getattr(a, "ndim", 0)]
        numbers = arguments[len(arrays) :]
        if isinstance(arrays[0], np.ndarray):
            parallel(lambda part: function(*(a[part] for a in arrays), *numbers), blocks(arrays[0]))
            return
        if not fused:
            fused.append(cupy.fuse()(function))
        fused[0](*arguments)

    return call


# Memory. Every training step needs the same arrays, and fresh pages from the kernel cost as much as the arithmetic
# on them. A buffer without references is reused for an array of its size or somewhat less.

LINE = 64  # bytes of a cache line; a vector across two lines costs two accesses
MAX_WASTE = 2  # largest ratio of a buffer's size to its array's


def empty(shape: tuple[int, ...], like: Array, dtype: Any = None) -> Array:
    """An uninitialised array on `like`'s device, with its dtype unless `dtype` is given.

    Within `threads` the memory comes from a pool. CuPy has its own pool.
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
                if len(self.buffers[i]) > MAX_WASTE * size:
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
        """Views hold a reference to their buffer. A count of 2 is the list and getrefcount's argument: no view."""
        return sys.getrefcount(self.buffers[i]) == 2
