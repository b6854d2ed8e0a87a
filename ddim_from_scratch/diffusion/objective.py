"""The training objective of a denoiser: data with noise of a random level, the loss, and the loss's gradient.

A network may be asked for the noise, the velocity or the data (PREDICTIONS in process.py). It is trained on the mean
squared error of that. The noise loss always is the error of eps, so that it means the same whatever is predicted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..runtime.backend import Array, array_module
from .process import PREDICTIONS, noise_like, predict_x0, q_sample
from .schedule import Schedule


@dataclass(frozen=True)
class Example:
    """Data, the noise that is added to them, and at what level. x0, eps: (N, ...). alpha_bar: float64 (N,)."""

    x0: Array
    eps: Array
    alpha_bar: Array

    @cached_property
    def x_t(self) -> Array:
        """The noisy data, which the network sees."""
        return q_sample(self.x0, self.alpha_bar, self.eps)


def noisy(x0: Array, schedule: Schedule, rng: np.random.Generator) -> Example:
    """x0 (N, ...) with noise, each row at a level of its own."""
    alpha_bar = array_module(x0).asarray(schedule.draw(len(x0), rng))
    return Example(x0, noise_like(x0, rng), alpha_bar)


def losses(output: Array, example: Example, prediction: str) -> tuple[Array, Array, Array]:
    """The noise loss, the reconstruction loss, and the gradient with respect to `output` of the loss that is trained.

    output: the network's, (N, ...), read as `prediction` says. The losses are scalars on its device: that of eps, and
    that of the x0 which eps implies. (A network that says x0 = 0 has a noise loss of the mean signal-to-noise ratio.)
    """
    x0, eps, alpha_bar, x_t = example.x0, example.eps, example.alpha_bar, example.x_t
    kind = PREDICTIONS[prediction]
    _, d_output = mean_squared_error(output, kind.target(x0, alpha_bar, eps))
    eps_pred = kind.eps(x_t, alpha_bar, output)
    noise_loss, _ = mean_squared_error(eps_pred, eps)
    reconstruction_loss, _ = mean_squared_error(predict_x0(x_t, alpha_bar, eps_pred), x0)
    return noise_loss, reconstruction_loss, d_output


def mean_squared_error(prediction: Array, target: Array) -> tuple[Array, Array]:
    """L = mean (prediction - target)^2, a float64 scalar on their device, and dL/dprediction; any shape.

    With eps as target this is DDPM's simplified objective (Ho et al. 2020, eq. 14). A prediction of zero
    scores 1 on unit Gaussian noise: the sign of a network that has learnt nothing.
    """
    difference = prediction - target
    return (difference * difference).mean(dtype="float64"), difference * (2 / difference.size)


def loss_of_zero(schedule: Schedule, prediction: str, variance: float = 1.0) -> float:
    """The noise loss, on average, of a network whose output is 0 whatever it sees: one that has learnt nothing.

    variance: of the data, 1 where they are standardised.
    """
    rng = np.random.default_rng(0)
    example = noisy(variance**0.5 * rng.standard_normal(10_000), schedule, rng)
    noise_loss, _, _ = losses(np.zeros_like(example.x0), example, prediction)
    return float(noise_loss)
