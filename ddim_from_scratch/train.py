"""Train the denoiser on a folder of recordings.

    python -m ddim_from_scratch.train --data recordings/ --run runs/mine

The run folder gets config.json, checkpoint.npz (after every epoch: weights, moving average, optimizer,
statistics), previous.npz (the one before), log.csv (a row a step) and loss.png. --resume continues from the
checkpoint, and comes to what a run that never stopped comes to, bit for bit: the random numbers of each step
and the order of each epoch are streams of their own, known from the seed. Ctrl-C and SIGTERM save first.
With --fad-every also fad.csv and best.npz, the checkpoint whose samples were nearest to the recordings.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .audio.inverter import GRIFFIN_LIM, load_inverter
from .diffusion import PREDICTIONS, predict_x0, q_sample
from .experiments.pictures import save_losses
from .fad import Set, embed_clips, embed_set, load_embedding
from .fad.reliability import distance
from .nn.fast import layers_for, use_plain
from .nn.loss import mean_squared_error
from .runtime import mpi, tree
from .runtime.backend import Array, chosen_device, threads, to_device
from .runtime.cli import Parser, add_hardware_options, flag, run_command
from .runtime.errors import UserError
from .runtime.files import replacing
from .runtime.tree import Tree
from .spectrogram.config import Config, add_options, given_options
from .spectrogram.data import Scaler, Windows, augmented, load_windows
from .spectrogram.model import context_channel, draw_alpha_bar, init_state, loss_of_zero, sample_log_mels, with_context
from .spectrogram.unet import batch_statistics, unet, unet_backward
from .training.checkpoint import BEST, checkpoint_path, load_checkpoint, save_checkpoint
from .training.guards import Stop, first_non_finite, locked
from .training.log import FadLog, Log, read_log
from .training.optim import adamw, clip_gradient, update_average, warmup_cosine, warmup_decay

ORDER, NOISE = range(2)  # what random numbers are for: see `stream`
PATIENCE = 500  # steps after which a loss must have moved
BATCH_NORM_MOMENTUM = 0.99  # Keras' default
CONTEXT_DROPPED = 0.2  # share of the windows that are trained on as if nothing came before

# What --fad-every N draws: enough to see a trend, little beside N epochs of training.
PROBE_CLIPS = 8
PROBE_STEPS = 20


def train_step(
    state: Tree,
    x0: Array,
    config: Config,
    step: int,
    rng: np.random.Generator,
    context: Array | None = None,
    total: int | None = None,
) -> tuple[float, float]:
    """One step of AdamW. Changes `state`. Returns the noise loss and the reconstruction loss.

    Trained is the error of what config.prediction names. The noise loss is that of "eps"; an output of "v" or "x0" is
    read as eps for it, and it is watched only. (A network that says x0 = 0 scores the mean signal-to-noise ratio.)
    x0: (N, frames, 128, 1), standardised, on the device of `state`. step: 1 at the first call. context: like x0, for
    a network that has one. total: the number of steps, without which the learning rate is constant.
    Raises FloatingPointError, naming step and layer, before it changes a weight by what is not finite.
    """
    params, statistics = state["network"]["params"], state["network"].get("statistics", {})
    device = "cpu" if isinstance(x0, np.ndarray) else "gpu"
    alpha_bar = draw_alpha_bar(config, len(x0), rng)
    eps = to_device(rng.standard_normal(x0.shape, dtype=np.float32), device)
    part = mpi.share(len(x0))  # every process draws for all, and takes its part
    weight = (part.stop - part.start) / len(x0)
    x0, eps, alpha_bar = x0[part], eps[part], alpha_bar[part]
    context = None if context is None else context[part]
    levels = to_device(alpha_bar, device)

    x_t = q_sample(x0, levels, eps)
    seen = with_context(x_t, context) if config.context else x_t
    layers = layers_for(x0)
    output, cache = unet(params, statistics, seen, 1 - alpha_bar, layers, training=True)
    used = batch_statistics(cache)
    prediction = PREDICTIONS[config.prediction]
    noise_loss, d_output = mean_squared_error(output, prediction.target(x0, levels, eps))
    eps_pred = prediction.eps(x_t, levels, output)
    if eps_pred is not output:
        noise_loss, _ = mean_squared_error(eps_pred, eps)
    reconstruction_loss, _ = mean_squared_error(predict_x0(x_t, levels, eps_pred), x0)
    noise_loss, reconstruction_loss = mpi.total(weight * noise_loss, weight * reconstruction_loss)
    if not np.isfinite(noise_loss):
        where, _, _ = (first_non_finite(used) or "output/").rpartition("/")  # its mean, or its variance
        raise FloatingPointError(f"the loss of step {step} is {noise_loss}, first wrong at the layer {where}")
    d_output *= weight
    _, grads = unet_backward(d_output, cache, layers)  # from the output to the input, so that the first is the cause
    mpi.add_up(grads)
    norm = clip_gradient(grads, config.clip_gradient)
    if not np.isfinite(norm):
        raise FloatingPointError(f"the gradient of step {step} is {norm}, first at {first_non_finite(grads)}")

    learning_rate = config.learning_rate
    if total and config.learning_rate_schedule == "warmup-cosine":
        learning_rate *= warmup_cosine(step, total)
    adamw(params, grads, state["moments"], step, learning_rate, config.weight_decay)
    update_average(statistics, used, BATCH_NORM_MOMENTUM)
    ema = warmup_decay(config.ema, step) if config.ema_schedule == "warmup" else config.ema
    update_average(state["average"], state["network"], ema)
    return noise_loss, reconstruction_loss


def train(
    config: Config,
    windows: Windows,
    run: Path,
    checkpoint: Tree | None = None,
    device: str = "cpu",
    report: Callable[[int, float], None] | None = None,
) -> None:
    """Train from what `load_checkpoint` returned, or from fresh weights, up to config.epochs, saving after every epoch.

    report: called with the epoch and the Frechet distance when --fad-every has measured one; it may raise to stop.
    Raises UserError if the loss or the weights become non-finite; the last good checkpoint stays.
    """
    batch_size = min(config.batch_size, len(windows))
    if batch_size < mpi.size():
        raise UserError(f"{mpi.size()} processes can't share a batch of {batch_size} windows: raise --batch-size")
    leads = mpi.rank() == 0  # writes the files; the others do all the rest with it
    steps_per_epoch = len(windows) // batch_size  # what is left over goes into another epoch's batches
    if checkpoint:
        state, scaler = checkpoint["state"], Scaler(**checkpoint["scaler"])
        step = int(checkpoint["step"])
        if int(checkpoint["windows"]) != len(windows):
            raise UserError(
                f"{run} was trained on {checkpoint['windows']} windows, {config.data} has {len(windows)}: "
                "give the same recordings, or begin a new run"
            )
    else:
        state, step = init_state(config, np.random.default_rng(config.seed)), 0
        scaler = windows.scaler(config.standardise)
    state = tree.to_device(state, device)
    log, fad_log = Log(run / "log.csv", step), FadLog(run / "fad.csv", step)
    probe = fad_probe(windows, scaler, config, device) if config.fad_every else None
    first_epoch = step // steps_per_epoch
    if first_epoch >= config.epochs:
        raise UserError(f"{run} has been trained for {first_epoch} epochs already: give a larger --epochs")
    run.mkdir(parents=True, exist_ok=True)
    if leads:
        with replacing(run / "config.json") as file:
            file.write(config.to_json().encode())

    total = config.epochs * steps_per_epoch
    with Stop() as stop, tqdm(total=total, initial=step, desc="training", unit="step") as bar:
        for epoch in range(first_epoch, config.epochs):
            order = stream(config.seed, ORDER, epoch).permutation(len(windows))
            batches = order[: steps_per_epoch * batch_size].reshape(steps_per_epoch, batch_size)
            for batch in batches[step % steps_per_epoch :]:  # all of them, but for one that was stopped in between
                started = time.perf_counter()
                step += 1
                rng = stream(config.seed, NOISE, step)
                some = windows.some(batch, rng if config.crops == "random" else None)
                every = range(batch_size)
                log_mels = augmented(some.take(every), windows, config.augment, rng)
                x0 = to_device(scaler.standardise(log_mels)[..., None], device)
                context = to_device(draw_context(some, every, scaler, rng), device) if config.context else None
                try:
                    losses = train_step(state, x0, config, step, rng, context, total)
                except FloatingPointError as error:
                    raise UserError(diverged(run, f"{error}, of {some.names(every)}")) from None
                log.add(step, epoch + 1, *losses, time.perf_counter() - started)
                bar.set_postfix(epoch=epoch + 1, loss=f"{log.recent_loss():.3f}", refresh=False)
                bar.update()
                if step == PATIENCE and log.recent_loss(PATIENCE // 2) > 0.95 * loss_of_zero(config):
                    bar.write(learns_nothing(step), file=sys.stderr)
                stopped = max(int(sent) for (sent,) in mpi.gather(stop.signal or 0))  # all stop at one step
                if stopped:
                    break
            if broken := first_non_finite(state):
                raise UserError(diverged(run, f"{broken} became non-finite by step {step}"))
            saved, fad = (config, state, scaler, step, len(windows)), None
            if probe and (epoch + 1) % config.fad_every == 0 and step % steps_per_epoch == 0:
                fad = probe(state["average"])
                bar.write(f"epoch {epoch + 1}: Frechet distance {fad:.4g}, best so far {min(fad, fad_log.best):.4g}")
                if leads and fad < fad_log.best:
                    save_checkpoint(run / BEST, *saved)
                if leads:
                    fad_log.add(step, epoch + 1, fad)
            if leads:
                log.write()
                save_checkpoint(checkpoint_path(run), *saved)
            if report and fad is not None:
                report(epoch + 1, fad)
            if stopped:
                again = f"python -m ddim_from_scratch.train --run {shlex.quote(str(run))} --resume"
                bar.write(
                    f"{signal.Signals(stopped).name}: saved at step {step} of {total}; go on with {again}",
                    file=sys.stderr,
                )
                sys.exit(128 + stopped)  # as a shell has it
    if leads:
        plot_losses(run)


def stream(seed: int, kind: int, number: int) -> np.random.Generator:
    """Random numbers that depend on nothing but the seed, what they are for (ORDER, NOISE), and the epoch or step."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(kind, number)))


def draw_context(windows: Windows, batch: Sequence[int], scaler: Scaler, rng: np.random.Generator) -> np.ndarray:
    """The context channel of a batch, (N, frames, 128, 1); some samples' is dropped, so that music can also begin."""
    keep = rng.random(len(batch)) >= CONTEXT_DROPPED
    before = [past if kept else past[:0] for past, kept in zip(windows.before(batch), keep, strict=True)]
    return context_channel([*map(scaler.standardise, before)], windows.frames)


def fad_probe(windows: Windows, scaler: Scaler, config: Config, device: str) -> Callable[[Tree], float]:
    """A function that tells how far from the recordings a few samples of a network are, by the embedding at hand.

    The noise it begins with is the same at every call, and the training's random numbers are left alone.
    """
    embedding, invert = load_embedding(device=device), load_inverter(GRIFFIN_LIM)
    background, _ = embed_set(embedding, windows.paths, config.data)
    frames = config.frames_lasting(max(config.window_seconds, embedding.seconds))

    def probe(network: Tree) -> float:
        rng = np.random.default_rng(config.seed)
        log_mels = sample_log_mels(
            network, scaler, config, PROBE_CLIPS, frames, PROBE_STEPS, rng, device, sampler="dpm++2m"
        )
        return distance(background, Set.of(embed_clips(embedding, invert(log_mels, "clips"), "clips")))

    return probe


def diverged(run: Path, what: str) -> str:
    saved = f"{checkpoint_path(run)} holds the last good epoch" if checkpoint_path(run).exists() else "nothing is saved"
    return f"training stopped: {what}; {saved}; train a new run with a lower --learning-rate"


def learns_nothing(step: int) -> str:
    return (
        f"warning: after {step} steps the loss is still that of predicting 0: the network has learnt nothing; "
        "try another --learning-rate, or a larger --batch-size"
    )


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
    parser.add_argument(
        "--resume", action="store_true", help="continue the run; only --epochs, --data and --fad-every may differ"
    )
    add_options(parser)
    add_hardware_options(parser)
    return parser.parse_args(argv)


@mpi.together()
def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    options = given_options(args)
    device = chosen_device(args.gpu)
    use_plain(args.plain)
    if not args.resume:
        config = Config(**options)
    elif not args.run.is_dir():
        raise UserError(f"{args.run} does not exist: check the path, or begin it without --resume")
    with locked(args.run) if mpi.rank() == 0 else nullcontext():
        mpi.gather(0)  # nobody reads before rank 0 has the folder
        checkpoint = load_checkpoint(args.run) if args.resume else None
        if checkpoint:
            config = resumed(checkpoint["config"], options, args.run)
        elif checkpoint_path(args.run).exists():
            raise UserError(f"{args.run} holds a trained run: add --resume to continue it, or choose another --run")
        with threads(1 if args.gpu else args.threads):  # a GPU has its own
            train(config, load_windows(config), args.run, checkpoint, device)


def resumed(saved: Config, options: dict[str, Any], run: Path) -> Config:
    """The configuration of a run that goes on. Raises UserError if an option would change what it computes."""
    free = {"data", "fad_every"} | ({"epochs"} if saved.learning_rate_schedule == "constant" else set())
    for name, value in options.items():
        if name not in free and value != getattr(saved, name):
            raise UserError(
                f"{flag(name)} is {value}, but {run} was begun with {getattr(saved, name)}: "
                "leave it out, or begin a new run"
            )
    return dataclasses.replace(saved, **options)


if __name__ == "__main__":
    run_command(main)
