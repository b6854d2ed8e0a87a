"""The fast layers, and the one choice of who computes.

processor  threads, tiles and pooled memory, for NumPy arrays
gpu        CUDA kernels, for CuPy arrays
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from ... import nn
from ...runtime import mpi
from ...runtime.backend import Array, chosen_device, threads
from . import gpu, processor
from .gpu.kernels import Recorded

_plain = False


def use_plain(plain: bool) -> None:
    """Make `layers_for` choose the textbook throughout this process, or no longer: the option --plain."""
    global _plain
    _plain = plain


@contextmanager
def computing(args: argparse.Namespace) -> Iterator[str]:
    """A context in which --gpu, --plain and --threads hold. Yields the device. Raises as `chosen_device` does."""
    device = chosen_device(args.gpu)
    use_plain(args.plain)
    try:
        with threads(1 if args.gpu else args.threads):  # a GPU has its own
            yield device
    finally:
        use_plain(False)


def layers_for(x: Array) -> ModuleType:
    """The namespace of layers for arrays like x: the fastest there is, or the textbook, which takes any array."""
    if _plain:
        return nn
    return processor if isinstance(x, np.ndarray) else gpu


def recorded(function: Callable[..., Any], device: str) -> Callable[..., Any]:
    """A function of arrays as one launch, where the GPU's layers do its work: they only launch kernels.

    On a processor, with the textbook, and among processes, which speak to each other, it stays as it is.
    """
    return Recorded(function) if device == "gpu" and not _plain and mpi.size() == 1 else function
