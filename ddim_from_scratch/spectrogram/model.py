"""A configuration's network: its schedule, its weights, and what it draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from tqdm import tqdm

from ..audio.mel import N_MELS
from ..diffusion import (
    PREDICTIONS,
    EpsModel,
    continuous_cosine_alpha_bar,
    continuous_cosine_schedule,
    cosine_schedule,
    ddim,
    ddpm,
    dpm_solver_pp_2m,
    heun,
    linear_schedule,
    log_snr_tau,
    q_sample,
    quadratic_tau,
    uniform_tau,
)
from ..nn.fast import layers_for
from ..runtime import mpi, tree
from ..runtime.backend import Array, array_module, to_device, to_host
from ..runtime.tree import Tree
from ..training.optim import init_moments
from .config import Config
from .data import Scaler
from .unet import init_unet, unet

T = 1000  # times in the discrete schedules, and in the table that samplers read
CLIPS_AT_ONCE = 8  # drawn together: bounds the memory, whatever their number

# Each (eps_model, x_T, alpha_bar, tau, eta, rng) -> generator of x. eta is DDIM's, the others have none.
SAMPLERS: dict[str, Callable[..., Iterator[Array]]] = {
    "ddim": ddim,
    "ddpm": lambda eps_model, x_T, alpha_bar, tau, eta, rng: ddpm(eps_model, x_T, alpha_bar, rng, tau=tau),
    "heun": lambda eps_model, x_T, alpha_bar, tau, eta, rng: heun(eps_model, x_T, alpha_bar, tau),
    "dpm++2m": lambda eps_model, x_T, alpha_bar, tau, eta, rng: dpm_solver_pp_2m(eps_model, x_T, alpha_bar, tau),
}
SPACINGS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "uniform": lambda alpha_bar, steps: uniform_tau(T, steps),
    "quadratic": lambda alpha_bar, steps: quadratic_tau(T, steps),
    "log-snr": log_snr_tau,
}


@lru_cache
def alpha_bar_table(config: Config) -> np.ndarray:
    """The run's schedule for samplers: (T + 1,), alpha_bar[0] = 1."""
    if config.schedule == "continuous-cosine":
        return continuous_cosine_schedule(T, config.min_signal_rate, config.max_signal_rate)
    return {"linear": linear_schedule, "cosine": cosine_schedule}[config.schedule](T)


def draw_alpha_bar(config: Config, n: int, rng: np.random.Generator) -> np.ndarray:
    """Noise levels to train on, (n,): the continuous schedule at uniform times, a discrete one at uniform t in 1..T."""
    if config.schedule == "continuous-cosine":
        return continuous_cosine_alpha_bar(rng.random(n), config.min_signal_rate, config.max_signal_rate)
    return alpha_bar_table(config)[rng.integers(1, T + 1, n)]


def loss_of_zero(config: Config) -> float:
    """The noise loss, on average, of a network whose output is 0 whatever it sees: one that has learnt nothing."""
    rng = np.random.default_rng(0)
    alpha_bar = draw_alpha_bar(config, 10_000, rng)
    x0, eps = rng.standard_normal((2, len(alpha_bar)))  # a data set's values are standardised, too
    eps_pred = PREDICTIONS[config.prediction].eps(q_sample(x0, alpha_bar, eps), alpha_bar, np.zeros_like(eps))
    return float(((eps_pred - eps) ** 2).mean())


def init_state(config: Config, rng: np.random.Generator) -> Tree:
    """All that training changes: network {"params", "statistics"}, average (the same again) and moments."""
    params, statistics = _init_unet(rng, config)
    network = {"params": params, "statistics": statistics}
    return {"network": network, "average": tree.map(np.copy, network), "moments": init_moments(params)}


def _init_unet(rng: np.random.Generator, config: Config) -> tuple[Tree, Tree]:
    return init_unet(rng, config.widths, config.block_depth, config.attention, 1 + config.context, config.norm)


def state_shapes(config: Config) -> Tree:
    """The shape of each leaf of `init_state`, without its numbers: what a configuration asks for is known before it
    takes memory."""

    class Shape(tuple):
        shape = property(tuple)

        def astype(self, _: type) -> Shape:
            return self

    class NoNumbers:
        def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> Shape:
            return Shape(shape)

    params, statistics = _init_unet(NoNumbers(), config)  # type: ignore[arg-type]
    shapes = [tree.map(lambda leaf: leaf.shape, part) for part in (params, statistics)]
    network = dict(zip(("params", "statistics"), shapes, strict=True))
    return {"network": network, "average": network, "moments": {"m": shapes[0], "v": shapes[0]}}


def context_channel(before: Sequence[np.ndarray], frames: int) -> np.ndarray:
    """What a network trained with --context sees beside x: float32 (N, frames, 128, 1), on the host.

    before: the standardised frames that precede each x, (any number, 128), of which the last count. They run
    backwards in time: frame 0, which came last, lies beside x's frame 0, where the music has to go on. What is
    missing is 0.
    """
    channel = np.zeros((len(before), frames, N_MELS, 1), np.float32)
    for row, past in zip(channel, before, strict=True):
        past = past[::-1][:frames]
        row[: len(past), :, 0] = past
    return channel


def with_context(x: Array, context: Array | None) -> Array:
    """The network's input: x (N, frames, 128, 1), and the context's channel, zeros for None, after it."""
    xp = array_module(x)
    return xp.concatenate([x, xp.zeros_like(x) if context is None else context], axis=-1)


def network_eps_model(network: Tree, config: Config, context: Array | None = None) -> EpsModel:
    """A trained network {"params", "statistics"} as the function eps_model(x, t) that samplers take.

    context: of a network trained with one, a `context_channel` like x, on x's device; None is no past.
    """
    alpha_bar = alpha_bar_table(config)

    def eps_model(x: Array, t: int) -> Array:
        seen = with_context(x, context) if config.context else x
        noise_variance, layers = np.full(len(x), 1 - alpha_bar[t]), layers_for(x)
        output, _ = unet(network["params"], network.get("statistics", {}), seen, noise_variance, layers)
        return PREDICTIONS[config.prediction].eps(x, float(alpha_bar[t]), output)

    return eps_model


def in_groups(num: int, rng: np.random.Generator, draw: Callable[[slice, mpi.NoiseOfPart], np.ndarray]) -> np.ndarray:
    """`num` clips (num, ...), drawn CLIPS_AT_ONCE at a time, each group spread over the processes.

    draw(some, noise) returns those clips of the slice `some`, on the host, and takes its random numbers from `noise`.
    All processes get all clips.
    """
    clips = []
    for start in range(0, num, CLIPS_AT_ONCE):
        n = min(CLIPS_AT_ONCE, num - start)
        part = mpi.share(n)
        idle = part.start == part.stop  # then it draws a clip for nothing, to stay in step
        work = slice(0, 1) if idle else part
        drawn = draw(slice(start + work.start, start + work.stop), mpi.NoiseOfPart(rng, n, work))
        clips += mpi.join([] if idle else list(drawn))
    return np.stack(clips)


def sample_log_mels(
    network: Tree,
    scaler: Scaler,
    config: Config,
    num: int,
    frames: int,
    steps: int,
    rng: np.random.Generator,
    device: str = "cpu",
    sampler: str = "ddim",
    spacing: str = "uniform",
    eta: float = 0.0,
) -> np.ndarray:
    """`num` new log-mel spectrograms: float32 (num, frames, 128), natural logarithms.

    Under mpirun, all processes call it, with generators in the same state, and get all of them.
    sampler: a key of SAMPLERS. spacing: of its steps, a key of SPACINGS. eta: DDIM's.
    """
    eps_model, alpha_bar = network_eps_model(network, config), alpha_bar_table(config)
    tau = SPACINGS[spacing](alpha_bar, steps)
    with tqdm(total=-(-num // CLIPS_AT_ONCE) * steps, desc="sampling", unit="step") as bar:

        def draw(some: slice, noise: mpi.NoiseOfPart) -> np.ndarray:
            shape = (some.stop - some.start, frames, N_MELS, 1)
            x_T = to_device(noise.standard_normal(shape, dtype=np.float32), device)
            for x in SAMPLERS[sampler](eps_model, x_T, alpha_bar, tau, eta, noise):
                bar.update(x is not x_T)
            return to_host(x)[..., 0]

        return scaler.restore(in_groups(num, rng, draw))
