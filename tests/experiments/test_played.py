"""`experiments compare` of a network that plays notes: it plays those of other recordings, and a judge listens."""

import json
import sys
from pathlib import Path

import pytest
from helpers import reference

import ddim_from_scratch
from ddim_from_scratch.audio import find_audio, synth
from ddim_from_scratch.experiments import __main__ as experiments
from ddim_from_scratch.experiments import played
from ddim_from_scratch.runtime import errors
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.runtime.sets import read_about


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("band")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synth, "GENRES", {"plucked": synth.plucked})
        synth.write_corpus(folder, tracks_per_genre=2)
        synth.write_corpus(folder / "other", tracks_per_genre=2, seed=1)
    options = {"epochs": 1, "batch_size": 16, "widths": (4, 4)}
    ddim_from_scratch.train_run(folder / "run", system="notes", data=str(folder / "genres/plucked"), **options)
    return folder / "run"


def test_the_judge_hears_the_recordings_and_no_untrained_network(run, monkeypatch, capsys):
    """Measured over 15 clips: 0.78 for recordings and ceiling, 0.02 for other notes, 0 for a network of one epoch."""
    reference("basic_pitch")
    monkeypatch.setattr(played, "PLAYED", 3)
    other = run.parent / "other/genres/plucked"
    experiments.main(f"compare --run {run} --unheard {other} --embedding mel".split())
    metrics = json.loads((run / "metrics.json").read_text())
    scores = metrics["onset_f1"]
    assert scores.keys() == played.JUDGED.keys()
    assert min(scores["real"], scores["ceiling"]) > 0.55
    assert max(scores["others"], scores["generated"]) < 0.4
    assert metrics["clips_per_set"] == len(find_audio(metrics["samples"])) == 3
    out, err = capsys.readouterr()
    assert "Notes that basic-pitch hears" in out and f"{other}: 2 recordings used" in err


def test_what_was_played_before_stays_and_each_comparison_has_its_own_set(run, monkeypatch, capsys):
    """Here without the judge, which a line says."""
    monkeypatch.setitem(sys.modules, "basic_pitch", None)
    monkeypatch.setattr(errors, "_said", set())
    monkeypatch.setattr(played, "PLAYED", 2)
    mine = run / "played/sample_000.wav"
    mine.parent.mkdir(exist_ok=True)
    mine.write_bytes(b"mine")
    experiments.main(f"compare --run {run} --embedding mel".split())
    metrics = json.loads((run / "metrics.json").read_text())
    assert "onset_f1" not in metrics and "no onset F1" in capsys.readouterr().err
    assert mine.read_bytes() == b"mine" and metrics["samples"] != str(mine.parent)
    assert len(find_audio(metrics["samples"])) == 2 and read_about(Path(metrics["samples"]))["finished"]
    assert metrics["step"] == read_about(Path(metrics["samples"]))["step"] > 0


def test_clips_whose_notes_are_not_known_are_refused(run, tmp_path):
    with pytest.raises(UserError, match="plays notes, and which ones these clips play is not known"):
        experiments.main(["compare", "--run", str(run), "--embedding", "mel", "--samples", str(tmp_path)])
