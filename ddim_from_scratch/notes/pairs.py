"""Recordings with their notes, and whether the two belong together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.signal import fftconvolve

from ..audio import LeftOut, in_words
from ..audio.contract import FRAMES_PER_SECOND, N_MELS
from ..audio.mel import mel_bin
from ..audio.midi import Notes
from ..audio.synth import frequency_hz
from ..runtime.errors import UserError, printable
from ..training.datasets import GUITARSET, recordings
from .score import JAMS_SUFFIX, MIDI_SUFFIXES, read_notes

ALONE = 5.0  # seconds that notes may go on after their recording, or a recording after its notes: it rings, or is still
COMPARED = round(120 * FRAMES_PER_SECOND)  # frames at the beginning of a recording
FURTHEST = round(10 * FRAMES_PER_SECOND)  # shifts that are looked for
TOLERATED = 2  # frames: 40 ms
CLEARLY = 1.2  # times as like as without a shift


def with_notes(data: str, left_out: LeftOut | None = None) -> list[Path]:
    """The recordings that `data` names (see training/datasets.py) and that have notes, one a piece, by their names.

    The notes of song.wav are in song.mid beside it, as in MAESTRO, or where GuitarSet and Slakh put them: `places`.
    left_out: takes the recordings that are not used, by the reason. Raises UserError if none has notes.
    """
    left_out = LeftOut() if left_out is None else left_out
    every = recordings(data, left_out)
    found = [audio for audio in every if notes_beside(audio)]
    if len(found) < len(every):
        left_out["without notes"] = sorted({*every} - {*found})
    if not found:
        reasons = f"; left out: {in_words(left_out)}" if left_out else ""
        raise UserError(
            f"{printable(data)} holds no recording with its notes{reasons}: put song.mid beside song.wav, or make "
            "such pairs with python -m ddim_from_scratch.notes.render"
        )
    return found


def notes_beside(audio: Path) -> Path | None:
    """The file with a recording's notes, if there is one."""
    return next((path for path in places(audio) if path.is_file()), None)


def read_beside(audio: Path) -> Notes:
    """The notes of a recording. Raises as `read_notes` does, and UserError if there are none."""
    if notes := notes_beside(audio):
        return read_notes(notes)
    raise UserError(f"{printable(audio)} has lost its notes: put them back, or leave it out")


def places(audio: Path) -> Iterator[Path]:
    """Where the notes of a recording may lie.

    song.wav: song.mid, song.midi or song.jams. GuitarSet: audio_mono-mic/NAME_mic.wav and annotation/NAME.jams.
    Slakh: TRACK/mix.flac and TRACK/all_src.mid, or TRACK/stems/S00.flac and TRACK/MIDI/S00.mid.
    """
    for suffix in (*MIDI_SUFFIXES, JAMS_SUFFIX):
        yield audio.with_suffix(suffix)
        yield audio.with_suffix(suffix.upper())
    above = audio.parent.parent
    if audio.parent.name in GUITARSET:
        yield above / "annotation" / f"{audio.stem.rpartition('_')[0]}{JAMS_SUFFIX}"
        yield above / "annotation" / f"{audio.stem}{JAMS_SUFFIX}"
    if audio.stem == "mix":
        yield audio.with_name("all_src.mid")
    if audio.parent.name == "stems":
        yield above / "MIDI" / f"{audio.stem}.mid"


def require_match(name: str | Path, log_mels: np.ndarray, notes: Notes) -> None:
    """Raises UserError, saying by how much, if a recording (frames, 128) and its notes differ in length or are shifted.

    Shifted: its first two minutes are clearly more like the notes when these begin up to 10 s earlier or later.
    """
    seconds, name = len(log_mels) / FRAMES_PER_SECOND, printable(name)
    if notes.start.max() > seconds + ALONE or seconds > 1.1 * notes.seconds + ALONE:
        raise UserError(
            f"{name} lasts {seconds:.1f} s, but its notes {notes.seconds:.1f} s: cut the longer one, or leave it out"
        )
    if lag := shift(log_mels[:COMPARED], notes):
        direction = "later" if lag > 0 else "earlier"
        raise UserError(
            f"{name} fits its notes best when these begin {abs(lag) / FRAMES_PER_SECOND:.2f} s {direction}: "
            "shift them, or leave it out"
        )


def shift(log_mels: np.ndarray, notes: Notes) -> int:
    """By how many frames the notes should begin later, at most FURTHEST; 0 if that is not clear.

    The cross-correlation of two pictures (frames, 128): where the recording gets louder, and points at the notes'
    starts, at their first three harmonics. Each frame's mean is taken away, because a regular beat fits at every beat.
    """
    rise = np.maximum(np.diff(log_mels, axis=0, prepend=log_mels[:1]), 0)
    rise -= rise.mean(axis=1, keepdims=True)
    rise -= rise.mean(axis=0)
    frames = len(rise)
    points = np.zeros_like(rise)
    start = np.rint(notes.start * FRAMES_PER_SECOND).astype(int)
    for harmonic in range(1, 4):
        mels = np.maximum(np.rint(mel_bin(harmonic * frequency_hz(notes.pitch))), 0).astype(int)
        inside = (start < frames) & (mels < N_MELS - 1)
        points[start[inside], mels[inside]] = 1
    points -= points.mean(axis=0)
    alike = fftconvolve(rise, points[::-1], axes=0).sum(axis=1)  # of lags -(frames - 1) .. frames - 1
    middle = frames - 1
    lags = np.arange(-min(FURTHEST, middle), min(FURTHEST, middle) + 1)
    alike = alike[middle + lags]
    best = int(lags[alike.argmax()])
    clear = alike.max() > CLEARLY * alike[abs(lags) <= TOLERATED].max()
    return best if clear and abs(best) > TOLERATED else 0
