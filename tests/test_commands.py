"""The commands, as a user runs them: train, resume, sample, compare; and all that a user can get wrong."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from ddim_from_scratch import checkpoint, experiments, sample, train, tree
from ddim_from_scratch.audio import griffin_lim, load_audio, load_inverter
from ddim_from_scratch.config import UserError
from ddim_from_scratch.fad import load_embedding

TINY = [
    "--window-seconds",
    "0.64",
    "--window-hop-seconds",
    "0.32",
    "--windows-per-track",
    "5",
    "--widths",
    "4",
    "4",
    "--attention",
    "none",
    "--batch-size",
    "2",
]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    t = np.arange(4 * 16000) / 16000
    for i, hz in enumerate((220, 330, 440)):
        soundfile.write(folder / f"tone{i}.wav", 0.3 * np.sin(2 * np.pi * hz * t) * np.sin(3 * t) ** 2, 16000)
    return folder


@pytest.fixture(scope="module")
def run(recordings, tmp_path_factory):
    """A run of two epochs with four samples. Tests that change it work on a copy."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train.main([*f"--data {recordings} --run {folder} --epochs 2".split(), *TINY])
    sample.main(f"--run {folder} --num 4 --steps 3".split())
    return folder


def copy(run, tmp_path):
    target = tmp_path / "copy"
    target.mkdir()
    for name in ("checkpoint.npz", "config.json", "log.csv"):
        (target / name).write_bytes((run / name).read_bytes())
    return target


def test_training_leaves_all_its_files(run):
    assert {p.name for p in run.iterdir()} >= {"checkpoint.npz", "config.json", "log.csv", "loss.png", "samples"}
    rows = checkpoint.read_log(run / "log.csv")
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    assert {row[1] for row in rows} == {1, 2}
    assert rows[0][2] == pytest.approx(1, abs=0.2)  # the zero-initialised output predicts no noise
    assert json.loads((run / "config.json").read_text())["widths"] == [4, 4]


@pytest.mark.parametrize(
    ("options", "noise_loss"),
    [
        ("--prediction v", 1.5),
        ("--prediction x0", 5),  # read as noise, an error in x0 counts by the signal-to-noise ratio: up to 9
        ("--schedule linear", 1.5),
        ("--schedule cosine --attention all", 1.5),
    ],
)
def test_other_recipes_train_and_sample(options, noise_loss, recordings, tmp_path):
    train.main([*f"--data {recordings} --run {tmp_path} --epochs 1".split(), *TINY, *options.split()])
    sample.main(f"--run {tmp_path} --num 2 --steps 4".split())
    assert np.isfinite(load_audio(tmp_path / "samples/sample_001.wav")).all()
    assert checkpoint.read_log(tmp_path / "log.csv")[-1][2] < noise_loss


def test_every_sampler_and_spacing_goes_its_own_way(run, tmp_path, monkeypatch):
    """Compared as spectrograms: with so small a network some differ by less than the 16 bits of a file show."""
    clips, make = {}, sample.sample_log_mels
    options = [f"--sampler {name}" for name in sample.SAMPLERS] + [f"--spacing {name}" for name in sample.SPACINGS]
    for option in [*options, "--eta 1"]:
        monkeypatch.setattr(
            sample,
            "sample_log_mels",
            lambda *a, option=option, **k: clips.setdefault(option, make(*a, **k)),
        )
        sample.main(f"--run {run} --num 1 --steps 4 --out {tmp_path} {option}".split())
    assert all(np.isfinite(clip).all() for clip in clips.values())
    assert np.array_equal(clips["--sampler ddim"], clips["--spacing uniform"])  # the defaults
    assert len({clip.tobytes() for clip in clips.values()}) == len(clips) - 1


def test_samples_are_sound_of_the_asked_length(run, tmp_path):
    sample.main(f"--run {run} --num 3 --steps 2 --seconds 1.28 --eta 1 --out {tmp_path}".split())
    files = sorted(tmp_path.glob("*.wav"))
    assert len(files) == 3
    for file in files:
        assert soundfile.info(file).samplerate == 16000
        samples = load_audio(file)
        assert len(samples) == 64 * 320
        assert np.isfinite(samples).all()
    assert (tmp_path / "samples.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_sound_and_another_does_not(run, tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        sample.main(f"--run {run} --num 1 --steps 2 --seed {seed} --out {tmp_path / name}".split())
    a, b, c = ((tmp_path / name / "sample_000.wav").read_bytes() for name in "abc")
    assert a == b != c


def test_compare_measures_all_five_sets(run, tmp_path, capsys):
    run = copy(run, tmp_path)
    sample.main(f"--run {run} --num 4 --steps 3 --seconds 1".split())
    experiments.main(["compare", "--run", str(run), "--embedding", "mel"])
    metrics = json.loads((run / "metrics.json").read_text())
    fad = metrics["fad"]
    assert set(fad) == set(metrics["interval"]) == {"noise", "untrained", "generated", "ceiling", "real"}
    assert all(np.isfinite(value) and value >= 0 for value in fad.values())
    assert max(fad["real"], fad["ceiling"]) < fad["noise"] < fad["untrained"]
    assert metrics["clips_per_set"] == 3 and metrics["embedding"] == "mel"
    out = capsys.readouterr().out
    assert "noise" in out and "ceiling" in out
    assert (run / "comparison.png").exists()


def test_compare_with_tracks_that_were_held_out(recordings, tmp_path, monkeypatch):
    train.main([*f"--data {recordings} --run {tmp_path} --epochs 1 --hold-out 0.34".split(), *TINY])
    sample.main(f"--run {tmp_path} --num 3 --steps 2 --seconds 1".split())
    load, loaded = experiments.load_windows, []
    monkeypatch.setattr(experiments, "load_windows", lambda *a, **k: loaded.append(load(*a, **k)) or loaded[-1])
    experiments.main(["compare", "--run", str(tmp_path), "--embedding", "mel"])
    trained, held = loaded
    assert len(trained.paths) == 2 and len(held.paths) == 1 and not {*trained.paths} & {*held.paths}
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["clips_per_set"] == 2  # of 1 s, in what windows cover of the one track
    with pytest.raises(UserError, match=r"--hold-out is 0\.0"):
        train.main(f"--run {tmp_path} --resume --epochs 2 --hold-out 0".split())


def test_compare_says_when_samples_are_too_short_for_the_embedding(run):
    with pytest.raises(UserError, match=r"0\.64 s is shorter than a patch of musicnn, 2\.98 s"):
        experiments.main(["compare", "--run", str(run), "--embedding", "musicnn"])


def quieter(log_mels, label=""):
    """An inverter that halves the loudness."""
    return np.stack([griffin_lim(clip, iterations=8) for clip in log_mels]) / 2


def test_the_ceiling_is_the_distance_that_the_inverter_makes(recordings):
    """Halving lowers every log-mel by ln 2; mel's mean over time is one third of its numbers."""
    embedding = load_embedding("mel")
    worse = experiments.ceiling(str(recordings), 1.0, 9, quieter, embedding)
    assert worse["clips_per_set"] == 6  # half of three recordings of 4 s
    better = experiments.ceiling(str(recordings), 1.0, 9, load_inverter("griffin-lim"), embedding)
    assert worse["fad"]["real"] == better["fad"]["real"] < better["fad"]["ceiling"] < worse["fad"]["ceiling"]
    assert better["fad"]["inverted"] < worse["fad"]["inverted"]
    assert better["log_mel_error"] < 0.3 < worse["log_mel_error"] < np.log(2) + 0.3


def test_ceiling_is_a_command(recordings, tmp_path, capsys):
    experiments.main(f"ceiling --data {recordings} --seconds 1 --embedding mel --inverter griffin-lim".split())
    report = capsys.readouterr().out
    assert all(name in report for name in ("6 recordings (mel)", "inverted", "ceiling", "real", "log-mel"))
    (tmp_path / "track.wav").write_bytes((recordings / "tone0.wav").read_bytes())
    with pytest.raises(UserError, match="2 clips of 2 s"):
        experiments.main(f"ceiling --data {tmp_path} --seconds 2 --embedding mel".split())


def test_fad_every_logs_and_keeps_the_best(recordings, tmp_path, monkeypatch):
    monkeypatch.setenv("DDIM_CACHE", str(tmp_path / "cache"))
    plain, measured = tmp_path / "plain", tmp_path / "measured"
    options = f"--data {recordings} --epochs 2 --learning-rate 1e-2".split()
    train.main([*options, "--run", str(plain), *TINY])
    monkeypatch.setattr(train, "load_embedding", lambda device: load_embedding("mel", device=device))
    scores = iter([5.0, 3.0, 4.0])
    monkeypatch.setattr(train, "frechet_distance", lambda *gaussians: next(scores))
    train.main([*options, "--run", str(measured), "--fad-every", "1", *TINY])
    train.main(f"--run {measured} --resume --epochs 3".split())
    assert [row[1:] for row in checkpoint.read_log(measured / "fad.csv")] == [(1, 5), (2, 3), (3, 4)]
    best = checkpoint.load_checkpoint(measured, best=True)
    a, b = (tree.flatten(c["state"]) for c in (best, checkpoint.load_checkpoint(plain)))
    for name in a:  # the second epoch's; measuring changes nothing
        np.testing.assert_array_equal(a[name], b[name])
    sample.main(f"--run {measured} --best --num 1 --steps 2".split())
    with pytest.raises(UserError, match=r"best\.npz does not exist"):
        sample.main(f"--run {plain} --best".split())


def test_a_resumed_run_equals_one_that_never_stopped(recordings, run, tmp_path):
    whole = tmp_path / "whole"
    train.main([*f"--data {recordings} --run {whole} --epochs 3".split(), *TINY])
    resumed = copy(run, tmp_path)
    train.main(f"--run {resumed} --resume --epochs 3".split())
    a, b = (tree.flatten(tree.load(folder / "checkpoint.npz")) for folder in (whole, resumed))
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    columns = [[row[:4] for row in checkpoint.read_log(folder / "log.csv")] for folder in (whole, resumed)]
    assert columns[0] == columns[1]


def test_a_killed_run_resumes_from_its_last_epoch(recordings, tmp_path):
    command = [sys.executable, "-m", "ddim_from_scratch.train", "--data", recordings, "--run", tmp_path / "run"]
    process = subprocess.Popen([*command, "--epochs", "100000", *TINY], stderr=subprocess.DEVNULL)
    try:
        while not (tmp_path / "run/checkpoint.npz").exists():
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = int(checkpoint.load_checkpoint(tmp_path / "run")["step"])
    epochs = done // 7 + 1
    train.main(f"--run {tmp_path / 'run'} --resume --epochs {epochs}".split())
    assert int(checkpoint.load_checkpoint(tmp_path / "run")["step"]) == epochs * 7


def test_a_loss_that_becomes_infinite_stops_the_run_and_keeps_the_checkpoint(recordings, run, tmp_path, monkeypatch):
    folder = copy(run, tmp_path)
    before = (folder / "checkpoint.npz").read_bytes()
    monkeypatch.setattr(train, "mean_squared_error", lambda a, b: (float("inf"), a))
    with pytest.raises(UserError, match=r"loss of step 15 is inf.*last good epoch"):
        train.main(f"--run {folder} --resume --epochs 3".split())
    assert (folder / "checkpoint.npz").read_bytes() == before


def test_weights_that_become_nan_are_not_saved(recordings, run, tmp_path, monkeypatch):
    folder = copy(run, tmp_path)
    before = (folder / "checkpoint.npz").read_bytes()
    adamw = train.adamw

    def poisoned(params, *rest):
        adamw(params, *rest)
        params["output"]["b"][:] = np.nan if rest[2] == 21 else 0

    monkeypatch.setattr(train, "adamw", poisoned)
    with pytest.raises(UserError, match="non-finite by step 21"):
        train.main(f"--run {folder} --resume --epochs 3".split())
    assert (folder / "checkpoint.npz").read_bytes() == before


def damage(kind, run, tmp_path):
    folder = copy(run, tmp_path)
    path = folder / "checkpoint.npz"
    if kind == "cut short":
        path.write_bytes(path.read_bytes()[:-1000])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "of another program":
        np.savez(path, weights=np.zeros(3))
    elif kind == "pickled":
        np.savez(path, config=np.array([{}], dtype=object))
    elif kind == "of another configuration":
        checkpoint = tree.load(path)
        config = json.loads(str(checkpoint["config"])) | {"widths": [4, 8]}
        tree.save(path, checkpoint | {"config": np.array(json.dumps(config))})
    elif kind == "missing":
        path.unlink()
    return folder


@pytest.mark.parametrize(
    "kind", ["cut short", "empty", "of another program", "pickled", "of another configuration", "missing"]
)
def test_a_bad_checkpoint_is_named_in_one_line(kind, run, tmp_path):
    folder = damage(kind, run, tmp_path)
    for command in (
        lambda: sample.main(["--run", str(folder)]),
        lambda: train.main(f"--run {folder} --resume".split()),
    ):
        with pytest.raises(UserError, match=r"checkpoint\.npz") as error:
            command()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("--epochs 0", "--epochs is 0"),
        ("--epochs -3", "--epochs is -3"),
        ("--batch-size 0", "--batch-size is 0"),
        ("--window-seconds 5", "--window-seconds 5"),
        ("--threads 0", "--threads"),
        ("--learning-rate x", "--learning-rate"),
        ("--colour red", "--colour"),
    ],
)
def test_a_bad_training_option_is_named(arguments, named, recordings, tmp_path):
    with pytest.raises(UserError, match=named):
        train.main(f"--data {recordings} --run {tmp_path / 'run'} {arguments}".split())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        "--num 0",
        "--steps 0",
        "--steps 1001",
        "--eta -0.1",
        "--eta 2",
        "--eta 1 --sampler heun",
        "--sampler euler",
        "--spacing odd",
        "--seconds 0",
        "--seconds 0.06",
        "--inverter x",
    ],
)
def test_a_bad_sampling_option_is_named(arguments, run, tmp_path):
    with pytest.raises(UserError, match=arguments.split()[0]):
        sample.main(f"--run {run} --out {tmp_path / 'out'} {arguments}".split())
    assert not (tmp_path / "out").exists()


def test_resuming_with_another_option_is_refused(run):
    with pytest.raises(UserError, match=r"--batch-size is 3, but .* was begun with 2"):
        train.main(f"--run {run} --resume --batch-size 3".split())


def test_resuming_on_other_recordings_is_refused(recordings, run, tmp_path):
    (tmp_path / "fewer").mkdir()
    (tmp_path / "fewer/a.wav").write_bytes((recordings / "tone0.wav").read_bytes())
    with pytest.raises(UserError, match="15 windows"):
        train.main(f"--run {copy(run, tmp_path)} --resume --epochs 3 --data {tmp_path / 'fewer'}".split())


def test_a_trained_run_is_not_overwritten(recordings, run):
    before = (run / "checkpoint.npz").read_bytes()
    with pytest.raises(UserError, match="--resume"):
        train.main(f"--data {recordings} --run {run}".split())
    assert (run / "checkpoint.npz").read_bytes() == before


@pytest.mark.parametrize("command", ["train --run {run} --resume", "sample --run {run}"])
def test_gpu_without_cupy_says_what_to_install(command, run, monkeypatch):
    monkeypatch.setattr("ddim_from_scratch.backend.cupy", None)
    name, *arguments = f"{command} --gpu".format(run=run).split()
    with pytest.raises(UserError, match="pip install"):
        {"train": train, "sample": sample}[name].main(arguments)


def test_as_a_process_an_error_is_one_line_and_status_2(tmp_path):
    environment = os.environ | {"PYTHONWARNINGS": "error::RuntimeWarning"}
    result = subprocess.run(
        [sys.executable, "-m", "ddim_from_scratch.sample", "--run", tmp_path / "absent"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "absent" in result.stderr
