"""The piano roll: what a network is shown of the notes, frame by frame.

An instrument has two planes of 128 pitches. In the first a note is a point, at its start, as high as it is loud; in
the second a line, as long as it sounds. Hawthorne et al. give tokens instead (tokens.py); Maman et al. (2024),
"Multi-aspect conditioning for diffusion-based music synthesis", give a roll.
"""

from __future__ import annotations

import numpy as np

from ..audio.contract import FRAMES_PER_SECOND
from ..audio.midi import Notes
from ..runtime.errors import UserError

PITCHES = 128
STARTS, SOUNDS = range(2)
LOUDEST = 127


def features(programs: tuple[int, ...]) -> int:
    """Numbers of a frame's roll."""
    return len(programs) * 2 * PITCHES


def roll(notes: Notes, first: int, frames: int, programs: tuple[int, ...]) -> np.ndarray:
    """The roll of `frames` frames from number `first` on, float32 (frames, features(programs)).

    programs: those that the network knows, in its order. Frame m's middle is at second (m + 1) / 50; a start between
    two middles is shared out between them, so that times are told more finely than by frames.
    Raises UserError, naming them, for notes of another program.
    """
    require_trained(notes, programs)
    planes = np.zeros((frames, len(programs), 2, PITCHES), np.float32)
    begins = first / FRAMES_PER_SECOND
    near = notes.between(begins, begins + (frames + 1) / FRAMES_PER_SECOND)
    start, stop = (seconds * FRAMES_PER_SECOND - 1 for seconds in (near.start, near.stop))
    for begin, end, pitch, velocity, program in zip(start, stop, *near[2:], strict=True):
        mine = planes[:, programs.index(program)]
        frame, after = divmod(begin, 1)
        for m, share in ((int(frame), 1 - after), (int(frame) + 1, after)):
            if 0 <= m < frames:
                mine[m, STARTS, pitch] = max(mine[m, STARTS, pitch], share * velocity / LOUDEST)
        mine[max(round(begin), 0) : max(round(end), 0), SOUNDS, pitch] = 1
    return planes.reshape(frames, -1)


def require_trained(notes: Notes, programs: tuple[int, ...]) -> None:
    """Raises UserError, naming them, for notes of a program that the network does not know."""
    if other := sorted(set(notes.program.tolist()) - set(programs)):
        known = ", ".join(map(str, programs))
        raise UserError(f"the notes have program {other[0]}, and the network was trained on {known}: see --program")


def known(rolls: np.ndarray) -> np.ndarray:
    """The rolls (n, frames, features) with a last feature that says that they are known: silence is not "unknown"."""
    return np.concatenate([rolls, np.ones_like(rolls[..., :1])], axis=-1)
