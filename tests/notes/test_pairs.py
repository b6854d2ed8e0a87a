"""Pairs of recordings and notes: every layout is found, and what does not belong together is told by how much."""

import json

import numpy as np
import pytest
import soundfile
import soxr

from ddim_from_scratch.audio import log_mel
from ddim_from_scratch.audio.midi import Notes, write_midi
from ddim_from_scratch.audio.synth import SR as SYNTH_SR
from ddim_from_scratch.audio.synth import midi_notes, play, study
from ddim_from_scratch.notes.pairs import notes_beside, require_match, with_notes
from ddim_from_scratch.runtime.errors import UserError

LAYOUTS = {  # recording and notes, of folders in the data sets' own layout
    "beside": {"a/song.wav": "a/song.mid", "b.flac": "b.midi"},
    "MAESTRO": {"2004/MIDI-Unprocessed_01.wav": "2004/MIDI-Unprocessed_01.midi"},
    "GuitarSet": {"audio_mono-mic/00_BN1-129-Eb_comp_mic.wav": "annotation/00_BN1-129-Eb_comp.jams"},
    "Slakh": {"train/Track00001/mix.flac": "train/Track00001/all_src.mid"},
    "stems": {"Track00001/stems/S00.flac": "Track00001/MIDI/S00.mid"},
}
SONG = Notes.of([(0.5, 1, 60, 80, 0)])


def record(path, seconds=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(len(path.name)).uniform(-0.1, 0.1, int(seconds * 16000)), 16000)


def lay_out(root, layout):
    for i, (audio, notes) in enumerate(layout.items()):
        record(root / audio, 1 + i)
        (root / notes).parent.mkdir(parents=True, exist_ok=True)
        if notes.endswith(".jams"):
            (root / notes).write_text(json.dumps({"annotations": []}))
        else:
            write_midi(root / notes, SONG)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_is_found(layout, tmp_path):
    lay_out(tmp_path, layout)
    found = {audio: notes_beside(audio) for audio in with_notes(str(tmp_path))}
    assert {str(a.relative_to(tmp_path)): str(b.relative_to(tmp_path)) for a, b in found.items()} == layout


def test_one_recording_a_piece_and_what_is_left_out(tmp_path):
    lay_out(tmp_path, LAYOUTS["Slakh"])
    record(tmp_path / "train/Track00001/stems/S00.flac", 3)
    record(tmp_path / "noise.wav", 4)
    left_out = {}
    assert len(with_notes(str(tmp_path), left_out)) == 1
    assert {reason: [path.name for path in paths] for reason, paths in left_out.items()} == {
        "other recordings of the same piece": ["S00.flac"],
        "without notes": ["noise.wav"],
    }


def test_recordings_without_notes_are_explained(tmp_path):
    record(tmp_path / "noise.wav")
    with pytest.raises(UserError, match=r"no recording with its notes; left out: without notes: 1 \(noise\.wav\)"):
        with_notes(str(tmp_path))


@pytest.fixture(scope="module")
def piece():
    rng = np.random.default_rng(0)
    notes = study(rng)
    sound = soxr.resample(play(notes, "plucked", 0, 90, rng), SYNTH_SR, 16000)
    return log_mel(sound.astype(np.float32)), midi_notes(notes, 24, 0, 90)


@pytest.mark.parametrize("seconds", [-0.1, 0.1, 0.64, 5.0])
def test_notes_that_are_shifted_are_told_by_how_much(seconds, piece):
    log_mels, notes = piece
    require_match("song.wav", log_mels, notes)
    kept = notes.where(notes.start >= seconds)
    shifted = kept._replace(start=kept.start - seconds, stop=kept.stop - seconds)
    direction = "later" if seconds > 0 else "earlier"
    with pytest.raises(UserError, match=r"song\.wav fits its notes best when these begin \d\.\d\d s") as error:
        require_match("song.wav", log_mels, shifted)
    assert direction in str(error.value)
    assert abs(float(str(error.value).split(" begin ")[1].split()[0]) - abs(seconds)) < 0.03


def test_lengths_that_disagree_are_told(piece):
    log_mels, notes = piece
    with pytest.raises(UserError, match=r"lasts 20\.0 s, but its notes 30\.0 s"):
        require_match("song.wav", log_mels[:1000], notes)
    with pytest.raises(UserError, match=r"lasts 30\.0 s, but its notes \d+\.\d s"):
        require_match("song.wav", log_mels, notes.where(notes.stop < 15))
