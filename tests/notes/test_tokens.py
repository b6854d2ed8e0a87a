"""Notes as tokens: nothing is lost on the way there and back, ties included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddim_from_scratch.audio.midi import DRUMS, Notes
from ddim_from_scratch.notes.tokens import END, FIRST, MAX_TOKENS, VELOCITY, VOCABULARY, decode, encode
from ddim_from_scratch.runtime.errors import UserError

SEGMENTS, STEPS = 4, 128  # of 1.28 s

rows = st.tuples(
    st.integers(0, SEGMENTS * STEPS - 1),
    st.integers(1, 3 * STEPS),
    st.integers(58, 62),
    st.sampled_from([0, 73, DRUMS]),
)


def said(*words):
    """Tokens from ("time", 5) and so on."""
    return [FIRST[kind] + value for kind, value in words] + [END]


@given(chosen=st.lists(rows, max_size=60))
def test_notes_come_back_from_their_tokens(chosen):
    length = SEGMENTS * STEPS
    notes = Notes.of(
        [
            (start, start + 1 if program == DRUMS else min(start + steps, length), pitch, VELOCITY, program)
            for start, steps, pitch, program in chosen
        ]
    )
    notes = notes._replace(start=notes.start / 100, stop=notes.stop / 100)
    seconds = STEPS / 100
    segments = [encode(notes.between(i * seconds, (i + 1) * seconds), seconds) for i in range(SEGMENTS)]
    assert all(tokens[-1] == END and tokens[0] > 2 and tokens.max() < VOCABULARY for tokens in segments)
    for field, a, b in zip(Notes._fields, decode(segments, seconds), notes, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9, err_msg=field)


def test_a_sentence_as_the_paper_has_it():
    notes = Notes.of([(-1, 0.5, 60, 80, 24), (0.5, 9, 64, 80, 24), (0.5, 9, 67, 80, 24), (0.7, 0.7, 36, 80, DRUMS)])
    tie = [("program", 24), ("pitch", 60), ("tie", 0)]
    off = [("time", 50), ("velocity", 0), ("pitch", 60)]
    on = [("velocity", 1), ("pitch", 64), ("pitch", 67), ("time", 70), ("drum", 36)]
    assert encode(notes, 5.12).tolist() == said(*tie, *off, *on)
    assert VOCABULARY == 3 + 1001 + 128 + 2 + 1 + 128 + 128


def test_a_note_that_is_not_tied_ends_at_the_boundary():
    first = np.array(said(("tie", 0), ("time", 10), ("program", 0), ("velocity", 1), ("pitch", 60)))
    assert decode([first, np.array(said(("tie", 0)))], 1.0).stop.tolist() == [1.0]
    tied = np.array(said(("program", 0), ("pitch", 60), ("tie", 0)))
    assert decode([first, tied], 1.0).stop.tolist() == [2.0]


@given(tokens=st.lists(st.integers(0, VOCABULARY - 1), max_size=80))
def test_any_tokens_are_read(tokens):
    notes = decode([np.array(tokens, np.int32)], 5.12)
    assert (notes.stop >= notes.start).all() and len(notes.start) <= len(tokens)


def test_more_notes_than_fit_are_explained():
    many = Notes.of([(i / 200, 5, i % 128, 80, i // 128) for i in range(1000)])
    with pytest.raises(UserError, match=rf"1000 notes in 5\.12 s need \d+ tokens, and a segment has {MAX_TOKENS}"):
        encode(many, 5.12)
