"""Noise schedules, as alpha_bar: the share of the variance at time t that is still signal. And walks through them.

`Schedule` is one of them by name: its table, which samplers read, and the levels that training draws.

signal_rate = sqrt(alpha_bar), noise_rate = sqrt(1 - alpha_bar), so that a sample is
signal_rate x0 + noise_rate eps. All in float64, on the host.

A walk is DDIM's tau: integers 0 = tau_0 < tau_1 < ... < tau_S = T; samplers take any such array.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..runtime.backend import Array

T = 1000  # times in a schedule's table


def continuous_cosine_schedule(T: int = T, min_signal_rate: float = 0.02, max_signal_rate: float = 0.95) -> np.ndarray:
    """The paper's schedule: signal_rate = cos(angle), angle linear in time. (T + 1,) alpha_bar.

    The end points are those of the Keras DDIM example. T values at t = 1..T sample the continuous
    schedule of `continuous_cosine_alpha_bar` at t / T; the clean data, alpha_bar[0] = 1, lie beyond its beginning.
    """
    return _table(continuous_cosine_alpha_bar, T, min_signal_rate, max_signal_rate)


def continuous_cosine_alpha_bar(time: np.ndarray, min_signal_rate: float, max_signal_rate: float) -> np.ndarray:
    """cos^2 of the angle that runs from acos(max_signal_rate) at time 0 to acos(min_signal_rate) at 1."""
    start, end = np.arccos(max_signal_rate), np.arccos(min_signal_rate)
    return np.cos(start + time * (end - start)) ** 2


def log_snr_schedule(T: int = T, min_signal_rate: float = 0.003, max_signal_rate: float = 0.95) -> np.ndarray:
    """The table of `log_snr_alpha_bar`. (T + 1,) alpha_bar."""
    return _table(log_snr_alpha_bar, T, min_signal_rate, max_signal_rate)


def log_snr_alpha_bar(time: np.ndarray, min_signal_rate: float, max_signal_rate: float) -> np.ndarray:
    """log-SNR linear in time: every factor of the noise-to-signal ratio has the same share of the training.

    How loud and how full a piece is shows long before its notes do: a mean over 32 768 numbers stands out of noise
    180 times as strong. The cosine spends 6 % of its times between signal rates of 0.1 and 0.003, this schedule half.
    (Hoogeboom et al. 2023, "simple diffusion", shift the cosine's log-SNR by the size of the plane instead.)
    """
    start, end = log_snr(max_signal_rate**2), log_snr(min_signal_rate**2)
    return alpha_bar_of_log_snr(start + time * (end - start))


def linear_schedule(T: int = T, beta_start: float = 1e-4, beta_end: float = 0.02) -> np.ndarray:
    """DDPM's schedule (Ho et al. 2020, section 4): beta_t linear from beta_1 to beta_T. (T + 1,) alpha_bar."""
    beta = np.linspace(beta_start, beta_end, T)
    return np.concatenate([[1.0], np.cumprod(1 - beta)])


def cosine_schedule(T: int = T, s: float = 0.008, max_beta: float = 0.999) -> np.ndarray:
    """Nichol and Dhariwal's (2021, eq. 17): alpha_bar ~ cos^2(pi/2 (t/T + s)/(1 + s)), beta <= max_beta."""
    f = np.cos(np.pi / 2 * (np.arange(T + 1) / T + s) / (1 + s)) ** 2
    beta = np.minimum(1 - f[1:] / f[:-1], max_beta)
    return np.concatenate([[1.0], np.cumprod(1 - beta)])


def _table(alpha_bar_at: Callable[..., np.ndarray], T: int, *ends: float) -> np.ndarray:
    return np.concatenate([[1.0], alpha_bar_at(np.arange(1, T + 1) / T, *ends)])


CONTINUOUS = {"continuous-cosine": continuous_cosine_alpha_bar, "log-snr": log_snr_alpha_bar}  # of times in [0, 1]
SCHEDULES: dict[str, Callable[..., np.ndarray]] = {
    "continuous-cosine": continuous_cosine_schedule,
    "log-snr": log_snr_schedule,
    "linear": linear_schedule,
    "cosine": cosine_schedule,
}


@dataclass(frozen=True)
class Schedule:
    """A schedule by its name in SCHEDULES. The signal rates are the ends of a continuous one; others have none."""

    name: str = "continuous-cosine"
    min_signal_rate: float = 0.02
    max_signal_rate: float = 0.95

    @property
    def continuous(self) -> bool:
        return self.name in CONTINUOUS

    @cached_property
    def alpha_bar(self) -> np.ndarray:
        """The table for samplers: (T + 1,), alpha_bar[0] = 1."""
        ends = (self.min_signal_rate, self.max_signal_rate) if self.continuous else ()
        return SCHEDULES[self.name](T, *ends)

    def times(self, spacing: str, steps: int) -> np.ndarray:
        """Times to walk, spaced as a key of SPACINGS says: 0 = time_0 < ... < time_steps = T, float64.

        The continuous schedule has all of them, a discrete one only whole ones, to which they are rounded.
        """
        times = SPACINGS[spacing](self.alpha_bar, steps)
        return times if self.continuous else _distinct(times, T).astype(np.float64)

    def at(self, times: np.ndarray) -> np.ndarray:
        """alpha_bar at such times: a table of these levels only, which a walk takes at the indices 0, 1, 2, ..."""
        if not self.continuous:
            return self.alpha_bar[times.astype(int)]
        levels = CONTINUOUS[self.name](times / T, self.min_signal_rate, self.max_signal_rate)
        return np.where(times == 0, 1.0, levels)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Levels to train on, float64 (n,): at times uniform in [0, 1), or, of a discrete schedule, in 1..T."""
        if self.continuous:
            return CONTINUOUS[self.name](rng.random(n), self.min_signal_rate, self.max_signal_rate)
        return self.alpha_bar[rng.integers(1, T + 1, n)]

    def told(self, alpha_bar: Array) -> Array:
        """A noise level as a network is told it: 1 - alpha_bar, from 0 to 1.

        On the log-SNR schedule it is the time, since 1 - alpha_bar can't tell signal rates of 0.02 and 0.003 apart; and
        it lies between 0.5 and 1. At 0 the sinusoids of all frequencies meet, and at 0.0005 they have parted: training
        hardly ever sees what the last step of a walk is told there, and left grain in what it drew.
        """
        if self.name != "log-snr":
            return 1 - alpha_bar
        start, end = log_snr(self.max_signal_rate**2), log_snr(self.min_signal_rate**2)
        return (1 + (log_snr(alpha_bar) - start) / (end - start)) / 2


def log_snr(alpha_bar: Array | float) -> Array:
    """log(signal_rate^2 / noise_rate^2), natural; infinite for alpha_bar 1 and 0."""
    with np.errstate(divide="ignore"):
        return np.log(alpha_bar) - np.log1p(-alpha_bar)


def alpha_bar_of_log_snr(log_snr: np.ndarray | float) -> np.ndarray:
    """The inverse of `log_snr`."""
    return 1 / (1 + np.exp(-np.asarray(log_snr)))


def uniform_tau(T: int, steps: int) -> np.ndarray:
    """Equal steps; diffusers calls it "trailing".

    Like every walk: (steps + 1,) integers; raises ValueError unless 1 <= steps <= T.
    """
    return _distinct(_uniform(T, steps), T)


def quadratic_tau(T: int, steps: int) -> np.ndarray:
    """tau_i proportional to i^2: the steps are small near the data (Song et al. 2021, appendix D.2)."""
    return _distinct(_quadratic(T, steps), T)


def log_snr_tau(alpha_bar: np.ndarray, steps: int) -> np.ndarray:
    """From T to 1 in equal steps of log-SNR, and one to 0, where it is infinite (Lu et al. 2022, "DPM-Solver").

    alpha_bar: (T + 1,), above 0. Times are rounded; where several steps fall on one, they spread to its neighbours.
    """
    return _distinct(_log_snr(alpha_bar, steps), len(alpha_bar) - 1)


def _uniform(T: int, steps: int) -> np.ndarray:
    return T * _indices(T, steps) / steps


def _quadratic(T: int, steps: int) -> np.ndarray:
    return T * _indices(T, steps) ** 2 / steps**2


def _log_snr(alpha_bar: np.ndarray, steps: int) -> np.ndarray:
    T = len(alpha_bar) - 1
    _indices(T, steps)
    if alpha_bar[-1] <= 0:
        raise ValueError(
            f"alpha_bar[{T}] is {alpha_bar[-1]}: its log-SNR is infinite, raise the schedule's end above 0"
        )
    levels = log_snr(alpha_bar[1:])
    wanted = np.linspace(levels[-1], levels[0], steps)[::-1]
    return np.concatenate([[0], np.interp(-wanted, -levels, np.arange(1, T + 1))])


SPACINGS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {  # of (alpha_bar, steps): exact times, not rounded
    "uniform": lambda alpha_bar, steps: _uniform(len(alpha_bar) - 1, steps),
    "quadratic": lambda alpha_bar, steps: _quadratic(len(alpha_bar) - 1, steps),
    "log-snr": _log_snr,
}


def _indices(T: int, steps: int) -> np.ndarray:
    if steps not in range(1, T + 1):
        raise ValueError(f"steps is {steps}: a schedule of T = {T} times can be walked in 1 to {T} steps")
    return np.arange(steps + 1)


def _distinct(times: np.ndarray, T: int) -> np.ndarray:
    """Rising times from 0 to T, rounded, and moved by as little as makes them rise by 1 or more."""
    i = np.arange(len(times))
    tau = np.maximum.accumulate(np.round(times).astype(int) - i) + i
    return np.minimum(tau, T - i[::-1])
