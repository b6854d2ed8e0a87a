"""Makes pairs of recordings and notes from MIDI files, by any instrument of a soundfont.

python -m ddim_from_scratch.notes.render midi/ pairs/ --soundfont piano.sf2 --program 0 --studies 12
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..audio import LeftOut, in_words, write_wav
from ..audio.midi import DRUMS, Notes, write_midi
from ..audio.synth import LOUDNESS, midi_notes, study
from ..audio.wav import files_below
from ..runtime.cli import Parser, at_least, counted, run_command
from ..runtime.errors import UserError, printable, warn, why
from ..runtime.files import read_bytes
from .score import MIDI_SUFFIXES, read_notes

SR = 44_100  # samples a second: that of most soundfonts
RINGING_SECONDS = 1.0  # after the last note's end
LONGEST_SECONDS = 3600
VOICES = 256  # at a time
SOUNDFONT_LIMIT = 2 << 30  # bytes
DRUM_BANK = 128

Instrument = Callable[[Notes], np.ndarray]  # the sound of notes, float32 (n,) at SR


def load_soundfont(path: str | Path) -> Instrument:
    """An instrument for `Notes` that plays them by their programs, with tinysoundfont.

    Raises UserError, saying what to do, without that library, or if the file is no soundfont; OSError if it cannot be
    opened. The instrument raises UserError for a program that the soundfont lacks, and for more than an hour of notes.
    """
    try:
        import tinysoundfont
    except ImportError as error:
        raise UserError(
            f"notes are played by tinysoundfont, which is missing ({why(error)}): pip install --no-deps tinysoundfont"
        ) from None
    name = printable(path)
    synth = tinysoundfont.Synth(samplerate=SR)
    try:
        font = synth.sfload(read_bytes(path, SOUNDFONT_LIMIT), max_voices=VOICES)
    except RuntimeError:
        raise UserError(
            f"{name} is not a soundfont: give an SF2 file, such as Debian's timgm6mb-soundfont has"
        ) from None

    def play(notes: Notes, program: int, samples: int) -> np.ndarray:
        bank, preset = (DRUM_BANK, 0) if program == DRUMS else (0, program)
        if synth.sfpreset_name(font, bank, preset) is None:
            instrument = "drums" if program == DRUMS else f"program {program}"
            raise UserError(f"{name} has no {instrument}: choose another --soundfont, or --program")
        synth.program_select(0, font, bank, preset, program == DRUMS)
        start, stop = (np.rint(times * SR).astype(int).tolist() for times in (notes.start, notes.stop))
        pitch, velocity = notes.pitch.tolist(), notes.velocity.tolist()
        events = [(at, True, *note) for at, *note in zip(start, pitch, velocity, strict=True)]
        events += [(at, False, *note) for at, *note in zip(stop, pitch, velocity, strict=True)]
        sound, now = np.zeros((samples, 2), np.float32), 0
        for at, on, key, loud in [*sorted(events), (samples, False, 0, 0)]:  # at one time, ends come before starts
            if at > now:
                sound[now:at] = np.frombuffer(synth.generate(at - now), np.float32).reshape(-1, 2)[: at - now]
                now = at
            if on:
                synth.noteon(0, key, loud)
            elif at < samples:
                synth.noteoff(0, key)
        synth.sounds_off(0)
        return sound.mean(axis=1)

    def instrument(notes: Notes) -> np.ndarray:
        if notes.seconds > LONGEST_SECONDS:
            raise UserError(f"the notes last {notes.seconds / 60:.0f} minutes: divide them into pieces of an hour")
        samples = round((notes.seconds + RINGING_SECONDS) * SR)
        sound = np.zeros(samples, np.float32)
        for program in np.unique(notes.program).tolist():
            sound += play(notes.where(notes.program == program), program, samples)
        scale = LOUDNESS / max(float(np.sqrt(np.mean(sound**2))), 1e-9)
        return sound * min(scale, 0.99 / max(float(abs(sound).max()), 1e-9))

    return instrument


def midi_files(folder: Path) -> list[Path]:
    """All MIDI files in a folder and its subfolders, also behind links, sorted, without hidden ones.

    Raises UserError if none is there. Warns of folders that cannot be opened.
    """
    left_out = LeftOut()
    if not folder.is_dir():
        raise UserError(f"{printable(folder)} is not a folder: give one that holds MIDI files")
    found = [
        path
        for path in files_below(folder, left_out)
        if path.name.lower().endswith(MIDI_SUFFIXES) and not path.name.startswith(".")
    ]
    if left_out:
        warn(f"{printable(folder)}: left out: {in_words(left_out)}")
    if not found:
        raise UserError(f"{printable(folder)} holds no MIDI file ({', '.join(MIDI_SUFFIXES)}): check the path")
    return sorted(found)


def pieces(folder: Path | None, program: int | None, studies: int, seed: int) -> Iterator[tuple[Path, Notes]]:
    """The notes to play, each with its file's name below the output folder, without suffix. Warns of damaged files."""
    for path in midi_files(folder) if folder else ():
        try:
            notes = read_notes(path)
        except UserError as error:
            warn(f"skipped: {error}")
            continue
        if program is not None:  # one instrument plays all, and no drums
            notes = notes.where(notes.program != DRUMS)
            notes = notes._replace(program=np.full_like(notes.program, program))
            notes = Notes.of(list(zip(*notes, strict=True)))  # two instruments may have played one pitch
        if len(notes.start):
            yield path.relative_to(folder or ".").with_suffix(""), notes
        else:
            warn(f"skipped: {printable(path)} holds drums only")
    rng = np.random.default_rng(seed)
    for i in range(studies):
        transpose, tempo = int(rng.integers(-4, 5)), rng.uniform(80, 108)
        yield Path(f"study_{i:03d}"), midi_notes(study(rng), program or 0, transpose, tempo)


def main(argv: list[str] | None = None) -> None:
    parser = Parser(
        prog="python -m ddim_from_scratch.notes.render",
        description="Play MIDI files by a soundfont's instruments: song.wav and beside it song.mid, with the notes, to "
        "train on with --system notes.",
        epilog="example: python -m ddim_from_scratch.notes.render midi/ pairs/ --program 0 --studies 12 "
        "--soundfont /usr/share/sounds/sf2/TimGM6mb.sf2",
    )
    parser.add_argument("folder", type=Path, nargs="?", help="folder of MIDI files (may be left out with --studies)")
    parser.add_argument("out", type=Path, help="output folder, with the same subfolders")
    font_help = "SF2 file, for example of Debian's package timgm6mb-soundfont or fluid-soundfont-gm"
    parser.add_argument("--soundfont", type=Path, required=True, metavar="FILE", help=font_help)
    program_help = "play everything but drums by this program of General MIDI (default: each note by its own)"
    parser.add_argument("--program", type=at_least(0, 127), metavar="N", help=program_help)
    studies_help = "also render N pieces of 30 s of random notes and scales (default: 0)"
    parser.add_argument("--studies", type=at_least(0), default=0, metavar="N", help=studies_help)
    parser.add_argument("--seed", type=at_least(0), default=0, help="random seed of the studies (default: 0)")
    args = parser.parse_args(argv)
    if not (args.folder or args.studies):
        raise UserError("there is nothing to play: give a folder of MIDI files, or --studies 12")
    out = args.out.resolve()
    if args.folder and args.folder.resolve() in (out, *out.parents):
        raise UserError(f"{args.out} lies in {args.folder}, whose files are read: choose another output folder")
    if args.out.is_dir() and any(args.out.iterdir()):
        raise UserError(f"{args.out} holds files already: choose another output folder")
    instrument = load_soundfont(args.soundfont)
    seconds, count = 0.0, 0
    names: set[Path] = set()
    for name, notes in tqdm(pieces(args.folder, args.program, args.studies, args.seed), desc="rendering", unit="piece"):
        path = args.out / name
        if name in names:
            warn(f"skipped: another piece is named {printable(name)}, too: rename one")
            continue
        names.add(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = instrument(notes)
        write_wav(path.with_name(f"{path.name}.wav"), sound, SR)
        write_midi(path.with_name(f"{path.name}.mid"), notes)
        seconds, count = seconds + len(sound) / SR, count + 1
    if not count:
        raise UserError(f"{printable(args.folder)}: none of its MIDI files can be played")
    print(f"{counted(count, 'piece')}, {seconds:.0f} s, in {printable(args.out)}, with their notes")


if __name__ == "__main__":
    run_command(main)
