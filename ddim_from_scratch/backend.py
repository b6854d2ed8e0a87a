"""NumPy and CuPy from one text: where an array lives, which threads work on it, which memory it takes.

This is the only file that imports CuPy. Everything else asks `array_module(x)` for the namespace
that `x` belongs to, or simply uses methods and operators, which need no namespace.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import scipy.fft
from threadpoolctl import threadpool_limits

from .config import UserError

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


# Threads. NumPy's matmul and ufuncs release the GIL, so Python threads over samples or row blocks
# use every core; on the narrow matrices of this network they beat BLAS's own threads, which are
# limited to one meanwhile (two by two is slower than one).

_workers: ThreadPoolExecutor | None = None
_worker_count = 1
_in_worker = threading.local()


def available_cores() -> int:
    """How many cores this process may use (fewer than the machine's in a container)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def threads(count: int | None = None) -> Iterator[None]:
    """Within this context `parallel` uses `count` threads (default: every core) and `empty` reuses memory.

    The caller's BLAS settings are restored on leaving.
    """
    global _workers, _worker_count, _buffers
    outer = _workers, _worker_count, _buffers
    count = count or available_cores()
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(count, initializer=_mark_worker) as pool:
        _workers, _worker_count, _buffers = pool, count, defaultdict(list)
        try:
            yield
        finally:
            _workers, _worker_count, _buffers = outer


def _mark_worker() -> None:
    _in_worker.yes = True


def worker_count() -> int:
    """How many threads `parallel` uses here."""
    return _worker_count


def parallel(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """`[function(item) for item in items]`, over the threads of the enclosing `threads` context.

    Within such a thread it runs serially.
    """
    items = list(items)
    if _worker_count == 1 or len(items) < 2 or getattr(_in_worker, "yes", False):
        return [function(item) for item in items]
    return list(_workers.map(function, items))


def blocks(x: Array, bytes_per_block: int = 1 << 19) -> list[slice]:
    """Slices that cut the first axis of `x` into pieces that stay in a core's L2 cache, one a thread at least.

    One piece in all on a GPU, where a kernel does its own cutting.
    """
    length = len(x)
    if array_module(x) is not np or length == 0:
        return [slice(0, length)]
    pieces = max(-(-x.nbytes // bytes_per_block), min(_worker_count, length))
    step = -(-length // pieces)
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


# Memory. A training step asks for the same arrays again and again, and fresh pages from the kernel
# cost as much as the arithmetic on them. A buffer that nobody refers to any more is given out again.

_buffers: dict[int, list[np.ndarray]] | None = None
_buffers_lock = threading.Lock()


def empty(shape: tuple[int, ...], like: Array, dtype: Any = None) -> Array:
    """An uninitialised array with `like`'s dtype (unless `dtype` is given), on `like`'s device.

    Within `threads` its memory comes from a pool. CuPy has a pool of its own.
    """
    dtype = np.dtype(dtype or like.dtype)
    xp = array_module(like)
    if xp is not np or _buffers is None:
        return xp.empty(shape, dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    with _buffers_lock:
        kept = _buffers[size]
        for i in range(len(kept)):
            # Views refer to their buffer: 2 means the list and getrefcount's argument, no view.
            if sys.getrefcount(kept[i]) == 2:
                return kept[i].view(dtype).reshape(shape)
        buffer = np.empty(size, np.uint8)
        kept.append(buffer)
        return buffer.view(dtype).reshape(shape)
