"""The band that comes with the package plays a tune that it has never heard."""

from pathlib import Path

import numpy as np
import pytest
from helpers import reference

from ddim_from_scratch import sample
from ddim_from_scratch.audio import load_audio
from ddim_from_scratch.notes.judge import load_judge, onset_f1
from ddim_from_scratch.notes.score import read_notes
from ddim_from_scratch.notes.system import OWN_RUN, read_run
from ddim_from_scratch.runtime.errors import UserError

TUNE = OWN_RUN / "jingle_bells.mid"


def test_it_is_small_and_says_where_it_is_from():
    assert sum(path.stat().st_size for path in OWN_RUN.iterdir()) < 4e6
    assert "audio/synth.py" in (OWN_RUN / "README.md").read_text()
    assert read_run(OWN_RUN).config.programs == (14, 20, 24)


def test_it_plays_without_training_and_its_notes_are_heard(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sample.main(f"--notes {TUNE} --sampler dpm++2m --steps 20 --inverter griffin-lim".split())
    assert "played/sample_" in capsys.readouterr().out
    samples, notes = load_audio(Path("played/sample_000.wav")), read_notes(TUNE)
    assert len(samples) / 16000 == pytest.approx(notes.seconds + 1, abs=0.05)
    reference("basic_pitch")
    assert onset_f1(load_judge()(samples), notes) > 0.6  # 0.84; with notes of another tune, 0.02 or less


def test_a_program_that_it_has_not_learnt_is_named(tmp_path):
    from ddim_from_scratch.audio.midi import Notes, write_midi

    write_midi(tmp_path / "brass.mid", Notes.of([(0, 1, 60, 80, 61)]))
    with pytest.raises(UserError, match=r"program 61, .* trained on 14, 20, 24"):
        sample.main(["--notes", str(tmp_path / "brass.mid"), "--out", str(tmp_path / "out")])
    assert not np.any([path.suffix == ".wav" for path in tmp_path.rglob("*")])
