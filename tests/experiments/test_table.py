"""The paper's table on a tiny network: every stage, resuming, processes, the report, and what can go wrong."""

import json

import pytest
from helpers import digest

from ddim_from_scratch.experiments import __main__ as experiments
from ddim_from_scratch.experiments import table
from ddim_from_scratch.experiments.table import ROWS, Row
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.spectrogram.config import PRESETS
from ddim_from_scratch.training import loop

pytestmark = pytest.mark.usefixtures("quick")
RECORDED = 5  # seconds
TINY = PRESETS["paper"] | {"widths": (4, 4), "attention": "none", "block_depth": 1, "window_hop_seconds": 0.5}
ROW = Row("gtzan", 3, 1.28, 2, 4, 2, 5.5)


@pytest.fixture
def rows(monkeypatch):
    monkeypatch.setitem(PRESETS, "paper", TINY)
    monkeypatch.setitem(ROWS, "a", ROW)
    monkeypatch.setitem(ROWS, "b", ROW._replace(steps=2, fad=None))  # of the same training
    monkeypatch.setitem(ROWS, "c", ROW._replace(batch_size=3))


@pytest.fixture
def run(rows, recordings, tmp_path, capsys):
    """run("--rows a") in a folder of the test's own; returns the folder."""

    def run(arguments, data=recordings):
        fixed = f"table --data gtzan={data} --out {tmp_path / 'out'} --clips 10 --embedding mel --inverter griffin-lim"
        experiments.main([*fixed.split(), *arguments.split()])
        return tmp_path / "out"

    return run


def test_the_rows_are_the_papers():
    given = [(r.corpus, r.tracks, r.seconds, r.epochs, r.steps, r.batch_size, r.fad) for r in ROWS.values() if r.fad]
    assert len(given) == 9 and ("gtzan", 50, 5.12, 200, 500, 4, 3.715) in given
    assert [r[-1] for r in given] == [6.129, 7.875, 5.00, 5.011, 2.992, 3.715, 3.905, 7.030, 7.342]
    assert len({ROWS[name].training for name in ("gtzan-50", "gtzan-50-s500", "gtzan-50-s100")}) == 1
    assert len({row.training for row in ROWS.values()}) == len(ROWS) - 2 - 4  # overfit rows of two S share theirs, too


def test_rows_are_trained_drawn_heard_scored_and_reported(run, capsys):
    out = run("--rows a b")
    assert [path.name for path in (out / "runs").iterdir()] == [ROW.training]
    metrics = json.loads((out / "table.json").read_text())["rows"]
    assert metrics["a"]["paper"] == 5.5 and metrics["b"]["paper"] is None
    for name, steps in (("a", 4), ("b", 2)):
        row = metrics[name]
        assert (row["epochs"], row["steps"], row["n"], row["n_training"]) == (2, steps, 10, 9)
        assert len(list((out / "rows" / name).glob("sample_*.wav"))) == 10
        sounds = {digest(path) for path in (out / "rows" / name).glob("sample_*.wav")}
        assert len(sounds) == 10  # the second file of drawings has noise of its own
        assert row["interval"][0] <= row["fad"] <= row["interval"][1]
        assert 0 < row["floor"] < row["ceiling"] < row["fad"]  # two epochs teach nothing
        assert row["seconds_a_step"] * row["training_steps"] < 3 * row["training_seconds"]
        assert "thread" in row["hardware"] and row["fad_infinity"]["r_squared"] <= 1
    markdown = (out / "table.md").read_text()
    assert markdown in capsys.readouterr().out and (out / "table.png").exists()
    assert all(text in markdown for text in ("paper's FAD (VGGish)", "5.5", "The embedding is mel"))


def stamps(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.parent != out}


def test_what_is_finished_is_never_computed_again(run, monkeypatch):
    out = run("--rows a")
    before = stamps(out)
    run("--rows a")
    assert stamps(out) == before
    lost = [out / "rows/a" / name for name in ("metrics.json", "drawn_008.npz", "sample_009.wav")]
    fad, sound = json.loads(lost[0].read_bytes())["fad"], digest(lost[2])
    for path in lost:
        path.unlink()
    monkeypatch.setattr(table, "train", None)
    run("--rows a")
    assert {path for path, stamp in stamps(out).items() if stamp != before[path]} == {
        *lost,
        out / "rows/a/spectrograms.png",
    }
    assert digest(lost[2]) == sound  # drawn from its own noise
    assert json.loads(lost[0].read_bytes())["fad"] == fad


def test_a_training_that_was_cut_off_goes_on(run, monkeypatch):
    train, epochs = table.train, []

    def cut(system, folder, saved, **options):
        epochs.append(saved and saved.step)
        if saved:
            return train(system, folder, saved, **options)

        def stop(*a):
            save(*a)
            raise UserError("cut off")

        save = loop.save_checkpoint
        with monkeypatch.context() as patch:
            patch.setattr(loop, "save_checkpoint", stop)
            train(system, folder, saved)

    monkeypatch.setattr(table, "train", cut)
    with pytest.raises(UserError, match="a: cut off"):
        run("--rows a")
    with pytest.raises(UserError, match="a is trained for 1 of 2 epochs: run the table without --report"):
        run("--rows a --report")
    out = run("--rows a")
    assert epochs == [None, 12] and (out / "rows/a/metrics.json").exists()


def test_processes_find_what_one_process_does(run):
    out = run("--rows a c --jobs 2")
    table = json.loads((out / "table.json").read_text())["rows"]
    (out / "rows/c/metrics.json").unlink()
    run("--rows a c")
    again = json.loads((out / "table.json").read_text())["rows"]
    for name in "ac":
        assert again[name].pop("hardware") and table[name].pop("hardware")
        assert table[name] == again[name]


def test_a_scaled_row_is_never_shown_as_the_papers(run):
    out = run("--rows a --scale 0.5")
    row = json.loads((out / "table.json").read_text())["rows"]["a"]
    assert row["epochs"] == 1 and row["paper"] is None
    lines = [line for line in (out / "table.md").read_text().splitlines() if line.startswith("|")]
    assert len(lines) == 3 and len({line.count("|") for line in lines}) == 1
    text = (out / "table.md").read_text()
    assert "paper's FAD" not in text and "5.5" not in text
    assert "The paper's rows, scaled down" in text and "only 0.5 of its epochs" in text
    with pytest.raises(UserError, match=r"was begun with scale 0\.5, not 1\.0: choose another --out"):
        run("--rows a")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--rows polka", "--rows"),
        ("--scale 0", "--scale is 0"),
        ("--scale 2", "--scale is 2"),
        ("--rows gtzan-10", r"gtzan-10 needs 10 tracks, .* has 3: give a folder"),
        ("--rows a --data jazz=x", "--data jazz=x: give SET=FOLDER"),
        ("--rows a --data gtzan=absent", "absent is neither a folder nor"),
        ("--rows a --report", "out holds no table"),
    ],
)
def test_bad_options_are_named_before_anything_is_computed(arguments, message, run, tmp_path):
    with pytest.raises(UserError, match=message):
        run(arguments)
    assert not (tmp_path / "out").exists()


def test_one_row_that_fails_does_not_stop_the_others(run, tmp_path):
    (tmp_path / "out/runs").mkdir(parents=True)
    (tmp_path / f"out/runs/{ROW.training}").write_text("in the way")
    with pytest.raises(UserError, match=r"^a: "):
        run("--rows a c")
    assert set(json.loads((tmp_path / "out/table.json").read_text())["rows"]) == {"c"}
