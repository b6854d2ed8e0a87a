"""Tuning: the search space, pruning, resuming after a stop and a kill, two processes, and other people's studies."""

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
from unittest.mock import Mock

import numpy as np
import pytest
from helpers import digest, reference

from ddim_from_scratch import train
from ddim_from_scratch.diffusion import Sampling
from ddim_from_scratch.experiments import tune
from ddim_from_scratch.fad import load_embedding
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.spectrogram import system
from ddim_from_scratch.spectrogram.model import read_run
from ddim_from_scratch.training.checkpoint import load_checkpoint, read_log

pytestmark = pytest.mark.usefixtures("quick")
TINY = ["--window-seconds", "1.28", "--windows-per-track", "2", "--widths", "4", "4", "--attention", "none"]
TINY += ["--epochs", "2", "--fad-every", "1"]


@pytest.fixture
def optuna(monkeypatch):
    monkeypatch.setattr(system, "PROBE_CLIPS", 2)
    monkeypatch.setattr(system, "PROBE", Sampling("dpm++2m", steps=1))
    monkeypatch.setattr(system, "load_embedding", lambda device: load_embedding("mel", device=device))
    return reference("optuna")


@pytest.fixture
def study(optuna, recordings, tmp_path):
    """study("--trials 2") runs trials and returns the study."""

    def study(arguments):
        tune.main([*f"--data {recordings} --out {tmp_path / 'out'}".split(), *TINY, *arguments.split()])
        return optuna.load_study(study_name=tune.STUDY, storage=f"sqlite:///{tmp_path / 'out/study.db'}")

    return study


def states(study):
    return [trial.state.name for trial in study.trials]


def test_the_space_is_the_authors(optuna):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    values = [tune.suggest(study.ask()) for _ in range(200)]
    for name, low, high in (
        ("learning_rate", 3e-5, 3e-1),
        ("weight_decay", 1e-5, 1e-1),
        ("ema", 0.95, 0.99),
        ("min_signal_rate", 0.01, 0.20),
        ("max_signal_rate", 0.89, 0.98),
    ):
        drawn = np.array([value[name] for value in values])
        assert low <= drawn.min() and drawn.max() <= high
        middle = np.sqrt(low * high) if name in ("learning_rate", "weight_decay") else (low + high) / 2
        assert 0.4 < np.mean(drawn < middle) < 0.6
    assert {value["block_depth"] for value in values} == {2, 4}


def test_a_study_trains_with_what_it_tries_and_train_uses_the_best(study, recordings, tmp_path, capsys):
    done = study("--trials 4")
    assert len(done.trials) == 4
    for trial in done.trials:
        config = read_run(tmp_path / f"out/trial_{trial.number:03d}").config
        assert {name: getattr(config, name) for name in tune.SPACE} == trial.params
    best = json.loads((tmp_path / "out/tune-best.json").read_text())
    assert {name: best[name] for name in tune.SPACE} == done.best_trial.params
    assert best["widths"] == [4, 4] and best["window_seconds"] == 1.28  # the whole configuration
    assert done.best_value == min(
        row[2] for row in read_log(tmp_path / f"out/trial_{done.best_trial.number:03d}/fad.csv")
    )
    assert (tmp_path / "out/tune.png").read_bytes().startswith(b"\x89PNG")
    assert "trial   3" in capsys.readouterr().out
    config = f"--config {tmp_path / 'out/tune-best.json'} --data {recordings} --run {tmp_path / 'run'} --epochs 1"
    train.main([*config.split(), "--fad-every", "0"])
    config = read_run(tmp_path / "run").config
    assert config.widths == (4, 4)
    assert (config.learning_rate, config.block_depth) == (best["learning_rate"], best["block_depth"])


def test_a_trial_that_does_worse_than_the_others_is_given_up(study, monkeypatch, tmp_path):
    scores = iter([3, 2, 3, 2, 3, 2, 9, 1])
    monkeypatch.setattr(system, "distance", lambda *sets: float(next(scores)))
    monkeypatch.setitem(tune.SPACE, "learning_rate", {"low": 3e-5, "high": 1e-4})
    assert states(study("--trials 4")) == ["COMPLETE"] * 3 + ["PRUNED"]
    assert len(read_log(tmp_path / "out/trial_003/fad.csv")) == 1


def test_a_diverged_trial_does_not_stop_the_study(study, monkeypatch, capsys):
    step, calls = system.Training.step, []

    def diverging(training, *rest):
        calls.append(training.config)
        if training.config == calls[0]:
            raise FloatingPointError("the loss of step 1 is inf")
        return step(training, *rest)

    monkeypatch.setattr(system.Training, "step", diverging)
    assert states(study("--trials 2")) == ["PRUNED", "COMPLETE"]
    assert "trial 0: training stopped: the loss of step 1 is inf" in capsys.readouterr().err


@pytest.mark.parametrize("stop", [OSError(28, "No space left on device"), SystemExit(143)])
def test_a_stopped_trial_goes_on_where_it_was(study, monkeypatch, stop, tmp_path):
    distance, calls = system.distance, []

    def interrupted(*sets):
        calls.append(1)
        if len(calls) == 2:
            raise stop
        return distance(*sets)

    monkeypatch.setattr(system, "distance", interrupted)
    with pytest.raises(type(stop)):
        study("--trials 1")
    steps = read_run(tmp_path / "out/trial_000").step
    done = study("--trials 1")
    assert states(done) == ["FAIL", "COMPLETE"] and done.trials[0].params == done.trials[1].params
    assert steps > 0 and [path.name for path in (tmp_path / "out").glob("trial_*")] == ["trial_000"]
    log = read_log(tmp_path / "out/trial_000/log.csv")
    assert [row[0] for row in log] == list(range(1, len(log) + 1)) and log[-1][1] == 2


KILLED_AFTER_ITS_FIRST_CHECKPOINT = """
import os, signal, sys
from ddim_from_scratch.experiments import tune
from ddim_from_scratch.fad import load_embedding
from ddim_from_scratch.spectrogram import system
from ddim_from_scratch.training import loop

def save(path, *rest):
    save_checkpoint(path, *rest)
    if path.name == "checkpoint.npz":
        os.kill(os.getpid(), signal.SIGKILL)

save_checkpoint, loop.save_checkpoint = loop.save_checkpoint, save
system.PROBE_CLIPS, tune.HEARTBEAT_SECONDS = 2, 1
system.load_embedding = lambda device: load_embedding("mel")
tune.main(sys.argv[1:])
"""


def test_a_killed_trial_is_taken_up_by_another_process(optuna, study, recordings, tmp_path, monkeypatch):
    arguments = f"--data {recordings} --out {tmp_path / 'out'} --trials 1".split()
    command = [sys.executable, "-c", KILLED_AFTER_ITS_FIRST_CHECKPOINT, *arguments, *TINY, "--epochs", "3"]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": "."}, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    first = int(load_checkpoint(tmp_path / "out/trial_000")["step"])
    monkeypatch.setattr(tune, "HEARTBEAT_SECONDS", 1)
    done = study("--trials 1 --epochs 3")
    assert states(done) == ["FAIL", "COMPLETE"]
    assert (tmp_path / "out/trial_000/fad.csv").exists() and not (tmp_path / "out/trial_001").exists()
    assert [row[0] for row in read_log(tmp_path / "out/trial_000/log.csv")] == list(range(1, 3 * first + 1))


def test_processes_share_a_study(optuna, study, tmp_path):
    first = study("--trials 1")
    other = optuna.load_study(study_name=tune.STUDY, storage=f"sqlite:///{tmp_path / 'out/study.db'}")
    other.add_trial(first.trials[0])  # as another process would, meanwhile
    assert len(study("--trials 2").trials) == 2  # nothing is left to do
    assert len(study("--trials 3").trials) == 3


def test_several_begin_a_study_at_once(optuna, recordings, tmp_path):
    """All make the tables; whoever comes later waits."""
    begin = "import sys; from ddim_from_scratch.experiments import tune; "
    begin += "tune.open_study(tune.Path(sys.argv[1]), tune.Config(data='x'))"
    command = [sys.executable, "-c", begin, str(tmp_path / "out")]
    several = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [(one.communicate()[1], one.returncode) for one in several] == [("", 0)] * 3


def test_a_study_of_another_search_space_is_refused(study, monkeypatch, tmp_path):
    study("--trials 1")
    before = digest(tmp_path / "out/study.db")
    with pytest.raises(UserError, match=r"holds a study with --epochs 2, not 3: give that, or"):
        study("--trials 2 --epochs 3")
    monkeypatch.setitem(tune.SPACE, "ema", {"low": 0.9, "high": 0.99})
    with pytest.raises(UserError, match=r"another search space.*0\.95.*choose another --out"):
        study("--trials 2")
    assert digest(tmp_path / "out/study.db") == before


def test_a_file_system_without_locks_is_refused(study, monkeypatch):
    none = Mock(side_effect=OSError(errno.ENOLCK, "No locks available"))
    monkeypatch.setattr(pytest.importorskip("fcntl"), "lockf", none)
    with pytest.raises(UserError, match=r"study.db can't be locked \(No locks available\).*--out on another disk"):
        study("--trials 1")


@pytest.mark.parametrize("damage", ["text", "foreign", "a folder"])
def test_a_database_that_holds_no_study_is_named(damage, study, tmp_path):
    (tmp_path / "out").mkdir()
    path = tmp_path / "out/study.db"
    if damage == "text":
        path.write_text("not a database " * 100)
    elif damage == "foreign":
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE studies (name TEXT)")
        database.close()
    else:
        path.mkdir()
    with pytest.raises((UserError, IsADirectoryError), match=r"study\.db( cannot be used as a study|')") as caught:
        study("--trials 1")
    assert "sqlalche.me" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE trials SET state = 'x'",
        "UPDATE trials SET datetime_start = 'null'",
        "UPDATE trials SET number = 0.5",
        "UPDATE trial_params SET trial_id = 99",
        "UPDATE trial_params SET distribution_json = replace(distribution_json, '0.95', '0.9')",
        "UPDATE trial_params SET distribution_json = 'null'",
        "UPDATE trial_params SET param_name = '../x' WHERE param_name = 'ema'",
        "UPDATE trial_values SET value_type = 'INF_POS'",
        "UPDATE trial_intermediate_values SET intermediate_value_type = 'NAN'",
        "DELETE FROM trial_values",
        "DELETE FROM study_directions",
        "CREATE TRIGGER never BEFORE INSERT ON trials BEGIN SELECT RAISE(ABORT, 'no'); END",
    ],
)
def test_a_study_that_someone_changed_is_named(change, optuna, recordings, tmp_path, monkeypatch):
    """Opening it, or asking it for a trial."""
    options = [*f"--data {recordings} --out {tmp_path} --trials 2".split(), *TINY]
    whole = tune.open_study(tmp_path, tune.base_options(tune.parse(options)))
    trial = whole.ask()
    tune.suggest(trial)
    trial.report(3.0, 1)
    whole.tell(trial, 2.0)
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.execute(change)
    database.close()
    monkeypatch.setattr(tune, "train", lambda *_: pytest.fail("it trained"))
    monkeypatch.setattr(tune, "training", lambda *_: pytest.fail("it trained"))
    with pytest.raises(UserError, match=r"study\.db (cannot be used as a|is no) study") as error:
        tune.main(options)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--trials 0", "--trials"),
        ("--learning-rate 0.1", "--learning-rate is 0.1, but it is searched for"),
        ("--fad-every 3", "--fad-every is 3, but a trial has 2 epochs"),
        ("--data absent", "absent is neither"),
    ],
)
def test_bad_options_are_named(arguments, message, study):
    with pytest.raises(UserError, match=message):
        study(arguments)


def test_without_optuna_it_says_what_to_install(monkeypatch, recordings, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'ddim_from_scratch\[tune\]'"):
        tune.main([*f"--data {recordings} --out {tmp_path / 'out'}".split(), *TINY])
