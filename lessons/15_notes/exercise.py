"""Exercises of lesson 15: notes as tokens, attention with a mask, the segment before, and guidance.

Write the four functions. `make check-15` puts each in the package's place, on its own, shows what it answers beside
what is expected, and runs the package's tests on it. Loops are welcome. You may import DRUMS from
ddim_from_scratch.audio.midi; END, FIRST and MAX_TOKENS from ddim_from_scratch.notes.tokens; and UserError from
ddim_from_scratch.runtime.errors.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ddim_from_scratch.audio.midi import Notes

EpsModel = Callable[[np.ndarray, int], np.ndarray]


def encode(notes: Notes, seconds: float) -> np.ndarray:
    """The tokens of a segment of so many seconds, an int32 array whose last one is END.

    notes: those that sound in the segment. zip(*notes) gives (start, stop, pitch, velocity, program) of each; times are
    in seconds from the segment's start, and negative for a note that began before. The word (kind, value) is the token
    FIRST[kind] + value, of the kinds "time", "pitch", "velocity" (0 off, 1 on), "tie" (always 0), "program" and "drum".

    1. Round times to hundredths of a second; a note lasts one at least. Notes.of([(start, stop, pitch, velocity,
       program), ...]) sorts them, and ends a note where it is struck again.
    2. For each note with start < 0 < stop, in the order of (program, pitch): program, pitch. Then tie.
    3. The starts with 0 <= time < end, and the stops with 0 < time < end, where end = 100 seconds, rounded, in the
       order of (time, off before on, program, pitch). Say time, program, velocity (off or on), pitch.
       A note of the program DRUMS is never tied and has no stop; its start is time, velocity, drum.
    4. A time, program or velocity that is the same as the last one said is left out.

    Raises UserError (f"{len(notes.start)} notes in {seconds:g} s need {len(tokens)} tokens, and a segment has
    {MAX_TOKENS}: leave it out") for more tokens than MAX_TOKENS.

        pitch 60 sounds from before until 0.5 s; 64 begins there:  24 60 tie | 50 off 60 | on 64 | END
    """
    raise NotImplementedError


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None) -> tuple[np.ndarray, tuple]:
    """o = p v, where each row of p is the softmax of the scores q k^T / sqrt(D) over the keys that may be looked at.

    q: (B, L, D). k, v: (B, M, D). mask: bool (B, M), True where a key may be looked at; None is all keys. A sample
    without any such key gets o = 0. Returns o, (B, L, D), and the cache (q / sqrt(D), k, v, p). float32 stays float32.

    Subtract the largest score of a row before exp. A hidden key may have a score of 1e4: it must not matter.

        scores  2  9  1        mask  1 0 1        p  .73  0  .27
    """
    raise NotImplementedError


def context_channel(before: Sequence[np.ndarray], frames: int) -> np.ndarray:
    """What the network sees of the segments before: float32 (N, frames, 128, 1).

    before: for each of N segments the standardised frames that precede it, (any number, 128), in the order of time.
    Of these the last `frames` count. They run backwards: frame 0 of the channel is the very last one. What is missing
    is 0.

        before  a b c d e | segment         frames = 3:    e d c
        before          e | segment         frames = 3:    e 0 0
    """
    raise NotImplementedError


def guided(told: EpsModel, untold: EpsModel, weight: float) -> EpsModel:
    """A function eps_model(x, t) that goes `weight` times as far from `untold` as `told` does.

    told, untold: eps_model(x, t), with the condition and with the condition hidden. weight: 0 gives `untold`, 1 gives
    `told`. At weight 1 never ask `untold`, which would only cost time.

        untold ------- told ------- weight 2
    """
    raise NotImplementedError


EXPERIMENT = """
What does guidance cost? The toy band of the lesson, 12 songs, 30 steps of DDIM.

| w | F1 of the notes | variance / the data's | two samples apart |
|---|---|---|---|
| 0 | ? | ? | ? |
| 1 | ? | ? | ? |
| 2 | ? | ? | ? |
| 5 | ? | ? | ? |

The weight that you would play with: ?
What the F1 does not hear at w = 5: ?
"""
