"""Reads the notes of a piece: MIDI files, and GuitarSet's JAMS."""

from __future__ import annotations

from pathlib import Path

from ..audio.contract import F_MAX_HZ
from ..audio.midi import DRUMS, MIDI_SECONDS, Notes, read_midi, write_midi
from ..audio.synth import frequency_hz
from ..runtime.cli import counted
from ..runtime.errors import UserError, naming, printable, warn
from ..runtime.files import conforms, read_json

__all__ = ["DRUMS", "Notes", "read_notes", "write_midi"]

MIDI_SUFFIXES, JAMS_SUFFIX = (".mid", ".midi"), ".jams"
GUITAR, GUITAR_VELOCITY = 25, 80  # GuitarSet's instrument, a steel-string guitar; its loudness is not annotated


def read_notes(path: str | Path) -> Notes:
    """The notes of a MIDI file, or of a JAMS file (Humphrey et al. 2014) as GuitarSet has them.

    Warns, on stderr, of notes above what a spectrogram shows, which make no sound.
    Raises UserError, saying what to do, for a file that cannot be read or has no notes; OSError if it cannot be opened.
    """
    notes = _read_jams(path) if Path(path).suffix.lower() == JAMS_SUFFIX else read_midi(path)
    high = notes.pitch[(notes.program != DRUMS) & (frequency_hz(notes.pitch) > F_MAX_HZ)]
    if len(high):
        warn(
            f"{printable(path)} has {counted(len(high), 'note')} above {F_MAX_HZ:g} Hz, up to pitch {high.max()}, "
            "which no spectrogram here shows: transpose the notes, or they will not be heard"
        )
    return notes


def _read_jams(path: str | Path) -> Notes:
    """The notes of all strings: annotations of the namespace note_midi, pitches rounded to semitones."""
    with naming(path, "is not a JAMS file", "copy it again"):
        content = read_json(path)
        if not conforms(content, {"annotations": [{"namespace": str}]}):
            raise UserError("it has no annotations")
        strings = [one.get("data") for one in content["annotations"] if one["namespace"] == "note_midi"]
        if not conforms(strings, [[{"time": float, "duration": float, "value": float}]]):
            raise UserError("a note lacks its time, duration or value")
    notes = [
        (note["time"], note["time"] + note["duration"], round(note["value"]), GUITAR_VELOCITY, GUITAR)
        for string in strings
        for note in string
        if 0 <= note["time"] < MIDI_SECONDS and 0 < note["duration"] < MIDI_SECONDS and 0 <= note["value"] < 127.5
    ]
    if not notes:
        raise UserError(f"{printable(path)} holds no notes: leave it out")
    return Notes.of(notes)
