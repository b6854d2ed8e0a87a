"""A run that is killed, stopped, or finds its newest checkpoint damaged comes to what an undisturbed one comes to."""

import itertools
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers import TINY, assert_same_leaves, closed, digest

from ddim_from_scratch import sample, train
from ddim_from_scratch.audio import griffin_lim, inverter
from ddim_from_scratch.diffusion import Sampling
from ddim_from_scratch.fad import load_embedding
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.cli import run_command
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.spectrogram import system
from ddim_from_scratch.training import checkpoint, loop
from ddim_from_scratch.training.checkpoint import read_log
from ddim_from_scratch.training.guards import locked

pytestmark = pytest.mark.usefixtures("quick")
EPOCHS = 3  # of 7 steps
OPTIONS = f"{TINY} --learning-rate 1e-2 --threads 2".split()

# Processes fork from one that has imported the package, and so live and die in a fraction of a second.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["ddim_from_scratch.train", "ddim_from_scratch.fad"])


@pytest.fixture(scope="module")
def undisturbed(recordings, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "undisturbed"
    train.main(arguments(recordings, run))
    return run


@pytest.fixture
def run(undisturbed, tmp_path):
    """Its copy, for a test to change."""
    return shutil.copytree(undisturbed, tmp_path / "run")


def arguments(recordings, run, epochs=EPOCHS):
    """Of `train`, to begin or to continue."""
    begun = any((run / name).exists() for name in ("checkpoint.npz", "previous.npz"))
    begin = ["--resume"] if begun else ["--data", str(recordings)]
    return ["--run", str(run), "--epochs", str(epochs), *begin, *OPTIONS]


def done(run, epochs=EPOCHS):
    """Whether the last epoch is saved: only the picture of the loss can be missing."""
    return (run / "checkpoint.npz").exists() and checkpoint.load_checkpoint(run)["step"] == 7 * epochs


def assert_same_state(run, other):
    assert_same_leaves(checkpoint.load_checkpoint(run), checkpoint.load_checkpoint(other))


def assert_same_run(run, other, tmp_path):
    """Weights, average, moments, log and samples."""
    assert_same_state(run, other)
    logs = [[row[:4] for row in read_log(folder / "log.csv")] for folder in (run, other)]
    assert logs[0] == logs[1]
    for folder, name in ((run, "a"), (other, "b")):
        sample.main(["--run", str(folder), "--out", str(tmp_path / name), "--num", "1", "--steps", "3"])
    assert digest(tmp_path / "a/sample_000.wav") == digest(tmp_path / "b/sample_000.wav")
    for name in "ab":
        shutil.rmtree(tmp_path / name)


def die_at(moment, argv):
    """Train, and be killed at the n-th of the moments that decide what is on the disk: what lies between leaves it."""
    moments = itertools.count()

    def deadly(function):
        def call(*args, **kwargs):
            if next(moments) == moment:
                if function is savez:
                    args[0].write(b"PK\x03\x04 half of it")
                    args[0].flush()
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    savez, np.savez = np.savez, deadly(np.savez)
    os.fsync, os.replace = deadly(os.fsync), deadly(os.replace)
    measured_by_mel(argv)


def measured_by_mel(argv):
    """Trains with a short measurement after each epoch. In a process of its own, which its changes end with."""
    system.PROBE_CLIPS, system.PROBE = 2, Sampling("dpm++2m", steps=1)
    inverter.griffin_lim = partial(griffin_lim, iterations=2)
    system.load_embedding = lambda device: load_embedding("mel", device=device)
    train.main([*argv, "--fad-every", "1"])


def in_a_process(function, *args):
    process = processes.Process(target=function, args=args)
    process.start()
    process.join()
    return process.exitcode


def test_a_run_killed_at_any_point_of_saving_is_the_run_that_was_never_killed(recordings, tmp_path, caches):
    whole = tmp_path / "whole"
    assert in_a_process(measured_by_mel, arguments(recordings, whole, epochs=2)) == 0
    log = [row[:4] for row in read_log(whole / "log.csv")]
    for moment in itertools.count(0, 4):
        run = tmp_path / f"killed_{moment}"
        code = in_a_process(die_at, moment, arguments(recordings, run, epochs=2))
        assert code in (0, -signal.SIGKILL)
        if code == 0:
            break
        if not done(run, epochs=2):
            assert in_a_process(measured_by_mel, arguments(recordings, run, epochs=2)) == 0
            assert not list(run.glob(".*.tmp"))
        assert_same_state(run, whole)
        assert [row[:4] for row in read_log(run / "log.csv")] == log
        assert digest(run / "fad.csv") == digest(whole / "fad.csv")
        best = [checkpoint.load_checkpoint(folder, best=True)["step"] for folder in (run, whole)]
        assert best[0] == best[1]
    assert moment > 15, "saving has become shorter, or its moments have other names"


@pytest.mark.parametrize("signal_, step", [(signal.SIGINT, 1), (signal.SIGTERM, 10), (signal.SIGHUP, 14)])
def test_a_signal_saves_the_step_and_the_run_goes_on_exactly(
    signal_, step, recordings, undisturbed, tmp_path, monkeypatch, capsys
):
    run, adamw = tmp_path / "run with a space", system.adamw

    def signalled(params, grads, moments, at, *rest):
        if at == step:
            signal.raise_signal(signal_)
        adamw(params, grads, moments, at, *rest)

    outside = signal.signal(signal_, signal.default_int_handler)  # what starts the tests may ignore it
    monkeypatch.setattr(system, "adamw", signalled)
    with pytest.raises(SystemExit) as stop:
        train.main(arguments(recordings, run))
    assert stop.value.code == 128 + signal_
    assert f"saved at step {step} of {EPOCHS * 7}; continue with: " in capsys.readouterr().err
    assert signal.signal(signal_, outside) is signal.default_int_handler
    assert int(checkpoint.load_checkpoint(run)["step"]) == step
    train.main(["--run", str(run), "--resume", "--threads", "2"])  # another number of them rounds otherwise
    assert_same_run(run, undisturbed, tmp_path)


def test_under_nohup_it_trains_on(recordings, tmp_path, monkeypatch):
    losses, outside = system.losses, signal.signal(signal.SIGHUP, signal.SIG_IGN)
    monkeypatch.setattr(system, "losses", lambda *a: signal.raise_signal(signal.SIGHUP) or losses(*a))
    try:
        train.main(arguments(recordings, tmp_path, epochs=1))
    finally:
        signal.signal(signal.SIGHUP, outside)
    assert done(tmp_path, epochs=1)


def test_what_is_drawn_anew_for_each_step_is_drawn_again_after_a_stop(recordings, tmp_path, monkeypatch):
    options = f"--data {recordings} --epochs 3 --crops random --augment gain+mix --norm group".split()
    options += ["--standardise", "global", "--learning-rate-schedule", "warmup-cosine", *OPTIONS]
    whole, run, rates, adamw = tmp_path / "whole", tmp_path / "run", [], system.adamw

    def noted(params, grads, moments, at, rate, *others):
        rates.append(rate)
        if len(rates) == 21 + 10:
            signal.raise_signal(signal.SIGTERM)
        adamw(params, grads, moments, at, rate, *others)

    monkeypatch.setattr(system, "adamw", noted)
    train.main(["--run", str(whole), *options])
    with pytest.raises(SystemExit):
        train.main(["--run", str(run), *options])
    with pytest.raises(UserError, match=r"--epochs is 4, but .* was begun with 3"):
        train.main(["--run", str(run), "--resume", "--epochs", "4"])
    train.main(["--run", str(run), "--resume", "--threads", "2"])
    assert rates[:21] == rates[21:] and rates[0] == pytest.approx(1e-2 / 1.05) and rates[-1] < 1e-9
    assert_same_run(run, whole, tmp_path)
    with pytest.raises(
        UserError, match="trained for 3 epochs already: its learning rate has come to 0: train a new run"
    ):
        train.main(["--run", str(run), "--resume"])


@pytest.mark.parametrize("damage", ["cut", "flipped", "another number", "missing"])
def test_the_checkpoint_before_steps_in_for_a_damaged_one(damage, run, recordings, undisturbed, tmp_path, capsys):
    path = checkpoint.checkpoint_path(run)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "flipped":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "another number":  # whole as a file: the checksum tells
        content = tree.load(path)
        content["state"]["network"]["params"]["output"]["b"] += 1
        tree.save(path, content)
    else:
        path.unlink()
    train.main(arguments(recordings, run))
    said = capsys.readouterr().err
    assert f"checkpoint.npz {'is missing' if damage == 'missing' else 'is damaged'}" in said
    assert f"previous.npz instead, of step {7 * (EPOCHS - 1)}" in said
    assert_same_run(run, undisturbed, tmp_path)


def test_checkpoints_are_told_apart_by_name_whatever_the_clock_says(run):
    os.utime(run / "checkpoint.npz", (0, 0))
    os.utime(run / "previous.npz", (4e9, 4e9))
    assert int(checkpoint.load_checkpoint(run)["step"]) == 7 * EPOCHS


def test_one_process_trains_in_a_folder_at_a_time(run, recordings):
    before = digest(run / "checkpoint.npz")
    with locked(run), pytest.raises(UserError, match="another process is training"):
        train.main(arguments(recordings, run, EPOCHS + 1))
    assert digest(run / "checkpoint.npz") == before
    with locked(run):  # it has been given back
        pass


@pytest.mark.parametrize("room", [2000, 20_000])  # for the log, and for the checkpoint
def test_a_full_disk_costs_nothing_that_was_saved(room, run, recordings):
    """A limit on the size of files, for want of a disk: the same errors at the same places."""
    before = {path.name: digest(path) for path in run.glob("*.npz")}
    command = [sys.executable, "-m", "ddim_from_scratch.train", *arguments(recordings, run, EPOCHS + 1)]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))  # noqa: E731
    cwd = Path(train.__file__).parents[1]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=cwd, preexec_fn=limit)
    errors = [line for line in ended.stderr.splitlines() if line.startswith(("error", "Traceback"))]
    assert ended.returncode == 2 and len(errors) == 1
    assert f"error: {run}/" in errors[0] and "files saved before are intact" in errors[0]
    assert {path.name: digest(path) for path in run.glob("*.npz")} == before
    assert not list(run.glob("*.tmp"))
    train.main(arguments(recordings, run, EPOCHS + 1))  # where room is made
    assert done(run, EPOCHS + 1)


def test_a_folder_that_cannot_be_written_is_named(run, recordings, capsys):
    with closed(run), pytest.raises(SystemExit) as stop:
        run_command(lambda: train.main(arguments(recordings, run, EPOCHS + 1)))
    assert stop.value.code == 2
    assert f"error: {run}/.lock: Permission denied: check its permissions" in capsys.readouterr().err.splitlines()[-1]


CHILD = """
import os, time
from ddim_from_scratch.training.guards import end_with_parent
end_with_parent(os.getppid())
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process there does not learn that its parent has ended")
def test_what_a_killed_process_has_started_ends_with_it():
    start = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    parent = subprocess.Popen([sys.executable, "-c", start, CHILD], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "ready\n"
    parent.kill()
    parent.communicate(timeout=30)  # returns when nobody holds the other end of the pipe


def test_on_a_gpu_what_a_step_needs_is_made_during_the_step_before():
    made, second = [], threading.Event()

    def items():
        for number in range(4):
            if number == 3:
                raise OSError("disk")
            made.append(number)
            if number == 1:
                second.set()
            yield number

    found = loop.ahead(items(), "gpu")
    assert next(found) == 0 and second.wait(10) and made == [0, 1]
    with pytest.raises(OSError, match="disk"):
        list(found)
    assert made == [0, 1, 2]
