"""Diffusion: noise schedules, the forward process, samplers. Functions of arrays; no network is imported here.

Time t runs 1..T. `alpha_bar` has T + 1 values, alpha_bar[0] = 1 (the clean data), decreasing with t.
A sampler takes `eps_model(x, t)` and yields every x on the way.
"""

from .infill import infill
from .oracle import correlated_gaussian_eps_model, gaussian_eps_model, mixture_eps_model
from .process import (
    PREDICTIONS,
    EpsModel,
    clipped,
    eps_of_velocity,
    eps_of_x0,
    posterior,
    predict_x0,
    q_sample,
    slerp,
    thresholded,
    velocity,
)
from .samplers import ddim, ddim_inversion, ddpm, dpm_solver_pp_2m, heun
from .schedule import (
    alpha_bar_of_log_snr,
    continuous_cosine_alpha_bar,
    continuous_cosine_schedule,
    cosine_schedule,
    linear_schedule,
    log_snr,
    log_snr_tau,
    quadratic_tau,
    uniform_tau,
)

__all__ = [
    "PREDICTIONS",
    "EpsModel",
    "alpha_bar_of_log_snr",
    "clipped",
    "continuous_cosine_alpha_bar",
    "continuous_cosine_schedule",
    "correlated_gaussian_eps_model",
    "cosine_schedule",
    "ddim",
    "ddim_inversion",
    "ddpm",
    "dpm_solver_pp_2m",
    "eps_of_velocity",
    "eps_of_x0",
    "gaussian_eps_model",
    "heun",
    "infill",
    "linear_schedule",
    "log_snr",
    "log_snr_tau",
    "mixture_eps_model",
    "posterior",
    "predict_x0",
    "q_sample",
    "quadratic_tau",
    "slerp",
    "thresholded",
    "uniform_tau",
    "velocity",
]
