"""The notes' system, as a user runs it: train on pairs, resume, play; and what a user can get wrong."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers import assert_same_leaves, digest

import ddim_from_scratch
from ddim_from_scratch import sample, train
from ddim_from_scratch.audio import load_audio, write_wav
from ddim_from_scratch.audio.contract import SR
from ddim_from_scratch.audio.midi import Notes, write_midi
from ddim_from_scratch.notes.compose import Player
from ddim_from_scratch.notes.score import read_notes
from ddim_from_scratch.notes.system import Training, read_run
from ddim_from_scratch.runtime import errors, tree
from ddim_from_scratch.runtime.errors import UserError

TINY = (
    "--system notes --window-seconds 0.64 --window-hop-seconds 0.32 --frame-width 16 --frame-blocks 2 --widths 4 4 "
    "--batch-size 2 --learning-rate-schedule constant"
)
NETWORKS = {"frames": "frames", "unet": "unet", "transformer": "transformer --notes-as tokens"}
FAST = "--steps 2 --inverter griffin-lim"
SONG = Notes.of([(0.3 * i, 0.3 * i + 0.25, 57 + i, 100, (0, 24)[i % 2]) for i in range(9)])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two recordings of 4 s with their notes, of programs 0 and 24."""
    folder = tmp_path_factory.mktemp("pairs")
    t = np.arange(4 * SR) / SR
    for i in range(2):
        notes = Notes.of([(0.5 * n, 0.5 * n + 0.4, 57 + 12 * i + n % 3, 90, 24 * i) for n in range(8)])
        write_midi(folder / f"song{i}.mid", notes)
        hz = 440 * 2 ** ((notes.pitch[np.minimum((t / 0.5).astype(int), 7)] - 69) / 12)
        tone = np.sin(2 * np.pi * hz * t) * np.exp(-6 * (t % 0.5))
        write_wav(folder / f"song{i}.wav", (0.3 * tone).astype(np.float32), SR)
    return folder


@pytest.fixture(scope="module", params=["frames", "unet", "transformer"])
def run(data, tmp_path_factory, request):
    """A run of two epochs."""
    folder = tmp_path_factory.mktemp("runs") / request.param
    train.main(f"--data {data} --run {folder} --epochs 2 --network {NETWORKS[request.param]} {TINY}".split())
    return folder


@pytest.fixture
def song(tmp_path):
    write_midi(tmp_path / "song.mid", SONG)
    return tmp_path / "song.mid"


def test_a_resumed_band_equals_one_that_never_stopped(data, run, tmp_path):
    whole, resumed = tmp_path / "whole", shutil.copytree(run, tmp_path / "resumed")
    train.main(f"--data {data} --run {whole} --epochs 3 --network {NETWORKS[run.name]} {TINY}".split())
    train.main(f"--run {resumed} --resume --epochs 3".split())
    assert_same_leaves(*(tree.load(folder / "checkpoint.npz") for folder in (whole, resumed)))
    assert read_run(resumed).config.programs == (0, 24)


def test_a_band_is_not_resumed_on_other_notes(data, run, tmp_path):
    folder, resumed = shutil.copytree(data, tmp_path / "data"), shutil.copytree(run, tmp_path / "run")
    notes = read_notes(folder / "song1.mid")
    write_midi(folder / "song1.mid", notes.transposed(1))
    command = f"--data {folder} --run {resumed} --resume --epochs 3".split()
    with pytest.raises(UserError, match=r"not what the run was trained on \(changed: song1\.mid\)"):
        train.main(command)
    shutil.copy(data / "song1.mid", folder)
    train.main(command)


def test_the_command_plays_the_whole_song_as_python_does(run, song, tmp_path):
    sample.main(f"--run {run} --notes {song} --out {tmp_path / 'out'} {FAST}".split())
    assert (tmp_path / "out/samples.png").exists()
    band = ddim_from_scratch.open_run(run, inverter="griffin-lim")
    log_mels = band.log_mels(song, sampling=replace(ddim_from_scratch.diffusion.DEFAULT_SAMPLING, steps=2))
    assert log_mels.shape == (1, round((SONG.seconds + 1) * 50), 128) and np.isfinite(log_mels).all()
    sample.main(f"--run {run} --notes {song} --out {tmp_path / 'guided'} --guidance 1.5 {FAST}".split())
    sample.main(f"--run {run} --notes {song} --out {tmp_path / 'more'} --guidance 3 {FAST}".split())
    plain, one, more = (digest(tmp_path / name / "sample_000.wav") for name in ("out", "guided", "more"))
    assert plain == one != more


def played(model, notes, **how):
    sampling = replace(ddim_from_scratch.diffusion.DEFAULT_SAMPLING, steps=2)
    return Player(model, sampling, 0, scores=(notes,), **how).play(1)[0]


def test_an_edit_changes_nothing_before_it(run):
    model = read_run(run).model("cpu")
    edited = SONG._replace(pitch=np.where(SONG.start > 2, SONG.pitch + 5, SONG.pitch))
    a, b = played(model, SONG), played(model, edited)
    first = round(2.1 * 50) - 1 - 32  # a segment of 32 frames that sees the edit begins after this frame
    np.testing.assert_array_equal(a[:first], b[:first])
    assert (a[105:] != b[105:]).any()


def test_the_random_numbers_do_not_depend_on_the_notes(run):
    model = read_run(run).model("cpu")
    deaf = replace(model, network=tree.map(np.zeros_like, model.network))
    np.testing.assert_array_equal(played(deaf, SONG), played(deaf, SONG.transposed(3)))
    assert (played(model, SONG) != played(model, SONG.transposed(3))).any()


def test_both_conditions_are_dropped_together_now_and_then(run):
    system = ddim_from_scratch.notes.system.training(read_run(run).config)
    assert isinstance(system, Training)
    rng, windows = np.random.default_rng(0), system.windows
    draws = [system.conditions(windows, rng) for _ in range(60)]
    gone = [~notes.reshape(len(notes), -1).any(axis=1) for _, notes in draws]  # of a roll or tokens, nothing but 0
    share = np.concatenate(gone).mean()
    assert share > 0 and abs(share - 0.1) < 4 * 0.3 / (60 * len(windows)) ** 0.5
    assert not any(context[of_none].any() for (context, _), of_none in zip(draws, gone, strict=True))
    assert any(context.any() for context, _ in draws)


@pytest.mark.parametrize(
    ("notes", "named"),
    [(Notes.of([(0, 1, 60, 100, 40)]), r"program 40, .* trained on 0, 24"), (None, "empty")],
)
def test_notes_that_cannot_be_played_are_named(notes, named, run, tmp_path):
    if notes:
        write_midi(tmp_path / "song.mid", notes)
    else:
        (tmp_path / "song.mid").write_bytes(b"")
    with pytest.raises(UserError, match=named):
        sample.main(f"--run {run} --notes {tmp_path / 'song.mid'} --out {tmp_path / 'out'} {FAST}".split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--programs 0 7", "--programs has 7"),
        ("--programs 129", "--programs"),
        ("--augment gain", "--augment"),
        ("--config {context}", "--context is False"),
    ],
)
def test_a_bad_training_option_is_named(options, named, data, tmp_path):
    (tmp_path / "context.json").write_text('{"context": false}')
    options = options.format(context=tmp_path / "context.json")
    with pytest.raises(UserError, match=named):
        train.main(f"--data {data} --run {tmp_path / 'run'} {options} {TINY}".split())


def test_pitches_that_were_never_trained_are_named(run, song, tmp_path, capsys, monkeypatch):
    """SONG has 57 to 65, and the recordings 57 to 59 of program 0, 69 to 71 of program 24."""
    monkeypatch.setattr(errors, "_said", set())
    sample.main(f"--run {run} --notes {song} --out {tmp_path / 'out'} {FAST}".split())
    said = capsys.readouterr().err
    assert "(61, 63, 65 of program 0, which had 57 to 59; 58, 60, 62, 64 of program 24, which had 69 to 71)" in said
    model = read_run(run).model()
    old = replace(model, scaler=replace(model.scaler, pitches=None))
    for one, notes in ((old, SONG), (model, SONG.where(SONG.pitch == 57))):
        played(one, notes)
        assert "not trained on" not in capsys.readouterr().err


def test_pairs_that_do_not_match_are_left_out(data, tmp_path, capsys):
    """Of five recordings two are used. One has notes of another length, one a file that is cut, one too many notes."""
    folder = shutil.copytree(data, tmp_path / "data")
    for name, seconds in (("long", 20), ("cut", 3)):
        write_wav(folder / f"{name}.wav", np.random.default_rng(seconds).uniform(-0.1, 0.1, 4 * SR), SR)
        write_midi(folder / f"{name}.mid", Notes.of([(t, t + 1, 60, 80, 0) for t in range(seconds)]))
    (folder / "cut.mid").write_bytes((folder / "cut.mid").read_bytes()[:-9])
    write_wav(folder / "dense.wav", load_audio(folder / "song0.wav") / 2, SR)
    starts = [(n / 2 + i / 100, 57 + n % 3) for n in range(8) for i in range(3)]
    struck = [(start, start + 0.01, pitch, 80, program) for start, pitch in starts for program in range(128)]
    write_midi(folder / "dense.mid", Notes.of(struck))
    tokens = NETWORKS["transformer"]
    train.main(f"--data {folder} --run {tmp_path / 'run'} --epochs 1 --network {tokens} {TINY}".split())
    said = capsys.readouterr().err
    assert "dense.wav: 768 notes in 0.64 s need" in said
    assert "long.wav lasts 4.0 s, but its notes 20.0 s" in said and "cut.mid cannot be read as MIDI" in said
    assert "2 recordings used" in said and "unusable: 3 (cut.wav, dense.wav, long.wav)" in said
