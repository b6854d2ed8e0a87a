"""The embedded music: in GTZAN's layout, the same every time, in tune and in time."""

import numpy as np
import pytest
import soundfile
from helpers import digest

from ddim_from_scratch.audio import find_audio
from ddim_from_scratch.audio.midi import read_midi
from ddim_from_scratch.audio.synth import (
    GENRES,
    PROGRAMS,
    SR,
    TUNES,
    Note,
    frequency_hz,
    main,
    play,
    score,
    timeline,
    tone,
    write_corpus,
)
from ddim_from_scratch.runtime.errors import UserError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A tune and a study of each genre."""
    return write_corpus(tmp_path_factory.mktemp("corpus"), tracks_per_genre=1, seed=3, studies_per_genre=1)


def test_layout_and_determinism(corpus, tmp_path, capsys):
    tunes = [path for path in corpus if path.stem.endswith("00000")]
    root = corpus[0].parents[2]
    names = [path.relative_to(root).as_posix() for path in tunes]
    assert names == [f"genres/{genre}/{genre}.00000.wav" for genre in GENRES] and find_audio(root) == sorted(corpus)
    again = write_corpus(tmp_path / "again", tracks_per_genre=1, seed=3)  # studies leave the tunes as they are
    main([str(tmp_path / "other"), "--tracks", "1", "--seed", "4"])
    assert "3 tracks of 30 s" in capsys.readouterr().out
    for a, b in zip(tunes, again, strict=True):
        assert digest(a) == digest(b) != digest(tmp_path / "other" / a.relative_to(root))
        info = soundfile.info(a)
        assert (info.samplerate, info.channels, info.subtype, info.duration) == (22050, 1, "PCM_16", 30.0)
        samples, _ = soundfile.read(a)
        assert 0.08 < np.sqrt(np.mean(samples**2)) < 0.101  # alike in loudness
        assert np.abs(samples).max() < 1


@pytest.mark.parametrize("genre", GENRES)
@pytest.mark.parametrize("midi", [45, 69, 84])
def test_every_timbre_is_in_tune(genre, midi):
    """The lowest strong peak of a tone is within 5 cents (0.3 %) of the note's frequency."""
    wave = tone(genre, midi)[: SR // 2]
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 1 << 18))
    hz = np.fft.rfftfreq(1 << 18, 1 / SR)
    near = np.abs(hz / frequency_hz(midi) - 1) < 0.05
    peak = hz[near][spectrum[near].argmax()]
    assert abs(1200 * np.log2(peak / frequency_hz(midi))) < 5
    assert spectrum[near].max() > 0.2 * spectrum.max()


@pytest.mark.parametrize("name", TUNES)
def test_melody_and_chords_end_together(name):
    tune = TUNES[name]
    ends = {start + beats for _, start, beats in list(timeline(tune.melody))[-1:]}
    ends |= {start + beats for _, start, beats in list(timeline(tune.chords))[-1:]}
    assert len(ends) == 1


def test_score_reads_names_octaves_and_chords():
    notes = score(TUNES["Ode to Joy (Beethoven)"], held=True)
    assert notes[0] == Note(midi=64, start=0, beats=1, loudness=1)  # E4
    chord = sorted(note.midi for note in notes[:] if note.start == 0)
    assert [midi % 12 for midi in chord] == [0, 7, 0, 4, 4]  # C in the bass, G C E, and the melody's E
    minor = score(TUNES["Greensleeves"], held=True)
    assert {note.midi % 12 for note in minor if note.start == 1 and note.beats == 3} == {9, 0, 4}  # A C E


def test_play_puts_a_note_where_and_as_high_as_it_is_written():
    """At 60 beats a minute a note on beat 2 sounds from second 2 to 3; the tune comes again every 5 s."""
    notes = [Note(69, 2.0, 1.0, 1.0), Note(69, 4.0, 1.0, 0.0)]
    track = play(notes, "organ", 3, 60, np.random.default_rng(0))
    energy = (track.reshape(30, SR) ** 2).mean(axis=1)
    assert set(np.flatnonzero(energy > 0.1 * energy.max())) == {2, 7, 12, 17, 22, 27}
    peak = np.abs(np.fft.rfft(track[2 * SR : 3 * SR])).argmax()  # 1 Hz a bin
    assert abs(peak - frequency_hz(72)) <= 1


def test_notes_lie_beside_each_recording(corpus):
    """Where a note begins, the recording gets louder at its frequency."""
    for path in corpus:
        notes = read_midi(path.with_suffix(".mid"))
        assert set(notes.program) == {PROGRAMS[path.parent.name]} and notes.seconds < 30.001
        samples, _ = soundfile.read(path)
        loudness = []  # at each note's frequency, 50 ms before and after its start
        for start, pitch in zip(notes.start, notes.pitch, strict=True):
            if 0.1 < start < 29:
                wave = np.exp(-2j * np.pi * frequency_hz(pitch) / SR * np.arange(SR // 20)) * np.hanning(SR // 20)
                loudness.append([abs(wave @ samples[int((start + t) * SR) :][: len(wave)]) for t in (-0.05, 0.005)])
        before, after = np.transpose(loudness)
        assert np.median(after / before) > 2, path


@pytest.mark.parametrize(
    ("arguments", "message"), [(["x", "--tracks", "0"], "--tracks"), (["x", "--seed", "-1"], "--seed"), ([], "folder")]
)
def test_the_command_explains_a_wrong_argument(arguments, message):
    with pytest.raises(UserError, match=message):
        main(arguments)
