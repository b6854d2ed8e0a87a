"""Samplers: from noise back to data. Each is a generator that yields x at every step, x_T first.

A sampler knows the network only as `eps_model(x, t) -> eps`, t an int in 1..T. It walks down tau, increasing
integers from 0 to at most T (see schedule.py), and writes t for the time it leaves and s for the one it goes to.
x has any shape and keeps its dtype. All raise ValueError for a tau, an eta or a schedule that can't be walked.

To add a sampler, write it here under `@sampler(...)`: commands, their help and the tests find it in SAMPLERS. It
names the arguments that it needs, out of (eps_model, x_T, alpha_bar, tau, eta, rng). Fresh noise comes from
`noise_like(x, rng)`, since rng may be a list of generators, one for each row of x.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

import numpy as np

from ..runtime.backend import Array
from ..runtime.errors import UserError
from .process import EpsModel, Rng, noise_like, posterior, predict_x0, q_sample
from .schedule import SPACINGS, Schedule, T, log_snr


class Sampler(NamedTuple):
    """A sampler under the one signature that all share. Only the arguments that its function names are passed on."""

    function: Callable[..., Iterator[Array]]
    summary: str
    order: int  # the error of x falls with (1 / steps)^order
    evaluations: int = 1  # of the network in each step but the last, which has one

    def __call__(
        self,
        eps_model: EpsModel,
        x_T: Array,
        alpha_bar: np.ndarray,
        tau: np.ndarray,
        eta: float = 0.0,
        rng: Rng | None = None,
    ) -> Iterator[Array]:
        given = {"eps_model": eps_model, "x_T": x_T, "alpha_bar": alpha_bar, "tau": tau, "eta": eta, "rng": rng}
        return self.function(**{name: value for name, value in given.items() if self.takes(name)})

    def takes(self, name: str) -> bool:
        return name in inspect.signature(self.function).parameters

    def cost(self, steps: int) -> int:
        """How often so many steps ask the network."""
        return self.evaluations * (steps - 1) + 1

    def steps(self, evaluations: int) -> int:
        """The most steps, at least 1, that ask the network so many times or fewer."""
        return max((evaluations + self.evaluations - 1) // self.evaluations, 1)


SAMPLERS: dict[str, Sampler] = {}


def sampler(name: str, **about: Any) -> Callable[[Callable], Callable]:
    """Enter the function below into SAMPLERS; it stays as it is."""

    def enter(function: Callable) -> Callable:
        SAMPLERS[name] = Sampler(function, **about)
        return function

    return enter


class Walk(NamedTuple):
    """A sampler on its way through given times: walk(x_T) yields x at each of them, x_T first."""

    sampler: Sampler
    eps_model: EpsModel
    alpha_bar: np.ndarray
    tau: np.ndarray
    eta: float = 0.0
    rng: Rng | None = None

    def __call__(self, x_T: Array) -> Iterator[Array]:
        return self.sampler(self.eps_model, x_T, self.alpha_bar, self.tau, self.eta, self.rng)


@sampler("ddim", summary="deterministic, or with fresh noise by --eta", order=1)
def ddim(
    eps_model: EpsModel,
    x_T: Array,
    alpha_bar: np.ndarray,
    tau: np.ndarray,
    eta: float = 0.0,
    rng: Rng | None = None,
) -> Iterator[Array]:
    """Song, Meng and Ermon (2021), "Denoising diffusion implicit models".

    alpha_bar: (T + 1,). eta: 0 for the deterministic DDIM, 1 for DDPM's noise. rng: needed unless eta is 0.
    Yields len(tau) arrays, the first x_T, the last the sample.
    """
    steps = _steps(alpha_bar, tau)
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta}: it must lie between 0 (DDIM) and 1 (DDPM)")
    if eta > 0 and rng is None:
        raise ValueError("eta above 0 adds noise at every step: pass rng, a numpy.random.Generator")
    x = x_T
    yield x
    for t, _, ab_t, ab_s in steps:
        sigma = float(eta) * ((1 - ab_s) / (1 - ab_t)) ** 0.5 * (1 - ab_t / ab_s) ** 0.5  # eq. 16
        eps = eps_model(x, t)
        x0 = predict_x0(x, ab_t, eps)  # eq. 9
        x = ab_s**0.5 * x0 + max(1 - ab_s - sigma**2, 0.0) ** 0.5 * eps  # eq. 12, "direction pointing to x_t"
        if sigma > 0 and rng is not None:
            x = x + sigma * noise_like(x, rng)
        yield x


@sampler("ddpm", summary="fresh noise at every step; needs many steps", order=1)
def ddpm(
    eps_model: EpsModel,
    x_T: Array,
    alpha_bar: np.ndarray,
    rng: Rng,
    variance: str = "posterior",
    tau: np.ndarray | None = None,
) -> Iterator[Array]:
    """Ancestral sampling: Ho, Jain and Abbeel (2020), "Denoising diffusion probabilistic models", Algorithm 2.

    alpha_bar: (T + 1,). variance: that of each step's noise, "posterior" (beta_tilde) or "beta"; they suit data that
    are one point and data that are unit Gaussian (section 3.2). tau: every time, unless given; a long step has the
    beta of all its times together (Nichol and Dhariwal 2021, eq. 19).
    """
    if variance not in ("posterior", "beta"):
        raise ValueError(f'variance is {variance!r}: give "posterior" or "beta"')
    x = x_T
    steps = _steps(alpha_bar, np.arange(len(alpha_bar)) if tau is None else tau)
    yield x
    for t, s, ab_t, ab_s in steps:
        x0 = predict_x0(x, ab_t, eps_model(x, t))
        x, beta_tilde = posterior(x0, x, ab_t, ab_s)  # eq. 7; with x0 put in, eq. 11
        if s > 0:  # "z = 0 if t = 1"
            sigma = (beta_tilde if variance == "posterior" else 1 - ab_t / ab_s) ** 0.5
            x = x + sigma * noise_like(x, rng)
        yield x


def ddim_inversion(
    eps_model: EpsModel, x0: Array, alpha_bar: np.ndarray, tau: np.ndarray, evaluations: int = 1
) -> Iterator[Array]:
    """The noise from which the deterministic `ddim` makes x0: its steps undone, x0 first, x_T last.

    A step of DDIM from x_t to x_s uses eps(x_t, t). Going up, x_t is what is sought, so eps is taken at x_s (Song et
    al. 2021, section 4.3), then, with more `evaluations` a step, at the x_t found so far: a fixed-point iteration
    (Pan et al. 2023, "AIDI"). Where the steps are short enough for it to converge, `ddim` goes back to x0 exactly.
    """
    if evaluations < 1:
        raise ValueError(f"evaluations is {evaluations}: a step needs 1 or more")
    steps = _steps(alpha_bar, tau)
    x = x0
    yield x
    for t, _, ab_t, ab_s in reversed(steps):
        guess = x
        for _ in range(evaluations):
            guess = _move(x, eps_model(guess, t), ab_s, ab_t)
        x = guess
        yield x


@sampler("heun", summary="second order; runs the network twice a step", order=2, evaluations=2)
def heun(eps_model: EpsModel, x_T: Array, alpha_bar: np.ndarray, tau: np.ndarray) -> Iterator[Array]:
    """Heun's second-order rule (Karras et al. 2022, Algorithm 1) on DDIM's differential equation.

    In x / sqrt(alpha_bar) as a function of noise_rate / signal_rate, eps is the slope (Song et al. 2021, eq. 14) and
    DDIM is Euler's rule. Heun's goes the step twice, the second time with the mean of the slopes at its two ends:
    two evaluations a step, but for the last, at whose end there is no noise to predict.
    """
    x = x_T
    steps = _steps(alpha_bar, tau)
    yield x
    for t, s, ab_t, ab_s in steps:
        eps = eps_model(x, t)
        if s > 0:
            eps = (eps + eps_model(_move(x, eps, ab_t, ab_s), s)) / 2
        x = _move(x, eps, ab_t, ab_s)
        yield x


@sampler("dpm++2m", summary="second order; good with few steps", order=2)
def dpm_solver_pp_2m(eps_model: EpsModel, x_T: Array, alpha_bar: np.ndarray, tau: np.ndarray) -> Iterator[Array]:
    """DPM-Solver++(2M): Lu et al. (2022), "DPM-Solver++", Algorithm 2. Second order with one evaluation a step.

    Between t and s the predicted x0 is taken to be a straight line in lambda = log(signal_rate / noise_rate), through
    this step's x0 and the last one's. The first step has no last one, and a step to alpha_bar = 1 is infinitely long
    in lambda: both are DDIM's.
    """
    x, x0_before, h_before = x_T, None, inf
    steps = _steps(alpha_bar, tau)
    yield x
    for t, _, ab_t, ab_s in steps:
        x0 = predict_x0(x, ab_t, eps_model(x, t))
        h = float(log_snr(ab_s) - log_snr(ab_t)) / 2
        d = x0 if x0_before is None or h == inf else x0 + h / (2 * h_before) * (x0 - x0_before)
        noise_ratio = ((1 - ab_s) / (1 - ab_t)) ** 0.5
        x = noise_ratio * x + (ab_s**0.5 - noise_ratio * ab_t**0.5) * d  # e^-h = noise_ratio signal_t / signal_s
        x0_before, h_before = x0, h
        yield x


@dataclass(frozen=True)
class Sampling:
    """A way of sampling. Raises UserError, naming the command's option, for what cannot be done.

    sampler: a key of SAMPLERS. steps: 1..T. spacing: of the steps, a key of SPACINGS. eta: DDIM's, from 0 to 1.
    """

    sampler: str = "ddim"
    steps: int = 50
    spacing: str = "uniform"
    eta: float = 0.0

    def __post_init__(self) -> None:
        for name, choices in (("sampler", SAMPLERS), ("spacing", SPACINGS)):
            if getattr(self, name) not in choices:
                raise UserError(f"--{name} is {getattr(self, name)!r}: choose from {', '.join(choices)}")
        if self.steps not in range(1, T + 1):
            raise UserError(f"--steps is {self.steps}: the schedule has {T} times, give 1 to {T}")
        if not 0 <= self.eta <= 1:
            raise UserError(f"--eta is {self.eta}: give a number from 0 (DDIM) to 1 (DDPM)")
        if self.eta and not SAMPLERS[self.sampler].takes("eta"):
            raise UserError(f"--eta is {self.eta}, but --sampler {self.sampler} has none: leave it out")

    def walk(self, eps_model: Callable[[np.ndarray], EpsModel], schedule: Schedule, rng: Rng, top: int = T) -> Walk:
        """A walk from time `top` down through the exact times, which need not be whole.

        The samplers' times are integers into a table. Here the table is made for the steps: it has their levels only.
        eps_model: makes the model of such a table, whose t is an index into it.
        """
        times = schedule.times(self.spacing, self.steps)
        levels = schedule.at(np.append(times[times < top], top))
        return Walk(SAMPLERS[self.sampler], eps_model(levels), levels, np.arange(len(levels)), self.eta, rng)


DEFAULT_SAMPLING = Sampling()


def _steps(alpha_bar: np.ndarray, tau: np.ndarray) -> list[tuple[int, int, float, float]]:
    """(t, s, alpha_bar_t, alpha_bar_s) of each step down tau. Python numbers, which leave a float32 x float32."""
    tau, T = np.asarray(tau), len(alpha_bar) - 1
    integers = tau.ndim == 1 and tau.dtype.kind in "iu"
    if not integers or len(tau) < 2 or tau[0] != 0 or np.any(tau[1:] <= tau[:-1]) or tau[-1] > T:
        raise ValueError(f"tau must be integers that increase from 0 to at most T = {T}; it is {tau}")
    times, levels = tau.tolist(), np.asarray(alpha_bar)[tau].tolist()
    if levels[-1] <= 0:
        raise ValueError(
            f"alpha_bar[{times[-1]}] is {levels[-1]}: where no signal is left, eps says nothing of x0; begin at an "
            "earlier time, or raise the schedule's end, for example by np.maximum(alpha_bar, 1e-4)"
        )
    if not (levels[0] <= 1 and levels[1] < 1 and np.all(np.diff(levels) <= 0)):
        raise ValueError(f"alpha_bar must fall from 1 at time 0; along tau it is {np.array(levels)}")
    return list(zip(times[:0:-1], times[-2::-1], levels[:0:-1], levels[-2::-1], strict=True))


def _move(x: Array, eps: Array, ab_from: float, ab_to: float) -> Array:
    """x at another noise level, its noise eps and so its x0 kept: the deterministic DDIM's step, up or down."""
    return q_sample(predict_x0(x, ab_from, eps), ab_to, eps)
