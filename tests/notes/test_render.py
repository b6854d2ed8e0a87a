"""MIDI files played by a soundfont that this file makes: one instrument, a tone that dies away."""

import struct
import sys

import numpy as np
import pytest
import soundfile
from helpers import reference

from ddim_from_scratch.audio import load_audio, log_mel
from ddim_from_scratch.audio.midi import DRUMS, Notes, write_midi
from ddim_from_scratch.notes.pairs import read_beside, shift, with_notes
from ddim_from_scratch.notes.render import main
from ddim_from_scratch.runtime.errors import UserError

SONG = Notes.of([(0.5 * i, 0.5 * i + 0.4, 60 + (5 * i) % 12, 100, 40) for i in range(16)] + [(1, 1, 36, 80, DRUMS)])


def chunk(name, content):
    content += b"\0" * (len(content) % 2)
    return name + struct.pack("<I", len(content)) + content


def write_soundfont(path, rate=22050):
    """SF2 2.01: preset 0 of bank 0 is an instrument of one sample, A4, one second."""
    t = np.arange(rate) / rate
    pcm = (20000 * np.exp(-3 * t) * np.sin(2 * np.pi * 440 * t)).astype("<i2").tobytes() + bytes(92)
    named = struct.Struct("<20s")
    lists = {
        b"phdr": named.pack(b"tone") + struct.pack("<HHHIII", 0, 0, 0, 0, 0, 0)
        + named.pack(b"EOP") + struct.pack("<HHHIII", 0, 0, 1, 0, 0, 0),
        b"pbag": struct.pack("<HHHH", 0, 0, 1, 0),
        b"pmod": bytes(10),
        b"pgen": struct.pack("<HHHH", 41, 0, 0, 0),  # 41: the instrument
        b"inst": named.pack(b"tone") + struct.pack("<H", 0) + named.pack(b"EOI") + struct.pack("<H", 1),
        b"ibag": struct.pack("<HHHH", 0, 0, 1, 0),
        b"imod": bytes(10),
        b"igen": struct.pack("<HHHH", 53, 0, 0, 0),  # 53: the sample
        b"shdr": named.pack(b"tone") + struct.pack("<IIIIIBbHH", 0, rate, 0, rate - 1, rate, 69, 0, 0, 1)
        + named.pack(b"EOS") + bytes(26),
    }  # fmt: skip
    info = chunk(b"ifil", struct.pack("<HH", 2, 1)) + chunk(b"isng", b"EMU8000\0") + chunk(b"INAM", b"tone\0\0")
    body = chunk(b"LIST", b"INFO" + info) + chunk(b"LIST", b"sdta" + chunk(b"smpl", pcm))
    body += chunk(b"LIST", b"pdta" + b"".join(chunk(name, content) for name, content in lists.items()))
    path.write_bytes(chunk(b"RIFF", b"sfbk" + body))
    return str(path)


@pytest.fixture
def soundfont(tmp_path):
    reference("tinysoundfont")
    return write_soundfont(tmp_path / "tone.sf2")


def test_a_folder_becomes_pairs_that_match(soundfont, tmp_path, capsys):
    (tmp_path / "midi/more").mkdir(parents=True)
    write_midi(tmp_path / "midi/more/song.MID", SONG)
    write_midi(tmp_path / "midi/more/song.midi", SONG.transposed(1))
    (tmp_path / "midi/bad.mid").write_bytes(b"junk")
    out = str(tmp_path / "pairs")
    main([str(tmp_path / "midi"), out, "--soundfont", soundfont, "--program", "0", "--studies", "1"])
    said = capsys.readouterr()
    assert "2 pieces" in said.out and "bad.mid is not a MIDI file" in said.err
    assert "another piece is named more/song, too" in said.err
    found = with_notes(out)
    assert [str(audio.relative_to(out)) for audio in found] == ["more/song.wav", "study_000.wav"]
    for audio in found:
        notes = read_beside(audio)
        assert set(notes.program) == {0} and shift(log_mel(load_audio(audio)), notes) == 0
    samples, sr = soundfile.read(found[0])
    assert 0.09 < np.sqrt(np.mean(samples**2)) < 0.11
    second = samples[int(0.5 * sr) :][: sr // 4]  # the note of 0.5 s, F4
    peak_hz = np.abs(np.fft.rfft(second * np.hanning(len(second)), 1 << 17)).argmax() * sr / (1 << 17)
    assert abs(12 * np.log2(peak_hz / 440) - (65 - 69)) < 0.1


def test_linked_folders_are_read_and_nothing_is_overwritten(soundfont, tmp_path):
    for folder in ("midi", "elsewhere", "pairs"):
        (tmp_path / folder).mkdir()
    write_midi(tmp_path / "elsewhere/song.mid", SONG)
    (tmp_path / "midi/more").symlink_to(tmp_path / "elsewhere")
    words = [str(tmp_path / "midi"), str(tmp_path / "pairs"), "--soundfont", soundfont, "--program", "0"]
    main(words)
    assert (tmp_path / "pairs/more/song.wav").exists()
    with pytest.raises(UserError, match=r"pairs holds files already: choose another"):
        main(words)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/midi", "{tmp}/out"], r"tone\.sf2 has no program 40: choose another"),
        (["{tmp}/midi", "{tmp}/out", "--soundfont", "{tmp}/midi/song.mid"], "is not a soundfont"),
        (["{tmp}/nothing", "{tmp}/out"], "holds no MIDI file"),
        (["{tmp}/lost", "{tmp}/out"], "is not a folder"),
        (["{tmp}/midi", "{tmp}/midi/out"], "choose another output folder"),
        (["{tmp}/out"], "nothing to play"),
    ],
)
def test_the_command_explains(arguments, message, soundfont, tmp_path):
    (tmp_path / "midi").mkdir()
    (tmp_path / "nothing").mkdir()
    write_midi(tmp_path / "midi/song.mid", SONG.where(SONG.program == 40))
    with pytest.raises(UserError, match=message):
        main(["--soundfont", soundfont, *(one.format(tmp=tmp_path) for one in arguments)])


def test_without_tinysoundfont_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tinysoundfont", None)
    with pytest.raises(UserError, match="pip install --no-deps tinysoundfont"):
        main([str(tmp_path / "out"), "--soundfont", "x.sf2", "--studies", "1"])
