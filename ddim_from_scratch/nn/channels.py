"""Pictures laid side by side along their channels, and added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..runtime.backend import Array


def concatenate(parts: Sequence[Array]) -> Array:
    """(N, H, W, C_1), (N, H, W, C_2) ... to (N, H, W, C_1 + C_2 + ...)."""
    return np.concatenate(parts, axis=3)


def split(dy: Array, widths: Sequence[int]) -> list[Array]:
    """The backward pass of `concatenate`: parts of `widths` channels."""
    ends = [sum(widths[: i + 1]) for i in range(len(widths))]
    return [dy[..., end - width : end] for end, width in zip(ends, widths, strict=True)]


def add(a: Array, b: Array) -> Array:
    """a + b. The backward pass hands dy to both."""
    return a + b
