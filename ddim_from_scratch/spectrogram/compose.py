"""Music that goes on: a trained network continues, repairs, varies and blends recordings, and draws long pieces.

A network draws so many frames at once: a training window, or four of them if it looks at neighbourhoods only. What is
longer grows piece by piece, each one infilled after the end of what there is (diffusion/infill.py).

Clips are log-mel spectrograms in natural logarithms, float32 (n, frames, 128).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..audio import load_audio, log_mel
from ..audio.mel import FRAME_LENGTH, FRAMES_PER_SECOND, HOP_LENGTH, N_MELS, SR
from ..diffusion import ddim, ddim_inversion, infill, q_sample, slerp
from ..runtime import mpi
from ..runtime.backend import Array, to_device, to_host
from ..runtime.errors import UserError
from ..runtime.tree import Tree
from .config import Config
from .data import Scaler
from .model import (
    CLIPS_AT_ONCE,
    SAMPLERS,
    SPACINGS,
    T,
    alpha_bar_table,
    context_channel,
    in_groups,
    network_eps_model,
    sample_log_mels,
)

CONVOLUTIONS_REACH = 4  # training windows in one piece: what looks at neighbourhoods only finds nothing new in more
BLENDED = 8  # frames on the kept side of a seam go over from what is kept to what the network makes of it
INVERSION_EVALUATIONS = 3  # a step: see `ddim_inversion`


def frames_at_once(config: Config) -> int:
    """How long a piece the network draws as a whole. Attention and a context have only ever seen one window."""
    return config.window_frames * (1 if config.context or config.attention != "none" else CONVOLUTIONS_REACH)


def kept_shares(composed: np.ndarray) -> np.ndarray:
    """How much of each frame is kept, float32: 0 where composed, bool (frames,), and rising to 1 with the distance."""
    frames, blended = np.arange(len(composed)), min(BLENDED, int(np.count_nonzero(~composed)) // 2)
    away = np.abs(np.subtract.outer(frames, frames[composed])).min(axis=1)
    return np.minimum(away / (blended + 1), 1).astype(np.float32)


def read_log_mel(path: str | Path, needed: int = 1) -> np.ndarray:
    """A recording as a log-mel spectrogram, (frames, 128), without the last frame if that looks beyond the end.

    Raises UserError if it has fewer than the needed frames, and AudioError as `load_audio` does.
    """
    samples = load_audio(path)
    frames = (len(samples) - FRAME_LENGTH) // HOP_LENGTH + 1
    if frames < needed:
        raise UserError(
            f"{path} lasts {len(samples) / SR:.2f} s, and {seconds(needed)} are needed: give a longer recording, or "
            "lower --overlap (of --continue) or --seconds"
        )
    return log_mel(samples)[:frames]


def seconds(frames: int) -> str:
    return f"{frames / FRAMES_PER_SECOND:g} s"


@dataclass(frozen=True)
class Composer:
    """A trained network and how to draw with it.

    network: {"params", "statistics"}, on `device`. steps, sampler, spacing, eta: as in `sample_log_mels`.
    overlap: how many frames of a new piece are the end of what there is. With a network that has a context it may
    be 0. resamplings: as in `infill`.
    """

    network: Tree
    scaler: Scaler
    config: Config
    rng: np.random.Generator
    overlap: int
    steps: int
    sampler: str = "ddim"
    spacing: str = "uniform"
    eta: float = 0.0
    resamplings: int = 1
    device: str = "cpu"

    @property
    def needed(self) -> int:
        """Frames that there must be for music to go on from."""
        return max(self.overlap, self.config.window_frames if self.config.context else 0)

    def draw(self, num: int, frames: int) -> np.ndarray:
        """New music, (num, frames, 128): a piece, and what goes on from it."""
        piece = min(frames, frames_at_once(self.config))
        sizes, walk = (num, piece, self.steps), (self.sampler, self.spacing, self.eta)
        log_mels = sample_log_mels(self.network, self.scaler, self.config, *sizes, self.rng, self.device, *walk)
        return self.go_on(log_mels, frames - piece)

    def go_on(self, clips: np.ndarray, frames: int) -> np.ndarray:
        """The clips (n, k, 128) and `frames` more after each: (n, k + frames, 128). The clips' last frames blend.

        Raises ValueError if k is less than `needed`.
        """
        n, done, _ = clips.shape
        if frames and done < self.needed:
            raise ValueError(f"the clips have {done} frames, and {self.needed} are needed to go on from")
        piece = frames_at_once(self.config)
        composed = np.arange(piece) >= self.overlap
        music = np.concatenate([clips, np.zeros((n, frames, N_MELS), np.float32)], axis=1)
        starts = range(done - self.overlap, music.shape[1] - self.overlap, piece - self.overlap)
        with self._bar(n, len(starts) * self._evaluations(composed)) as bar:
            for start in starts:
                known = np.zeros((n, piece, N_MELS), np.float32)
                known[:, : self.overlap] = music[:, start : start + self.overlap]
                new = self._infilled(known, composed, music[:, max(start - piece, 0) : start], bar)
                music[:, start : start + piece] = new[:, : music.shape[1] - start]
        return music

    def fill(self, clip: np.ndarray, start: int, stop: int, num: int) -> np.ndarray:
        """`num` times the clip (frames, 128) with its frames from start to stop composed anew: (num, frames, 128).

        At its edges the gap blends into the rest, which is kept. The network sees a piece of the clip, with the gap in
        its middle as far as the clip allows.
        Raises UserError for a gap that is not within the clip, or leaves nothing of a piece.
        """
        whole, divisor = len(clip), self.config.size_divisor
        piece = min(frames_at_once(self.config), whole // divisor * divisor)
        if not 0 <= start < stop <= whole:
            raise UserError(
                f"--gap {start / FRAMES_PER_SECOND:g} {stop / FRAMES_PER_SECOND:g} is not within the recording's "
                f"{seconds(whole)}: give where it starts and where it ends"
            )
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
            clips[:, frames] = self._infilled(clips[:, frames], composed, before, bar)
        return clips

    def vary(self, clip: np.ndarray, strength: float, num: int) -> np.ndarray:
        """`num` variations (num, frames, 128) of a clip: noised up to the time strength * T, and drawn from there.

        Meng et al. (2022), "SDEdit". strength: from 0, the clip itself, to 1, of which only the outlines remain that
        the noisiest time leaves.
        """
        top = round(strength * T)
        tau = np.append(self._tau[self._tau < top], top)
        eps_model = network_eps_model(self.network, self.config)
        clips = np.repeat(clip[None], num, axis=0)
        with self._bar(num, len(tau) - 1) as bar:

            def draw(some: slice, noise: mpi.NoiseOfPart) -> np.ndarray:
                x0 = self._standardised(clips[some])
                eps = to_device(noise.standard_normal(x0.shape, dtype=np.float32), self.device)
                x = q_sample(x0, float(self._alpha_bar[top]), eps)
                return self._restored(self._sampler(noise, eps_model, x, self._alpha_bar, tau), bar)

            return in_groups(num, self.rng, draw) if top else clips

    def between(self, a: np.ndarray, b: np.ndarray, num: int) -> np.ndarray:
        """`num` clips (num, frames, 128) on the way from clip a to clip b, ends included; if one, the middle.

        The two are taken to the noise that DDIM makes them from, that is blended, and DDIM makes clips of the
        blends. The sampler is DDIM without fresh noise, whatever the Composer's.
        """
        shares = np.linspace(0, 1, num) if num > 1 else [0.5]
        eps_model = network_eps_model(self.network, self.config)
        walk = self._alpha_bar, self._tau
        with self._bar(1, INVERSION_EVALUATIONS * self.steps) as bar:
            ends = self._standardised(np.stack([a, b]))
            for x in ddim_inversion(eps_model, ends, *walk, INVERSION_EVALUATIONS):
                bar.update(INVERSION_EVALUATIONS * (x is not ends))
        noise = np.stack([to_host(slerp(x[0], x[1], float(share))) for share in shares])
        with self._bar(num, self.steps) as bar:

            def draw(some: slice, _: mpi.NoiseOfPart) -> np.ndarray:
                return self._restored(ddim(eps_model, to_device(noise[some], self.device), *walk), bar)

            return in_groups(num, self.rng, draw)

    @property
    def _alpha_bar(self) -> np.ndarray:
        return alpha_bar_table(self.config)

    @property
    def _tau(self) -> np.ndarray:
        return SPACINGS[self.spacing](self._alpha_bar, self.steps)

    def _infilled(self, clips: np.ndarray, composed: np.ndarray, before: np.ndarray, bar: tqdm) -> np.ndarray:
        """The clips (n, frames, 128), drawn anew where composed, bool (frames,). before: (n, k, 128) precedes them."""
        shares = kept_shares(composed)[:, None]

        def draw(some: slice, noise: mpi.NoiseOfPart) -> np.ndarray:
            known = self._standardised(clips[some])
            context = None
            if self.config.context:
                past = [self.scaler.standardise(clip) for clip in before[some]]
                context = to_device(context_channel(past, clips.shape[1]), self.device)
            x_T = to_device(noise.standard_normal(known.shape, dtype=np.float32), self.device)
            mask = to_device(shares[..., None], self.device)
            eps_model = network_eps_model(self.network, self.config, context)
            walk = eps_model, x_T, self._alpha_bar, self._tau
            if shares.any():
                xs = infill(partial(self._sampler, noise), *walk, known, mask, noise, self.resamplings)  # type: ignore[arg-type]
            else:
                xs = self._sampler(noise, *walk)
            return self._restored(xs, bar)

        return np.where(shares == 1, clips, in_groups(len(clips), self.rng, draw))

    def _sampler(self, noise: mpi.NoiseOfPart, *walk: object) -> Iterator[Array]:
        return SAMPLERS[self.sampler](*walk, self.eta, noise)

    def _standardised(self, clips: np.ndarray) -> Array:
        return to_device(self.scaler.standardise(clips)[..., None], self.device)

    def _restored(self, xs: Iterator[Array], bar: tqdm) -> np.ndarray:
        """The clips of the last x of a walk."""
        x = next(xs)
        for x in xs:  # noqa: B007
            bar.update()
        return self.scaler.restore(to_host(x)[..., 0])

    def _evaluations(self, composed: np.ndarray) -> int:
        return (self.steps - 1) * (1 if composed.all() else self.resamplings) + 1

    def _bar(self, n: int, steps: int) -> tqdm:
        return tqdm(total=-(-n // CLIPS_AT_ONCE) * steps, desc="composing", unit="step", disable=steps == 0)
