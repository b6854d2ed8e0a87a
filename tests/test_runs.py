"""Runs in the hands of people who make music: what is drawn stays apart, and what is held out stays out."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
from helpers import TINY, closed, digest

from ddim_from_scratch import sample, train
from ddim_from_scratch.diffusion import Sampling
from ddim_from_scratch.experiments import __main__ as experiments
from ddim_from_scratch.experiments import compare
from ddim_from_scratch.runtime import files, tree
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.runtime.sets import new_set, read_about, sets_in
from ddim_from_scratch.spectrogram.compose import Composer, read_log_mel
from ddim_from_scratch.spectrogram.data import load_windows
from ddim_from_scratch.spectrogram.model import EARLY, init_state, read_run
from ddim_from_scratch.spectrogram.system import Batch, Training
from ddim_from_scratch.training.guards import locked

pytestmark = pytest.mark.usefixtures("quick")
FAST = "--num 2 --steps 2 --inverter griffin-lim"


def test_two_calls_write_two_sets_that_say_how_they_were_made(run):
    sample.main(f"--run {run} {FAST}".split())
    first = digest(run / "samples/sample_000.wav")
    sample.main(f"--run {run} {FAST} --seed 7".split())
    assert digest(run / "samples/sample_000.wav") == first != digest(run / "samples-2/sample_000.wav")
    about = read_about(run / "samples-2")
    assert about["seed"] == 7 and about["step"] == read_run(run).step and about["finished"]
    assert about["options"]["steps"] == 2 and about["run"] == str(run.resolve())
    assert about["command"] == f"python -m ddim_from_scratch.sample --run {run} {FAST} --seed 7"
    for name in ("samples2024", "samples-03", "samples-2-old"):
        (run / name).mkdir()
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
    monkeypatch.setattr(Composer, "draw", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        sample.main(f"--run {run} {FAST}".split())
    assert not (run / "samples").exists()


def test_compare_takes_the_newest_set_that_fits_and_says_which(run, capsys):
    listen = f"compare --run {run} --embedding mel --inverter griffin-lim".split()
    sample.main(f"--run {run} {FAST} --seconds 1.02 --num 3".split())  # no whole number of windows, nor of their halves
    sample.main(f"--run {run} {FAST} --seconds 3.9".split())  # the recordings last 4 s: there are no pairs of windows
    sample.main(f"--run {run} {FAST}".split())  # shorter than mel's patch of 1 s
    experiments.main(listen)
    assert f"The generated clips are those of {run}/samples, drawn at step" in capsys.readouterr().out
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["samples"] == str(run / "samples") and metrics["clips_per_set"] == 3
    assert set(metrics["heard"]) == {"generated", "real"} and set(metrics["nearest"]) == {"generated", "copies", "real"}
    train.main(f"--run {run} --resume --epochs 3".split())
    with pytest.raises(UserError, match="samples was drawn by another network, of step 14") as error:
        experiments.main(listen)
    advice = re.search(r"python -m ddim_from_scratch\.sample (.*)", str(error.value))
    sample.main([*shlex.split(advice[1]), "--steps", "2", "--inverter", "griffin-lim"])  # it works
    experiments.main(listen)
    assert json.loads((run / "metrics.json").read_text())["samples"] == str(run / "samples-4")
    experiments.main([*listen, "--samples", str(run / "samples")])  # the other network's, where they are asked for
    assert json.loads((run / "metrics.json").read_text())["samples"] == str(run / "samples")


def music(folder, names):
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        noise = 0.1 * np.random.default_rng(i).standard_normal(2 * 16000)
        soundfile.write(folder / f"{name}.wav", noise, 16000)


def test_held_out_stays_held_out(tmp_path, capsys, monkeypatch):
    data, run = tmp_path / "music", tmp_path / "run"
    music(data, "abcdefgh")
    train.main(f"--data {data} --run {run} --epochs 1 --hold-out 0.3 --prediction v {TINY}".split())
    held = [name for name, _ in read_run(run).contents["held_out"]]
    assert held == [path.name for path in load_windows(read_run(run).config, held_out=True).paths] and len(held) == 2
    assert f"held out of the training: {', '.join(held)}" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"--hold-out is 0\.0"):
        train.main(f"--run {run} --resume --epochs 2 --hold-out 0".split())
    listen = f"compare --run {run} --embedding mel --inverter griffin-lim".split()
    shutil.copy(data / "a.wav", tmp_path)
    for change, said in (
        (lambda: music(data, "abcdefghi"), r"added: i\.wav"),
        (lambda: (data / "i.wav").rename(data / "a.wav"), r"changed: a\.wav"),
        (lambda: (data / "a.wav").unlink(), r"missing: a\.wav"),
    ):
        change()
        for command in (lambda: experiments.main(listen), lambda: train.main(f"--run {run} --resume".split())):
            with pytest.raises(UserError, match=rf"not what the run was trained on \({said}.*train a new run"):
                command()
    shutil.copy(tmp_path / "a.wav", data)
    shutil.move(data, tmp_path / "moved")  # another place is no change
    train.main(f"--run {run} --resume --epochs 2 --data {tmp_path / 'moved'}".split())
    sample.main(f"--run {run} {FAST} --seconds 1 --num 3".split())
    loaded = []
    monkeypatch.setattr(compare, "load_windows", lambda *a, **k: loaded.append(load_windows(*a, **k)) or loaded[-1])
    experiments.main(listen)
    assert [path.name for path in loaded[1].paths] == held and not {*loaded[0].paths} & {*loaded[1].paths}
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["clips_per_set"] == 2  # of 1 s, in what windows cover of the two tracks
    assert metrics["loss_of_zero"] == pytest.approx(0.39, abs=0.01)
    assert f"learnt nothing has {metrics['loss_of_zero']:.2f}" in capsys.readouterr().out


@pytest.fixture
def song(tmp_path):
    """Five seconds of stereo at 44.1 kHz, 24 bits."""
    samples = 0.12 * np.random.default_rng(3).standard_normal((5 * 44100, 2)) * [1, 0.5]
    soundfile.write(tmp_path / "song.wav", samples, 44100, subtype="PCM_24")
    return tmp_path / "song.wav"


def test_infill_keeps_the_recording_and_continue_writes_song_and_continuation(run, song):
    own, rate = soundfile.read(song)
    sample.main(f"infill {song} --gap 2 3 --sampler heun --run {run} {FAST}".split())
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
    whole, given = read_log_mel(song, read_run(run).scaler), []
    monkeypatch.setattr(Composer, "vary", lambda self, clip, *_: given.append(clip) or clip[None])
    monkeypatch.setattr(Composer, "between", lambda self, a, b, *_: given.extend([a, b]) or a[None])
    sample.main(f"vary {song} --at 2 --run {run} {FAST}".split())
    sample.main(f"between {song} {song} --at 1 3 --run {run} --num 1 --steps 2 --inverter griffin-lim".split())
    for clip, start in zip(given, (100, 50, 150), strict=True):
        np.testing.assert_allclose(clip, whole[start : start + 32], atol=1e-4)


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, capsys):
    unknown = Mock(side_effect=OSError(38, "Function not implemented"))
    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", unknown)
    with locked(tmp_path):
        pass
    assert "can't be locked (Function not implemented)" in capsys.readouterr().err


def test_a_user_without_a_home_has_a_cache_of_the_process(monkeypatch):
    files.home.cache_clear()
    monkeypatch.setattr(files.Path, "home", Mock(side_effect=RuntimeError("Could not determine home directory.")))
    for name in ("DDIM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    folder = files.cache_folder()
    assert folder == files.cache_folder() and folder.parents[1].is_dir()
    files.home.cache_clear()


def test_an_unwritable_folder_is_named_before_anything_is_drawn(run, tmp_path, monkeypatch):
    monkeypatch.setattr(Composer, "draw", lambda *_: pytest.fail("it drew"))
    (tmp_path / "closed").mkdir()
    with closed(tmp_path / "closed"), pytest.raises(PermissionError):
        sample.main(f"--run {run} --out {tmp_path / 'closed'} {FAST}".split())


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
    assert shared.contents is None and shared.config == replace(whole.config, data="not-shared")
    ours, theirs = (
        Composer(replace(saved, scaler=replace(saved.scaler, outline=None)).model(), Sampling(steps=4)).draw(2, 32)
        for saved in (whole, shared)
    )
    assert 0 < abs(ours - theirs).max() < 0.05
    with pytest.raises(UserError, match="does not say what it was trained on: use the run itself"):
        load_windows(shared.config)
    with pytest.raises(UserError, match="what sampling needs only"):
        train.main(["--run", str(tmp_path / "shared"), "--resume"])
    with pytest.raises(UserError, match="holds a run already"):
        experiments.main(["share", "--run", str(run), "--out", str(tmp_path / "shared")])


def test_training_keeps_its_network_of_an_early_step(run, rng):
    system = Training(read_run(run).config)
    state = tree.pack(init_state(system.config, rng))
    drawn = system.noisy(Batch(rng.standard_normal((1, 32, 128, 1), dtype=np.float32)), rng)
    system.step(state, drawn, EARLY)
    early = state["average"].flat.copy()
    system.step(state, drawn, EARLY + 1)
    assert np.array_equal(state["early"].flat, early) and not np.array_equal(state["average"].flat, early)


def test_guidance_leads_away_from_the_early_network(run):
    saved = read_run(run)
    early = tree.map(lambda leaf: leaf / 2, saved.state["average"])
    limited = replace(saved, step=EARLY + 1, state=saved.state | {"early": early}).model()
    model = replace(limited, scaler=replace(limited.scaler, limits=None))
    ours, worse, guided = (
        Composer(of, Sampling(steps=1), guidance=weight).draw(2, 32)
        for of, weight in ((model, 1), (model.worse, 1), (model, 3))
    )
    all_of_them = np.stack([ours, worse, guided])
    heard = ((all_of_them > -10) & (all_of_them < 10)).all(axis=0)  # beyond, log-mels are clipped
    np.testing.assert_allclose(guided[heard], (3 * ours - 2 * worse)[heard], atol=1e-3)  # one step is linear in eps
    assert heard.sum() > 500 and abs(ours - worse)[heard].max() > 0.1
    low, high = limited.scaler.limits
    np.testing.assert_allclose(
        Composer(limited, Sampling(steps=1), guidance=3).draw(2, 32), np.clip(guided, low, high), atol=1e-3
    )
    assert (guided > high + 1).any()
    with pytest.raises(UserError, match=f"--guidance is 2, and .* step {EARLY}: .*train longer"):
        sample.main(f"--run {run} {FAST} --guidance 2".split())
