"""MIDI files: what is written is read again; tempo, pedal, drums, running status; bad files are explained.

What any bytes in a file do: tests/test_strangers.py.
"""

import mido
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddim_from_scratch.audio.midi import DRUMS, MIDI_LIMIT, Notes, read_midi, write_midi
from ddim_from_scratch.runtime.errors import UserError


def note(**fields):
    return mido.Message("note_on", **fields)


def file_of(path, *tracks, **options):
    midi = mido.MidiFile(ticks_per_beat=100, **options)
    midi.tracks += [mido.MidiTrack(track) for track in tracks]
    midi.save(path)
    return path


notes_strategy = st.lists(
    st.tuples(
        st.floats(0, 100), st.floats(0.01, 5), st.integers(0, 127), st.integers(1, 127), st.sampled_from([0, 40, DRUMS])
    ),
    min_size=1,
    max_size=60,
).map(lambda rows: Notes.of([(round(start, 3), round(start + length, 3), *rest) for start, length, *rest in rows]))


@given(notes=notes_strategy)
def test_what_is_written_is_read_again(notes, tmp_path_factory):
    path = tmp_path_factory.mktemp("midi") / "song.mid"
    write_midi(path, notes)
    for field, a, b in zip(Notes._fields, read_midi(path), notes, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 if field in ("start", "stop") else 0, err_msg=field)


def test_tempo_pedal_drums_and_programs_are_heard(tmp_path):
    """100 ticks are 0.5 s, and 1 s from tick 200 on, which another track says."""
    tempo = [mido.MetaMessage("set_tempo", tempo=1_000_000, time=200)]
    piano = [
        note(note=60, velocity=90, time=100),  # 0.5 s
        note(note=60, velocity=0, time=100),  # 1 s
        mido.Message("control_change", control=64, value=127),
        note(note=62, velocity=80, time=100),  # 2 s
        note(note=62, velocity=0, time=10),  # the key is up at 2.1 s, the pedal at 3.1 s
        mido.Message("control_change", control=64, value=0, time=100),
    ]
    flute = [mido.Message("program_change", channel=3, program=73), note(channel=3, note=70), note(channel=9, note=36)]
    notes = read_midi(file_of(tmp_path / "a.mid", tempo, piano, flute))
    expected = [(0, 3.1, 36, 64, DRUMS), (0, 3.1, 70, 64, 73), (0.5, 1, 60, 90, 0), (2, 3.1, 62, 80, 0)]
    np.testing.assert_allclose(np.transpose(notes), expected)


@pytest.mark.parametrize(("frames", "seconds"), [(24, 1), (25, 0.96), (29, 24 * 1001 / 30_000), (30, 0.8)])
def test_ticks_of_film_are_parts_of_a_frame(frames, seconds, tmp_path):
    midi = mido.MidiFile(file_of(tmp_path / "a.mid", [note(note=60), note(note=60, velocity=0, time=96)]))
    midi.ticks_per_beat = -frames * 256 + 4  # ticks a frame
    midi.save(tmp_path / "a.mid")
    assert read_midi(tmp_path / "a.mid").stop == pytest.approx([seconds], rel=1e-12)


def test_running_status_is_understood(tmp_path):
    track = b"\x00\x90\x3c\x40\x60\x3c\x00\x00\xff\x2f\x00"  # the second message has no status byte
    header = b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x00\x60"
    (tmp_path / "a.mid").write_bytes(header + b"MTrk" + len(track).to_bytes(4, "big") + track)
    notes = read_midi(tmp_path / "a.mid")
    assert (*notes.start, *notes.stop, *notes.pitch) == (0, 0.5, 60)


@pytest.mark.parametrize("data", [b"\x59\x02\x40\x00", b"\x59\x02\x01\x02", b"\x59\x00"])
def test_a_key_that_does_not_exist_is_passed_over(data, tmp_path):
    track = b"\x00\xff" + data + b"\x00\x90\x3c\x40\x60\x80\x3c\x00\x00\xff\x2f\x00"
    header = b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x00\x60"
    (tmp_path / "a.mid").write_bytes(header + b"MTrk" + len(track).to_bytes(4, "big") + track)
    assert read_midi(tmp_path / "a.mid").pitch.tolist() == [60]
    key = mido.MetaMessage("key_signature", key="F#m")  # what is right stays so, for others who use mido
    assert key in mido.MidiFile(file_of(tmp_path / "b.mid", [key])).tracks[0]


def test_a_note_ends_where_it_is_struck_again():
    notes = Notes.of([(0, 2, 60, 80, 0), (1, 3, 60, 80, 0), (1, 3, 60, 80, 5), (1, 1, 61, 80, 0)])
    assert notes.stop.tolist() == [1, 3, 3]


def test_parts_and_transposition():
    notes = Notes.of([(0, 2, 60, 80, 0), (1, 1, 36, 80, DRUMS), (3, 4, 127, 80, 0)])
    part = notes.between(1, 3)
    assert part.start.tolist() == [-1, 0] and part.stop.tolist() == [1, 0]
    assert notes.between(2, 3).pitch.tolist() == []
    assert notes.transposed(1).pitch.tolist() == [61, 36]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"RIFF and so on", "is not a MIDI file"),
        (b"MThd\x00\x00\x00\x06\x00", "cut short"),
        (b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x00\x60", "cut short"),
        (b"MThd\x00\x00\x00\x06\x00\x01\x00\x00\x00\x60", "holds no notes"),
        (b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x00\x60MTrk\x00\x0f\xff\xff" + b"\xff" * 10**6, "1000 bytes"),
        (b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00MTrk\x00\x00\x00\x04\x01\x90\x3c\x40", "is 0 where none may"),
        (b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x00\x60MTrk\x00\x00\x00\x08\x00\x90\x3c\x40\xff\xff\xff\x7f", "cut"),
        (b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x00\x60MTrk\x00\x00\x00\x04\x00\x90\x3c\x40", "holds no notes"),
        (b"MThd" + bytes(MIDI_LIMIT), "more than"),
    ],
)
def test_bad_files_are_explained(content, message, tmp_path):
    (tmp_path / "bad.mid").write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_midi(tmp_path / "bad.mid")
    assert "bad.mid" in str(error.value)


def test_a_file_of_centuries_is_refused(tmp_path):
    path = file_of(tmp_path / "a.mid", [note(note=60), note(note=60, velocity=0, time=2**28 - 1)])
    with pytest.raises(UserError, match="longer than a day"):
        read_midi(path)
