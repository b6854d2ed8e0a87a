"""The training loop, for every system.

It owns the epochs, their order and their random numbers, resuming, the log, checkpoints, progress, signals and the
guards against numbers that went wrong. Of a system it knows what `System` lists.

A run folder gets config.json, checkpoint.npz after every epoch, previous.npz (the one before), log.csv (a row a step)
and, with fad_every, fad.csv and best.npz. A run that was stopped and resumed comes to what one comes to that never
stopped, bit for bit: the random numbers of each epoch's batches and of each step are streams of their own.
"""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from tqdm import tqdm

from ..diffusion.process import stream
from ..runtime import mpi, tree
from ..runtime.backend import memory_held
from ..runtime.cli import counted
from ..runtime.errors import UserError
from ..runtime.files import replacing, sweep_unfinished
from ..runtime.tree import Packed, Tree
from .checkpoint import BEST, Log, checkpoint_path, save_checkpoint
from .guards import Stop, first_non_finite

BATCHES, STEP = range(2)  # what random numbers are for: see `stream`
PATIENCE = 500  # steps after which a loss must have moved

Item = TypeVar("Item")


class System(Protocol):
    """A system as the loop knows it."""

    @property
    def config(self) -> Any:
        """Has SYSTEM, its name, epochs, seed, fad_every, free, see training/options.py, and to_json()."""

    @property
    def device(self) -> str: ...

    @property
    def steps_per_epoch(self) -> int: ...

    @property
    def loss_of_nothing(self) -> float:
        """The first loss of an untrained network."""

    @property
    def kept(self) -> Tree:
        """The rest of a checkpoint, beside the state: sampling needs it."""

    def init(self, rng: np.random.Generator) -> Tree:
        """All that training changes, fresh, on the host."""

    def batches(self, epoch: int, rng: np.random.Generator) -> Iterator[Any]:
        """The `steps_per_epoch` batches of an epoch, in the order that rng gives."""

    def noisy(self, batch: Any, rng: np.random.Generator) -> Any:
        """The batch with its noise, on the host."""

    def step(self, state: Packed, drawn: Any, step: int) -> dict[str, float]:
        """Change `state` by one step, 1 at first, on what `noisy` gave; return the losses, the one to watch first.

        Raises FloatingPointError, saying where, before it changes a weight by what is not finite.
        """

    def measure(self, state: Packed) -> float:
        """The Frechet distance of a few clips from the training music."""


def train(
    system: System,
    run: Path,
    saved: Any = None,
    report: Callable[[int, float], None] | None = None,
    again: str | None = None,
) -> None:
    """Train up to system.config.epochs, saving after every epoch.

    saved: the checkpoint to resume from, with its `step` and `state`; None begins with a fresh state.
    report: called with the epoch and each Frechet distance that fad_every asks for; it may raise to stop.
    again: how to continue after a signal, if not with train --resume.
    Raises UserError if a loss or a weight becomes non-finite; the last good checkpoint stays.
    """
    config, steps = system.config, system.steps_per_epoch
    step, state = (saved.step, saved.state) if saved else (0, system.init(stream(config.seed)))
    first, total = step + 1, config.epochs * steps
    if step >= total:
        raise UserError(trained_already(run, config, step // steps))
    state = tree.pack(tree.to_device(state, system.device))
    files = Files(run, config, step)

    with Stop() as stop, tqdm(total=total, initial=step, desc="training", unit="step") as bar:
        for epoch in range(step // steps, config.epochs):
            started = time.perf_counter()
            to_learn = ahead(examples(system, epoch, step), system.device)
            for step, drawn in to_learn:
                try:
                    losses = system.step(state, drawn, step)
                except FloatingPointError as error:
                    raise UserError(diverged(run, error)) from None
                ended = time.perf_counter()
                files.log.add(step=step, epoch=epoch + 1, **losses, seconds=ended - started)
                started = ended

                bar.set_postfix(epoch=epoch + 1, loss=f"{files.log.recent():.3f}", refresh=False)
                bar.update()
                if step == first:
                    bar.write(f"memory in use: {memory_held(system.device) / 1e9:.2f} GB", file=sys.stderr)
                if step == PATIENCE and files.log.recent(PATIENCE // 2) > 0.95 * system.loss_of_nothing:
                    bar.write(learns_nothing(step), file=sys.stderr)
                stopped = max(int(sent) for (sent,) in mpi.gather(stop.signal or 0))  # all stop at one step
                if stopped:
                    break

            if broken := first_non_finite(state):
                raise UserError(diverged(run, f"{broken} became non-finite by step {step}"))
            distance = None
            if config.fad_every and (epoch + 1) % config.fad_every == 0 and step % steps == 0:
                distance = system.measure(state)
                best = min(distance, files.distances.best)
                bar.write(f"epoch {epoch + 1}: Frechet distance {distance:.4g}, best so far {best:.4g}")
            files.save(checkpoint(system, state, step), epoch + 1, distance)
            if report and distance is not None:
                report(epoch + 1, distance)
            if stopped:
                bar.write(interrupted(run, stopped, step, total, again), file=sys.stderr)
                sys.exit(128 + stopped)  # as a shell has it


def examples(system: System, epoch: int, done: int) -> Iterator[tuple[int, Any]]:
    """The epoch's steps after step `done`: all, unless the run was stopped within it. With what each learns from."""
    config, steps = system.config, system.steps_per_epoch
    batches = islice(system.batches(epoch, stream(config.seed, BATCHES, epoch)), done % steps, None)
    for step, batch in enumerate(batches, done + 1):
        yield step, system.noisy(batch, stream(config.seed, STEP, step))


def ahead(items: Iterator[Item], device: str) -> Iterator[Item]:
    """The same items. On a GPU a thread makes each while the one before is in use: else the device waits for noise."""
    if device == "cpu":
        yield from items
        return
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, items, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, items, None)
            yield item


class Files:
    """A run's folder. Of several processes, the one of rank 0 writes it; all keep its logs."""

    def __init__(self, run: Path, config: Any, step: int) -> None:
        self.run, self.log, self.distances = run, Log(run / "log.csv", step), Log(run / "fad.csv", step)
        if mpi.rank() == 0:
            run.mkdir(parents=True, exist_ok=True)
            sweep_unfinished(run, {checkpoint_path(run).name, BEST, "config.json", "log.csv", "fad.csv", "loss.png"})
            with replacing(run / "config.json") as file:
                file.write(config.to_json().encode())

    def save(self, content: Tree, epoch: int, distance: float | None) -> None:
        """Write the logs, then the checkpoint, which is also the best one if no distance was smaller."""
        best = distance is not None and distance < self.distances.best
        if distance is not None:
            self.distances.add(step=int(content["step"]), epoch=epoch, fad=distance)
        if mpi.rank():
            return
        if best:
            save_checkpoint(self.run / BEST, content)
        if distance is not None:
            self.distances.write()
        self.log.write()
        save_checkpoint(checkpoint_path(self.run), content)


def checkpoint(system: System, state: Tree, step: int) -> Tree:
    """The content of a checkpoint."""
    about = {"system": system.config.SYSTEM, "config": system.config.to_json(), "step": step}
    return {name: np.array(value) for name, value in about.items()} | system.kept | {"state": state}


def trained_already(run: Path, config: Any, epochs: int) -> str:
    free = "epochs" in config.free
    remedy = "give a larger --epochs" if free else "its learning rate has come to 0: train a new run"
    return f"{run} has been trained for {counted(epochs, 'epoch')} already: {remedy}"


def diverged(run: Path, why: object) -> str:
    saved = f"{checkpoint_path(run)} holds the last good epoch" if checkpoint_path(run).exists() else "nothing is saved"
    return f"training stopped: {why}; {saved}; train a new run with a lower --learning-rate"


def learns_nothing(step: int) -> str:
    return (
        f"warning: after {step} steps the loss is still that of predicting 0: the network has learnt nothing; "
        "try another --learning-rate, or a larger --batch-size"
    )


def interrupted(run: Path, number: int, step: int, total: int, again: str | None) -> str:
    again = again or f"continue with: python -m ddim_from_scratch.train --run {shlex.quote(str(run))} --resume"
    return f"{signal.Signals(number).name}: saved at step {step} of {total}; {again}"
