"""The band that comes with the package plays a tune that it has never heard."""

from pathlib import Path

import numpy as np
import pytest
from helpers import reference

from ddim_from_scratch import sample
from ddim_from_scratch.audio import load_audio
from ddim_from_scratch.audio.contract import FRAMES_PER_SECOND
from ddim_from_scratch.audio.midi import Notes, write_midi
from ddim_from_scratch.diffusion import Sampling
from ddim_from_scratch.notes.compose import OVERLAP, Player
from ddim_from_scratch.notes.judge import load_judge, onset_f1
from ddim_from_scratch.notes.score import read_notes
from ddim_from_scratch.notes.system import OWN_RUN, read_run
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.spectrogram import model as spectrogram

TUNE = OWN_RUN / "jingle_bells.mid"


def test_it_is_small_and_says_where_it_is_from():
    assert sum(path.stat().st_size for path in OWN_RUN.iterdir()) < 4e6
    assert "audio/synth.py" in (OWN_RUN / "README.md").read_text()
    band = read_run(OWN_RUN)
    assert band.config.programs == (14, 20, 24) and band.config.data == "not-shared"
    lowest, highest = read_notes(TUNE).pitch.min(), read_notes(TUNE).pitch.max()
    assert (band.scaler.pitches[:, 0] <= lowest).all() and (band.scaler.pitches[:, 1] >= highest).all()


def test_what_works_with_spectrogram_runs_only_says_so():
    with pytest.raises(UserError, match="was trained with --system notes: give a run of spectrogram"):
        spectrogram.read_run(OWN_RUN)
    with pytest.raises(UserError, match="invalid choice: 'continue'"):
        sample.main(f"continue song.wav --run {OWN_RUN}".split())
    with pytest.raises(UserError, match="--notes is for runs of notes"):
        sample.main(f"--system spectrogram --notes {TUNE}".split())


def test_a_run_that_cannot_be_read_is_named_and_not_the_option(tmp_path):
    (tmp_path / "checkpoint.npz").write_bytes((OWN_RUN / "checkpoint.npz").read_bytes()[:-9])
    with pytest.raises(UserError, match=r"checkpoint\.npz is damaged"):
        sample.main(f"--run {tmp_path} --notes {TUNE}".split())


def test_it_plays_without_training_and_its_notes_are_heard(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    notes = read_notes(TUNE).between(0, 8)
    write_midi("tune.mid", notes)
    sample.main(["--notes", "tune.mid", "--sampler", "dpm++2m", "--steps", "20", "--inverter", "griffin-lim"])
    assert "played/sample_" in capsys.readouterr().out
    samples = load_audio(Path("played/sample_000.wav"))
    assert len(samples) / 16000 == pytest.approx(notes.seconds + 1, abs=0.05)
    reference("basic_pitch")
    assert onset_f1(load_judge()(samples), notes) > 0.6  # 0.84; with notes of another tune, 0.02 or less


def test_a_held_chord_goes_on_over_a_seam():
    """Every seam lies in the middle of a chord. Between two performances, each of its own chance, a seam is heard."""
    model = read_run(OWN_RUN).model("cpu")
    piece = model.config.window_frames
    hop = piece - OVERLAP
    seconds = 2 * hop / FRAMES_PER_SECOND  # of a chord, and of two segments
    starts = 0.8 + seconds * np.arange(5)
    chords = [
        (start, start + seconds, 48 + i + third, 90, 20) for i, start in enumerate(starts) for third in (0, 16, 19)
    ]
    drawn = Player(model, Sampling("dpm++2m", steps=10), scores=(Notes.of(chords),)).play(2)
    frames = np.arange(drawn.shape[1])
    hard = np.where(((frames - piece) // hop % 2 == 0)[:, None], *drawn)
    away = np.abs(frames[:, None] - starts * FRAMES_PER_SECOND).min(axis=1) > 8
    held = away & (frames > starts[0] * FRAMES_PER_SECOND) & (frames < (starts[-1] + seconds) * FRAMES_PER_SECOND - 8)
    seams = (frames >= piece) & ((frames - piece) % hop == 0)
    assert (held & seams).sum() >= 8

    def excess(log_mels):
        """Changes from frame to frame at the seams, as a multiple of those elsewhere."""
        change = np.abs(np.diff(log_mels, axis=-2, prepend=log_mels[..., :1, :])).mean(axis=-1)
        return change[..., held & seams].mean() / change[..., held & ~seams].mean()

    assert excess(drawn) < 2 < 2.5 < excess(hard)  # 1.3 to 1.4, and 3.4 to 3.8, with three seeds
