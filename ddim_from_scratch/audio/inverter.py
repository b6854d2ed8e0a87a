"""The inverter, the paper's second stage: turns log-mel spectrograms into sound, by a pretrained GAN or Griffin-Lim.

The GAN is SoundStream's decoder (Zeghidour et al. 2021), trained on music with the log-mels of `mel` and published for
Spectrogram Diffusion (Hawthorne et al. 2022). It is a SavedModel, run by TensorFlow.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..runtime import hub, mpi, saved_model
from ..runtime.backend import CLIPS_AT_ONCE, parallel, to_device, to_host
from ..runtime.errors import UserError, naming, why
from .contract import HOP_LENGTH, MEL_MAX, MEL_MIN, N_MELS
from .griffin_lim import griffin_lim

GRIFFIN_LIM, SOUNDSTREAM = "griffin-lim", "soundstream"

# In frames of 20 ms. The decoder's first and last frames can click, so it gets CONTEXT more frames at either end, which
# are cut from its sound. Long clips are decoded in chunks of CHUNK frames, cross-faded over FADE frames.
CONTEXT = 16
CHUNK = 512
FADE = 8


@dataclass(frozen=True)
class Inverter:
    """What `load_inverter` returns: invert(log_mels, label) makes sound.

    name: as --inverter has it. sound_of: makes sound of `at_once` clips, which limits the memory. With 1, each thread
    takes a clip of its own.
    """

    name: str
    sound_of: Callable[[np.ndarray], np.ndarray]
    at_once: int

    def __call__(self, log_mels: np.ndarray, label: str = "to sound") -> np.ndarray:
        check_log_mels(log_mels)
        mine = log_mels[mpi.share(len(log_mels))]
        with tqdm(total=len(mine), desc=f"inverting {label}", unit="clip") as bar:

            def some(start: int) -> np.ndarray:
                sound = self.sound_of(mine[start : start + self.at_once])
                bar.update(len(sound))
                return sound

            starts = range(0, len(mine), self.at_once)
            sound = parallel(some, starts) if self.at_once == 1 else [*map(some, starts)]
        return np.concatenate(mpi.join(sound))


def add_inverter_option(parser: argparse.ArgumentParser) -> None:
    """--inverter, for every command that makes sound."""
    parser.add_argument(
        "--inverter",
        metavar="NAME",
        help=f"how to make sound: {SOUNDSTREAM} (the paper's GAN, downloaded if necessary), {GRIFFIN_LIM}, or "
        f"the folder of a decoder with the GAN's interface (default: {GRIFFIN_LIM})",
    )


def load_inverter(name: str | None = None, device: str = "cpu") -> Inverter:
    """Returns the function invert(log_mels, label="to sound") of an inverter.

    name: "griffin-lim", "soundstream" (from the cache of TF-Hub or Kaggle, else downloaded), or the folder of a
        SavedModel with the same interface: (batch, frames, 128) to (batch, frames * 320). None is Griffin-Lim, with
        a note on stderr: a SavedModel is a program, and is loaded only where it is asked for.
    device: "cpu" or "gpu", for Griffin-Lim. TensorFlow chooses its own.

    invert takes log-mels (n, frames, 128) as returned by `log_mel`, on the host, shows a progress bar with its label,
    and returns float32 (n, frames * 320), 16 kHz. Under mpirun each process inverts its share, and all get all clips.
    It raises UserError for another shape, NaN, or values outside the range of `log_mel`.
    Raises UserError if there is no such decoder, or it is another model.
    """
    if name is None:
        name = GRIFFIN_LIM
        print(f"inverting with Griffin-Lim; the paper's GAN is --inverter {SOUNDSTREAM}", file=sys.stderr)
    if name == GRIFFIN_LIM:
        return Inverter(name, partial(_by_griffin_lim, device), 1 if device == "cpu" else CLIPS_AT_ONCE)
    if name != SOUNDSTREAM and not hub.is_saved_model(name):
        raise UserError(
            f"--inverter {name} is neither {SOUNDSTREAM}, {GRIFFIN_LIM} nor a folder with saved_model.pb: "
            "check the path"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # else it prints as errors what CUDA registers twice
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # leave the rest of a GPU to CuPy
    warnings.filterwarnings("ignore", "pkg_resources is deprecated")  # TF-Hub imports it
    folder = str(hub.download(hub.SOUNDSTREAM) if name == SOUNDSTREAM else name)
    return Inverter(name, partial(decode, load_decoder(folder)), CLIPS_AT_ONCE)


def load_decoder(folder: str) -> Callable[[np.ndarray], np.ndarray]:
    """Loads the decoder in a SavedModel folder, float32 (batch, frames, 128) to (batch, frames * 320), and tests it.

    Its graph is read first: one that can do more than calculate is not loaded. Raises UserError then, without
    tensorflow_hub, or if the folder holds something else.
    """
    try:
        import tensorflow_hub
    except ImportError as error:
        raise UserError(
            f"a decoder needs tensorflow_hub ({why(error)}): pip install 'ddim_from_scratch[hub]', "
            f"or use --inverter {GRIFFIN_LIM}"
        ) from None
    flaw = f"is damaged or no decoder of log-mels (batch, frames, {N_MELS})"
    with naming(folder, flaw, "copy it again"):
        saved_model.check(Path(folder))
        model = tensorflow_hub.load(folder)
        trial = np.asarray(model(np.full((2, 9, N_MELS), np.log(MEL_MIN), np.float32)))
    if trial.shape != (2, 9 * HOP_LENGTH):
        raise UserError(
            f"{folder} is another model: of log-mels (2, 9, {N_MELS}) it makes {trial.shape}, "
            f"not sound (2, {9 * HOP_LENGTH}): name the folder of a mel decoder"
        )
    return lambda log_mels: np.asarray(model(log_mels))


def decode(decoder: Callable[[np.ndarray], np.ndarray], log_mels: np.ndarray) -> np.ndarray:
    """The sound float32 (n, frames * 320) of log-mels (n, frames, 128), without clicks at ends and seams.

    decoder: float32 (n, any frames, 128) to (n, frames * 320). At its ends a clip is extended by its mirror image.
    Neighbouring chunks are cross-faded linearly over FADE frames. They are nearly equal there, so their amplitudes, not
    their powers, must add up to 1.
    """
    n, frames, _ = log_mels.shape
    mirrored = np.pad(log_mels.astype(np.float32), [(0, 0), (CONTEXT, CONTEXT), (0, 0)], mode="reflect")
    fade_in = np.linspace(0, 1, FADE * HOP_LENGTH, dtype=np.float32)
    sound = np.empty((n, frames * HOP_LENGTH), np.float32)
    for start in range(0, max(frames - FADE, 1), CHUNK):
        stop = min(start + CHUNK + FADE, frames)
        chunk = decoder(mirrored[:, start : stop + 2 * CONTEXT])  # frame 0 of the clip is frame CONTEXT here
        chunk = chunk[:, CONTEXT * HOP_LENGTH : -CONTEXT * HOP_LENGTH].copy()
        if start:
            shared = sound[:, start * HOP_LENGTH : (start + FADE) * HOP_LENGTH]
            chunk[:, : FADE * HOP_LENGTH] *= fade_in
            chunk[:, : FADE * HOP_LENGTH] += (1 - fade_in) * shared
        sound[:, start * HOP_LENGTH : stop * HOP_LENGTH] = chunk
    return sound


def check_log_mels(log_mels: np.ndarray) -> None:
    """Raises UserError unless log-mels have the shape (n, frames, 128) and the range of `log_mel`."""
    if log_mels.ndim != 3 or log_mels.shape[-1] != N_MELS or 0 in log_mels.shape:
        raise UserError(f"log-mels have shape {log_mels.shape}, not (n, frames, {N_MELS}): stack or transpose them")
    if not np.isfinite(log_mels).all():
        raise UserError("log-mels contain NaN or infinity: the model that made them has diverged")
    low, high = np.log(MEL_MIN), np.log(MEL_MAX)
    if log_mels.min() < low - 1e-4 or log_mels.max() > high + 1e-4:  # float32 rounds
        raise UserError(
            f"log-mels lie within {log_mels.min():.2f} .. {log_mels.max():.2f}, not {low:.2f} .. {high:.2f}: "
            "pass natural logarithms of magnitudes, as log_mel makes them, not decibels"
        )


def _by_griffin_lim(device: str, log_mels: np.ndarray) -> np.ndarray:
    if log_mels.shape[1] <= CHUNK + FADE:
        return _griffin_lim_on(log_mels, device)
    return decode(_chunk_by_chunk(device), log_mels)


def _griffin_lim_on(log_mels: np.ndarray, device: str, begun: np.ndarray | None = None) -> np.ndarray:
    begun = None if begun is None else to_device(begun, device)
    return to_host(griffin_lim(to_device(log_mels, device), begun=begun))


def _chunk_by_chunk(device: str) -> Callable[[np.ndarray], np.ndarray]:
    """Griffin-Lim as a decoder for `decode`. Each chunk continues the phases of the previous one.

    Only one chunk's spectra, 40 times the size of its log-mels, are in memory at a time.
    """
    begun = None

    def decoder(log_mels: np.ndarray) -> np.ndarray:
        nonlocal begun
        sound = _griffin_lim_on(log_mels, device, begun)
        again = (FADE + 2 * CONTEXT) * HOP_LENGTH  # where the next chunk begins; the last frames are inaccurate
        begun = sound[:, -again : -CONTEXT * HOP_LENGTH]
        return sound

    return decoder
