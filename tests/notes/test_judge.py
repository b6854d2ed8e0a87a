"""The judge hears the notes of a recording, and not those of another one."""

import sys

import numpy as np
import pytest
import soxr
from helpers import reference

from ddim_from_scratch.audio import griffin_lim, log_mel
from ddim_from_scratch.audio.midi import DRUMS, Notes
from ddim_from_scratch.audio.synth import SR as SYNTH_SR
from ddim_from_scratch.audio.synth import TUNES, midi_notes, play, score
from ddim_from_scratch.notes.judge import load_judge, mean_f1, onset_f1
from ddim_from_scratch.runtime.errors import UserError


def test_onsets_within_50_ms_count_once_and_at_their_pitch():
    reference("mir_eval")
    notes = Notes.of([(0, 1, 60, 80, 0), (1, 2, 64, 80, 0), (-1, 2, 50, 80, 0), (1, 1, 36, 80, DRUMS)])
    heard = Notes.of([(0.04, 0.1, 60, 80, 0), (1.06, 2, 64, 80, 0), (0.045, 0.2, 61, 80, 0)])
    assert onset_f1(heard, notes) == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))
    assert onset_f1(Notes.of([]), notes) == 0
    assert onset_f1(heard, notes.where(notes.start < 0)) is None


def test_the_embedded_string_is_heard():
    """Measured over 15 clips: 0.80 for the recordings, 0.82 inverted, 0.01 for other notes."""
    reference("basic_pitch")
    judge = load_judge()
    clips, notes = [], []
    for tune in list(TUNES.values())[:4]:
        played = play(score(tune, held=False), "plucked", 0, 100, np.random.default_rng(0))[: round(5.12 * SYNTH_SR)]
        clips.append(soxr.resample(played, SYNTH_SR, 16000)[:81920].astype(np.float32))
        notes.append(midi_notes(score(tune, held=False), 24, 0, 100).between(0, 5.12))
    assert mean_f1(judge, np.stack(clips), notes, "real") > 0.65
    assert mean_f1(judge, np.stack([griffin_lim(log_mel(clip)) for clip in clips]), notes, "inverted") > 0.65
    assert mean_f1(judge, np.stack(clips), notes[1:] + notes[:1], "others") < 0.25
    with pytest.raises(UserError, match="no note begins in any of the 4 clips"):
        mean_f1(judge, np.stack(clips), [Notes.of([])] * 4, "silence")


def test_without_basic_pitch_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "basic_pitch", None)
    with pytest.raises(UserError, match=r"ddim_from_scratch\[notes\].*pip install --no-deps basic-pitch"):
        load_judge()
