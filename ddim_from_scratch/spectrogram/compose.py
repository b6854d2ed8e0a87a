"""A trained network draws clips of any length, and continues, infills, varies and blends recordings.

A network draws so many frames at once: a training window, or four of them if it looks at neighbourhoods only. A longer
clip grows piece by piece, each one infilled after the end of the clip so far (diffusion/infill.py).

Clips are log-mel spectrograms in natural logarithms, float32 (n, frames, 128). Every clip has random numbers of its
own, known from the seed and its number: but for rounding it does not depend on how many are drawn, or by how many
processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..audio import load_audio, log_mel
from ..audio.contract import FRAME_LENGTH, FRAMES_PER_SECOND, HOP_LENGTH, N_MELS, SR
from ..audio.inverter import load_inverter
from ..diffusion import DEFAULT_SAMPLING, Sampling, T, Walk, ddim_inversion, infill, noise_like, q_sample, slerp
from ..diffusion.guidance import guided
from ..diffusion.process import EpsModel, stream
from ..runtime.backend import CLIPS_AT_ONCE, Array, require_memory, to_device, to_host
from ..runtime.cli import counted
from ..runtime.errors import UserError, printable, warn
from .config import Config
from .data import Scaler
from .model import EARLY, Model, context_channel, in_groups

BLENDED = 8  # frames of cross-fade at a seam, on its kept side
INVERSION_EVALUATIONS = 3  # per step: see `ddim_inversion`
RESAMPLINGS = 1  # with 2 a gap is filled more closely, and a longer piece loses variance: docs/results.md


def kept_shares(composed: np.ndarray) -> np.ndarray:
    """Weight of the original in each frame, float32 (frames,): 0 where `composed` (bool), rising to 1 beside it."""
    frames, blended = np.arange(len(composed)), min(BLENDED, int(np.count_nonzero(~composed)) // 2)
    away = np.abs(np.subtract.outer(frames, frames[composed])).min(axis=1)
    return np.minimum(away / (blended + 1), 1).astype(np.float32)


def read_log_mel(
    path: str | Path, scaler: Scaler, needed: int = 1, remedy: str = "give a longer one", at: float = 0
) -> np.ndarray:
    """A recording from second `at` on as a log-mel, (frames, 128), without the last frame if that looks beyond the end.

    Warns, on stderr, of one that is unlike what the scaler's network was trained on.
    Raises UserError, with the remedy, if it has fewer than the needed frames, and AudioError as `load_audio` does.
    """
    samples = load_audio(path)
    whole = len(samples) / SR
    samples = samples[round(at * SR) :]
    frames = max((len(samples) - FRAME_LENGTH) // HOP_LENGTH + 1, 0)
    if frames < needed:
        begun = f" from second {at:g}" if at else ""
        raise UserError(f"{path} lasts {whole:.2f} s, and {seconds(needed)} are needed{begun}: {remedy}")
    recording = log_mel(samples)[:frames]
    if warning := scaler.unusual(recording):
        warn(f"{printable(path)} {warning}")
    return recording


def seconds(frames: int) -> str:
    return f"{frames / FRAMES_PER_SECOND:g} s"


@dataclass(frozen=True)
class Composer:
    """How a model draws. The clips of a call are number `first`, `first` + 1, ... of the seed.

    overlap: how many frames of a new piece are the end of the clip so far; half a training window unless given. With
    a network that has a context it may be 0. resamplings: as in `infill`. guidance: the weight of the network as it is,
    against what it was early in its training; 1 for itself alone.
    """

    model: Model
    sampling: Sampling = DEFAULT_SAMPLING
    seed: int = 0
    first: int = 0
    overlap: int | None = None
    resamplings: int = RESAMPLINGS
    guidance: float = 1

    def draw(self, num: int, frames: int) -> np.ndarray:
        """New music, (num, frames, 128): one piece, continued until it is long enough."""
        if num < 1:
            raise UserError(f"--num is {num}: give 1 or more")
        require_memory(3 * 4 * N_MELS * num * frames, counted(num, "clip"), "--num, or their length")
        rngs, piece = self._rngs(num), min(self.model.config.halvable(frames), self.piece)
        with self._bar(num, self.sampling.steps) as bar:

            def draw(some: slice) -> np.ndarray:
                x_T, before = self.model.start(piece, rngs[some]), np.zeros((len(rngs[some]), 0, N_MELS), np.float32)
                return self._restored(self.walk(rngs[some], self.conditions(some, before, 0, piece))(x_T), bar)

            clips = in_groups(num, draw)
        return self._grown(clips, frames - piece, rngs) if frames > piece else clips[:, :frames]

    def go_on(self, clips: np.ndarray, frames: int) -> np.ndarray:
        """The clips (n, k, 128) and `frames` more after each: (n, k + frames, 128). The clips' last frames cross-fade.

        Raises ValueError if k is less than `needed`.
        """
        return self._grown(clips, frames, self._rngs(len(clips)))

    def fill(self, clip: np.ndarray, start: int, stop: int, num: int) -> np.ndarray:
        """`num` times the clip (frames, 128) with its frames from start to stop drawn anew: (num, frames, 128).

        At its edges the gap cross-fades into the rest, which is kept. The network sees a piece of the clip, with the
        gap in its middle as far as the clip allows.
        Raises UserError for a gap that is not within the clip, or leaves nothing of a piece.
        """
        whole, divisor = len(clip), self.model.config.size_divisor
        piece = min(self.piece, whole // divisor * divisor)
        if not 0 <= start < stop <= whole:
            raise UserError(
                f"--gap {start / FRAMES_PER_SECOND:g} {stop / FRAMES_PER_SECOND:g} is not within the recording's "
                f"{seconds(whole)} of whole frames, or shorter than a frame: give where it starts and where it ends"
            )
        if not piece:
            raise UserError(f"the recording lasts {seconds(whole)}, and the network draws {seconds(divisor)} at least")
        if stop - start >= piece:
            raise UserError(
                f"--gap is {seconds(stop - start)} long, and the network draws {seconds(piece)} at once: give a "
                "shorter one, with something left around it"
            )
        first = min(max((start + stop - piece) // 2, 0), whole - piece)
        frames = np.arange(first, first + piece)
        composed = (frames >= start) & (frames < stop)
        clips = np.repeat(clip[None], num, axis=0)
        with self._bar(num, self._evaluations(composed)) as bar:
            before = clips[:, max(first - piece, 0) : first]
            clips[:, frames] = self._infilled(clips[:, frames], composed, before, first, self._rngs(num), bar)
        return clips

    def vary(self, clip: np.ndarray, strength: float, num: int) -> np.ndarray:
        """`num` variations (num, frames, 128) of a clip: noised up to the time strength * T, and drawn from there.

        Meng et al. (2022), "SDEdit". strength: from 0, the clip itself, to 1, of which only the outlines remain that
        the noisiest time leaves.
        """
        rngs, top = self._rngs(num), round(strength * T)
        clips = np.repeat(self._lengthened(clip)[None], num, axis=0)
        if top == 0:
            return clips[:, : len(clip)]
        walk = self.walk(rngs, top=top)
        with self._bar(num, len(walk.tau) - 1) as bar:

            def draw(some: slice) -> np.ndarray:
                x0 = self.model.standardised(clips[some])
                x = q_sample(x0, float(walk.alpha_bar[-1]), noise_like(x0, rngs[some]))
                return self._restored(walk._replace(rng=rngs[some])(x), bar)

            return in_groups(num, draw)[:, : len(clip)]

    def between(self, a: np.ndarray, b: np.ndarray, num: int) -> np.ndarray:
        """`num` clips (num, frames, 128) on the way from clip a to clip b, ends included; if one, the middle.

        The two are taken to the noise that DDIM makes them from, that is blended, and DDIM makes clips of the
        blends. The sampler is DDIM without fresh noise, whatever the Composer's.
        """
        shares = np.linspace(0, 1, num) if num > 1 else [0.5]
        plain = replace(self, sampling=replace(self.sampling, sampler="ddim", eta=0.0), guidance=1)
        walk = plain.walk([])
        with self._bar(1, INVERSION_EVALUATIONS * self.sampling.steps) as bar:
            ends = self.model.standardised(np.stack([self._lengthened(clip) for clip in (a, b)]))
            steps = ddim_inversion(walk.eps_model, ends, walk.alpha_bar, walk.tau, INVERSION_EVALUATIONS)
            x = self._last(steps, bar, INVERSION_EVALUATIONS)
        noise = np.stack([to_host(slerp(x[0], x[1], share)) for share in shares])
        with self._bar(num, self.sampling.steps) as bar:
            clips = in_groups(num, lambda some: self._restored(walk(to_device(noise[some], self.model.device)), bar))
        return clips[:, : len(a)]

    @property
    def piece(self) -> int:
        """Frames drawn in one pass, at most."""
        return self.model.config.frames_at_once

    @property
    def kept(self) -> int:
        """The overlap in frames."""
        return self.model.config.window_frames // 2 if self.overlap is None else self.overlap

    @property
    def needed(self) -> int:
        """Frames that a clip must have to be continued."""
        return max(self.kept, self.model.config.window_frames if self.model.config.context else 0)

    def starts(self, done: int, frames: int) -> range:
        """Where the pieces begin that make `frames` of the `done` that there are."""
        return range(done - self.kept, frames - self.kept, self.piece - self.kept)

    def _lengthened(self, clip: np.ndarray) -> np.ndarray:
        """The clip with its last frame repeated, until the network can halve it."""
        return np.pad(clip, ((0, self.model.config.halvable(len(clip)) - len(clip)), (0, 0)), mode="edge")

    def _rngs(self, num: int) -> list[np.random.Generator]:
        return [stream(self.seed, clip) for clip in range(self.first, self.first + num)]

    def conditions(self, clips: slice, before: np.ndarray, first: int, frames: int) -> tuple[Array, ...]:
        """The network's inputs for some clips, beside the frames that it draws: see denoiser.py.

        before: the log-mels that precede each, (n, any number, 128). first: the number of their first frame.
        """
        if not self.model.config.context:
            return ()
        past = [self.model.scaler.standardise(clip) for clip in before]
        return (to_device(context_channel(past, frames), self.model.device),)

    def walk(self, rngs: list[np.random.Generator], conditions: tuple[Array, ...] = (), top: int = T) -> Walk:
        def eps_model(levels: np.ndarray) -> EpsModel:
            model = self.model.eps_model(conditions, levels)
            if self.guidance != 1:
                model = guided(model, self.worse(conditions, levels), self.guidance)
            return self.model.limited(model, levels)

        return self.sampling.walk(eps_model, self.model.config.noise_schedule, rngs, top)

    def worse(self, conditions: tuple[Array, ...], levels: np.ndarray) -> EpsModel:
        """What guidance leads away from: here, the network early in its training.

        What a network has not learnt well it had learnt worse before; to go on from there leads further: Karras et al.
        (2024), "Guiding a diffusion model with a bad version of itself".
        Raises UserError for a run that has not kept it.
        """
        if self.model.worse is None:
            raise UserError(
                f"--guidance is {self.guidance:g}, and the run has no network of step {EARLY}: it is shorter, older or "
                "a shared copy; leave the option out, or train longer"
            )
        return self.model.worse.eps_model(conditions, levels)

    def _grown(self, clips: np.ndarray, frames: int, rngs: list[np.random.Generator]) -> np.ndarray:
        n, done, _ = clips.shape
        if frames and done < self.needed:
            raise ValueError(f"the clips have {done} frames, and {self.needed} are needed to continue them")
        composed = np.arange(self.piece) >= self.kept
        music = np.concatenate([clips, np.zeros((n, frames, N_MELS), np.float32)], axis=1)
        starts = self.starts(done, done + frames)
        with self._bar(n, len(starts) * self._evaluations(composed)) as bar:
            for start in starts:
                known = np.zeros((n, self.piece, N_MELS), np.float32)
                known[:, : self.kept] = music[:, start : start + self.kept]
                new = self._infilled(known, composed, music[:, max(start - self.piece, 0) : start], start, rngs, bar)
                music[:, start : start + self.piece] = new[:, : music.shape[1] - start]
        return music

    def _infilled(
        self,
        clips: np.ndarray,
        composed: np.ndarray,
        before: np.ndarray,
        first: int,
        rngs: list[np.random.Generator],
        bar: tqdm,
    ) -> np.ndarray:
        """The clips (n, frames, 128), drawn anew where composed, bool (frames,). before, first: see `conditions`."""
        model, shares = self.model, kept_shares(composed)[:, None]

        def draw(some: slice) -> np.ndarray:
            known = model.standardised(clips[some])
            x_T = model.start(clips.shape[1], rngs[some], clips[some], ~composed)
            walk = self.walk(rngs[some], self.conditions(some, before[some], first, clips.shape[1]))
            if not shares.any():
                return self._restored(walk(x_T), bar)
            mask = to_device(shares[..., None], model.device)
            return self._restored(infill(walk, x_T, known, mask, self.resamplings), bar)

        return np.where(shares == 1, clips, in_groups(len(clips), draw))

    def _restored(self, xs: Iterator[Array], bar: tqdm) -> np.ndarray:
        return self.model.restored(self._last(xs, bar))

    @staticmethod
    def _last(xs: Iterator[Array], bar: tqdm, evaluations: int = 1) -> Array:
        """The last x of a walk, whose steps the bar counts."""
        x = next(xs)
        for x in xs:  # noqa: B007
            bar.update(evaluations)
        return x

    def _evaluations(self, composed: np.ndarray) -> int:
        return (self.sampling.steps - 1) * (1 if composed.all() else self.resamplings) + 1

    def _bar(self, n: int, steps: int) -> tqdm:
        hidden = {} if steps else {"disable": True}  # disable=False would overrule the variable TQDM_DISABLE
        return tqdm(total=-(-n // CLIPS_AT_ONCE) * steps, desc="sampling", unit="step", **hidden)


@dataclass(frozen=True)
class Run:
    """A trained model in Python: run.sample(num, seconds, seed). inverter: as `load_inverter` names it."""

    model: Model
    inverter: str | None = None

    @property
    def config(self) -> Config:
        return self.model.config

    def log_mels(
        self,
        num: int = 4,
        seconds: float | None = None,
        seed: int = 0,
        sampling: Sampling = DEFAULT_SAMPLING,
        guidance: float = 1,
    ) -> np.ndarray:
        """New clips as log-mels, float32 (num, frames, 128). seconds: a training window unless given."""
        return Composer(self.model, sampling, seed, guidance=guidance).draw(num, self.config.drawn_frames(seconds))

    def sample(self, *what: Any, **how: Any) -> np.ndarray:
        """The same as sound, float32 (num, samples), 16 kHz. Takes what `log_mels` does."""
        return load_inverter(self.inverter, self.model.device)(self.log_mels(*what, **how))
