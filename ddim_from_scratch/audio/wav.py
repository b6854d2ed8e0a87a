"""Recordings in and out: any format that libsndfile reads, at any rate, becomes mono float32 at 16 kHz.

soundfile and soxr are imported when the first file is read: a machine that reads no recordings needs neither.
"""

from __future__ import annotations

import io
import os
import struct
import threading
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..runtime.errors import UserError
from ..runtime.files import replacing
from .contract import SR

SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff"}
LOWEST_SR, HIGHEST_SR = 1000, 768_000  # Hz: a file of few samples at 1 Hz would become a huge one at 16 kHz
LONGEST_SECONDS = 4 * 3600  # of one recording: 0.9 GB at 16 kHz
BLOCK = 1 << 20  # numbers read at once
UNKNOWN = (1 << 63) - 1  # libsndfile's number of frames where the file does not say it
STREAMED = 0xFFFFFFFF  # the data size in a WAV file whose writer could not go back to the header


class AudioError(UserError):
    """A recording that cannot be used; one line that names the file and says what to do about it."""


def load_audio(path: str | Path, sr: int = SR) -> np.ndarray:
    """Read a recording, average its channels, and resample it (soxr, high quality).

    path: WAV, FLAC, OGG, MP3, AIFF or whatever else libsndfile reads. sr: the rate to return, Hz.
    Returns float32 (n,), in about [-1, 1]: resampling and lossy formats can overshoot a little.
    Raises AudioError if the file is missing, empty, cut short, not audio, or holds no or non-finite samples.
    """
    soundfile = libsndfile()
    try:
        if os.path.getsize(path) == 0:
            raise AudioError(f"{path} is empty (0 bytes): copy it again")
        check_riff_size(path)
        with soundfile.SoundFile(path) as file:
            rate, promised = file.samplerate, file.frames
            if not LOWEST_SR <= rate <= HIGHEST_SR:
                raise AudioError(f"{path} has {rate} samples a second, outside {LOWEST_SR} .. {HIGHEST_SR}: convert it")
            if promised / rate > LONGEST_SECONDS and promised != UNKNOWN:
                hours = f"{promised / rate / 3600:.1f} hours, more than {LONGEST_SECONDS / 3600:g}"
                raise AudioError(f"{path} says that it lasts {hours}: cut it into pieces")
            samples = _mono(file)
    except FileNotFoundError:
        raise AudioError(f"{path} does not exist: check the path") from None
    except OSError as error:
        raise AudioError(f"{path} cannot be opened ({error.strerror}): pass a readable file") from None
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{path} is damaged or not audio ({error.error_string.rstrip('.')}): "
            "replace it, or convert it to WAV or FLAC"
        ) from None
    if len(samples) < promised:
        raise AudioError(f"{path} is cut short ({len(samples)} of {promised} samples): copy it again")
    if not np.isfinite(samples).all():
        raise AudioError(f"{path} contains NaN or infinite samples: export it again, or leave it out")
    if rate != sr:
        import soxr

        samples = soxr.resample(samples, rate, sr, quality="HQ")
    if len(samples) == 0:
        raise AudioError(f"{path} holds no samples at {sr} Hz: record it again, or leave it out")
    return samples


_first_use = threading.Lock()


def libsndfile() -> ModuleType:
    """The module soundfile, imported when the first recording is read or written. Safe in every thread.

    It calls C through cffi, which builds the type of a C function at the function's first call. Up to 2.1.1, cffi
    aborts the process if two threads build the same type at once (github.com/python-cffi/cffi/issues/271). So the
    first thread calls every function that we use, and the others wait for it.
    """
    with _first_use:
        return _soundfile()


@lru_cache
def _soundfile() -> ModuleType:
    import soundfile

    try:
        soundfile.SoundFile(os.devnull)
    except soundfile.LibsndfileError as error:
        str(error)  # asks libsndfile why
    memory = io.BytesIO()
    soundfile.write(memory, np.zeros(1, np.int16), SR, format="WAV", subtype="PCM_16")
    memory.seek(0)
    with soundfile.SoundFile(memory) as file:
        _mono(file)
    return soundfile


def _mono(file: Any) -> np.ndarray:
    """The mean of the channels, float32 (n,), of what is there: a header's promise alone takes no memory."""
    parts, frames = [], max(1, BLOCK // file.channels)
    while len(block := file.read(frames, dtype="float32", always_2d=True)):
        parts.append(block.mean(axis=1))
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def write_wav(path: str | Path, samples: np.ndarray, sr: int = SR) -> None:
    """Write samples (n,), floats clipped to [-1, 1], as a mono 16-bit WAV file.

    Atomic: after a crash there is the old file or the new one, whole.
    Raises ValueError if samples are not one-dimensional and finite.
    """
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise ValueError(f"{path}: samples of shape {samples.shape} must be (n,) and finite: not written")
    pcm = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
    with replacing(path) as file:
        libsndfile().write(file, pcm, sr, format="WAV", subtype="PCM_16")


def find_audio(folder: str | Path) -> list[Path]:
    """Every recording in `folder` and the folders within it, by suffix, in sorted order.

    Raises AudioError if there is no such folder. The list may be empty.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AudioError(f"{folder} is not a folder: check the path")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def check_riff_size(path: str | Path) -> None:
    """Raise AudioError if `path` is a WAV file that ends before its samples do; libsndfile would not say so.

    A WAV file is "RIFF", a size, "WAVE", and then chunks: a name of 4 bytes, a size of 4, so many bytes.
    """
    with open(path, "rb") as file:
        end = os.fstat(file.fileno()).st_size
        header = file.read(12)
        if header[:4] != b"RIFF" or header[8:] != b"WAVE":
            return
        while len(chunk := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", chunk)
            here = end - file.tell()
            if name == b"data":
                if size > here and size != STREAMED:
                    raise AudioError(f"{path} is cut short ({here} of {size} bytes): copy it again")
                return
            file.seek(size + size % 2, os.SEEK_CUR)  # chunks are padded to even length
