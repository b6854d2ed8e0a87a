"""Scores in GuitarSet's form, and notes that no spectrogram shows."""

import json

import pytest

from ddim_from_scratch.audio.midi import DRUMS, Notes
from ddim_from_scratch.notes.roll import comb
from ddim_from_scratch.notes.score import GUITAR, read_notes, write_midi
from ddim_from_scratch.runtime.errors import UserError


def write_jams(path, *strings):
    """A JAMS file with the notes (time, duration, pitch) of each string."""
    annotations = [{"namespace": "beat_position", "data": []}]
    for string in strings:
        data = [{"time": t, "duration": d, "value": p, "confidence": None} for t, d, p in string]
        annotations.append({"namespace": "note_midi", "data": data})
    path.write_text(json.dumps({"annotations": annotations, "file_metadata": {}}))
    return path


def test_the_strings_of_a_guitar_become_one_score(tmp_path):
    notes = read_notes(
        write_jams(tmp_path / "a.jams", [(0.5, 1.0, 45.2)], [(0.25, 0.5, 59.9), (2, 0.0, 61), (1e9, 1, 61)])
    )
    assert [one.tolist() for one in notes] == [[0.25, 0.5], [0.75, 1.5], [60, 45], [80, 80], [GUITAR, GUITAR]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "it is not JSON"),
        ("[]", "it has no annotations"),
        ('{"annotations": [{"namespace": "note_midi", "data": [{"time": "x"}]}]}', "a note lacks its time"),
    ],
)
def test_what_is_no_jams_file_is_explained(text, reason, tmp_path):
    (tmp_path / "a.jams").write_text(text)
    with pytest.raises(UserError, match=rf"a\.jams is not a JAMS file \({reason}"):
        read_notes(tmp_path / "a.jams")


def test_a_score_without_notes_is_explained(tmp_path):
    with pytest.raises(UserError, match="holds no notes"):
        read_notes(write_jams(tmp_path / "a.jams", []))


def test_notes_above_the_spectrogram_are_told(tmp_path, capsys):
    assert comb(119).any() and not comb(120).any()
    write_midi(tmp_path / "low.mid", Notes.of([(0, 1, 119, 80, 0), (0, 1, 127, 80, DRUMS)]))
    read_notes(tmp_path / "low.mid")
    assert not capsys.readouterr().err
    write_midi(tmp_path / "high.mid", Notes.of([(0, 1, 60, 80, 0), (0, 1, 120, 80, 0), (1, 2, 127, 80, 0)]))
    read_notes(tmp_path / "high.mid")
    said = capsys.readouterr().err
    assert "high.mid has 2 notes above 8000 Hz, up to pitch 127" in said and said.count("\n") == 1
