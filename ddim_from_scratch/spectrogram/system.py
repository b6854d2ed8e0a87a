"""The paper's system, as the training loop sees it: recordings in windows, a U-Net, what it loses and how it learns."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from ..audio.inverter import GRIFFIN_LIM, load_inverter
from ..diffusion import Example, Sampling, loss_of_zero, losses, noisy
from ..fad import Set, embed_clips, embed_set, load_embedding
from ..fad.reliability import distance
from ..networks.unet import batch_statistics
from ..nn.fast import layers_for, recorded
from ..runtime import mpi, tree
from ..runtime.backend import Array, read, to_device
from ..runtime.errors import UserError, printable, say_once
from ..runtime.tree import Packed, Tree
from ..training.guards import first_non_finite
from ..training.optim import adamw, clip_gradient, norm, update_average, warmup_cosine, warmup_decay
from .compose import Composer, Run
from .config import Config
from .data import Contents, Scaler, Windows, augmented, contents, load_windows, require_unchanged
from .denoiser import NETWORKS, Inputs
from .model import CONTRACT, EARLY, Model, Saved, context_channel, init_state, read_run
from .modes import MODES, composer

__all__ = [
    "MODES",
    "OWN_RUN",
    "Config",
    "Run",
    "composer",
    "read_run",
    "training",
]  # see systems.py

OWN_RUN = None
BATCH_NORM_MOMENTUM = 0.99  # Keras' default
CONTEXT_DROPPED = 0.2  # share of the windows that are trained on as if nothing came before

# The clips of --fad-every N: enough to see a trend, little beside N epochs of training.
PROBE_CLIPS = 8
PROBE = Sampling("dpm++2m", steps=20)


class Batch(NamedTuple):
    """The data of a step. x0: (N, frames, 128, 1), standardised. conditions: the network's other inputs."""

    x0: np.ndarray
    conditions: tuple[np.ndarray, ...] = ()
    windows: Windows | None = None  # where x0 was cut

    @property
    def names(self) -> str:
        return f", of {self.windows.names()}" if self.windows else ""


@dataclass(frozen=True)
class Training:
    """A `training.loop.System`. Without windows it has no batches, but can take a step on anyone's."""

    config: Config
    windows: Windows = None  # type: ignore[assignment]
    scaler: Scaler = None  # type: ignore[assignment]
    device: str = "cpu"
    contents: Contents | None = None

    @staticmethod
    def prepared(config: Config, windows: Windows) -> tuple[Config, Windows]:
        """Both, with the system's additions. Raises UserError if they do not fit."""
        return config, windows

    @property
    def steps_per_epoch(self) -> int:
        """Windows that are left over go into another epoch's batches."""
        return len(self.windows) // self.batch_size

    @property
    def batch_size(self) -> int:
        return min(self.config.batch_size, len(self.windows))

    @property
    def loss_of_nothing(self) -> float:
        some = np.linspace(0, len(self.windows) - 1, min(len(self.windows), 64)).astype(int)
        variance = float(np.square(self.scaler.standardise(self.windows.take(some))).mean())
        return loss_of_zero(self.config.noise_schedule, self.config.prediction, variance)

    @property
    def kept(self) -> Tree:
        texts = {"contract": CONTRACT} | ({"recordings": self.contents} if self.contents else {})
        arrays = {name: array for name, array in vars(self.scaler).items() if array is not None}
        kept: Tree = {"scaler": arrays, "windows": np.array(len(self.windows))}
        return kept | {name: np.array(json.dumps(text)) for name, text in texts.items()}

    def init(self, rng: np.random.Generator) -> Tree:
        return init_state(self.config, rng)

    def batches(self, epoch: int, rng: np.random.Generator) -> Iterator[Batch]:
        order = rng.permutation(len(self.windows))[: self.steps_per_epoch * self.batch_size]
        for indices in order.reshape(self.steps_per_epoch, self.batch_size):
            windows = self.windows.some(indices, rng if self.config.crops == "random" else None)
            log_mels = augmented(windows.take(), self.windows, self.config.augment, rng)
            yield Batch(self.scaler.standardise(log_mels)[..., None], self.conditions(windows, rng), windows)

    def conditions(self, windows: Windows, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """The network's inputs beside the noisy windows, on the host: see denoiser.py."""
        if not self.config.context:
            return ()
        context = context_channel([self.scaler.standardise(past) for past in windows.before()], windows.frames)
        context[rng.random(len(windows)) < CONTEXT_DROPPED] = 0
        return (context,)

    def noisy(self, batch: Batch, rng: np.random.Generator) -> tuple[Batch, Example]:
        """The batch, and its windows with noise, on the host: every process draws noise for the whole batch."""
        return batch, noisy(batch.x0, self.config.noise_schedule, rng)

    def step(self, state: Packed, drawn: tuple[Batch, Example], step: int) -> dict[str, float]:
        """One step of AdamW on what `noisy` gave. Changes `state`, packed `init_state` on the device. step: 1 at first.

        Raises FloatingPointError, naming step and layer, before it changes a weight by what is not finite.
        """
        config, network, moments = self.config, state["network"], state["moments"]
        params, statistics = network["params"], network["statistics"]
        batch, example = drawn
        part = mpi.share(len(batch.x0))
        weight = (part.stop - part.start) / len(batch.x0)
        seen = [example.x0, example.eps, example.alpha_bar, *batch.conditions]
        inputs = [to_device(array[part], self.device) for array in seen]
        if "gradient" not in state.recorded:
            state.recorded["gradient"] = recorded(partial(self.gradient, network, weight), self.device)
        *found, gradient, used = state.recorded["gradient"](*inputs)
        mpi.add_up(gradient.flat)

        *found, length = read(*found, norm(gradient.flat))  # the only wait for the device
        noise_loss, reconstruction_loss = mpi.total(*(weight * loss for loss in found))
        if not np.isfinite(noise_loss):
            block, _, _ = (first_non_finite(used) or "the output/").rpartition("/")  # whose input's moments these are
            place = f", first wrong before {block}" if used else ""
            raise FloatingPointError(f"the loss of step {step} is {noise_loss}{place}" + batch.names)
        if not np.isfinite(length):  # from the output to the input, so that the first is the cause
            first = first_non_finite(dict(reversed(tree.flatten(gradient).items())))
            raise FloatingPointError(f"the gradient of step {step} is {length}, first at {first}" + batch.names)

        clip_gradient(gradient.flat, length, config.clip_gradient)
        moments = {name: vector.flat for name, vector in moments.items()}
        rate = self.learning_rate(step)
        adamw(params.flat, gradient.flat, moments, step, rate, config.weight_decay, config.epsilon)
        if statistics:
            update_average(statistics.flat, tree.pack(used, like=statistics).flat, BATCH_NORM_MOMENTUM)
        ema = warmup_decay(config.ema, step) if config.ema_schedule == "warmup" else config.ema
        update_average(state["average"].flat, network.flat, ema)
        if step <= EARLY and "early" in state:  # an older version's run has none
            state["early"].flat[:] = state["average"].flat
        return {"noise_loss": noise_loss, "reconstruction_loss": reconstruction_loss}

    def gradient(
        self, network: Tree, weight: float, x0: Array, eps: Array, alpha_bar: Array, *conditions: Array
    ) -> tuple[Array, Array, Packed, Tree]:
        """The noise loss, the reconstruction loss, `weight` times the gradient, and the moments of each normalisation.

        All of it on the device, without waiting for it.
        """
        config, example, layers = self.config, Example(x0, eps, alpha_bar), layers_for(x0)
        seen = Inputs.of(config, example.x_t, config.noise_schedule.told(alpha_bar), conditions)
        output, cache = NETWORKS[config.network].output(network, seen, layers, True)
        noise_loss, reconstruction_loss, d_output = losses(output.reshape(x0.shape), example, config.prediction)
        used, d_output = batch_statistics(cache), (weight * d_output).reshape(output.shape)
        _, grads = NETWORKS[config.network].backward(d_output, cache, layers)
        return noise_loss, reconstruction_loss, tree.pack(grads, like=network["params"]), used

    def learning_rate(self, step: int) -> float:
        """Constant if the number of steps is not known."""
        if self.config.learning_rate_schedule == "constant" or self.windows is None:
            return self.config.learning_rate
        return self.config.learning_rate * warmup_cosine(step, self.config.epochs * self.steps_per_epoch)

    def measure(self, state: Packed) -> float:
        """See `System`. All calls draw the same noise, and leave the training's random numbers alone."""
        embedding, background = self.heard
        model = Model(state["average"], self.config, self.scaler, self.device, state.get("early"))
        seconds = max(self.config.window_seconds, embedding.seconds)
        log_mels = self.drawn(model, self.config.frames_lasting(seconds))
        sound = load_inverter(GRIFFIN_LIM, self.device)(log_mels, "samples")
        return distance(background, Set.of(embed_clips(embedding, sound, "samples")))

    def drawn(self, model: Model, frames: int) -> np.ndarray:
        """A few clips, as log-mels."""
        return Composer(model, PROBE, self.config.seed).draw(PROBE_CLIPS, frames)

    @cached_property
    def heard(self) -> tuple:
        """The default embedding, and the embeddings of the training music."""
        embedding = load_embedding(device=self.device)
        background, _ = embed_set(embedding, self.windows.paths, self.config.data)
        return embedding, background


def training(
    config: Config,
    saved: Saved | None = None,
    device: str = "cpu",
    windows: Windows | None = None,
    kind: type[Training] = Training,
) -> Training:
    """The system to train. saved: the checkpoint to resume from. windows: to spare loading them.

    Raises UserError if processes outnumber windows, or if a run is resumed on other recordings.
    """
    if saved and "moments" not in saved.state:
        raise UserError("the run was made to share, and holds what sampling needs only: train a new one")
    if saved:
        require_unchanged(config, saved.contents)
    found = saved.contents if saved and saved.contents else contents(config)
    config, windows = kind.prepared(config, windows or load_windows(config))
    if saved and saved.windows != len(windows):
        raise UserError(
            f"the run was trained on {saved.windows} windows, {config.data} has {len(windows)}: give the same "
            "recordings, or begin a new run"
        )
    if found["held_out"] and mpi.rank() == 0:
        say_once(f"held out of the training: {', '.join(printable(name) for name, _ in found['held_out'])}")
    scaler = saved.scaler if saved else windows.scaler(config.standardise)
    if scaler.outline is None:
        scaler = dataclasses.replace(scaler, outline=windows.outline(scaler))
    system = kind(config, windows, scaler, device, found)
    if system.batch_size < mpi.size():
        raise UserError(
            f"{mpi.size()} processes can't share a batch of {system.batch_size} windows: raise --batch-size"
        )
    if config.fad_every:
        try:
            _ = system.heard  # now, and not after some epochs
        except UserError as error:
            raise UserError(f"{error}, or leave out --fad-every (with --resume: --fad-every 0)") from None
    return system
