"""Reads recordings in any format and at any rate as mono float32 at 16 kHz, and writes WAV files.

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
from ..runtime.files import reading, replacing
from .contract import SR

SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff"}
LOWEST_SR, HIGHEST_SR = 1000, 768_000  # Hz: a few samples at 1 Hz would become a huge file at 16 kHz
LONGEST_SECONDS = 4 * 3600  # per recording: 0.9 GB at 16 kHz
BLOCK = 1 << 20  # numbers read at once
UNKNOWN = (1 << 63) - 1  # libsndfile's number of frames if the file does not state it
STREAMED = 0xFFFFFFFF  # data size in a WAV file whose writer could not return to the header


class AudioError(UserError):
    """Raised for an unusable recording. The one-line message names the file and the remedy."""


def load_audio(path: str | Path, sr: int = SR) -> np.ndarray:
    """Reads a recording, averages its channels, and resamples it (soxr, high quality).

    path: WAV, FLAC, OGG, MP3, AIFF or any other format of libsndfile. sr: sampling rate of the result, Hz.
    Returns float32 (n,), roughly in [-1, 1]: resampling and lossy formats can overshoot a little.
    Raises AudioError if the file is missing, empty, truncated, not audio, or has no samples or non-finite ones.
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
    """Mean of the channels, float32 (n,). Reads blocks, so that a false length in the header takes no memory."""
    parts, frames = [], max(1, BLOCK // file.channels)
    while len(block := file.read(frames, dtype="float32", always_2d=True)):
        parts.append(block.mean(axis=1))
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def write_wav(path: str | Path, samples: np.ndarray, sr: int = SR) -> None:
    """Writes samples (n,), floats clipped to [-1, 1], as a mono 16-bit WAV file, atomically.

    Raises ValueError if samples are not one-dimensional and finite.
    """
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise ValueError(f"{path}: samples of shape {samples.shape} must be (n,) and finite: not written")
    pcm = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
    memory = io.BytesIO()  # an error of the disk inside libsndfile's callbacks would be printed, and go on
    libsndfile().write(memory, pcm, sr, format="WAV", subtype="PCM_16")
    with replacing(path) as file:
        file.write(memory.getbuffer())


def find_audio(folder: str | Path) -> list[Path]:
    """All recordings in `folder` and its subfolders, by suffix, sorted. The list may be empty.

    Raises AudioError if the folder does not exist.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AudioError(f"{folder} is not a folder: check the path")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def check_riff_size(path: str | Path) -> None:
    """Raises AudioError if `path` is a truncated WAV file, which libsndfile would not report.

    A WAV file is "RIFF", a size, "WAVE", and then chunks: a 4-byte name, a 4-byte size, and that many bytes.
    """
    with reading(path) as file:
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
