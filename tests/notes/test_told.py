"""What a network is told of the notes, as a roll or as tokens."""

import numpy as np
import pytest

from ddim_from_scratch.audio.midi import Notes
from ddim_from_scratch.notes.config import Config
from ddim_from_scratch.notes.data import told
from ddim_from_scratch.notes.roll import features, roll
from ddim_from_scratch.notes.tokens import encode, require_room
from ddim_from_scratch.runtime.errors import UserError

SCORES = [Notes.of([(0.1, 0.5, 60, 80, 0), (0.3, 2, 64, 80, 0)]), Notes.of([(0.2, 0.9, 62, 80, 24)])]
ROLL = Config(data="x", programs=(0, 24))
TOKENS = Config(data="x", programs=(0, 24), network="transformer", notes_as="tokens")


def test_a_roll_says_that_it_is_known():
    rolls = told(ROLL, SCORES, [16, 0], 32)
    assert rolls.shape == (2, 32, ROLL.features) == (2, 32, features((0, 24)) + 1) and (rolls[..., -1] == 1).all()
    np.testing.assert_array_equal(rolls[0, :, :-1], roll(SCORES[0], 16, 32, (0, 24)))


def test_tokens_count_from_their_own_window_and_are_filled_up():
    tokens, (first, second) = told(TOKENS, SCORES, [16, 0], 32), (SCORES[0].between(0.32, 0.96), SCORES[1])
    assert TOKENS.features == 0 and tokens.max() < TOKENS.vocabulary
    for row, notes in zip(tokens, (first, second), strict=True):
        expected = encode(notes, 0.64)
        np.testing.assert_array_equal(row[: len(expected)], expected)
        assert not row[len(expected) :].any()


@pytest.mark.parametrize("config", [ROLL, TOKENS])
def test_an_instrument_that_was_never_trained_is_refused(config):
    with pytest.raises(UserError, match=r"program 40, .* trained on 0, 24"):
        told(config, [Notes.of([(0, 1, 60, 80, 40)])], [0], 32)


def test_too_many_notes_for_tokens_are_found_in_any_segment():
    """A chord of 60 pitches of 16 programs needs 1955 of 2048 tokens: two of them, 0.6 s apart, are too many."""
    chord = [(pitch, program) for program in range(16) for pitch in range(60)]
    both = Notes.of([(start, start + 0.05, pitch, 80, program) for start in (2.01, 2.61) for pitch, program in chord])
    require_room(both, 0.5)
    with pytest.raises(UserError, match="a segment has 2048"):
        require_room(both, 0.64)


def test_tokens_need_the_network_that_reads_them():
    with pytest.raises(UserError, match="--notes-as tokens needs --network transformer"):
        Config(data="x", notes_as="tokens")
