"""The options of a training run of the paper's system."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..audio import LeftOut
from ..audio.contract import FRAMES_PER_SECOND, N_MELS
from ..networks.stack import HEADS
from ..networks.unet import ATTENTIONS, NORMS
from ..runtime.errors import UserError
from ..training.datasets import recordings
from ..training.options import COUNT, Denoising, Learning, Recordings, option
from .denoiser import NETWORKS

STANDARDISATIONS = ("bin", "global")
CROPS = ("fixed", "random")
NOT_SHARED = "not-shared"  # in place of the data's name, in a copy to give away
LONGEST_SECONDS = 4 * 3600  # as a recording
CONVOLUTIONS_REACH = 4  # training windows in one piece: what looks at neighbourhoods only finds nothing new in more
AUGMENTATIONS = ("none", "gain", "mix", "gain+mix")

# The paper's recipe, with what its authors' code adds; and the values that its six trials of tuning found best. Three
# things in their pipeline are otherwise: each window is transformed by itself, so that its last frame sees zeros; batch
# normalisation's moving variance is n / (n - 1) times the batch's; GuitarSet is read at 44.1 kHz with the constants of
# 16 kHz.
PAPER = {
    "window_seconds": 5.12,
    "window_hop_seconds": 1.0,
    "windows_per_track": 20,
    "crops": "fixed",
    "augment": "none",
    "standardise": "bin",
    "network": "unet",
    "widths": (32, 64, 96, 128),
    "block_depth": 2,
    "attention": "lowest",
    "norm": "batch",
    "schedule": "continuous-cosine",
    "prediction": "eps",
    "min_signal_rate": 0.02,
    "max_signal_rate": 0.95,
    "learning_rate": 3e-4,
    "learning_rate_schedule": "constant",
    # TensorFlow Addons' AdamW takes 1e-4 of each weight at every step; ours multiplies by the learning rate.
    "weight_decay": 1e-4 / 3e-4,
    # The authors' loss is a sum over the plane, so that epsilon is small beside its gradient; ours is a mean.
    "epsilon": 1e-7 / (256 * 128),
    "ema": 0.999,
    "ema_schedule": "constant",
}
FIRST = {"epsilon": 1e-7}  # of every run from before it was an option, whatever the paper's
TUNED = {
    "learning_rate": 3.310677931449062e-5,
    # The learning rate multiplies this one. Taken whole from each weight at every step, as their AdamW would, it leaves
    # no weight above 1.1e-4 after 400 steps of a small network, whose noise loss stays at 0.998; like this it is 0.84.
    "weight_decay": 0.06881110177645029,
    "min_signal_rate": 0.1952300533099572,
    "max_signal_rate": 0.9326085838636291,
    "block_depth": 4,
}


PRESETS: dict[str, dict[str, Any]] = {"paper": PAPER, "paper-tuned": PAPER | TUNED}


@dataclass(frozen=True)
class Shape(Recordings):
    """The part of the recordings that the network sees, and the network."""

    window_seconds: float = option(5.12, "length of a training window")
    window_hop_seconds: float = option(1.0, "time from the start of one window to the start of the next")
    windows_per_track: int = option(20, "windows to take from the beginning of a track, at most", metavar="N")
    crops: str = option(
        "fixed",
        "where windows begin: at fixed places, or at a random frame of that part of the track at every use",
        choices=CROPS,
    )
    augment: str = option(
        "none",
        "augmentation: gain scales a window by up to 6 dB; mix adds another one, scaled so, to a random half of them",
        choices=AUGMENTATIONS,
    )
    standardise: str = option(
        "bin",
        "standardise each mel bin by its own mean and deviation, or all by common ones",
        choices=STANDARDISATIONS,
    )
    network: str = option(
        "unet",
        "the paper's U-Net; or a frame's mel bins as channels of blocks that convolve in time (frames) or attend "
        "(transformer)",
        choices=tuple(NETWORKS),
    )
    frame_width: int = option(256, "channels of the frame network or the Transformer")
    frame_blocks: int = option(6, "residual blocks of the frame network or the Transformer's decoder")
    widths: tuple[int, ...] = option(
        (32, 64, 96, 128), "channels at each level of the U-Net; the last is the bottom's", nargs="+", metavar="C"
    )
    frame_planes: int = option(
        0,
        "planes that the U-Net sees beside the spectrogram, each a learnt sum over all mel bins: 8 help a training of "
        "minutes on recordings",
    )
    block_depth: int = option(2, "residual blocks in each block of the U-Net")
    attention: str = option(
        "lowest",
        "up blocks with attention: none, the lowest (the authors' code), or all (the paper's text)",
        choices=ATTENTIONS,
    )
    norm: str = option(
        "group",
        "normalisation: over the batch, as in the paper, or over groups of eight channels of each window",
        choices=NORMS,
    )
    context: bool = option(False, "show the network the preceding window as well, so that it can continue music")

    def check(self) -> None:
        for name in ("window_seconds", "window_hop_seconds"):
            self.require(name, getattr(self, name) > 0, "give a positive number")
            self.require(name, getattr(self, name) <= LONGEST_SECONDS, f"give {LONGEST_SECONDS} or less")
        self.require_counts("windows_per_track", "block_depth", "frame_width", "frame_blocks")
        self.require("widths", len(self.widths) >= 2 and min(self.widths) >= 1, "give two or more positive numbers")
        self.require("widths", max(self.widths) <= 1 << 16, "give 65536 or fewer channels")
        self.require("frame_width", self.frame_width <= 1 << 16, "give 65536 or fewer channels")
        self.require("frame_planes", 0 <= self.frame_planes <= 64, "give 0 to 64")
        if self.network == "transformer":
            self.require("frame_width", self.frame_width % HEADS == 0, f"give a multiple of {HEADS}, the heads")
        for name in ("block_depth", "frame_blocks"):
            self.require(name, getattr(self, name) <= 100, "give 100 or fewer")
        if self.context and self.augment != "none":
            raise UserError(f"--augment is {self.augment}, which would not change what --context shows: leave one out")
        if round(self.window_hop_seconds * FRAMES_PER_SECOND) < 1:
            raise UserError(
                f"--window-hop-seconds is {self.window_hop_seconds}: give a frame, {1 / FRAMES_PER_SECOND:g} s, or more"
            )
        if N_MELS % self.size_divisor:
            most = (N_MELS & -N_MELS).bit_length()
            raise UserError(
                f"--widths has {len(self.widths)} levels, which halve {N_MELS} mel bins {len(self.widths) - 1} times: "
                f"give {most} or fewer"
            )
        _ = self.window_frames  # which raises UserError

    def recordings(self, left_out: LeftOut) -> list[Path]:
        """All that `data` names. left_out: takes the others, by the reason."""
        if self.data == NOT_SHARED:
            raise UserError("the run is a copy to share, which does not say what it was trained on: use the run itself")
        return recordings(self.data, left_out)

    def beside(self, path: Path) -> list[Path]:
        """Other files that a system reads with a recording."""
        return []

    def check_track(self, path: Path, log_mels: np.ndarray) -> None:
        """Raises UserError if the system cannot train on a recording, (frames, 128)."""

    @property
    def features(self) -> int:
        """Numbers that describe a frame to the network beside spectrograms; 0 in a system without."""
        return 0

    @property
    def vocabulary(self) -> int:
        """Number of the tokens that tell the network what to play; 0 in a system without."""
        return 0

    @property
    def size_divisor(self) -> int:
        """Time and mel sizes must be multiples of this: 2 to the number of halvings."""
        return 2 ** (len(self.widths) - 1) if self.network == "unet" else 1

    @property
    def window_frames(self) -> int:
        """The length of a training window. Raises UserError if the network can't halve it."""
        frames = whole_frames("--window-seconds", self.window_seconds)
        if frames % self.size_divisor:
            below = max(frames // self.size_divisor, 1) * self.size_divisor
            near = " or ".join(f"{n / FRAMES_PER_SECOND:g}" for n in (below, below + self.size_divisor))
            raise UserError(
                f"--window-seconds {self.window_seconds:g} is {frames} frames, which the network can't halve "
                f"{len(self.widths) - 1} times: give {near}"
            )
        return frames

    def frames_lasting(self, seconds: float) -> int:
        """The fewest frames that the network can halve and whose sound lasts `seconds` or more."""
        return self.halvable(math.ceil(round(seconds * FRAMES_PER_SECOND, 6)))

    def halvable(self, frames: int) -> int:
        """The fewest frames, `frames` or more, that the network can halve."""
        return -(-frames // self.size_divisor) * self.size_divisor

    @property
    def frames_at_once(self) -> int:
        """Longest piece, in frames, drawn in one pass. With attention or a context a window: they have seen no more."""
        local = self.attention == "none" if self.network == "unet" else self.network == "frames"
        return self.window_frames * (CONVOLUTIONS_REACH if local and not self.context else 1)

    def drawn_frames(self, seconds: float | None) -> int:
        """The frames of a clip that is to be drawn: --seconds, or a training window."""
        return self.window_frames if seconds is None else whole_frames("--seconds", seconds)


@dataclass(frozen=True)
class Config(Learning, Denoising, Shape):
    """Everything that decides what a run computes. `PAPER` has the paper's values."""

    SYSTEM = "spectrogram"
    PRESETS = PRESETS
    FORMER = PAPER | FIRST


def whole_frames(name: str, seconds: float) -> int:
    """`seconds` in spectrogram frames. Raises UserError, naming the option, if they are not one frame or more."""
    frames = round(seconds * FRAMES_PER_SECOND) if math.isfinite(seconds) else 0
    if not 1 <= frames <= COUNT:
        raise UserError(
            f"{name} is {seconds}: give a positive number of seconds, {1 / FRAMES_PER_SECOND:g} or more, below 2e7"
        )
    return frames
