"""Reads recordings in any format and at any rate as mono float32 at 16 kHz, and writes WAV files.

soundfile and soxr are imported when the first file is read: a machine that reads no recordings needs neither.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from ..runtime.errors import FileError, printable, say_once, warn
from ..runtime.files import reading, replacing
from .container import FEW, ContainerError, Excerpt, Stream, streams
from .contract import SR
from .stft import check_float

# Names of the containers whose lengths are checked; and of others, some of which libsndfile would read, cut or not.
READ = "wav wave bwf rf64 w64 flac ogg oga opus mp3 mp2 mpga aif aiff aifc svx 8svx caf au snd"
NOT_READ = """voc nist sph ircam sf paf pvf avr wve sd2 m4a m4b m4p mp4 aac adts alac wma ape wv mpc mpp tta tak ac3
    eac3 dts amr awb ra rm webm mka 3gp dsf dff spx gsm vox mov mkv"""
SUFFIXES = {f".{name}" for name in READ.split()}
FOREIGN_SUFFIXES = {f".{name}" for name in NOT_READ.split()}
LOWEST_SR, HIGHEST_SR = 1000, 768_000  # Hz: a few samples at 1 Hz would become a huge file at 16 kHz
LONGEST_SECONDS = 4 * 3600  # per recording: 0.9 GB at 16 kHz
MOST_NUMBERS = LONGEST_SECONDS * 192_000 * 2  # to decode: 88 kB of FLAC can hold ten minutes at 655 350 Hz
BLOCK = 1 << 16  # numbers read at once
UNKNOWN = (1 << 63) - 1  # libsndfile's number of frames if the file does not state it
LOUD = 10  # full scale is 1: formats with loss, and mixes in floats, exceed it by a few decibels
LOUDEST = 1e10  # beyond 32-bit integers as floats: no sound
CANCELLED = 1e-4  # the channels' mean has less than this share of their power: -40 dB


class AudioError(FileError):
    """Raised for an unusable recording. The one-line message names the file and the remedy."""


def load_audio(path: str | Path, sr: int = SR) -> np.ndarray:
    """Reads a recording, averages its channels, and resamples it (soxr, high quality).

    path: a WAV (RF64, BW64), AIFF, CAF, AU, Wave64, FLAC, Ogg or MP3 file. sr: sampling rate of the result, Hz.
    Returns float32 (n,), roughly in [-1, 1]: resampling and lossy formats can overshoot a little. Streams that follow
    each other in a file are joined. A wrong length in the header is corrected, and up to 1 % may be missing.
    Warns, on stderr, of what is missing or left out, and of samples far beyond 1.
    Raises AudioError if the file is missing, empty, truncated, not audio, has no samples or non-finite ones, or if its
    channels cancel each other.
    """
    name = printable(path)
    try:
        with reading(path) as file:
            found = streams(file)
            parts = [_read(file, found[0], name, sr)]
            for i, stream in enumerate(found[1:], 2):
                try:
                    parts.append(_read(file, stream, name, sr))
                except AudioError as error:
                    warn(f"stream {i} of {len(found)} in one file is left out: {error}")
    except FileNotFoundError:
        raise AudioError(f"{name} does not exist: check the path") from None
    except OSError as error:
        raise AudioError(f"{name} cannot be opened ({error.strerror}): pass a readable file") from None
    except ContainerError as error:
        raise AudioError(f"{name} {error}") from None
    samples = np.concatenate(parts)
    if len(samples) == 0:
        raise AudioError(f"{name} holds no samples at {sr} Hz: record it again, or leave it out")
    return samples


def _read(file: BinaryIO, stream: Stream, name: str, sr: int) -> np.ndarray:
    """One stream of an open file as `load_audio` returns it."""
    if stream.error:
        raise AudioError(f"{name} {stream.error}")
    excerpt = Excerpt(file, stream)
    soundfile = libsndfile()
    try:
        sound = _unseekable()(excerpt)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        if not reason or "pipe" in reason:  # it guesses, wrongly
            reason = "Format not recognised"
        raise AudioError(
            f"{name} is damaged or not audio ({reason}): replace it, or convert it to WAV or FLAC"
        ) from None
    with sound:
        rate, promised = sound.samplerate, stream.frames or sound.frames
        if not LOWEST_SR <= rate <= HIGHEST_SR:
            raise AudioError(f"{name} has {rate} samples a second, outside {LOWEST_SR} .. {HIGHEST_SR}: convert it")
        if promised != UNKNOWN:
            _check_length(name, promised, sound)
        n, samples = _mono(sound, promised, name, sr)
    if excerpt.failure:
        raise excerpt.failure
    if promised != UNKNOWN:
        stream.expect(n, promised, "samples")
    if stream.error:
        raise AudioError(f"{name} {stream.error}")
    if stream.note:
        warn(f"{name} {stream.note}")
    return samples


def _check_length(name: str, frames: int, sound: Any) -> None:
    """Raises AudioError for more frames than a recording can have."""
    seconds = frames / sound.samplerate
    if seconds > LONGEST_SECONDS or frames * sound.channels > MOST_NUMBERS:
        raise AudioError(
            f"{name} lasts {seconds / 3600:.1f} hours or more, {sound.channels} x {sound.samplerate} samples a second "
            f"(at most {LONGEST_SECONDS / 3600:g} hours are read, and 2 x 192000): cut it into pieces, or convert it"
        )


def _mono(sound: Any, promised: int, name: str, sr: int) -> tuple[int, np.ndarray]:
    """Number of frames read, and the mean of their channels at `sr` Hz, float32 (n,).

    It reads, averages and resamples in blocks and counts, so that memory follows what is kept, and not what the header
    says or a small file unpacks to.
    """
    import soxr

    rate = sound.samplerate
    resampler = soxr.ResampleStream(rate, sr, 1, dtype="float32", quality="HQ") if rate != sr else None
    parts: list[np.ndarray] = []
    n, peak, power, mono_power = 0, 0.0, 0.0, 0.0
    for block in _blocks(sound, promised, name):
        n += len(block)
        _check_length(name, n, sound)
        peak = max(peak, float(np.abs(block).max()))
        if not np.isfinite(peak) or np.isnan(block).any():
            raise AudioError(f"{name} contains NaN or infinite samples: export it again, or leave it out")
        if peak > LOUDEST:
            raise AudioError(
                f"{name} has a sample of {peak:.3g}, where full scale is 1: export it again, or leave it out"
            )
        mono = block.mean(axis=1)
        power += float(np.einsum("nc,nc->", block, block, dtype=np.float64)) / sound.channels
        mono_power += float(np.einsum("n,n->", mono, mono, dtype=np.float64))
        parts.append(resampler.resample_chunk(mono) if resampler else mono)
    if resampler:
        parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    if mono_power < CANCELLED * power:
        raise AudioError(
            f"{name}: its {sound.channels} channels cancel each other (one is the other upside down): "
            "keep one of them, or turn one around"
        )
    if peak > LOUD:
        warn(f"{name} has samples of {peak:.6g}, where full scale is 1 (integers saved as floats?): divide them")
    return n, np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _blocks(sound: Any, promised: int, name: str) -> Iterator[np.ndarray]:
    """float32 (frames, channels) until the end. Raises AudioError if the decoder fails before almost all is read."""
    n, most = 0, max(1, BLOCK // sound.channels)
    try:
        while True:
            # A block ends where the header's length does: what follows may be no sound, and make the decoder fail.
            frames = min(most, promised - n) if n < promised else most
            if len(block := sound.read(frames, dtype="float32", always_2d=True)) == 0:
                return
            yield block
            n += len(block)
    except libsndfile().LibsndfileError:
        if n >= (1 - FEW) * promised:
            return
        raise AudioError(
            f"{name} is damaged or cut short after {n / sound.samplerate:.1f} s or a little later: copy it again"
        ) from None


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

    memory = io.BytesIO()
    try:
        soundfile.SoundFile(io.BytesIO(b"no sound"))
    except soundfile.LibsndfileError as error:
        str(error)  # asks libsndfile why
    soundfile.write(memory, np.zeros(1, np.int16), SR, format="WAV", subtype="PCM_16")
    memory.seek(0)
    with soundfile.SoundFile(memory) as file:
        file.read(2, dtype="float32")
    return soundfile


@lru_cache
def _unseekable() -> Any:
    """soundfile.SoundFile that only reads on. It would seek after each block, which needs a known length."""

    class Unseekable(libsndfile().SoundFile):  # type: ignore[misc]
        def seekable(self) -> bool:
            return False

    return Unseekable


def full_scale(samples: np.ndarray) -> np.ndarray:
    """The clip (n,), made quieter as a whole if its peak exceeds 1, which says so on stderr the first time.

    Clipping every sample would distort it. Clips are made quieter alike to be written and to be compared. Only
    samples beyond LOUD times full scale, as in bursts of an untrained network, are clipped: a gain for the burst would
    silence the rest. Raises ValueError if samples are not floating point.
    """
    check_float(samples)
    if (peak := float(np.abs(samples).max(initial=0))) <= 1:
        return samples
    say_once("note: clips whose peak exceeds full scale (1) are made quieter, each by one gain")
    return np.clip(samples / samples.dtype.type(min(peak, LOUD)), -1, 1)


def write_wav(path: str | Path, samples: np.ndarray, sr: int = SR) -> None:
    """Writes samples (n,), floats in `full_scale`, as a mono 16-bit WAV file, atomically.

    Raises ValueError if samples are not one-dimensional, floating point and finite.
    """
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise ValueError(f"{path}: samples of shape {samples.shape} must be (n,) and finite: not written")
    precise = np.result_type(samples, np.float32)  # float16 has no 32767
    pcm = np.round(np.multiply(full_scale(samples), 32767, dtype=precise)).astype(np.int16)
    memory = io.BytesIO()  # an error of the disk cannot pass through C
    libsndfile().write(memory, pcm, sr, format="WAV", subtype="PCM_16")
    with replacing(path) as file:
        file.write(memory.getbuffer())


LeftOut = dict[str, list[Path]]  # files or folders that are not used, by the reason


def find_audio(folder: str | Path, left_out: LeftOut | None = None) -> list[Path]:
    """All recordings in `folder` and its subfolders, also behind links, by suffix, sorted. The list may be empty.

    left_out: takes what looks like sound and is not returned, by the reason. Without it, a warning says so.
    Raises AudioError if the folder does not exist.
    """
    folder, reasons = Path(folder), LeftOut()
    if not folder.is_dir():
        raise AudioError(f"{printable(folder)} is not a folder: check the path")
    found = []
    for path in files_below(folder, reasons):
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES | FOREIGN_SUFFIXES:
            continue
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            reasons.setdefault("hidden", []).append(path)  # also ._x.wav, in which macOS keeps metadata
        elif suffix in FOREIGN_SUFFIXES:
            reasons.setdefault(f"{suffix}, which must be converted to FLAC or WAV", []).append(path)
        elif not path.is_file():
            reasons.setdefault("broken links or no regular files", []).append(path)
        else:
            found.append(path)
    if left_out is not None:
        left_out.update(reasons)
    elif reasons:
        warn(f"{printable(folder)}: {len(found)} usable, left out: {in_words(reasons)}")
    return sorted(found)


def files_below(folder: Path, left_out: LeftOut) -> Iterator[Path]:
    """All files below a folder. Each folder is visited once: real folders first, then those behind links."""
    waiting, seen = [folder], set()
    while waiting:
        here = waiting.pop()
        try:
            status = here.stat()
            entries = list(os.scandir(here))
        except OSError:
            left_out.setdefault("folders that cannot be opened", []).append(here)
            continue
        if (place := (status.st_dev, status.st_ino)) in seen:
            continue
        seen.add(place)
        links = []
        for entry in entries:
            if not os.path.isdir(entry):  # which a link to itself is not
                yield here / entry.name
            elif entry.is_symlink():
                links.append(here / entry.name)
            else:
                waiting.append(here / entry.name)
        waiting[:0] = links


def in_words(left_out: LeftOut) -> str:
    """ "2 hidden (._a.wav, ._b.wav); 1 copies (c.wav)"."""
    said = []
    for reason, paths in left_out.items():
        names = [printable(path.name) for path in sorted(paths)]
        said.append(f"{reason}: {len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})")
    return "; ".join(said)
