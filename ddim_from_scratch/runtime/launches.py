"""Few launches: each costs a GPU's host some microseconds, more than many a kernel takes.

elementwise  arithmetic on the elements of arrays is one kernel
Recorded     a whole forward and backward pass is one launch
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from . import backend
from .backend import Array, blocks, parallel


def elementwise(function: Callable[..., None]) -> Callable[..., None]:
    """A function of arrays of one shape, then numbers, that changes the arrays in place, each element by itself.

    On a processor the threads take blocks of the arrays; on a GPU all of it is one kernel (cupy.fuse).
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
            fused.append(backend.cupy.fuse()(function))
        fused[0](*arguments)

    return call


class Recorded:
    """function(*arrays) on a GPU: run as it stands at first, then recorded as a CUDA graph and replayed in one launch.

    The function may only launch kernels: it reads no number back, brings nothing from the host, draws no random
    numbers, calls no library. What else it reads or changes stays where it is in memory. What it returns, arrays in
    any structure, is overwritten by the next call. There is a graph for each combination of shapes.
    """

    stream: Any = None  # on which all are recorded, so that they share their memory

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.graphs: dict[tuple, tuple] = {}

    def __call__(self, *arrays: Array) -> Any:
        shapes = tuple((a.shape, a.dtype.char) for a in arrays)
        if shapes not in self.graphs:
            first, self.graphs[shapes] = self._record([a.copy() for a in arrays])
            return first
        graph, inputs, results = self.graphs[shapes]
        for mine, a in zip(inputs, arrays, strict=True):
            mine[...] = a
        graph.launch(backend.cupy.cuda.get_current_stream())
        return results

    def _record(self, inputs: list[Array]) -> tuple[Any, tuple]:
        """The results of a first run, in which kernels are compiled and memory is taken; and what a replay needs."""
        cuda = backend.cupy.cuda
        Recorded.stream = stream = Recorded.stream or cuda.Stream(non_blocking=True)
        cuda.get_current_stream().synchronize()
        with cuda.using_allocator(backend.graph_memory().malloc), stream:
            first = self.function(*inputs)
            stream.begin_capture()
            results = self.function(*inputs)
            graph = stream.end_capture()
            stream.synchronize()
        return first, (graph, inputs, results)
