"""Pictures laid side by side along their channels, and added: copies over threads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....runtime.backend import Array, empty, parallel, rows


def concatenate(parts: Sequence[Array]) -> Array:
    """(N, H, W, C_1), (N, H, W, C_2) ... to (N, H, W, C_1 + C_2 + ...)."""
    whole = empty((*parts[0].shape[:3], sum(a.shape[3] for a in parts)), parts[0])

    def copy(piece: tuple[slice, slice]) -> None:
        for channels, a in zip(_channels([a.shape[3] for a in parts]), parts, strict=True):
            whole[piece][..., channels] = a[piece]

    parallel(copy, rows(whole))
    return whole


def split(dy: Array, widths: Sequence[int]) -> list[Array]:
    """The backward pass of `concatenate`: parts of `widths` channels."""
    parts = [empty((*dy.shape[:3], width), dy) for width in widths]

    def copy(piece: tuple[slice, slice]) -> None:
        for channels, a in zip(_channels(widths), parts, strict=True):
            a[piece] = dy[piece][..., channels]

    parallel(copy, rows(dy))
    return parts


def add(a: Array, b: Array) -> Array:
    """a + b."""
    y = empty(a.shape, a)
    parallel(lambda piece: np.add(a[piece], b[piece], out=y[piece]), rows(y))
    return y


def add_in_place(a: Array, b: Array) -> Array:
    """a += b. Returns a."""
    parallel(lambda piece: np.add(a[piece], b[piece], out=a[piece]), rows(a))
    return a


def _channels(widths: Sequence[int]) -> list[slice]:
    ends = np.cumsum(widths).tolist()
    return [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]
