"""The ablation on a tiny network: rows that differ in one thing, from the same noise, against the same music."""

import json

import numpy as np
import pytest

from ddim_from_scratch.experiments import __main__ as experiments
from ddim_from_scratch.experiments import table
from ddim_from_scratch.experiments.ablation import CHANGES, Settings, music
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.data import load_windows

pytestmark = pytest.mark.usefixtures("quick")
RECORDED = 5  # seconds
BASE = "--widths 4 4 --attention none --block-depth 1 --window-seconds 0.64 --window-hop-seconds 0.5 --epochs 1"
DRAWING = "--clips 4 --seconds 1.3 --steps 1 --embedding mel --inverter griffin-lim --threads 1"


@pytest.fixture
def run(recordings, tmp_path):
    """run("--changes base") in a folder of the test's own; returns the folder."""

    def run(arguments=""):
        arguments = f"--data {recordings} --out {tmp_path / 'out'} {BASE} {DRAWING} {arguments}"
        experiments.main(["ablation", *arguments.split()])
        return tmp_path / "out"

    return run


def settings(**base):
    return Settings(json.loads(Config(data="x", **base).to_json()), 9, 5.12, "dpm++2m", 20, "griffin-lim", "mel")


@pytest.mark.parametrize("name", CHANGES)
def test_every_row_is_one_change_of_the_base(name):
    base, task = settings().task("base"), settings().task(name)
    assert task.music == base.music and task.music.seed == 0  # the same music, the same noise
    differ = {k: v for k, v in vars(task.config).items() if v != vars(base.config)[k]}
    of_config = {k: v for k, v in CHANGES[name].items() if k in vars(base.config)}
    assert differ.items() <= of_config.items() and vars(task.config).items() >= of_config.items()
    assert (task.training == "base") == (not differ and task.trained)


def test_the_default_rows_are_what_the_base_has_not_made():
    assert set(CHANGES) - set(settings().names()) == {
        *("eps-prediction", "paper-signal-rates", "learning-rate-3e-4", "ema-0.999", "warmup-ema", "group-norm")
    }
    tuned = settings(prediction="v", crops="random").names()
    assert {"paper", "eps-prediction", "x0-prediction", "base"} <= set(tuned)
    assert not {"v-prediction", "random-crops"} & set(tuned)


def test_the_music_is_what_the_training_windows_show(recordings):
    base = Config(data=str(recordings), window_seconds=1.28, window_hop_seconds=0.64, windows_per_track=5)
    heard = music(base, 1.92)  # the windows show 1.28 + 4 x 0.64 = 3.84 s
    windows = load_windows(heard, frames=96)
    assert windows.starts.tolist() == [[track, start] for track in range(3) for start in (0, 96)]
    assert len(windows.apart()) == len(windows) and max(map(len, windows.tracks)) == 192 <= 3.84 * 50


def test_rows_are_trained_drawn_scored_and_reported_once(run, monkeypatch, capsys):
    out = run("--changes base seed-1 untrained group-norm+gain")
    rows = json.loads((out / "ablation.json").read_text())["rows"]
    assert {path.name for path in (out / "runs").iterdir()} == {"base", "seed-1", "untrained", "group-norm+gain"}
    assert len(list((out / "music").iterdir())) == 1
    assert rows["group-norm+gain"]["change"] == {"norm": "group", "augment": "gain"}
    scores = [row["fad"] for row in rows.values()]
    assert scores == sorted(scores) and len(set(scores)) == 4
    assert len({(row["floor"], row["ceiling"], row["n_training"]) for row in rows.values()}) == 1
    assert rows["base"]["training_steps"] == 6 and rows["untrained"]["noise_loss"] is None
    report = (out / "ablation.md").read_text()
    assert "4 clips of 1.3 s by dpm++2m in 1 step, compared" in report
    assert report in capsys.readouterr().out and "the base with 2 seeds lies between" in report
    assert "epochs 1" in report and not list(out.glob("*.html"))
    log_mels = [tree.load(out / f"rows/{name}/drawn_000.npz")["log_mels"] for name in ("base", "untrained", "seed-1")]
    assert log_mels[0].shape == (4, 65, 128)  # cut from what the network can halve
    similar = [np.corrcoef(log_mels[0].ravel(), other.ravel())[0, 1] for other in log_mels[1:]]
    assert min(similar) > 0.9  # one epoch has taught nearly nothing: what is alike is the noise

    monkeypatch.setattr(table, "train", None)
    monkeypatch.setattr(table, "Composer", None)
    run("--changes base untrained")
    assert set(json.loads((out / "ablation.json").read_text())["rows"]) == {"base", "untrained"}
    with pytest.raises(UserError, match=r"was begun with ema 0\.999, not 0\.9: choose another --out"):
        run("--changes base --ema 0.9")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--changes base gain+luck", r"--changes gain\+luck: there is no luck: choose from base, seed-1"),
        ("--changes gain+mix", r"--changes gain\+mix changes augment twice"),
        ("--seconds 0.96", "--seconds is 0.96, but mel needs clips of 1 s or more"),
        ("--seconds nan", "--seconds is nan: give a positive number"),
        ("--clips 1", "--clips"),
    ],
)
def test_bad_options_are_named_before_anything_is_computed(arguments, message, run, tmp_path):
    with pytest.raises(UserError, match=message):
        run(arguments)
    assert not (tmp_path / "out").exists()
