"""Solutions of lesson 15, as a reader of the lesson might write them."""

from collections.abc import Callable, Sequence

import numpy as np

from ddim_from_scratch.audio.midi import DRUMS, Notes
from ddim_from_scratch.notes.tokens import END, FIRST, MAX_TOKENS
from ddim_from_scratch.runtime.errors import UserError

EpsModel = Callable[[np.ndarray, int], np.ndarray]


def encode(notes: Notes, seconds: float) -> np.ndarray:
    """Ties, then events in order; what repeats is left out."""
    end = round(100 * seconds)
    rows = []
    for start, stop, pitch, velocity, program in zip(*notes, strict=True):
        first = round(100 * start)
        rows.append((first, max(round(100 * stop), first + 1), pitch, velocity, program))
    tied, events = [], []
    for start, stop, pitch, _, program in zip(*Notes.of(rows), strict=True):
        if program == DRUMS:
            if 0 <= start < end:
                events.append((start, 1, program, pitch))
            continue
        if start < 0 < stop:
            tied.append((program, pitch))
        if 0 <= start < end:
            events.append((start, 1, program, pitch))
        if 0 < stop < end:
            events.append((stop, 0, program, pitch))
    words = []
    for program, pitch in sorted(tied):
        words += [("program", program), ("pitch", pitch)]
    words.append(("tie", 0))
    for time, on, program, pitch in sorted(events):
        words.append(("time", time))
        if program == DRUMS:
            words += [("velocity", on), ("drum", pitch)]
        else:
            words += [("program", program), ("velocity", on), ("pitch", pitch)]
    tokens, said = [], {}
    for kind, value in words:
        repeated = kind in ("time", "program", "velocity") and said.get(kind) == value
        if not repeated:
            tokens.append(FIRST[kind] + int(value))
        said[kind] = value
    tokens.append(END)
    if len(tokens) > MAX_TOKENS:
        count = len(rows)
        raise UserError(
            f"{count} notes in {seconds:g} s need {len(tokens)} tokens, and a segment has {MAX_TOKENS}: leave it out"
        )
    return np.array(tokens, np.int32)


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None) -> tuple[np.ndarray, tuple]:
    """A hidden key has the lowest score of all, and no weight."""
    q = q / q.shape[2] ** 0.5
    scores = q @ k.swapaxes(1, 2)
    if mask is not None:
        scores = np.where(mask[:, None, :], scores, -1e9)
    p = np.exp(scores - scores.max(axis=2, keepdims=True))
    p = p / p.sum(axis=2, keepdims=True)
    if mask is not None:
        p = p * mask[:, None, :]
    return p @ v, (q, k, v, p)


def context_channel(before: Sequence[np.ndarray], frames: int) -> np.ndarray:
    """The last frames, the last of them first."""
    channel = np.zeros((len(before), frames, 128, 1), np.float32)
    for i, past in enumerate(before):
        count = min(len(past), frames)
        if count:
            channel[i, :count, :, 0] = past[-count:][::-1]
    return channel


def guided(told: EpsModel, untold: EpsModel, weight: float) -> EpsModel:
    """From untold towards told, and beyond."""
    if weight == 1:
        return told

    def eps_model(x, t):
        start = untold(x, t)
        return start + weight * (told(x, t) - start)

    return eps_model
