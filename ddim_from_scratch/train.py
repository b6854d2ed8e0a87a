"""Train the denoiser on a folder of recordings.

    python -m ddim_from_scratch.train --data recordings/ --run runs/mine

The run folder gets config.json, checkpoint.npz (after every epoch: weights, moving average, optimizer,
statistics, random state), log.csv (a row a step) and loss.png. --resume continues from the checkpoint.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import tree
from .backend import Array, require_gpu, threads, to_device, to_host
from .config import Config, Parser, UserError, add_hardware_options, add_options, flag, replacing, run_command
from .data import Scaler, Windows, load_windows
from .diffusion import (
    PREDICTIONS,
    continuous_cosine_alpha_bar,
    continuous_cosine_schedule,
    cosine_schedule,
    linear_schedule,
    predict_x0,
    q_sample,
)
from .nn.loss import mean_squared_error
from .optim import adamw, init_moments, update_average
from .pictures import save_losses
from .tree import Tree
from .unet import init_unet, unet, unet_backward

T = 1000  # times in the discrete schedules, and in the table that samplers read
BATCH_NORM_MOMENTUM = 0.99  # Keras' default
LOG_COLUMNS = ("step", "epoch", "noise_loss", "reconstruction_loss", "seconds")


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


def init_state(config: Config, rng: np.random.Generator) -> Tree:
    """All that training changes: network {"params", "statistics"}, average (the same again) and moments."""
    params, statistics = init_unet(rng, config.widths, config.block_depth, config.attention)
    network = {"params": params, "statistics": statistics}
    return {"network": network, "average": tree.map(np.copy, network), "moments": init_moments(params)}


def train_step(state: Tree, x0: Array, config: Config, step: int, rng: np.random.Generator) -> tuple[float, float]:
    """One step of AdamW. Changes `state`. Returns the noise loss and the reconstruction loss.

    Trained is the error of what config.prediction names. The noise loss is that of "eps"; an output of "v" or "x0" is
    read as eps for it, and it is watched only. (A network that says x0 = 0 scores the mean signal-to-noise ratio.)
    x0: (N, frames, 128, 1), standardised, on the device of `state`. step: 1 at the first call.
    """
    params, statistics = state["network"]["params"], state["network"]["statistics"]
    device = "cpu" if isinstance(x0, np.ndarray) else "gpu"
    alpha_bar = draw_alpha_bar(config, len(x0), rng)
    eps = to_device(rng.standard_normal(x0.shape, dtype=np.float32), device)
    levels = to_device(alpha_bar, device)

    x_t = q_sample(x0, levels, eps)
    output, caches, batch_statistics = unet(params, statistics, x_t, 1 - alpha_bar, training=True)
    prediction = PREDICTIONS[config.prediction]
    noise_loss, d_output = mean_squared_error(output, prediction.target(x0, levels, eps))
    eps_pred = prediction.eps(x_t, levels, output)
    if eps_pred is not output:
        noise_loss, _ = mean_squared_error(eps_pred, eps)
    reconstruction_loss, _ = mean_squared_error(predict_x0(x_t, levels, eps_pred), x0)
    if not np.isfinite(noise_loss):
        raise FloatingPointError(f"the loss of step {step} is {noise_loss}")
    _, grads = unet_backward(d_output, params, caches)

    adamw(params, grads, state["moments"], step, config.learning_rate, config.weight_decay)
    update_average(statistics, batch_statistics, BATCH_NORM_MOMENTUM)
    update_average(state["average"], state["network"], config.ema)
    return noise_loss, reconstruction_loss


def train(config: Config, windows: Windows, run: Path, checkpoint: Tree | None = None, device: str = "cpu") -> None:
    """Train from what `load_checkpoint` returned, or from fresh weights, up to config.epochs, saving after every epoch.

    Raises UserError if the loss or the weights become non-finite; the last good checkpoint stays.
    """
    rng = np.random.default_rng(config.seed)
    batch_size = min(config.batch_size, len(windows))
    steps_per_epoch = len(windows) // batch_size  # what is left over goes into another epoch's batches
    if checkpoint:
        state, scaler = checkpoint["state"], Scaler(**checkpoint["scaler"])
        rng.bit_generator.state = json.loads(str(checkpoint["random"]))
        step = int(checkpoint["step"])
        if int(checkpoint["windows"]) != len(windows):
            raise UserError(
                f"{run} was trained on {checkpoint['windows']} windows, {config.data} has {len(windows)}: "
                "give the same recordings, or begin a new run"
            )
    else:
        state, scaler, step = init_state(config, rng), windows.scaler(), 0
    state = tree.map(lambda leaf: to_device(leaf, device), state)
    log = Log(run / "log.csv", step)
    first_epoch = step // steps_per_epoch
    if first_epoch >= config.epochs:
        raise UserError(f"{run} has been trained for {first_epoch} epochs already: give a larger --epochs")
    run.mkdir(parents=True, exist_ok=True)
    with replacing(run / "config.json") as file:
        file.write(config.to_json().encode())

    with tqdm(total=config.epochs * steps_per_epoch, initial=step, desc="training", unit="step") as bar:
        for epoch in range(first_epoch, config.epochs):
            order = rng.permutation(len(windows))
            for batch in order[: steps_per_epoch * batch_size].reshape(steps_per_epoch, batch_size):
                started = time.perf_counter()
                step += 1
                x0 = scaler.standardise(windows.take(batch))[..., None]
                try:
                    losses = train_step(state, to_device(x0, device), config, step, rng)
                except FloatingPointError as error:
                    raise UserError(diverged(run, str(error))) from None
                log.add(step, epoch + 1, *losses, time.perf_counter() - started)
                bar.set_postfix(epoch=epoch + 1, loss=f"{log.recent_loss():.3f}", refresh=False)
                bar.update()
            if not all(np.isfinite(to_host(leaf)).all() for leaf in tree.flatten(state).values()):
                raise UserError(diverged(run, f"a weight became non-finite by step {step}"))
            log.write()
            save_checkpoint(run, config, state, scaler, rng, step, len(windows))
    plot_losses(run)


def diverged(run: Path, what: str) -> str:
    saved = f"{checkpoint_path(run)} holds the last good epoch" if checkpoint_path(run).exists() else "nothing is saved"
    return f"training stopped: {what}; {saved}; train a new run with a lower --learning-rate"


def checkpoint_path(run: Path) -> Path:
    return run / "checkpoint.npz"


def save_checkpoint(
    run: Path, config: Config, state: Tree, scaler: Scaler, rng: np.random.Generator, step: int, windows: int
) -> None:
    """All that --resume and sampling need, in one file that is replaced in one move."""
    tree.save(
        checkpoint_path(run),
        {
            "config": np.array(config.to_json()),
            "scaler": {"mean": scaler.mean, "std": scaler.std},
            "step": np.array(step),
            "windows": np.array(windows),
            "random": np.array(json.dumps(rng.bit_generator.state)),
            "state": state,
        },
    )


def load_checkpoint(run: Path) -> Tree:
    """The tree that `save_checkpoint` wrote, its "config" as a Config.

    Raises UserError if there is none, if it is damaged, or if its weights are not of its configuration.
    """
    path = checkpoint_path(run)
    try:
        checkpoint = tree.load(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: train the run first (python -m ddim_from_scratch.train)") from None
    try:
        config = Config.from_json(str(checkpoint["config"]))
        expected = tree.flatten(init_state(config, np.random.default_rng(0)))
        found = tree.flatten(checkpoint["state"])
        wrong = [name for name in expected if name not in found or found[name].shape != expected[name].shape]
        if wrong or found.keys() != expected.keys() or checkpoint["scaler"]["mean"].shape != (128,):
            raise UserError(f"{path} is not of its own configuration ({', '.join(wrong[:1]) or 'extra arrays'})")
        json.loads(str(checkpoint["random"])), int(checkpoint["step"]), int(checkpoint["windows"])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is not a checkpoint of ours (no {error}): train the run again") from None
    return checkpoint | {"config": config}


class Log:
    """log.csv: a row a step, written when an epoch's checkpoint is. Rows after `step` are of an unsaved epoch."""

    def __init__(self, path: Path, step: int) -> None:
        self.path, self.rows = path, []
        if step > 0 and path.exists():
            self.rows = [row for row in read_log(path) if row[0] <= step]

    def add(self, *row: float) -> None:
        self.rows.append(row)

    def recent_loss(self, steps: int = 50) -> float:
        return float(np.mean([row[2] for row in self.rows[-steps:]]))

    def write(self) -> None:
        lines = [",".join(LOG_COLUMNS)]
        lines += [f"{int(s)},{int(e)},{n:.6g},{r:.6g},{t:.4g}" for s, e, n, r, t in self.rows]
        with replacing(self.path) as file:
            file.write("\n".join([*lines, ""]).encode())


def read_log(path: Path) -> list[tuple[float, ...]]:
    """The rows of log.csv as numbers, in the order of LOG_COLUMNS."""
    with open(path, newline="") as file:
        return [tuple(map(float, row)) for row in list(csv.reader(file))[1:]]


def plot_losses(run: Path) -> None:
    """Draw loss.png from log.csv: every step as a dot, the mean of the last 50 as a line."""
    rows = np.array(read_log(run / "log.csv"))
    save_losses(run / "loss.png", rows[:, 0], {"noise loss": rows[:, 2], "reconstruction loss": rows[:, 3]})


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m ddim_from_scratch.train",
        description="Train the denoiser on a folder of recordings: WAV, FLAC, OGG or MP3, nested as you like. "
        "Defaults are the paper's. Sample from the run with python -m ddim_from_scratch.sample --run RUN.",
        epilog="example: python -m ddim_from_scratch.train --data recordings/ --run runs/mine --epochs 50. "
        "A loss of 1.0 is what a network that has learnt nothing scores; well below 0.2 it begins to draw music.",
    )
    parser.add_argument("--run", type=Path, required=True, help="folder for the run's files")
    parser.add_argument("--resume", action="store_true", help="continue the run; only --epochs and --data may differ")
    add_options(parser)
    add_hardware_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    options = {name: value for name, value in vars(args).items() if name in Config.__dataclass_fields__}
    if "widths" in options:
        options["widths"] = tuple(options["widths"])
    if args.gpu:
        require_gpu()
    checkpoint = load_checkpoint(args.run) if args.resume else None
    if checkpoint:
        saved = checkpoint["config"]
        for name, value in options.items():
            if name not in ("epochs", "data") and value != getattr(saved, name):
                raise UserError(
                    f"{flag(name)} is {value}, but {args.run} was begun with {getattr(saved, name)}: "
                    "leave it out, or begin a new run"
                )
        config = dataclasses.replace(saved, **options)
    else:
        config = Config(**options)
        if checkpoint_path(args.run).exists():
            raise UserError(f"{args.run} holds a trained run: add --resume to continue it, or choose another --run")
    with threads(1 if args.gpu else args.threads):  # a GPU has its own
        train(config, load_windows(config), args.run, checkpoint, "gpu" if args.gpu else "cpu")


if __name__ == "__main__":
    run_command(main)
