"""Classifier-free guidance: Ho and Salimans (2022), "Classifier-free diffusion guidance"."""

from __future__ import annotations

from ..runtime.backend import Array
from .process import EpsModel


def guided(told: EpsModel, untold: EpsModel, weight: float) -> EpsModel:
    """The model that goes `weight` times as far from `untold` as `told` does, which knows the condition.

    eps is the score, times -noise_rate, so that the difference of the two points to where the condition is likelier
    (their eq. 6, whose w is weight - 1). weight: 1 is `told` itself, 0 `untold`; more follows the condition more
    closely, and sounds more alike.
    """
    if weight == 1:
        return told

    def eps_model(x: Array, t: int) -> Array:
        eps = untold(x, t)
        return eps + float(weight) * (told(x, t) - eps)

    return eps_model
