"""The judge hears the notes of a recording, and not those of another one."""

import sys

import numpy as np
import pytest
from helpers import reference

from ddim_from_scratch.audio.midi import DRUMS, Notes
from ddim_from_scratch.notes.judge import load_judge, mean_f1, onset_f1
from ddim_from_scratch.runtime.errors import UserError


def test_onsets_within_50_ms_count_once_and_at_their_pitch():
    reference("mir_eval")
    notes = Notes.of([(0, 1, 60, 80, 0), (1, 2, 64, 80, 0), (-1, 2, 50, 80, 0), (1, 1, 36, 80, DRUMS)])
    heard = Notes.of([(0.04, 0.1, 60, 80, 0), (1.06, 2, 64, 80, 0), (0.045, 0.2, 61, 80, 0)])
    assert onset_f1(heard, notes) == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))
    assert onset_f1(Notes.of([]), notes) == 0
    assert onset_f1(heard, notes.where(notes.start < 0)) is None


def test_clips_in_which_no_note_begins_have_no_f1():
    """What it hears of music: tests/experiments/test_played.py."""
    with pytest.raises(UserError, match="no note begins in any of the 4 clips"):
        mean_f1(lambda samples: Notes.of([]), np.zeros((4, 100), np.float32), [Notes.of([])] * 4, "silence")


def test_without_basic_pitch_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "basic_pitch", None)
    with pytest.raises(UserError, match=r"ddim_from_scratch\[notes\].*pip install --no-deps basic-pitch"):
        load_judge()
