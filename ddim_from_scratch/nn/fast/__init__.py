"""The fast layers, and the one choice of who computes.

processor  threads, tiles and pooled memory, for NumPy arrays
gpu        CUDA kernels, for CuPy arrays
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from ... import nn
from ...runtime.backend import Array
from . import gpu, processor

_plain = False


def use_plain(plain: bool) -> None:
    """Make `layers_for` choose the textbook throughout this process, or no longer: the option --plain."""
    global _plain
    _plain = plain


def layers_for(x: Array) -> ModuleType:
    """The namespace of layers for arrays like x: the fastest there is, or the textbook, which takes any array."""
    if _plain:
        return nn
    return processor if isinstance(x, np.ndarray) else gpu
