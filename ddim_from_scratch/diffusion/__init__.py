"""Diffusion: noise schedules, the forward process, samplers. Functions of arrays; no network is imported here.

Time t runs 1..T. `alpha_bar` has T + 1 values, alpha_bar[0] = 1 (the clean data), decreasing with t.
A sampler takes `eps_model(x, t)` and yields every x on the way.
"""

from .process import eps_of_velocity, predict_x0, q_sample, velocity
from .samplers import ddim, uniform_tau
from .schedule import continuous_cosine_alpha_bar, continuous_cosine_schedule, cosine_schedule, linear_schedule

__all__ = [
    "continuous_cosine_alpha_bar",
    "continuous_cosine_schedule",
    "cosine_schedule",
    "ddim",
    "eps_of_velocity",
    "linear_schedule",
    "predict_x0",
    "q_sample",
    "uniform_tau",
    "velocity",
]
