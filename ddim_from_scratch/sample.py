"""Make new music with a trained run.

    python -m ddim_from_scratch.sample --run runs/mine --num 4 --steps 50

Noise is turned into log-mel spectrograms by DDIM, or another sampler, with the averaged weights, and those into
sound by an inverter: see audio/inverter.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import tree
from .audio import write_wav
from .audio.inverter import add_inverter_option, load_inverter
from .backend import Array, require_gpu, threads, to_device, to_host
from .config import FRAMES_PER_SECOND, N_MELS, Config, Parser, UserError, add_hardware_options, at_least, run_command
from .data import Scaler
from .diffusion import (
    PREDICTIONS,
    EpsModel,
    ddim,
    ddpm,
    dpm_solver_pp_2m,
    heun,
    log_snr_tau,
    quadratic_tau,
    uniform_tau,
)
from .pictures import save_log_mels
from .train import T, alpha_bar_table, load_checkpoint
from .tree import Tree
from .unet import unet

CLIPS_AT_ONCE = 8  # bounds the memory, whatever --num is
PICTURED = 8

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


def network_eps_model(network: Tree, config: Config) -> EpsModel:
    """A trained network {"params", "statistics"} as the function eps_model(x, t) that samplers take."""
    alpha_bar = alpha_bar_table(config)

    def eps_model(x: Array, t: int) -> Array:
        output = unet(network["params"], network["statistics"], x, np.full(len(x), 1 - alpha_bar[t]))[0]
        return PREDICTIONS[config.prediction].eps(x, float(alpha_bar[t]), output)

    return eps_model


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

    sampler: a key of SAMPLERS. spacing: of its steps, a key of SPACINGS. eta: DDIM's.
    """
    eps_model, alpha_bar = network_eps_model(network, config), alpha_bar_table(config)
    tau = SPACINGS[spacing](alpha_bar, steps)
    clips = []
    with tqdm(total=-(-num // CLIPS_AT_ONCE) * steps, desc="sampling", unit="step") as bar:
        for start in range(0, num, CLIPS_AT_ONCE):
            shape = (min(CLIPS_AT_ONCE, num - start), frames, N_MELS, 1)
            x_T = to_device(rng.standard_normal(shape, dtype=np.float32), device)
            for x in SAMPLERS[sampler](eps_model, x_T, alpha_bar, tau, eta, rng):
                bar.update(x is not x_T)
            clips.append(to_host(x)[..., 0])
    return scaler.restore(np.concatenate(clips))


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m ddim_from_scratch.sample",
        description="Make new music with a trained run: a WAV file (16 kHz) a clip, and a picture of them all.",
        epilog="example: python -m ddim_from_scratch.sample --run runs/mine --num 4 --steps 100",
    )
    parser.add_argument("--run", type=Path, required=True, help="folder that the training wrote")
    parser.add_argument("--num", type=at_least(1), default=4, help="how many clips (default: 4)")
    parser.add_argument(
        "--sampler",
        choices=SAMPLERS,
        default="ddim",
        help="ddpm adds fresh noise at every step and wants many; dpm++2m and heun make do with few, though a step of "
        "heun runs the network twice (default: ddim)",
    )
    parser.add_argument("--steps", type=at_least(1), default=50, help=f"1 to {T}; more is finer (default: 50)")
    parser.add_argument(
        "--spacing",
        choices=SPACINGS,
        default="uniform",
        help="of the steps: equal in time, small near the data, or equal in log-SNR (default: uniform)",
    )
    parser.add_argument("--eta", type=float, help="of ddim: fresh noise a step, from 0 to DDPM's at 1 (default: 0)")
    parser.add_argument("--seconds", type=float, help="length of a clip (default: the training windows')")
    parser.add_argument("--out", type=Path, help="folder for the files (default: RUN/samples)")
    parser.add_argument("--seed", type=at_least(0), default=0, help="of the noise (default: 0)")
    add_inverter_option(parser)
    add_hardware_options(parser)
    args = parser.parse_args(argv)
    if args.steps > T:
        raise UserError(f"--steps is {args.steps}: the schedule has {T} times, give that or fewer")
    if args.eta is not None and args.sampler != "ddim":
        raise UserError(f"--eta is {args.eta}, but --sampler {args.sampler} has none: leave it out")
    args.eta = args.eta or 0.0
    if not 0 <= args.eta <= 1:
        raise UserError(f"--eta is {args.eta}: give a number from 0 (DDIM) to 1 (DDPM)")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    device = "gpu" if args.gpu else "cpu"
    if args.gpu:
        require_gpu()
    checkpoint = load_checkpoint(args.run)
    config, scaler = checkpoint["config"], Scaler(**checkpoint["scaler"])
    frames = config.frames("--seconds", config.window_seconds if args.seconds is None else args.seconds)
    invert = load_inverter(args.inverter, device)
    out = args.out or args.run / "samples"
    out.mkdir(parents=True, exist_ok=True)
    with threads(1 if args.gpu else args.threads):  # a GPU has its own
        network = tree.map(lambda leaf: to_device(leaf, device), checkpoint["state"]["average"])
        rng = np.random.default_rng(args.seed)
        how = {"sampler": args.sampler, "spacing": args.spacing, "eta": args.eta}
        log_mels = sample_log_mels(network, scaler, config, args.num, frames, args.steps, rng, device, **how)
        for i, samples in enumerate(invert(log_mels)):
            write_wav(out / f"sample_{i:03d}.wav", samples)
    save_log_mels(out / "samples.png", {"generated": log_mels[:PICTURED]})
    length = f"{frames / FRAMES_PER_SECOND:g} s"
    print(f"{args.num} clips of {length} in {out}/sample_*.wav, their picture in {out}/samples.png")


if __name__ == "__main__":
    run_command(main)
