"""Compiles the CUDA C++ beside this file, each kernel at its first use, and launches it; records launches."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ....runtime import backend
from ....runtime.backend import Array

FOLDER = Path(__file__).parent
WITHOUT_ASKING = 48 << 10  # bytes of shared memory that a block gets
THREADS = 256  # of a block, where nothing else decides


def source(file: str) -> str:
    """The text of a .cu file, with those that it includes."""
    return re.sub(r'#include "(.*)"', lambda found: source(found[1]), (FOLDER / file).read_text())


@cache
def kernel(file: str, name: str, shared: int = 0) -> Callable[..., None]:
    """The kernel `name` of `file`; of a template, with its arguments. A block gets `shared` bytes of shared memory.

    Returns launch(grid, block, *arguments): arrays, int and float, which are of 4 bytes there, and None for no array.
    """
    function = backend.cupy.RawModule(code=source(file), options=("-std=c++17",), name_expressions=[name]).get_function(
        name
    )
    if shared > WITHOUT_ASKING:
        function.max_dynamic_shared_size_bytes = shared

    def launch(grid: tuple[int, ...], block: tuple[int, ...], *arguments: Array | float | None) -> None:
        function(grid, block, tuple(map(_argument, arguments)), shared_mem=shared)

    return launch


def by_fours(file: str, name: str, made: Array, *arguments: Array | float | None) -> Array:
    """Launches a kernel that makes four numbers of `made` a thread, and whose last argument is how many threads."""
    size = made.size // 4
    kernel(file, name)((-(-size // THREADS),), (THREADS,), *arguments, size)
    return made


def empty(shape: int | tuple[int, ...]) -> Array:
    """Fresh float32 on the device; whoever asks for it fills it."""
    return backend.cupy.empty(shape, np.float32)


def contiguous(x: Array) -> Array:
    """x in C order, as all kernels want it; no copy where it is."""
    return backend.cupy.ascontiguousarray(x)


def aligned(a: Array | None) -> Array | None:
    """a, or a copy that starts where 16 bytes can be read at once. (A view into a vector of all weights may not.)"""
    return a if a is None or a.data.ptr % 16 == 0 else a.copy()


def multiprocessors() -> int:
    """How many of them the device has: blocks run on them side by side."""
    return backend.cupy.cuda.Device().attributes["MultiProcessorCount"]


def _argument(value: Array | float | None) -> object:
    if isinstance(value, int):
        return np.int32(value)
    return np.float32(value) if isinstance(value, float) else 0 if value is None else value


class Recorded:
    """function(*arrays) on a GPU: run as it stands at first, then recorded as a CUDA graph and replayed in one launch.

    The function may only launch kernels: it reads no number back, brings nothing from the host, draws no random
    numbers. One that calls cuBLAS, which CuPy 14 does not record, is run at each call. What else it reads or changes
    stays where it is in memory. What it returns, arrays in any structure, is overwritten by the next call. There is a
    graph for each combination of shapes.
    """

    stream: Any = None  # on which all are recorded, so that they share their memory

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.graphs: dict[tuple, tuple | None] = {}

    def __call__(self, *arrays: Array) -> Any:
        shapes = tuple((a.shape, a.dtype.char) for a in arrays)
        if shapes not in self.graphs:
            first, self.graphs[shapes] = self._record([a.copy() for a in arrays])
            return first
        if (recorded := self.graphs[shapes]) is None:
            return self.function(*arrays)
        graph, inputs, results = recorded
        for mine, a in zip(inputs, arrays, strict=True):
            mine[...] = a
        graph.launch(backend.cupy.cuda.get_current_stream())
        return results

    def _record(self, inputs: list[Array]) -> tuple[Any, tuple | None]:
        """The results of a first run, in which kernels are compiled and memory is taken; and what a replay needs.

        None for a replay if the function calls a library.
        """
        cuda = backend.cupy.cuda
        Recorded.stream = stream = Recorded.stream or cuda.Stream(non_blocking=True)
        cuda.get_current_stream().synchronize()
        with cuda.using_allocator(backend.graph_memory().malloc), stream:
            first = self.function(*inputs)
            stream.begin_capture()
            try:
                results = self.function(*inputs)
                whole = True
            except NotImplementedError:
                whole = False
            graph = stream.end_capture()
            stream.synchronize()
        return first, (graph, inputs, results) if whole else None
