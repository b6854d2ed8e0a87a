"""Notes, and the MIDI files that hold them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import mido
import numpy as np
from mido.midifiles.meta import KeySignatureError, MetaSpec_key_signature, add_meta_spec

from ..runtime.errors import UserError, naming, printable
from ..runtime.files import read_bytes, replacing

DRUMS = 128  # the program of drums, which MIDI keeps apart by their channel
DRUM_CHANNEL = 9
CHANNELS = [channel for channel in range(16) if channel != DRUM_CHANNEL]
SUSTAIN, ALL_SOUND_OFF, ALL_NOTES_OFF = 64, 120, 123  # controllers
MIDI_LIMIT = 2 << 20  # bytes of a file: MAESTRO's have 64 000 on average, and this takes 20 s
TOO_LONG = re.compile(rb"[\x80-\xff]{1000}")  # a number of so many bytes: the library would read it for hours
MIDI_SECONDS = 24 * 3600  # a file can claim centuries

TICKS_PER_BEAT, TEMPO = 1000, 500_000  # of files written here: a tick is 0.5 ms


class AnyKey(MetaSpec_key_signature):  # type: ignore[misc]
    """A key signature for mido; one that does not exist, as many files have, is passed over: mido would stop at it."""

    type = "key_signature"

    def decode(self, message: mido.MetaMessage, data: bytes) -> None:
        with suppress(LookupError, KeySignatureError):
            super().decode(message, data)


add_meta_spec(AnyKey)


class Notes(NamedTuple):
    """Notes sorted by their starts: five arrays (n,), or any part of them.

    start, stop: seconds, float64. pitch: semitones, 60 is the middle C. velocity: 1..127. program: the instrument, from
    0, General MIDI's piano, to 127; or DRUMS. The last three are int64.
    """

    start: np.ndarray
    stop: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    program: np.ndarray

    @classmethod
    def of(cls, rows: list[tuple[float, float, int, int, int]]) -> Notes:
        """From (start, stop, pitch, velocity, program) of each note, in any order.

        No instrument sounds a pitch twice at a time: a note ends where the same one is struck again.
        """
        start, stop, *whole = np.array(sorted(rows), np.float64).reshape(-1, 5).T
        notes = cls(start, stop, *(numbers.astype(np.int64) for numbers in whole))
        order = np.lexsort((start, notes.pitch, notes.program))
        same = (np.diff(notes.pitch[order]) == 0) & (np.diff(notes.program[order]) == 0)
        again = np.full(len(start), np.inf)  # when it is struck again
        again[order[:-1]] = np.where(same, start[order][1:], np.inf)
        stop[:] = np.minimum(stop, again)
        return notes.where((stop > start) | (notes.program == DRUMS) & (again > start))

    @property
    def seconds(self) -> float:
        """When the last note ends."""
        return float(self.stop.max(initial=0.0))

    def where(self, chosen: np.ndarray) -> Notes:
        """Some of the notes: chosen is a mask (n,) or indices."""
        return Notes(*(numbers[chosen] for numbers in self))

    def between(self, start: float, stop: float) -> Notes:
        """The notes that sound between two times in seconds, with times counted from `start`.

        One that began before has a negative start; one that goes on stops after the end.
        """
        some = self.where((self.start < stop) & (np.maximum(self.stop, np.nextafter(self.start, np.inf)) > start))
        return some._replace(start=some.start - start, stop=some.stop - start)

    def transposed(self, semitones: int) -> Notes:
        """Higher by some semitones. Drums stay, and notes that leave 0..127 are left out."""
        pitch = np.where(self.program == DRUMS, self.pitch, self.pitch + semitones)
        return self._replace(pitch=pitch).where((pitch >= 0) & (pitch < 128))


def read_midi(path: str | Path) -> Notes:
    """The notes of a MIDI file as they sound: with its tempo changes, and held by the sustain pedal.

    A note that is struck again ends there. Raises UserError, saying what to do, for a file that is no MIDI file, is cut
    short, or has no notes; OSError if it cannot be opened.
    """
    name = printable(path)
    content = read_bytes(path, MIDI_LIMIT)
    if not content:
        raise UserError(f"{name} is empty: copy it again")
    if not content.startswith(b"MThd"):
        raise UserError(f"{name} is not a MIDI file: give one")
    with naming(path, "cannot be read as MIDI", "copy it again, or leave it out"):
        if TOO_LONG.search(content):
            raise UserError("it has 1000 bytes above 127 in a row: a number without an end, or long text")
        notes = Notes.of(list(_notes(mido.MidiFile(file=io.BytesIO(content), clip=True))))
    if not len(notes.start):
        raise UserError(f"{name} holds no notes: leave it out")
    return notes


def _messages(file: mido.MidiFile) -> Iterator[tuple[float, int, mido.Message]]:
    """(seconds, track, message) of all tracks, in the order of their times. Raises UserError for more than a day."""
    if file.type == 2:
        raise UserError("its tracks are pieces of their own, of format 2")
    ticks_per_second = 0.0
    if file.ticks_per_beat < 0:  # SMPTE: frames a second, negative, and ticks a frame
        frames = -(file.ticks_per_beat >> 8)
        ticks_per_second = (30_000 / 1001 if frames == 29 else frames) * (file.ticks_per_beat & 0xFF)
    messages = []
    for number, track in enumerate(file.tracks):
        ticks = accumulate(message.time for message in track)
        messages += [(tick, number, message) for tick, message in zip(ticks, track, strict=True)]
    now, before, tempo = 0.0, 0, 500_000  # seconds, ticks, microseconds a beat: 120 beats a minute unless told
    for tick, track, message in sorted(messages, key=lambda one: one[0]):  # keeps the order of those at the same time
        now += (tick - before) * (1 / ticks_per_second if ticks_per_second else tempo * 1e-6 / file.ticks_per_beat)
        before = tick
        if now > MIDI_SECONDS:
            raise UserError("it lasts longer than a day")
        if message.type == "set_tempo":
            tempo = message.tempo
        yield now, track, message


def _notes(file: mido.MidiFile) -> Iterator[tuple[float, float, int, int, int]]:
    """(start, stop, pitch, velocity, program) of each note, in the order of their ends.

    A program is its track's on that channel, else the channel's: files of more than 16 instruments share channels.
    """
    sounding: dict[tuple[int, int, int], tuple[float, int, int]] = {}  # channel, track, pitch: start, velocity, program
    released: set[tuple[int, int, int]] = set()  # of these: the key is up, the pedal down
    pedal: set[int] = set()
    programs: dict[int | tuple[int, int], int] = {}
    now = 0.0
    for now, track, message in _messages(file):
        ended: list[tuple[int, int, int]] = []
        started = None
        if message.type == "program_change":
            programs[message.channel] = programs[message.channel, track] = message.program
        elif message.type == "control_change":
            if message.control == SUSTAIN and message.value >= 64:
                pedal.add(message.channel)
            elif message.control == SUSTAIN:
                pedal.discard(message.channel)
                ended = [key for key in released if key[0] == message.channel]
            elif message.control in (ALL_SOUND_OFF, ALL_NOTES_OFF):
                ended = [key for key in sounding if key[0] == message.channel]
        elif message.type in ("note_on", "note_off"):
            channel, key = message.channel, (message.channel, track, message.note)
            if message.type == "note_on" and message.velocity:
                program = programs.get((channel, track), programs.get(channel, 0))
                started = now, message.velocity, DRUMS if channel == DRUM_CHANNEL else program
            if key in sounding and not started and channel in pedal:
                released.add(key)
            elif key in sounding:
                ended = [key]
        for one in ended:
            start, velocity, program = sounding.pop(one)
            released.discard(one)
            yield start, now, one[2], velocity, program
        if started:
            sounding[key] = started
    for (_, _, pitch), (start, velocity, program) in sounding.items():
        yield start, now, pitch, velocity, program


def write_midi(path: str | Path, notes: Notes) -> None:
    """Writes a MIDI file, atomically: a track for each program, times to half a millisecond.

    Raises OSError if it cannot be written, and ValueError for notes that MIDI has not: see `Notes`.
    """
    file = mido.MidiFile(ticks_per_beat=TICKS_PER_BEAT)
    tick_seconds = TEMPO * 1e-6 / TICKS_PER_BEAT
    for number, program in enumerate(np.unique(notes.program)):
        channel = DRUM_CHANNEL if program == DRUMS else CHANNELS[number % len(CHANNELS)]
        track = file.add_track()
        track.append(mido.MetaMessage("set_tempo", tempo=TEMPO))
        if program != DRUMS:
            track.append(mido.Message("program_change", channel=channel, program=int(program)))
        events = []
        for start, stop, pitch, velocity, _ in zip(*notes.where(notes.program == program), strict=True):
            first = round(start / tick_seconds)
            last = max(round(stop / tick_seconds), first + 1)
            events += [(first, 1, int(pitch), int(velocity)), (last, 0, int(pitch), 0)]
        before = 0
        for tick, on, pitch, velocity in sorted(events):  # at one time, ends come before starts
            kind = "note_on" if on else "note_off"
            track.append(mido.Message(kind, channel=channel, note=pitch, velocity=velocity, time=tick - before))
            before = tick
    with replacing(path) as out:
        file.save(file=out)
