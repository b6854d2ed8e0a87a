"""Diffusion: noise schedules, the forward process, the objective, samplers. No network is imported here.

Time t runs 1..T. `alpha_bar` has T + 1 values, alpha_bar[0] = 1 (the clean data), decreasing with t.
A sampler takes `eps_model(x, t)` and yields every x on the way.
"""

from .infill import infill
from .objective import Example, loss_of_zero, losses, mean_squared_error, noisy
from .oracle import correlated_gaussian_eps_model, gaussian_eps_model, mixture_eps_model
from .process import (
    PREDICTIONS,
    EpsModel,
    Rng,
    clipped,
    draw_noise,
    eps_of_velocity,
    eps_of_x0,
    noise_like,
    posterior,
    predict_x0,
    q_sample,
    slerp,
    thresholded,
    velocity,
)
from .samplers import DEFAULT_SAMPLING, SAMPLERS, Sampling, Walk, ddim, ddim_inversion, ddpm, dpm_solver_pp_2m, heun
from .schedule import (
    SCHEDULES,
    SPACINGS,
    Schedule,
    T,
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
    "DEFAULT_SAMPLING",
    "PREDICTIONS",
    "SAMPLERS",
    "SCHEDULES",
    "SPACINGS",
    "EpsModel",
    "Example",
    "Rng",
    "Sampling",
    "Schedule",
    "T",
    "Walk",
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
    "draw_noise",
    "eps_of_velocity",
    "eps_of_x0",
    "gaussian_eps_model",
    "heun",
    "infill",
    "linear_schedule",
    "log_snr",
    "log_snr_tau",
    "loss_of_zero",
    "losses",
    "mean_squared_error",
    "mixture_eps_model",
    "noise_like",
    "noisy",
    "posterior",
    "predict_x0",
    "q_sample",
    "quadratic_tau",
    "slerp",
    "thresholded",
    "uniform_tau",
    "velocity",
]
