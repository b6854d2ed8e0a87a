"""Synthesised music: a small corpus in GTZAN's layout, with its notes.

    python -m ddim_from_scratch.audio.synth FOLDER

Old tunes, written below as note names, are played with a bass, broken or held chords, in a random key and tempo.
Studies are random notes and scales, to learn an instrument from. Each genre is a timbre. A MIDI file of the same name
lies beside each recording. The same seed gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.signal import lfilter

from ..runtime.cli import Parser, at_least, run_command
from .midi import Notes, write_midi
from .wav import write_wav

SR = 22050  # GTZAN's rate, samples a second
TRACK_SECONDS = 30
TONE_SECONDS = 4.0  # the longest note
RELEASE_SECONDS = 0.08  # a note dies away within this time after its end
LOUDNESS = 0.1  # root mean square of a track: -20 dB
HISS = 5e-4  # relative to a note: without noise, quiet mel bins would contain rounding errors

# The tunes: NAME or NAME:BEATS (default: one beat); "-" is a rest, and bar lines "|" are ignored. Chords are letters,
# with "m" for minor. All are in the public domain.


class Tune(NamedTuple):
    melody: str
    chords: str


def arpeggios(bars: str) -> str:
    """Bach's figure: a bar of five notes a b c d e is played as a b c d e c d e, twice, four notes a beat."""
    figures = (bar.split() for bar in bars.split("|"))
    return " ".join(f"{bar[i]}:.25" for bar in figures for i in (0, 1, 2, 3, 4, 2, 3, 4) * 2)


TUNES = {
    "Ode to Joy (Beethoven)": Tune(
        "E4 E4 F4 G4 | G4 F4 E4 D4 | C4 C4 D4 E4 | E4:1.5 D4:.5 D4:2 |"
        "E4 E4 F4 G4 | G4 F4 E4 D4 | C4 C4 D4 E4 | D4:1.5 C4:.5 C4:2 |"
        "D4 D4 E4 C4 | D4 E4:.5 F4:.5 E4 C4 | D4 E4:.5 F4:.5 E4 D4 | C4 D4 G3:2 |"
        "E4 E4 F4 G4 | G4 F4 E4 D4 | C4 C4 D4 E4 | D4:1.5 C4:.5 C4:2 |",
        "C:4 | G:4 | C:4 | C:2 G:2 | C:4 | G:4 | C:4 | G:2 C:2 |"
        "G:2 C:2 | G:2 C:2 | G:2 E:2 | Am:1 D:1 G:2 | C:4 | G:4 | C:4 | G:2 C:2 |",
    ),
    "Prelude in C, BWV 846 (Bach)": Tune(
        arpeggios(
            "C4 E4 G4 C5 E5 | C4 D4 A4 D5 F5 | B3 D4 G4 D5 F5 | C4 E4 G4 C5 E5 | C4 E4 A4 E5 A5 |"
            "C4 D4 F#4 A4 D5 | B3 D4 G4 D5 G5 | B3 C4 E4 G4 C5 | A3 C4 E4 G4 C5 | D3 A3 D4 F#4 C5 |"
            "G3 B3 D4 G4 B4 | G3 Bb3 E4 G4 C#5 | F3 A3 D4 A4 D5 | F3 Ab3 D4 F4 B4 | E3 G3 C4 G4 C5 |"
            "E3 F3 A3 C4 F4 | D3 F3 A3 C4 F4 | G2 D3 G3 B3 F4 | C3 E3 G3 C4 E4"
        ),
        "-:76",
    ),
    "Greensleeves": Tune(
        "A4 | C5:2 D5 | E5:1.5 F5:.5 E5 | D5:2 B4 | G4:1.5 A4:.5 B4 |"
        "C5:2 A4 | A4:1.5 G#4:.5 A4 | B4:2 G#4 | E4:2 A4 |"
        "C5:2 D5 | E5:1.5 F5:.5 E5 | D5:2 B4 | G4:1.5 A4:.5 B4 |"
        "C5:1.5 B4:.5 A4 | G#4:1.5 F#4:.5 G#4 | A4:3 | A4:3 |"
        "G5:3 | G5:1.5 F#5:.5 E5 | D5:2 B4 | G4:1.5 A4:.5 B4 | C5:2 A4 | A4:1.5 G#4:.5 A4 | B4:2 G#4 | E4:3 |"
        "G5:3 | G5:1.5 F#5:.5 E5 | D5:2 B4 | G4:1.5 A4:.5 B4 |"
        "C5:1.5 B4:.5 A4 | G#4:1.5 F#4:.5 G#4 | A4:3 | A4:2",
        "-:1 | Am:3 | Am:3 | G:3 | G:3 | Am:3 | Am:3 | E:3 | E:3 |"
        "Am:3 | Am:3 | G:3 | G:3 | Am:3 | E:3 | Am:3 | Am:3 |"
        "C:3 | C:3 | G:3 | G:3 | Am:3 | Am:3 | E:3 | E:3 | C:3 | C:3 | G:3 | G:3 | Am:3 | E:3 | Am:3 | Am:2",
    ),
    "Frere Jacques": Tune(
        "C4 D4 E4 C4 | C4 D4 E4 C4 | E4 F4 G4:2 | E4 F4 G4:2 | G4:.5 A4:.5 G4:.5 F4:.5 E4 C4 |"
        "G4:.5 A4:.5 G4:.5 F4:.5 E4 C4 | C4 G3 C4:2 | C4 G3 C4:2",
        "C G C:2 | C G C:2 | C G C:2 | C G C:2 | C:4 | C:4 | C G C:2 | C G C:2",
    ),
    "Ah, vous dirai-je, maman": Tune(
        "C4 C4 G4 G4 | A4 A4 G4:2 | F4 F4 E4 E4 | D4 D4 C4:2 |"
        "G4 G4 F4 F4 | E4 E4 D4:2 | G4 G4 F4 F4 | E4 E4 D4:2 |"
        "C4 C4 G4 G4 | A4 A4 G4:2 | F4 F4 E4 E4 | D4 D4 C4:2",
        "C:4 | F:2 C:2 | F:2 C:2 | G:2 C:2 | C:2 F:2 | C:2 G:2 | C:2 F:2 | C:2 G:2 | C:4 | F:2 C:2 | F:2 C:2 | G:2 C:2",
    ),
}


class Note(NamedTuple):
    midi: int  # semitones; 69 is A4, 440 Hz
    start: float  # beats
    beats: float
    loudness: float


# From names to notes.


def timeline(text: str) -> Iterator[tuple[str, float, float]]:
    """(name, start, beats) of each note of a melody, or of each chord, without rests."""
    start = 0.0
    for token in text.replace("|", " ").split():
        name, _, beats = token.partition(":")
        if name != "-":
            yield name, start, float(beats or 1)
        start += float(beats or 1)


def semitone(name: str) -> int:
    """Semitones above C of a note name without octave: "C" is 0, "F#" 6, "Bb" 10."""
    return {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[name[0]] + name.count("#") - name.count("b")


def score(tune: Tune, held: bool) -> list[Note]:
    """The melody, and for each chord its root as bass and its triad, held or broken into half beats."""
    notes = [
        Note(12 * (int(name[-1]) + 1) + semitone(name[:-1]), start, beats, 1.0)
        for name, start, beats in timeline(tune.melody)
    ]
    for name, start, beats in timeline(tune.chords):
        root = semitone(name.rstrip("m"))
        bass = 41 + (root - 41) % 12  # 41 .. 52: F2 .. E3
        triad = [53 + (root + interval - 53) % 12 for interval in (0, 3 if name.endswith("m") else 4, 7)]
        notes.append(Note(bass, start, beats, 0.8))
        if held:
            notes += [Note(midi, start, beats, 0.35) for midi in triad]
        else:
            figure = sorted(triad)
            for i in range(int(2 * beats)):  # low, high, middle, high: an Alberti bass in half beats
                notes.append(Note(figure[(0, 2, 1, 2)[i % 4]], start + i / 2, 0.5, 0.45))
    return notes


VOICES = ((41, 12, 0.8), (53, 12, 0.45), (62, 22, 1.0))  # lowest pitch, number of semitones, loudness: as in the tunes
STUDY_BEATS = 56  # more than a track's 54 at the fastest tempo
MAJOR = (0, 2, 4, 5, 7, 9, 11)


def study(rng: np.random.Generator) -> list[Note]:
    """Three voices, each by turns random notes and runs along a major scale in one key, with rests between."""
    key = int(rng.integers(12))
    notes = []
    for lowest, semitones, loudness in VOICES:
        start = float(rng.choice((0, 1, 2)))
        while start < STUDY_BEATS:
            beats, count = float(rng.choice((0.25, 0.5, 1, 2))), int(rng.integers(2, 9))
            pitches = lowest + rng.permutation(semitones)
            if rng.random() < 0.5:  # a run, upwards or downwards
                scale = [midi for midi in range(lowest, lowest + semitones) if (midi - key) % 12 in MAJOR]
                pitches = np.roll(scale, -int(rng.integers(len(scale))))[:: int(rng.choice((1, -1)))]
            for midi in pitches[:count]:
                notes.append(Note(int(midi), start, beats, loudness * rng.uniform(0.5, 1)))
                start += beats
            start += float(rng.choice((0, 0, 0.5, 1, 2)))
    return notes


def timed(notes: list[Note], transpose: int, beats_a_minute: float) -> Iterator[tuple[Note, float, float]]:
    """Each note, transposed, as often as it sounds in TRACK_SECONDS, with its start and its length in seconds."""
    beat_seconds = 60 / beats_a_minute
    tune_seconds = max(note.start + note.beats for note in notes) * beat_seconds
    for note in notes:
        for start in np.arange(note.start * beat_seconds, TRACK_SECONDS, tune_seconds):
            yield note._replace(midi=note.midi + transpose), start, note.beats * beat_seconds


# Timbres. Each makes one tone of TONE_SECONDS, float64, from a pitch; `play` cuts it to the note's length.


def frequency_hz(midi: Any) -> Any:
    """Equal temperament: A4 = 69 is 440 Hz, 12 semitones an octave. midi: a pitch, or an array of them."""
    return 440.0 * 2 ** ((midi - 69) / 12)


def plucked(midi: int) -> np.ndarray:
    """A plucked string (Karplus & Strong 1983): noise in a loop of one period, which is low-pass filtered each time.

    y[n] = x[n] + g (y[n - N] + y[n - N - 1]) / 2. The average delays by N + 1/2 samples. A second one, with weights
    1 - fraction and fraction, adds the rest of the period, so that high notes are in tune. The original noise is white;
    here harmonic k has amplitude 1 / k, as on a string pulled aside, for a softer attack.
    """
    period = SR / frequency_hz(midi)
    delay = int(period - 0.5)
    fraction = period - 0.5 - delay
    gain = 10 ** (-3 * period / (TONE_SECONDS * SR))  # -60 dB after TONE_SECONDS
    loop = np.zeros(delay + 3)
    loop[0] = 1
    loop[delay:] -= gain * np.convolve([0.5, 0.5], [1 - fraction, fraction])
    burst = np.zeros(int(TONE_SECONDS * SR))
    harmonics = np.arange(1, delay // 2 + 1)  # none at 0 Hz: the loop would keep a constant forever
    phases = np.exp(2j * np.pi * np.random.default_rng(midi).random(len(harmonics)))
    burst[:delay] = np.fft.irfft([0, *(phases / harmonics)], n=delay)
    return lfilter([1.0], loop, burst)


def partials(midi: int, ratios: np.ndarray, amplitudes: np.ndarray, decays: np.ndarray) -> np.ndarray:
    """sum_k a_k exp(-d_k t) sin(2 pi r_k f t), decays d in 1/s, leaving out partials above 0.45 SR."""
    t = np.arange(int(TONE_SECONDS * SR)) / SR
    f = frequency_hz(midi)
    tone = np.zeros(len(t))
    for ratio, amplitude, decay in zip(ratios, amplitudes, decays, strict=True):
        if ratio * f < 0.45 * SR:
            tone += amplitude * np.exp(-decay * t) * np.sin(2 * np.pi * ratio * f * t)
    return tone * np.minimum(1, t / 0.005)  # an attack of 5 ms, without a click


def organ(midi: int) -> np.ndarray:
    """A reed pipe: harmonics of amplitude 1 / k that last as long as the key is held."""
    k = np.arange(1, 13)
    return partials(midi, k, 1 / k, np.zeros(len(k)))


def bells(midi: int) -> np.ndarray:
    """A struck bar: partials stretched by its stiffness; higher ones decay faster."""
    k = np.arange(1, 41)
    return partials(midi, k * np.sqrt(1 + 0.004 * k**2), 1 / k**0.8, 1.5 + 0.6 * k)


GENRES: dict[str, Callable[[int], np.ndarray]] = {"plucked": plucked, "organ": organ, "bells": bells}
PROGRAMS = {"plucked": 24, "organ": 20, "bells": 14}  # the nearest of General MIDI: nylon guitar, reed organ, bells


@lru_cache(maxsize=256)
def tone(genre: str, midi: int) -> np.ndarray:
    """The tone of a genre at a pitch, float32, its first tenth of a second at a root mean square of 1."""
    wave = GENRES[genre](midi)
    return (wave / np.sqrt(np.mean(wave[: SR // 10] ** 2))).astype(np.float32)


def play(notes: list[Note], genre: str, transpose: int, beats_a_minute: float, rng: np.random.Generator) -> np.ndarray:
    """The notes, repeated for TRACK_SECONDS: float32 (n,) with root mean square LOUDNESS."""
    n = TRACK_SECONDS * SR
    track = HISS * rng.standard_normal(n, np.float32)
    release = np.linspace(1, 0, int(RELEASE_SECONDS * SR), dtype=np.float32)
    for note, start, seconds in timed(notes, transpose, beats_a_minute):
        sound = note.loudness * tone(genre, note.midi)[: int(seconds * SR) + len(release)]
        sound[-len(release) :] *= release
        first = int(start * SR)
        track[first : first + len(sound)] += sound[: n - first]
    track[-len(release) :] *= release
    scale = LOUDNESS / np.sqrt(np.mean(track**2))
    return track * min(scale, 0.99 / np.abs(track).max())


def midi_notes(notes: list[Note], program: int, transpose: int, beats_a_minute: float) -> Notes:
    """The notes that `play` plays, for MIDI, by a program of General MIDI."""
    return Notes.of(
        [
            (start, min(start + seconds, TRACK_SECONDS), note.midi, max(round(127 * note.loudness), 1), program)
            for note, start, seconds in timed(notes, transpose, beats_a_minute)
        ]
    )


def write_corpus(
    folder: str | Path, tracks_per_genre: int = len(TUNES), seed: int = 0, studies_per_genre: int = 0
) -> list[Path]:
    """Write FOLDER/genres/GENRE/GENRE.00000.wav and so on: 30 s, 22 050 Hz, mono, 16-bit, as in GTZAN.

    Track i of every genre plays tune i (modulo their number), in a key and at a tempo drawn from `seed`. Studies follow
    the tunes. GENRE.00000.mid holds the notes. Every file is written atomically. Returns the paths of the recordings.
    Raises OSError if `folder` cannot be created.
    """
    rngs = np.random.default_rng(seed), np.random.default_rng((seed, 1))  # studies leave the tunes as they are
    tunes = list(TUNES.values())
    paths = []
    for genre in GENRES:
        target = Path(folder) / "genres" / genre
        target.mkdir(parents=True, exist_ok=True)
        for i in range(tracks_per_genre + studies_per_genre):
            rng = rngs[i >= tracks_per_genre]
            transpose, tempo = int(rng.integers(-4, 5)), rng.uniform(80, 108)
            tune = i < tracks_per_genre
            notes = score(tunes[i % len(tunes)], held=genre == "organ") if tune else study(rng)
            paths.append(target / f"{genre}.{i:05d}.wav")
            write_wav(paths[-1], play(notes, genre, transpose, tempo, rng), SR)
            write_midi(paths[-1].with_suffix(".mid"), midi_notes(notes, PROGRAMS[genre], transpose, tempo))
    return paths


def main(argv: list[str] | None = None) -> None:
    parser = Parser(
        prog="python -m ddim_from_scratch.audio.synth",
        description="Write a small corpus of synthesised music in GTZAN's layout, to train on offline: "
        f"{', '.join(GENRES)}; {TRACK_SECONDS} s a track, {SR} Hz, mono, 16-bit, with its notes in a MIDI file.",
        epilog="example: python -m ddim_from_scratch.audio.synth data/embedded --tracks 5",
    )
    parser.add_argument("folder", type=Path, help="output folder; files are named genres/NAME/NAME.00000.wav")
    tracks_help = f"tracks per genre (default: {len(TUNES)}); beyond {len(TUNES)}, tunes repeat in other keys"
    parser.add_argument("--tracks", type=at_least(1), default=len(TUNES), help=tracks_help)
    studies_help = "tracks per genre of random notes and scales, after the tunes (default: 0)"
    parser.add_argument("--studies", type=at_least(0), default=0, help=studies_help)
    seed_help = "random seed of keys and tempi; the same seed gives the same bytes (default: 0)"
    parser.add_argument("--seed", type=at_least(0), default=0, help=seed_help)
    args = parser.parse_args(argv)
    paths = write_corpus(args.folder, args.tracks, args.seed, args.studies)
    print(f"{len(paths)} tracks of {TRACK_SECONDS} s in {args.folder / 'genres'}, with their notes as MIDI")


if __name__ == "__main__":
    run_command(main)
