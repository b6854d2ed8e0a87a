"""Compiles the CUDA C++ beside this file, a kernel at its first use, and launches it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from ....runtime.backend import Array, cupy

FOLDER = Path(__file__).parent
STATIC_SHARED = 48 << 10  # bytes of shared memory that a block gets without asking


def source(file: str) -> str:
    """The text of `file`.cu; the convolution's needs the tensor core's first."""
    return "".join((FOLDER / f"{name}.cu").read_text() for name in {"convolution": ["tensor_core", file]}.get(file, [file]))


@lru_cache
def kernel(file: str, name: str, shared: int = 0) -> Callable:
    """The kernel `name` of `file`.cu, a template's with its arguments; it gets so many bytes of shared memory."""
    module = cupy.RawModule(code=source(file), options=("-std=c++17",), name_expressions=[name])
    function = module.get_function(name)
    if shared > STATIC_SHARED:
        function.max_dynamic_shared_size_bytes = shared

    def launch(grid: tuple[int, ...], block: tuple[int, ...], *arguments: Array | float | None) -> None:
        """Arguments: arrays, int, float (both of 4 bytes there), and None for a null pointer."""
        function(grid, block, tuple(map(_argument, arguments)), shared_mem=shared)

    return launch


def _argument(value: Array | float | None) -> object:
    if value is None:
        return 0
    if isinstance(value, int):
        return np.int32(value)
    return np.float32(value) if isinstance(value, float) else value
