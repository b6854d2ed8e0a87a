"""The piano roll: what a network is shown of the notes, frame by frame.

An instrument has two planes, drawn over the mel axis, where the spectrogram will have the sound: a note is a comb, its
first ten harmonics. In the first plane it is there at its start, as high as it is loud; in the second as long as it
sounds. Hawthorne et al. give tokens instead (tokens.py); Maman et al. (2024), "Multi-aspect conditioning for
diffusion-based music synthesis", give a roll of pitches.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..audio.contract import FRAMES_PER_SECOND, N_MELS
from ..audio.mel import mel_bin
from ..audio.midi import Notes
from ..audio.synth import frequency_hz
from ..runtime.errors import UserError
from ..spectrogram.data import listed

HARMONICS = 10
STARTS, SOUNDS = range(2)
LOUDEST = 127


def features(programs: tuple[int, ...]) -> int:
    """Numbers of a frame's roll."""
    return len(programs) * 2 * N_MELS


def roll(notes: Notes, first: int, frames: int, programs: tuple[int, ...]) -> np.ndarray:
    """The roll of `frames` frames from number `first` on, float32 (frames, features(programs)).

    programs: those that the network knows, in its order. Frame m's middle is at second (m + 1) / 50; a start between
    two middles is shared out between them, so that times are told more finely than by frames.
    Raises UserError, naming them, for notes of another program.
    """
    require_trained(notes, programs)
    planes = np.zeros((frames, len(programs), 2, N_MELS), np.float32)
    begins = first / FRAMES_PER_SECOND
    near = notes.between(begins, begins + (frames + 1) / FRAMES_PER_SECOND)
    start, stop = (seconds * FRAMES_PER_SECOND - 1 for seconds in (near.start, near.stop))
    for begin, end, pitch, velocity, program in zip(start, stop, *near[2:], strict=True):
        mine, tones = planes[:, programs.index(program)], comb(int(pitch))
        frame, after = divmod(begin, 1)
        for m, share in ((int(frame), 1 - after), (int(frame) + 1, after)):
            if 0 <= m < frames:
                mine[m, STARTS] = np.maximum(mine[m, STARTS], share * velocity / LOUDEST * tones)
        sounds = mine[max(round(begin), 0) : max(round(end), 0), SOUNDS]
        np.maximum(sounds, tones, out=sounds)
    return planes.reshape(frames, -1)


@lru_cache
def comb(pitch: int) -> np.ndarray:
    """A note's first harmonics on the mel axis, float32 (128,), each shared out between the two bins beside it."""
    bins = mel_bin(frequency_hz(pitch) * np.arange(1, HARMONICS + 1))
    return np.maximum(1 - abs(np.arange(N_MELS)[:, None] - bins), 0).max(axis=1).astype(np.float32)


def require_trained(notes: Notes, programs: tuple[int, ...]) -> None:
    """Raises UserError, naming them, for notes of a program that the network does not know."""
    if other := sorted(set(notes.program.tolist()) - set(programs)):
        trained = ", ".join(map(str, programs))
        raise UserError(
            f"the notes have program {other[0]}, and the network was trained on {trained}: change their "
            "program, or train on it"
        )


def pitches(scores: Sequence[Notes], programs: tuple[int, ...]) -> np.ndarray:
    """The lowest and the highest pitch of each program, int64 (programs, 2)."""
    of_all = [np.concatenate([notes.pitch[notes.program == program] for notes in scores]) for program in programs]
    return np.array([(pitch.min(), pitch.max()) for pitch in of_all])


def untrained(notes: Notes, programs: tuple[int, ...], trained: np.ndarray | None) -> str | None:
    """A warning of notes outside `trained`, the pitches of the programs as above; None if there are none."""
    said = []
    for program, (low, high) in zip(programs, () if trained is None else trained, strict=False):
        pitch = notes.pitch[notes.program == program]
        if outside := sorted({*pitch[(pitch < low) | (pitch > high)].tolist()}):
            said.append(f"{listed([*map(str, outside)])} of program {program}, which had {low} to {high}")
    if not said:
        return None
    return f"the notes have pitches that the network was not trained on ({'; '.join(said)}): transpose or train on them"


def known(rolls: np.ndarray) -> np.ndarray:
    """The rolls (n, frames, features) with a last feature that says that they are known: silence is not "unknown"."""
    return np.concatenate([rolls, np.ones_like(rolls[..., :1])], axis=-1)
