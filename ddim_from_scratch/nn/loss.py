"""The loss that is trained."""

from __future__ import annotations

from ..runtime.backend import Array


def mean_squared_error(prediction: Array, target: Array) -> tuple[float, Array]:
    """L = mean (prediction - target)^2, and dL/dprediction; any shape.

    With eps as target this is DDPM's simplified objective (Ho et al. 2020, eq. 14). A prediction of zero
    scores 1 on unit Gaussian noise: the sign of a network that has learnt nothing.
    """
    difference = prediction - target
    loss = float((difference * difference).mean(dtype="float64"))
    difference *= 2 / difference.size
    return loss, difference
