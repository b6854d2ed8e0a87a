"""A trained denoiser: its weights, configuration and scaler as one object, and the run folder that it is read from."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..audio.contract import FRAME_LENGTH, HOP_LENGTH, N_FFT, N_MELS, SR
from ..diffusion import PREDICTIONS, EpsModel, draw_noise, with_x0
from ..nn.fast import layers_for, recorded
from ..runtime import mpi, tree
from ..runtime.backend import CLIPS_AT_ONCE, Array, array_module, to_device, to_host
from ..runtime.errors import UserError, printable
from ..runtime.files import conforms
from ..runtime.tree import Tree
from ..training.checkpoint import checkpoint_path, load_checkpoint, system_of
from .config import Config
from .data import Contents, Scaler
from .denoiser import NETWORKS, Inputs

CONTRACT = {"sr": SR, "frame_length": FRAME_LENGTH, "hop_length": HOP_LENGTH, "n_fft": N_FFT, "n_mels": N_MELS}
# Names in a checkpoint, and in its scaler.
KEYS = {"system", "config", "contract", "step", "windows", "recordings", "scaler", "state"}
SCALER = {"mean", "std", "pitches", "outline", "limits"}
EARLY = 256  # steps after which a network is kept, to be led away from: see compose.py
FIRST_CONTRACT = {"sr": 16000, "frame_length": 640, "hop_length": 320, "n_fft": 1024, "n_mels": 128}


@dataclass(frozen=True)
class Model:
    """A network that draws. network: {"params", "statistics"}, on `device`. early: the same after EARLY steps."""

    network: Tree = field(repr=False)
    config: Config
    scaler: Scaler = field(repr=False)
    device: str = "cpu"
    early: Tree | None = field(default=None, repr=False)

    @cached_property
    def worse(self) -> Model | None:
        """The network early in its training, if the run has kept it."""
        return replace(self, network=self.early, early=None) if self.early else None

    @property
    def alpha_bar(self) -> np.ndarray:
        """The schedule's table, (T + 1,)."""
        return self.config.noise_schedule.alpha_bar

    def eps_model(self, conditions: tuple[Array, ...] = (), alpha_bar: np.ndarray | None = None) -> EpsModel:
        """The network as the function eps_model(x, t) that samplers take, t an index into alpha_bar.

        alpha_bar: the schedule's table, unless given.
        conditions: what the network is told beside x, on x's device; see denoiser.py.
        """
        levels = self.alpha_bar if alpha_bar is None else alpha_bar

        def eps_model(x: Array, t: int) -> Array:
            told = float(self.config.noise_schedule.told(levels[t]))
            output = self._output(x, array_module(x).full(len(x), told), *conditions).reshape(x.shape)
            return PREDICTIONS[self.config.prediction].eps(x, float(levels[t]), output)

        return eps_model

    @cached_property
    def _output(self) -> Callable[..., Array]:
        """The network's output as a function of x, the noise level told, and the conditions."""

        def output(x: Array, told: Array, *conditions: Array) -> Array:
            seen = Inputs.of(self.config, x, told, conditions)
            return NETWORKS[self.config.network].output(self.network, seen, layers_for(x), False)[0]

        graph = recorded(output, self.device)
        return output if graph is output else lambda *arrays: graph(*arrays).copy()  # which the next call overwrites

    def limited(self, eps_model: EpsModel, alpha_bar: np.ndarray) -> EpsModel:
        """`eps_model` with an x0 that is no louder and no quieter than each mel bin was in training.

        Where the signal is faint a network guesses, and guidance exaggerates its guess. In a bin of the bass, which is
        nearly always silent, three deviations too much are louder than all music: see docs/results.md.
        """
        if self.scaler.limits is None:
            return eps_model
        low, high = self.standardised(self.scaler.limits)
        return with_x0(eps_model, alpha_bar, lambda x0: x0.clip(low, high))

    def start(
        self,
        frames: int,
        rngs: list[np.random.Generator],
        clips: np.ndarray | None = None,
        known: np.ndarray | None = None,
    ) -> Array:
        """x_T as in training, (n, frames, 128, 1), a row of each generator. Of a run without an outline, noise.

        clips: log-mels (n, frames, 128) to go on from, where they are known, bool (frames,). Without, all is new.

        A schedule that ends at a signal rate of 0.195, as the paper's tuned one does, leaves music in x_T, only 14 dB
        below the noise. A network that is given noise alone has never seen so little signal and draws music of half the
        variance. For what is heard so faintly a Gaussian serves: the mean of the training windows, their main
        directions, and white noise for the rest of their variance. See docs/results.md.
        """
        x_T = draw_noise((len(rngs), frames, N_MELS, 1), rngs)
        if self.scaler.outline is not None:
            if clips is None or known is None:
                clips, known = np.zeros((len(rngs), frames, N_MELS), np.float32), np.zeros(frames, bool)
            alpha_bar = float(self.alpha_bar[-1])
            x_T *= (1 - alpha_bar + alpha_bar * self.scaler.white) ** 0.5
            outlines = self.scaler.draw_outlines(rngs, self.scaler.standardise(clips), known)
            x_T += alpha_bar**0.5 * outlines[..., None]
        return to_device(x_T, self.device)

    def standardised(self, log_mels: np.ndarray) -> Array:
        """Log-mels (n, frames, 128) as the network sees them, (n, frames, 128, 1) on its device."""
        return to_device(self.scaler.standardise(log_mels)[..., None], self.device)

    def restored(self, x: Array) -> np.ndarray:
        """The inverse, on the host."""
        return self.scaler.restore(to_host(x)[..., 0])


@dataclass(frozen=True)
class Saved:
    """The content of a checkpoint. state: what `init_state` returns, or {"average"} alone.

    windows: how many it was trained on. contents: the recordings that it was trained on, and those held out; None in a
    file of the first edition.
    """

    config: Config
    scaler: Scaler
    state: Tree = field(repr=False)
    step: int
    windows: int
    contents: Contents | None = None

    @property
    def epochs_done(self) -> int:
        return self.step // (self.windows // min(self.config.batch_size, self.windows))

    def origin(self, run: Path) -> dict[str, Any]:
        """This network of a run's, as the set.json of its clips names it."""
        return {"run": str(run.resolve()), "step": self.step, "network": tree.digest(self.state)}

    def model(self, device: str = "cpu") -> Model:
        """The network of averaged weights."""
        early = tree.to_device(self.state["early"], device) if "early" in self.state and self.step > EARLY else None
        return Model(tree.to_device(self.state["average"], device), self.config, self.scaler, device, early)


def read_run(run: Path, best: bool = False, options: type[Config] = Config) -> Saved:
    """The last checkpoint of a run, or the best. Raises UserError as `load_checkpoint` does, and for other systems."""
    if (system := system_of(run)) not in (None, options.SYSTEM):
        path = checkpoint_path(run)
        raise UserError(
            f"{path} was trained with --system {printable(system[:40])}: give a run of {options.SYSTEM} here"
        )
    return load_checkpoint(run, partial(understand, options), best)


def understand(options: type[Config], content: Tree) -> Saved:
    """A checkpoint's content, checked. Raises UserError or ValueError for another system's, and for arrays that do not
    fit its configuration."""
    if other := content.keys() - KEYS:
        raise UserError(f"it has {min(other)[:40]!r}, which this version does not know")
    if "system" in content and (name := tree.text(content["system"])) != options.SYSTEM:
        raise UserError(f"it is of the system {name[:40]!r}")
    contract = json.loads(tree.text(content["contract"])) if "contract" in content else FIRST_CONTRACT
    for key, value in CONTRACT.items():
        if contract[key] != value:
            raise UserError(f"its spectrograms have {key} {str(contract[key])[:40]!r}, this version's {value}")
    config, state = options.from_json(tree.text(content["config"])), content["state"]
    if state.keys() == {"average"}:  # see experiments/share.py
        state = tree.map(lambda leaf: leaf.astype(np.float32), state)
    for part in state.keys() - {"moments"}:
        state[part].setdefault("statistics", {})  # a file keeps no empty tree, which group normalisation's is
    if wrong := _wrong(state, config):
        raise UserError(f"it is not of its own configuration ({wrong})")
    if other := content["scaler"].keys() - SCALER:
        raise UserError(f"its scaler has {min(other)[:40]!r}, which this version does not know")
    scaler = Scaler(**content["scaler"])
    for leaf in (scaler.mean, scaler.std):
        if not tree.is_finite(leaf) or leaf.shape != (N_MELS,) or abs(leaf).max() > 100:  # natural logarithms
            raise UserError("it is not of its own configuration (scaler)")
    if scaler.std.min() <= 0:
        raise UserError(f"its scaler has a deviation of {scaler.std.min()}")
    if scaler.pitches is not None and (scaler.pitches.dtype != np.int64 or scaler.pitches.shape[1:] != (2,)):
        raise UserError("it is not of its own configuration (scaler/pitches)")
    limits = scaler.limits
    if limits is not None and not (
        limits.dtype == "float32"
        and limits.shape == (2, N_MELS)
        and abs(limits).max() <= 100  # natural logarithms; false of a NaN
        and (limits[0] <= limits[1]).all()
    ):
        raise UserError("it is not of its own configuration (scaler/limits)")
    outline = scaler.outline
    if outline is not None and (outline.dtype != "float32" or outline.shape[1:] != (config.window_frames, N_MELS)):
        raise UserError("it is not of its own configuration (scaler/outline)")
    if outline is not None and not tree.is_finite(outline):
        raise UserError("it is not of its own configuration (scaler/outline, which is not finite)")
    recordings = json.loads(tree.text(content["recordings"])) if "recordings" in content else None
    if recordings is not None and not conforms(recordings, {"trained": [[str]], "held_out": [[str]]}):
        raise UserError("its recordings are no names and digests")
    if recordings and any(len(one) != 2 for side in recordings.values() for one in side):
        raise UserError("its recordings are no names and digests")
    windows = tree.integer(content["windows"], 1)
    return Saved(config, scaler, state, tree.integer(content["step"], 0), windows, recordings)


def _wrong(state: Tree, config: Config) -> str | None:
    """The name of an array that a state lacks, or that does not fit the configuration; None if all do.

    The size is compared first: then a fresh network to compare with takes little more memory than the file.
    """
    for part in state.keys() - {"moments"}:
        numbers = sum(leaf.size for leaf in tree.flatten(state[part]["params"]).values())
        if numbers < NETWORKS[config.network].least(config):
            return f"{part}, which has {numbers} numbers"
    whole = init_state(config, np.random.default_rng(0))
    expected, found = (tree.flatten(each) for each in ({part: whole.get(part, {}) for part in state}, state))
    for name, leaf in expected.items():
        if name not in found or (found[name].shape, found[name].dtype) != (leaf.shape, leaf.dtype):
            return name
        if not tree.is_finite(found[name]):
            return f"{name}, which is not finite"
        if (name.startswith("moments/v/") or name.endswith("/variance")) and (found[name] < 0).any():
            return f"{name}, which is negative"
    return next(iter(found.keys() - expected.keys()), None)


def init_state(config: Config, rng: np.random.Generator) -> Tree:
    """All that training changes: network {"params", "statistics"}, average and early (the same again) and moments."""
    params, statistics = NETWORKS[config.network].init(config, rng)
    network = {"params": params, "statistics": statistics}
    moments = {name: tree.map(np.zeros_like, params) for name in ("m", "v")}
    copies = {name: tree.map(np.copy, network) for name in ("average", "early")}
    return {"network": network, **copies, "moments": moments}


def context_channel(before: Sequence[np.ndarray], frames: int) -> np.ndarray:
    """The second picture that a network trained with --context sees beside x: float32 (N, frames, 128, 1), on the host.

    before: the standardised frames that precede each x, (any number, 128), of which the last count. They run
    backwards in time: frame 0, which came last, lies beside x's frame 0, where the music has to go on.
    Missing frames are 0.
    """
    channel = np.zeros((len(before), frames, N_MELS, 1), np.float32)
    for row, past in zip(channel, before, strict=True):
        past = past[::-1][:frames]
        row[: len(past), :, 0] = past
    return channel


def in_groups(num: int, draw: Callable[[slice], np.ndarray]) -> np.ndarray:
    """Clips (num, ...), CLIPS_AT_ONCE at a time, each group shared out among the processes. All get all clips.

    draw(some) returns the clips of the slice `some`, on the host.
    """
    clips = []
    for start in range(0, num, CLIPS_AT_ONCE):
        part = mpi.share(min(CLIPS_AT_ONCE, num - start))
        mine = slice(start + part.start, start + part.stop)
        clips += mpi.join([*draw(mine)] if part.start < part.stop else [])
    return np.stack(clips)
