"""Checks a hand-written backward pass against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def gradient_error(
    function: Callable[..., np.ndarray],
    backward: Callable[[np.ndarray], Sequence[np.ndarray]],
    arguments: Sequence[np.ndarray],
    rng: np.random.Generator,
    step: float = 1e-4,
) -> list[float]:
    """The relative error of each argument's gradient, in float64; below 1e-6 for a right backward pass.

    function(*arguments) -> y. backward(dy) -> one gradient an argument.

    For a random upstream gradient dy and a random direction v, the derivative of <dy, function> along v
    must equal <gradient, v>. dy is random because an all-ones one lies in the null space of some layers
    (a normalisation's gradient vanishes along it). Central differences of fourth order: error ~ step^4.
    """
    y = function(*arguments)
    dy = rng.standard_normal(y.shape)
    errors = []
    for i, gradient in enumerate(backward(dy)):
        v = rng.standard_normal(arguments[i].shape)

        def along(h: float, i: int = i, v: np.ndarray = v) -> float:
            moved = [a + h * v if j == i else a for j, a in enumerate(arguments)]
            return float((dy * function(*moved)).sum())

        numeric = (8 * (along(step) - along(-step)) - (along(2 * step) - along(-2 * step))) / (12 * step)
        analytic = float((gradient * v).sum())
        # |gradient| is the typical size of <gradient, v>, so a product that is tiny by luck decides nothing.
        # Below the floor is what the rounding of <dy, y> hides: there both sides count as zero.
        floor = 1e6 * np.finfo(np.float64).eps * float(np.abs(dy * y).sum()) / step
        scale = max(abs(numeric), float(np.linalg.norm(gradient)), floor)
        errors.append(abs(numeric - analytic) / scale)
    return errors
