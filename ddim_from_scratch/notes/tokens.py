"""Notes as a sentence of tokens, and back (Hawthorne et al. 2022, as Gardner et al. 2022 defined it).

    24 60 tie | 30 off 60 | 50 on 64 | 128 off 64

Before "tie" stand the notes that still sound from the segment before: pitch 60 of program 24. After it, each event has
a time in hundredths of a second from the segment's start, a program, on or off, and a pitch. A time, a program, an on
or an off that repeats the one before is left out. A drum stands in place of program and pitch, and has no end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..audio.contract import FRAMES_PER_SECOND
from ..audio.midi import DRUMS, Notes
from ..runtime.errors import UserError

STEP_SECONDS = 0.01
MAX_TOKENS = 2048  # of a segment, its end among them
LAST_STEP = 1000
END = 1  # 0 is PAD; 2 is unknown in the paper's vocabulary, and not used here
VELOCITY = 80  # the tokens do not tell

KINDS = {"time": LAST_STEP + 1, "pitch": 128, "velocity": 2, "tie": 1, "program": 128, "drum": 128}
FIRST = dict(zip(KINDS, 3 + np.cumsum([0, *KINDS.values()]), strict=False))  # each kind's first token
VOCABULARY = 3 + sum(KINDS.values())
OFF, ON = 0, 1


def encode(notes: Notes, seconds: float) -> np.ndarray:
    """The tokens of a segment, int32 (n,), with END as the last one.

    notes: of `Notes.between`, times in seconds from the segment's start. seconds: the segment's length, at most 10. A
    note that begins before or ends after it is tied. Raises UserError for more notes than MAX_TOKENS can tell.
    """
    end = round(seconds / STEP_SECONDS)
    start, stop = (np.rint(times / STEP_SECONDS) for times in (notes.start, notes.stop))
    rows = [start, np.maximum(stop, start + 1), notes.pitch, np.zeros(len(start)), notes.program]
    notes = Notes.of(list(zip(*rows, strict=True)))  # on the grid, a note can be struck again a moment before its end
    drum = notes.program == DRUMS

    def events() -> Iterator[dict[str, int]]:
        """Tokens by their kinds: ties, then ends and starts in the order of their times, ends first."""
        tied = notes.where(~drum & (notes.start < 0) & (notes.stop > 0))
        for program, pitch in sorted(zip(tied.program, tied.pitch, strict=True)):
            yield {"program": program, "pitch": pitch}
        yield {"tie": 0}
        offs = notes.where(~drum & (notes.stop > 0) & (notes.stop < end))
        ons = notes.where((notes.start >= 0) & (notes.start < end))
        all_events = [(time, OFF, program, pitch) for _, time, pitch, _, program in zip(*offs, strict=True)]
        all_events += [(time, ON, program, pitch) for time, _, pitch, _, program in zip(*ons, strict=True)]
        for time, velocity, program, pitch in sorted(all_events):
            voice = {"velocity": velocity, "drum": pitch}
            if program != DRUMS:
                voice = {"program": program, "velocity": velocity, "pitch": pitch}
            yield {"time": time} | voice

    tokens: list[int] = []
    said: dict[str, int] = {}
    for event in events():
        for kind, value in event.items():
            if kind in ("pitch", "drum", "tie") or said.get(kind) != value:
                tokens.append(int(FIRST[kind] + value))
        said |= event
    tokens.append(END)
    if len(tokens) > MAX_TOKENS:
        raise UserError(
            f"{len(notes.start)} notes in {seconds:g} s need {len(tokens)} tokens, and a segment has {MAX_TOKENS}: "
            "leave the piece out, or take notes away"
        )
    return np.array(tokens, np.int32)


def require_room(notes: Notes, seconds: float) -> None:
    """Raises UserError, as `encode` does, if any segment of `seconds` that begins with a frame has too many notes."""
    begins = np.arange(round(notes.seconds * FRAMES_PER_SECOND) + 1) / FRAMES_PER_SECOND
    around = [begins - STEP_SECONDS, begins + seconds + STEP_SECONDS]
    before = [np.searchsorted(np.sort(times), around) for times in (notes.start, notes.stop)]
    events, tied = sum(after - first for first, after in before), before[0][0] - before[1][0]
    for begin in begins[4 * events + 2 * tied + 2 > MAX_TOKENS]:  # the most that so many could need
        encode(notes.between(begin, begin + seconds), seconds)


def decode(segments: Sequence[np.ndarray], seconds: float) -> Notes:
    """The notes of successive segments of `seconds` each, of velocity VELOCITY; drums last a step.

    A note ends where it is turned off or struck again, at a boundary over which it is not tied, or at the last
    segment's end. What the grammar does not allow is passed over.
    """
    rows: list[tuple[float, float, int, int, int]] = []
    sounding: dict[tuple[int, int], float] = {}  # (program, pitch): start

    def end(keys: Sequence[tuple[int, int]], stop: float) -> None:
        rows.extend((sounding.pop((p, pitch)), stop, pitch, VELOCITY, p) for p, pitch in keys if (p, pitch) in sounding)

    for i, tokens in enumerate(segments):
        program, velocity, now = 0, ON, i * seconds
        tied: set[tuple[int, int]] | None = set()  # None when "tie" has been read
        for token in tokens:
            kind = next((kind for kind in reversed(KINDS) if token >= FIRST[kind]), None)
            value = int(token - FIRST[kind]) if kind else 0
            if kind == "time":
                now = i * seconds + value * STEP_SECONDS
            elif kind == "program":
                program = value
            elif kind == "velocity":
                velocity = value
            elif kind == "tie" and tied is not None:
                end([key for key in sounding if key not in tied], now)
                tied = None
            elif kind == "pitch" and tied is not None:
                tied.add((program, value))
                sounding.setdefault((program, value), now)
            elif kind == "pitch":
                end([(program, value)], now)
                if velocity == ON:
                    sounding[program, value] = now
            elif kind == "drum":
                rows.append((now, now + STEP_SECONDS, value, VELOCITY, DRUMS))
    end(list(sounding), len(segments) * seconds)
    return Notes.of(rows)
