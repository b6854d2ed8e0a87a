"""Runs in the hands of people who make music: what is drawn stays apart, and what is held out stays out."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from helpers import digest

from ddim_from_scratch import sample, train
from ddim_from_scratch.audio import load_audio
from ddim_from_scratch.diffusion import Sampling
from ddim_from_scratch.experiments import __main__ as experiments
from ddim_from_scratch.runtime.cli import run_command
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.runtime.sets import new_set, read_about, sets_in
from ddim_from_scratch.spectrogram.compose import Composer
from ddim_from_scratch.spectrogram.data import load_windows
from ddim_from_scratch.spectrogram.model import read_run

pytestmark = pytest.mark.usefixtures("quick")
TINY = (
    "--window-seconds 0.64 --window-hop-seconds 0.32 --windows-per-track 5 --widths 4 4 --attention none --batch-size 2"
)
FAST = "--num 2 --steps 2 --inverter griffin-lim"


@pytest.fixture(scope="module")
def trained(recordings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train.main(f"--data {recordings} --run {folder} --epochs 1 {TINY}".split())
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def test_two_calls_write_two_sets_that_say_how_they_were_made(run):
    sample.main(f"--run {run} {FAST}".split())
    first = digest(run / "samples/sample_000.wav")
    sample.main(f"--run {run} {FAST} --seed 7".split())
    assert digest(run / "samples/sample_000.wav") == first != digest(run / "samples-2/sample_000.wav")
    about = read_about(run / "samples-2")
    assert about["seed"] == 7 and about["step"] == read_run(run).step and about["finished"]
    assert about["options"]["steps"] == 2 and about["run"] == str(run.resolve())
    assert about["command"] == f"python -m ddim_from_scratch.sample --run {run} {FAST} --seed 7"
    assert sets_in(run / "samples") == [run / "samples-2", run / "samples"]
    sample.main([*shlex.split(about["command"])[3:], "--out", str(run / "again")])  # the command makes it again
    assert digest(run / "again/sample_001.wav") == digest(run / "samples-2/sample_001.wav")


def test_a_folder_with_clips_is_not_written_to(run, tmp_path):
    sample.main(f"--run {run} {FAST} --out {tmp_path / 'mine'}".split())
    before = {path.name: digest(path) for path in (tmp_path / "mine").iterdir()}
    with pytest.raises(UserError, match=r"mine holds clips already.*--out"):
        sample.main(f"--run {run} {FAST} --out {tmp_path / 'mine'} --seed 1".split())
    assert {path.name: digest(path) for path in (tmp_path / "mine").iterdir()} == before
    (run / "samples").mkdir()
    (run / "samples/sample_000.wav").write_bytes(b"of the first edition")
    sample.main(f"--run {run} {FAST}".split())
    assert (run / "samples/sample_000.wav").read_bytes() == b"of the first edition"
    assert (run / "samples-2/sample_001.wav").exists()


def test_of_two_at_once_in_a_folder_one_is_refused_and_numbered_ones_part(tmp_path):
    def claim(i, numbered):
        try:
            with new_set(tmp_path / f"set {numbered}", {"i": i, "network": "a", "step": 1}, numbered) as folder:
                (folder / "sample_000.wav").write_bytes(b"%d" % i)
            return folder
        except UserError:
            return None

    with ThreadPoolExecutor(8) as pool:
        exact = [*pool.map(lambda i: claim(i, False), range(8))]
        numbered = [*pool.map(lambda i: claim(i, True), range(8))]
    assert sum(folder is not None for folder in exact) == 1
    assert len(set(numbered)) == 8
    for i, folder in enumerate(numbered):
        assert (folder / "sample_000.wav").read_bytes() == b"%d" % i and read_about(folder)["i"] == i


def test_what_is_stopped_before_its_first_clip_leaves_nothing(run, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Composer, "draw", stopped)
    with pytest.raises(KeyboardInterrupt):
        sample.main(f"--run {run} {FAST}".split())
    assert not (run / "samples").exists()


def test_compare_takes_the_newest_set_that_fits_and_says_which(run, capsys, monkeypatch):
    listen = f"compare --run {run} --embedding mel --inverter griffin-lim".split()
    sample.main(f"--run {run} {FAST} --seconds 1 --num 3".split())
    sample.main(f"--run {run} {FAST} --seconds 3.9".split())  # the recordings last 4 s: there are no pairs of windows
    sample.main(f"--run {run} {FAST}".split())  # shorter than mel's patch of 1 s
    experiments.main(listen)
    assert f"The generated clips are those of {run}/samples, drawn at step" in capsys.readouterr().out
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["samples"] == str(run / "samples") and metrics["clips_per_set"] == 3
    assert set(metrics["heard"]) == {"generated", "real"} and set(metrics["nearest"]) == {"generated", "copies", "real"}
    experiments.main([*listen, "--samples", str(run / "samples")])
    train.main(f"--run {run} --resume --epochs 2".split())
    with pytest.raises(UserError, match="samples was drawn by another network, of step 7") as error:
        experiments.main(listen)
    advice = re.search(r"python -m ddim_from_scratch\.sample (.*)", str(error.value))
    sample.main([*shlex.split(advice[1]), "--steps", "2", "--inverter", "griffin-lim"])  # it works
    experiments.main(listen)
    assert json.loads((run / "metrics.json").read_text())["samples"] == str(run / "samples-4")


def test_compare_accepts_clips_of_any_length(run, seconds=1.02):
    sample.main(f"--run {run} {FAST} --seconds {seconds}".split())
    assert len(load_audio(run / "samples/sample_000.wav")) == round(seconds * 50) * 320
    experiments.main(f"compare --run {run} --embedding mel --inverter griffin-lim".split())
    assert json.loads((run / "metrics.json").read_text())["samples"] == str(run / "samples")


def music(folder, names):
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        noise = 0.1 * np.random.default_rng(i).standard_normal(2 * 16000)
        soundfile.write(folder / f"{name}.wav", noise, 16000)


def test_held_out_stays_held_out(tmp_path, capsys):
    data, run = tmp_path / "music", tmp_path / "run"
    music(data, "abcdefgh")
    train.main(f"--data {data} --run {run} --epochs 1 --hold-out 0.3 {TINY}".split())
    held = [name for name, _ in read_run(run).contents["held_out"]]
    assert held == [path.name for path in load_windows(read_run(run).config, held_out=True).paths] and len(held) == 2
    assert f"held out of the training: {', '.join(held)}" in capsys.readouterr().err
    sample.main(f"--run {run} {FAST} --seconds 1".split())
    listen = f"compare --run {run} --embedding mel --inverter griffin-lim".split()
    music(data, "abcdefghi")
    for command in (lambda: experiments.main(listen), lambda: train.main(f"--run {run} --resume --epochs 2".split())):
        with pytest.raises(UserError, match=r"not what the run was trained on \(added: i\.wav.*train a new run"):
            command()
    (data / "i.wav").unlink()
    shutil.move(data, tmp_path / "moved")  # another place is no change
    train.main(f"--run {run} --resume --epochs 2 --data {tmp_path / 'moved'}".split())
    sample.main(f"--run {run} {FAST} --seconds 1".split())
    experiments.main(listen)


def test_resuming_after_recordings_changed_but_not_their_number_is_refused(tmp_path):
    data, run = tmp_path / "music", tmp_path / "run"
    music(data, "abc")
    train.main(f"--data {data} --run {run} --epochs 1 {TINY}".split())
    shutil.copy(data / "a.wav", tmp_path / "kept.wav")
    soundfile.write(data / "a.wav", 0.1 * np.random.default_rng(9).standard_normal(2 * 16000), 16000)
    with pytest.raises(UserError, match=r"\(changed: a\.wav\)"):
        train.main(f"--run {run} --resume --epochs 2".split())
    shutil.copy(tmp_path / "kept.wav", data / "a.wav")  # as the error advises
    train.main(f"--run {run} --resume --epochs 2".split())


@pytest.fixture
def song(tmp_path):
    """Five seconds of stereo at 44.1 kHz, 24 bits."""
    samples = 0.12 * np.random.default_rng(3).standard_normal((5 * 44100, 2)) * [1, 0.5]
    soundfile.write(tmp_path / "song.wav", samples, 44100, subtype="PCM_24")
    return tmp_path / "song.wav"


def test_infill_keeps_the_recording_and_continue_writes_song_and_continuation(run, song):
    own, rate = soundfile.read(song)
    sample.main(f"infill {song} --gap 2 3 --run {run} {FAST}".split())
    filled, filled_rate = soundfile.read(run / "infilled/sample_001.wav")
    assert filled.shape == own.shape and filled_rate == rate
    outside = np.r_[0 : int(1.9 * rate), int(3.1 * rate) : len(own)]
    np.testing.assert_array_equal(filled[outside], own[outside])
    gap = slice(int(2.1 * rate), int(2.9 * rate))
    assert abs(np.corrcoef(filled[gap, 0], own[gap, 0])[0, 1]) < 0.1
    np.testing.assert_allclose(filled[gap].std(axis=0), own.std(axis=0), rtol=0.2)
    sample.main(f"continue {song} --seconds 2 --run {run} {FAST}".split())
    continued, _ = soundfile.read(run / "continued/sample_000.wav")
    assert continued.shape == (7 * rate, 2)
    np.testing.assert_array_equal(continued[: int(4.9 * rate)], own[: int(4.9 * rate)])
    np.testing.assert_allclose(continued[5 * rate :].std(axis=0), own.std(axis=0), rtol=0.2)


def test_at_says_where_to_begin(run, song, monkeypatch):
    from ddim_from_scratch.spectrogram.compose import read_log_mel

    whole, given = read_log_mel(song, read_run(run).scaler), []
    monkeypatch.setattr(Composer, "vary", lambda self, clip, *_: given.append(clip) or clip[None])
    monkeypatch.setattr(Composer, "between", lambda self, a, b, *_: given.extend([a, b]) or a[None])
    sample.main(f"vary {song} --at 2 --run {run} {FAST}".split())
    sample.main(f"between {song} {song} --at 1 3 --run {run} --num 1 --steps 2 --inverter griffin-lim".split())
    for clip, start in zip(given, (100, 50, 150), strict=True):
        np.testing.assert_allclose(clip, whole[start : start + 32], atol=1e-4)


def said(main, capsys, again):
    """What `run_command` says on stderr at last."""
    with pytest.raises(SystemExit):
        run_command(main, again)
    return capsys.readouterr().err.splitlines()[-1]


def test_an_interruption_and_a_full_disk_say_how_this_command_goes_on(capsys):
    def full():
        raise OSError(28, "No space left on device", "a.wav")

    def interrupted():
        raise KeyboardInterrupt

    assert said(interrupted, capsys, "draw anew") == "interrupted; finished files are kept; draw anew"
    expected = "error: a.wav: No space left on device: free some disk space; files saved before are intact; draw anew"
    assert said(full, capsys, "draw anew") == expected


def test_a_console_of_another_code_page_shows_what_it_can(monkeypatch, tmp_path):
    with open(tmp_path / "console", "w", encoding="cp437") as console:
        monkeypatch.setattr(sys, "stdout", console)
        run_command(lambda: print("caf\u00e9 \u4e2d \udce9"))
    monkeypatch.undo()
    shown = (tmp_path / "console").read_text(encoding="cp437")
    assert shown == "caf\u00e9 \\u4e2d \\udce9\n"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_hang_up_saves_like_a_termination_and_nohup_trains_on(recordings, tmp_path, monkeypatch):
    from ddim_from_scratch.spectrogram import system

    adamw = system.adamw

    def hung_up(params, grads, moments, at, *rest):
        if at == 3:
            signal.raise_signal(signal.SIGHUP)
        adamw(params, grads, moments, at, *rest)

    monkeypatch.setattr(system, "adamw", hung_up)
    whole = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    with pytest.raises(SystemExit) as stop:
        train.main(f"--data {recordings} --run {tmp_path / 'a'} --epochs 1 {TINY}".split())
    assert stop.value.code == 128 + signal.SIGHUP and read_run(tmp_path / "a").step == 3
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        train.main(f"--data {recordings} --run {tmp_path / 'b'} --epochs 1 {TINY}".split())
    finally:
        signal.signal(signal.SIGHUP, whole)
    assert read_run(tmp_path / "b").step == 7


def test_a_file_system_without_locks_is_warned_of(recordings, tmp_path, monkeypatch, capsys):
    fcntl = pytest.importorskip("fcntl")

    def flock(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    train.main(f"--data {recordings} --run {tmp_path} --epochs 1 {TINY}".split())
    assert "can't be locked (Function not implemented)" in capsys.readouterr().err


def test_a_user_without_a_home_has_a_cache_of_the_process(monkeypatch):
    from ddim_from_scratch.runtime import files

    def none():
        raise RuntimeError("Could not determine home directory.")

    files.home.cache_clear()
    monkeypatch.setattr(files.Path, "home", none)
    for name in ("DDIM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    folder = files.cache_folder()
    assert folder == files.cache_folder() and folder.parents[1].is_dir()
    files.home.cache_clear()


def test_an_unwritable_folder_is_named_before_anything_is_drawn(run, tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    monkeypatch.setattr(Composer, "draw", lambda *_: pytest.fail("it drew"))
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    (tmp_path / "closed").chmod(0o555)
    me = os.geteuid()
    if me == 0:  # whom no permission binds
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError):
            sample.main(f"--run {run} --out {tmp_path / 'closed'} {FAST}".split())
    finally:
        os.seteuid(me)


def test_matplotlib_says_nothing_of_its_cache(tmp_path):
    command = "import ddim_from_scratch.experiments.pictures"
    nowhere = {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null", "XDG_CONFIG_HOME": "/dev/null"}
    environment = os.environ | nowhere | {"PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("MPLCONFIGDIR", None)
    done = subprocess.run([sys.executable, "-c", command], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_shared_run_draws_the_same_to_half_precision_and_is_not_trained_on(run, tmp_path):
    experiments.main(["share", "--run", str(run), "--out", str(tmp_path / "shared")])
    whole, shared = read_run(run), read_run(tmp_path / "shared")
    assert (tmp_path / "shared/checkpoint.npz").stat().st_size < (run / "checkpoint.npz").stat().st_size / 2
    assert shared.contents is None
    ours, theirs = (
        Composer(replace(saved.model(), outline=None), Sampling(steps=4)).draw(2, 32) for saved in (whole, shared)
    )
    assert 0 < abs(ours - theirs).max() < 0.05
    with pytest.raises(UserError, match="what sampling needs only"):
        train.main(["--run", str(tmp_path / "shared"), "--resume"])
    with pytest.raises(UserError, match="holds a run already"):
        experiments.main(["share", "--run", str(run), "--out", str(tmp_path / "shared")])
