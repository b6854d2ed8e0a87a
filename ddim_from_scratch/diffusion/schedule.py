"""Noise schedules, as alpha_bar: the share of the variance at time t that is still signal.

signal_rate = sqrt(alpha_bar), noise_rate = sqrt(1 - alpha_bar), so that a sample is
signal_rate x0 + noise_rate eps. All in float64, on the host.
"""

from __future__ import annotations

import numpy as np


def continuous_cosine_schedule(
    T: int = 1000, min_signal_rate: float = 0.02, max_signal_rate: float = 0.95
) -> np.ndarray:
    """The paper's schedule: signal_rate = cos(angle), angle linear in time. (T + 1,) alpha_bar.

    The end points are those of the Keras DDIM example. T values at t = 1..T sample the continuous
    schedule of `continuous_cosine_alpha_bar` at t / T; the clean data, alpha_bar[0] = 1, lie beyond its beginning.
    """
    times = np.arange(1, T + 1) / T
    return np.concatenate([[1.0], continuous_cosine_alpha_bar(times, min_signal_rate, max_signal_rate)])


def continuous_cosine_alpha_bar(time: np.ndarray, min_signal_rate: float, max_signal_rate: float) -> np.ndarray:
    """cos^2 of the angle that runs from acos(max_signal_rate) at time 0 to acos(min_signal_rate) at 1."""
    start, end = np.arccos(max_signal_rate), np.arccos(min_signal_rate)
    return np.cos(start + time * (end - start)) ** 2


def linear_schedule(T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> np.ndarray:
    """DDPM's schedule (Ho et al. 2020, section 4): beta_t linear from beta_1 to beta_T. (T + 1,) alpha_bar."""
    beta = np.linspace(beta_start, beta_end, T)
    return np.concatenate([[1.0], np.cumprod(1 - beta)])


def cosine_schedule(T: int = 1000, s: float = 0.008, max_beta: float = 0.999) -> np.ndarray:
    """Nichol and Dhariwal's (2021, eq. 17): alpha_bar ~ cos^2(pi/2 (t/T + s)/(1 + s)), beta <= max_beta."""
    f = np.cos(np.pi / 2 * (np.arange(T + 1) / T + s) / (1 + s)) ** 2
    beta = np.minimum(1 - f[1:] / f[:-1], max_beta)
    return np.concatenate([[1.0], np.cumprod(1 - beta)])
