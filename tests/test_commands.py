"""The commands, as a user runs them: train, resume, sample, compare; and all that a user can get wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import TINY, assert_same_leaves, digest
from PIL import Image

import ddim_from_scratch
from ddim_from_scratch import sample, train
from ddim_from_scratch.audio import full_scale, griffin_lim, load_audio, load_inverter
from ddim_from_scratch.diffusion import SAMPLERS, SPACINGS, Sampling
from ddim_from_scratch.experiments import __main__ as experiments
from ddim_from_scratch.experiments import ceiling, pictures, steps
from ddim_from_scratch.fad import load_embedding
from ddim_from_scratch.nn.fast import processor
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.runtime.files import write_json
from ddim_from_scratch.runtime.sets import read_about
from ddim_from_scratch.spectrogram import denoiser, system
from ddim_from_scratch.spectrogram.compose import Composer
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.data import load_windows
from ddim_from_scratch.training import checkpoint, loop
from ddim_from_scratch.training.checkpoint import read_log

pytestmark = pytest.mark.usefixtures("quick")


def test_training_leaves_all_its_files(trained):
    assert {p.name for p in trained.iterdir()} >= {"checkpoint.npz", "config.json", "log.csv", "loss.png"}
    rows = read_log(trained / "log.csv")
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    assert {row[1] for row in rows} == {1, 2}
    assert rows[0][2] == pytest.approx(1, abs=0.2)  # the zero-initialised output predicts no noise
    assert json.loads((trained / "config.json").read_text())["widths"] == [4, 4]


def test_plain_computes_with_the_textbook_and_comes_to_the_same(run, recordings, tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "residual_block", None)
    train.main(f"--data {recordings} --run {tmp_path} --epochs 2 --plain {TINY}".split())
    sample.main(f"--run {tmp_path} --num 1 --steps 1 --plain".split())
    losses, plain = (np.array(read_log(folder / "log.csv"))[:, 2:4] for folder in (run, tmp_path))
    np.testing.assert_allclose(plain, losses, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "noise_loss"),
    [
        ("--prediction v --schedule linear", 1.5),
        ("--prediction x0", 5),  # read as noise, an error in x0 counts by the signal-to-noise ratio: up to 9
        ("--schedule cosine --attention all", 1.5),
    ],
)
def test_other_recipes_train_and_sample(options, noise_loss, recordings, tmp_path):
    train.main(f"--data {recordings} --run {tmp_path} --epochs 1 {TINY} {options}".split())
    sample.main(f"--run {tmp_path} --num 2 --steps 4".split())
    assert np.isfinite(load_audio(tmp_path / "samples/sample_001.wav")).all()
    assert np.mean([row[2] for row in read_log(tmp_path / "log.csv")]) < noise_loss


def test_every_sampler_and_spacing_goes_its_own_way(run, tmp_path, monkeypatch):
    """Compared as spectrograms: with so small a network some differ by less than the 16 bits of a file show."""
    clips, draw = {}, Composer.draw
    options = [f"--sampler {name}" for name in SAMPLERS] + [f"--spacing {name}" for name in SPACINGS]
    for option in [*options, "--eta 1"]:
        monkeypatch.setattr(Composer, "draw", lambda *a, option=option: clips.setdefault(option, draw(*a)))
        sample.main(f"--run {run} --num 1 --steps 4 --out {tmp_path}/{len(clips)} {option}".split())
    assert all(np.isfinite(clip).all() for clip in clips.values())
    assert np.array_equal(clips["--sampler ddim"], clips["--spacing uniform"])  # the defaults
    assert len({clip.tobytes() for clip in clips.values()}) == len(clips) - 1


def help_of(capsys, *words):
    with pytest.raises(SystemExit):
        sample.main([*words, "--help"])
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("mode", "own", "others"),
    [
        ("draw", "--seconds --sampler --eta --overlap", "--gap --strength FILE"),
        ("continue", "FILE --seconds --sampler --overlap", "--gap --strength"),
        ("infill", "FILE --gap --sampler --resamplings", "--seconds --strength --overlap"),
        ("vary", "FILE --strength --seconds --sampler", "--gap --overlap --resamplings"),
        ("between", "A B --seconds --steps --spacing", "--gap --strength --sampler --eta --overlap"),
    ],
)
def test_help_lists_the_modes_and_that_of_a_mode_its_options_and_samplers(mode, own, others, capsys):
    said = help_of(capsys, mode)
    words = said.replace("[", " ").replace("]", " ").split()
    assert {*own.split(), "--run", "--num", "--out"} <= set(words)
    assert not set(others.split()) & set(words)
    if "--sampler" in own:
        assert all(f"{name}: {sampler.summary}" in " ".join(said.split()) for name, sampler in SAMPLERS.items())
    said = help_of(capsys)
    assert all(f" {mode} " in said for mode in system.MODES)


@pytest.mark.parametrize(
    ("options", "folder", "frames"),
    [
        ("draw --seconds 3", "samples", 150),  # more than four windows of 32 frames
        ("vary {tone} --strength 0.3 --seconds 1.28", "varied", 64),
        ("between {tone} {other}", "between", 32),
    ],
)
def test_music_has_the_asked_length(options, folder, frames, recordings, run, tmp_path):
    """Of `continue` and `infill`: tests/test_runs.py."""
    other = tmp_path / "another rate.flac"
    soundfile.write(other, np.tile(load_audio(recordings / "tone1.wav", 22050)[:, None], 2), 22050)
    options = [part.format(tone=recordings / "tone0.wav", other=other) for part in options.split()]
    sample.main([*options, *f"--run {run} --num 2 --steps 2 --inverter griffin-lim".split()])
    paths = sorted((run / folder).glob("*.wav"))
    assert [soundfile.info(path).samplerate for path in paths] == [16000, 16000]
    sounds = [load_audio(path) for path in paths]
    assert [len(sound) for sound in sounds] == 2 * [frames * 320]
    assert all(np.isfinite(sound).all() for sound in sounds)
    assert (run / folder / "samples.png").read_bytes().startswith(b"\x89PNG")


# More of a sampler's: diffusion/test_samplers.py.
BAD = "--num 0|--eta 1 --sampler heun|--seconds 0|--seconds 0.01|--seconds 1e300|--inverter x"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("continue {brief}", r"brief.wav lasts 0.30 s, and 0.32 s are needed: .*--overlap"),
        ("vary {brief}", r"brief.wav lasts 0.30 s, and 0.64 s are needed: .*--seconds"),
        ("continue absent.wav", "absent.wav does not exist"),
        ("infill {tone}", "--gap"),
        ("infill {tone} --gap 2 5", "--gap 2 5 is not within the recording's 3.98 s of whole frames"),
        ("infill {tone} --gap 0 3", "--gap is 3 s long, and the network draws 2.56 s at once"),
        ("infill {tone} --gap 0 nan", "--gap"),
        ("infill {tone} --gap 1 2 --seconds 3", "--seconds"),
        ("--gap 1 2", r"--gap 1 2; .*\.sample draw --help lists the options"),
        ("--continue {tone}", "--continue has become a mode"),
        ("vary {tone} --at 3.5", r"tone0.wav lasts 4.00 s, and 0.64 s are needed from second 3.5: .* --at"),
        ("vary {tone} --at -1", "--at is -1.0"),
        ("vary {tone} --at 1e305", "--at is 1e"),
        ("between {tone} {tone} --at 1 2 3", "--at has 3 numbers"),
        ("vary {tone} --strength 1.5", r"--strength is 1\.5"),
        ("vary {tone} --strength nan", "--strength is nan"),
        ("between {tone} {tone} --sampler heun", "--sampler"),
        ("--seconds 9 --overlap 0", r"--overlap is 0.0: give 0.02 or more \(0 is for runs with --context\)"),
        ("--seconds 9 --overlap 2.555", "--overlap is 2.555"),
        ("--seconds 9 --overlap nan", "--overlap is nan"),
        ("--seconds 9 --overlap 2.56", "--overlap is 2.56.* less than the 2.56 s"),
        ("--seconds 9 --resamplings 0", "--resamplings"),
        *((words, words.split()[0]) for words in BAD.split("|")),
    ],
)
def test_what_music_cannot_go_on_from_is_named(options, named, recordings, run, tmp_path):
    soundfile.write(tmp_path / "brief.wav", np.ones(4800), 16000)
    options = [part.format(brief=tmp_path / "brief.wav", tone=recordings / "tone0.wav") for part in options.split()]
    with pytest.raises(UserError, match=named):
        sample.main([*options, "--run", str(run), "--out", str(tmp_path / "out")])
    assert not list(tmp_path.glob("out/*"))


def test_a_run_with_context_needs_a_window_to_go_on_from(recordings, tmp_path):
    run = tmp_path / "run"
    train.main(f"--data {recordings} --run {run} --epochs 1 --context {TINY}".split())
    state = checkpoint.load_checkpoint(run)["state"]
    assert state["network"]["params"]["input"]["w"].shape == (1, 1, 2, 4)
    sample.main(f"--run {run} --num 1 --steps 2 --seconds 1.5 --overlap 0".split())
    assert len(load_audio(run / "samples/sample_000.wav")) == 75 * 320
    soundfile.write(tmp_path / "brief.wav", np.ones(8000), 16000)  # longer than the overlap, but not than the context
    with pytest.raises(UserError, match=r"lasts 0\.50 s, and 0\.64 s are needed"):
        sample.main(f"continue {tmp_path / 'brief.wav'} --run {run}".split())


def test_a_context_is_the_window_before_backwards_and_dropped_now_and_then(recordings):
    windows = load_windows(Config(data=str(recordings), window_seconds=0.64, window_hop_seconds=0.64, widths=(4, 4)))
    second = int(np.flatnonzero(windows.starts[:, 1])[0])
    scaler = windows.scaler()
    training = system.Training(Config(data="x", context=True), scaler=scaler)
    (contexts,) = training.conditions(windows.some(np.full(400, second)), np.random.default_rng(0))
    dropped = ~contexts.any(axis=(1, 2, 3))
    assert dropped.mean() == pytest.approx(system.CONTEXT_DROPPED, abs=0.06)  # standard error 0.02
    expected = scaler.standardise(windows.take([second - 1])[0])[::-1]
    np.testing.assert_array_equal(contexts[~dropped][:, :, :, 0], np.broadcast_to(expected, (sum(~dropped), 32, 128)))


def test_steps_measures_each_point_once_and_says_what_holds(run, tmp_path, monkeypatch, capsys):
    drawn, make = [], Composer.draw

    def draw(composer, *sizes):
        if len(drawn) == 3:
            raise KeyboardInterrupt
        drawn.append((composer.sampling.sampler, composer.sampling.steps))
        return make(composer, *sizes)

    monkeypatch.setattr(Composer, "draw", draw)
    monkeypatch.setattr(steps, "REFERENCE", ("ddim", 30))
    monkeypatch.setattr(steps, "CLAIMS", ((("dpm++2m", 3), ("ddim", 30)),))
    command = f"steps --run {run} --clips 3 --seconds 1.28 --embedding mel --inverter griffin-lim --evaluations".split()
    with pytest.raises(KeyboardInterrupt):
        experiments.main([*command, "3", "8"])
    assert re.search(r"drawing 9 points of 3 clips will take about \d+ (seconds|minutes)", capsys.readouterr().err)
    assert drawn == [("ddim", 30), ("ddim", 3), ("ddpm", 3)]
    drawn.clear()
    experiments.main([*command, "3"])
    assert drawn == [("heun", 2), ("dpm++2m", 3)]
    drawn.clear()
    experiments.main([*command, "3"])
    assert not drawn
    points = {(p["sampler"], p["evaluations"]): p for p in json.loads((run / "steps.json").read_text())["points"]}
    assert set(points) == {("ddim", 30), ("ddim", 3), ("ddpm", 3), ("heun", 3), ("dpm++2m", 3)}
    assert points["ddim", 30]["rms"] == 0 < points["dpm++2m", 3]["rms"] <= points["ddpm", 3]["rms"]
    holds = points["dpm++2m", 3]["fad"] <= points["ddim", 30]["interval"][1]
    said = f"dpm++2m with 3 evaluations is {'no worse' if holds else 'worse'} than ddim with 30"
    assert said in capsys.readouterr().out
    assert (run / "steps.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(Composer, "draw", make)
    before = digest(run / "steps.json")
    with pytest.raises(UserError, match=r"made with spacing log-snr, not uniform.*move it elsewhere"):
        experiments.main([*command, "2", "--spacing", "uniform"])
    assert digest(run / "steps.json") == before
    with pytest.raises(UserError, match="--evaluations has 1001"):
        experiments.main([*command, "1001"])


def test_compare_measures_all_five_sets(run, tmp_path, capsys):
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
    about = read_about(run / "samples")
    write_json(run / "samples/set.json", about | {"inverter": "soundstream"})
    with pytest.raises(UserError, match="samples was made with --inverter soundstream: give it here, too"):
        experiments.main(["compare", "--run", str(run), "--embedding", "mel"])


def test_a_film_goes_from_noise_to_the_sample(run, tmp_path):
    log_mels = pictures.film(run, None, 5)
    experiments.main(f"film --run {run} --steps 5".split())
    assert log_mels.shape == (6, 32, 128)
    opened = ddim_from_scratch.open_run(run)
    np.testing.assert_array_equal(log_mels[-1], opened.log_mels(1, sampling=Sampling(steps=5))[0])
    with Image.open(run / "film.webp") as picture:
        assert picture.n_frames == 6 and picture.size == (96, 256)


def test_compare_says_when_samples_are_too_short_for_the_embedding(run):
    sample.main(f"--run {run} --num 2 --steps 1".split())
    with pytest.raises(UserError, match=r"0\.64 s, and a patch of musicnn lasts 2\.98 s. Draw some: .* --seconds 3"):
        experiments.main(["compare", "--run", str(run), "--embedding", "musicnn"])


def quieter(log_mels, label=""):
    """An inverter that halves the loudness."""
    return np.stack([griffin_lim(clip, iterations=8) for clip in log_mels]) / 2


def test_the_ceiling_is_the_distance_that_the_inverter_makes(recordings):
    """Halving lowers every log-mel by ln 2; mel's mean over time is one third of its numbers."""
    embedding = load_embedding("mel")
    worse = ceiling.ceiling(str(recordings), 1.0, 9, quieter, embedding)
    assert worse["clips_per_set"] == 6  # half of three recordings of 4 s
    better = ceiling.ceiling(str(recordings), 1.0, 9, load_inverter("griffin-lim"), embedding)
    assert worse["fad"]["real"] == better["fad"]["real"] < better["fad"]["ceiling"] < worse["fad"]["ceiling"]
    assert better["fad"]["inverted"] < worse["fad"]["inverted"]
    assert better["log_mel_error"] < 0.3 < worse["log_mel_error"] < np.log(2) + 0.3


def test_ceiling_is_a_command(recordings, tmp_path, capsys):
    written = tmp_path / "ceiling.json"
    options = f"--seconds 1 --embedding mel --inverter griffin-lim --json {written}"
    experiments.main(f"ceiling --data {recordings} {options}".split())
    report, metrics = capsys.readouterr().out, json.loads(written.read_text())
    for window in (256, 1024, 4096):
        assert f"SC {metrics[f'sc_{window}']:.3f}   LM {metrics[f'lm_{window}']:.3f}" in report
    assert all(
        name in report for name in ("6 clips of real music (embedding mel)", "inverted", "ceiling", "real", "log-mel")
    )
    (tmp_path / "track.wav").write_bytes((recordings / "tone0.wav").read_bytes())
    with pytest.raises(UserError, match="2 clips of 2 s"):
        experiments.main(f"ceiling --data {tmp_path} --seconds 2 --embedding mel".split())


def test_fad_every_logs_and_keeps_the_best(recordings, tmp_path, caches, monkeypatch):
    plain, measured = tmp_path / "plain", tmp_path / "measured"
    options = f"--data {recordings} --epochs 2 --learning-rate 1e-2 {TINY}"
    train.main(f"{options} --run {plain}".split())
    monkeypatch.setattr(system, "PROBE_CLIPS", 2)
    monkeypatch.setattr(system, "PROBE", Sampling(steps=1))
    monkeypatch.setattr(system, "load_embedding", lambda device: load_embedding("mel", device=device))
    scores = iter([5.0, 3.0, 4.0, 1.0])
    monkeypatch.setattr(system, "distance", lambda *sets: next(scores))
    train.main(f"{options} --run {measured} --fad-every 1".split())
    train.main(f"--run {measured} --resume --epochs 3".split())
    assert [row[1:] for row in read_log(measured / "fad.csv")] == [(1, 5), (2, 3), (3, 4)]
    best, second = checkpoint.load_checkpoint(measured, best=True), checkpoint.load_checkpoint(plain)
    assert_same_leaves(best["state"], second["state"])  # the second epoch's; measuring changes nothing
    (tmp_path / "brief").mkdir()
    soundfile.write(tmp_path / "brief/a.wav", np.sin(np.arange(16_000) * 0.3), 16_000)
    with pytest.raises(UserError, match="or leave out --fad-every"):  # and not after an epoch
        train.main(f"--data {tmp_path / 'brief'} --run {tmp_path / 'run'} --fad-every 1 {TINY}".split())
    sample.main(f"--run {measured} --best --num 1 --steps 2".split())
    with pytest.raises(UserError, match=r"best\.npz does not exist: .* --resume --fad-every N"):
        sample.main(f"--run {plain} --best".split())
    train.main(f"--run {plain} --resume --fad-every 1 --epochs 3".split())  # as the error advises
    sample.main(f"--run {plain} --best --num 1 --steps 2".split())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("bottom/block1/conv1/w", r"loss of step 15 is nan, first wrong before up0/block0, of .*tone\d"),
        ("output/w", r"loss of step 15 is nan, first wrong before the output, of .*tone\d\.wav at [\d.]+ s"),
        ("gradient", r"gradient of step 15 is inf, first at down0/block1/conv2/w, of .*tone\d\.wav"),
        ("loss", r"loss of step 15 is inf"),
        ("weight", r"network/params/output/b became non-finite by step 21"),
    ],
)
def test_a_number_that_goes_wrong_is_traced_and_the_checkpoint_kept(wrong, message, run, tmp_path, monkeypatch):
    before = digest(run / "checkpoint.npz")

    def unet(params, *rest, **options):
        if "/" in wrong:
            tree.flatten(params)[wrong][:] = np.nan
        return network(params, *rest, **options)

    def backward(*arguments):
        dx, grads = network_backward(*arguments)
        if wrong == "gradient":
            for block in ("block0", "block1"):  # the backward pass comes to block1 first
                grads["down0"][block]["conv2"]["w"][0] = np.inf
        return dx, grads

    def losses(output, *rest):
        return (np.float64(np.inf), np.float64(1), output) if wrong == "loss" else all_losses(output, *rest)

    def adamw(params, *rest):
        step(params, *rest)
        if wrong == "weight" and rest[2] == 21:
            params[-1] = np.nan

    network, network_backward, all_losses, step = denoiser.unet, denoiser.unet_backward, system.losses, system.adamw
    monkeypatch.setattr(denoiser, "unet", unet)
    monkeypatch.setitem(denoiser.NETWORKS, "unet", denoiser.NETWORKS["unet"]._replace(backward=backward))
    monkeypatch.setattr(system, "losses", losses)
    monkeypatch.setattr(system, "adamw", adamw)
    with pytest.raises(UserError, match=rf"{message}.*last good epoch"):
        train.main(f"--run {run} --resume --epochs 3".split())
    assert digest(run / "checkpoint.npz") == before


def test_a_clipped_gradient_trains_otherwise(recordings, run, tmp_path):
    train.main(f"--data {recordings} --run {tmp_path} --epochs 1 --clip-gradient 0.001 {TINY}".split())
    losses = [[row[2] for row in read_log(folder / "log.csv")] for folder in (run, tmp_path)]
    assert losses[0][0] == losses[1][0] and losses[0][1] != losses[1][1]


@pytest.mark.parametrize(("learning_rate", "said"), [("1e-12", 1), ("1e-2", 0)])
@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_a_run_that_learns_nothing_says_so_once(
    learning_rate, said, prediction, recordings, tmp_path, monkeypatch, capsys
):
    """At 1e-2 the loss is at 0.3 to 0.7 of that of predicting 0 by then, over three seeds."""
    monkeypatch.setattr(loop, "PATIENCE", 40)
    options = f"--epochs 6 --learning-rate {learning_rate} --prediction {prediction} --min-signal-rate 0.2"
    train.main(f"--data {recordings} --run {tmp_path} {options} {TINY}".split())
    assert capsys.readouterr().err.count("learnt nothing") == said


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        (sample, "", r"checkpoint\.npz does not exist: train"),
        (train, "--resume", "no checkpoint: .* leave out --resume"),
    ],
)
def test_a_checkpoint_that_is_none_is_named(command, words, said, tmp_path):
    """Damaged ones: test_strangers.py. Of another configuration: spectrogram/test_denoiser.py."""
    with pytest.raises(UserError, match=said):
        command.main(f"--run {tmp_path} {words}".split())
    np.savez(tmp_path / "checkpoint.npz", weights=np.zeros(3))
    with pytest.raises(UserError, match=r"checkpoint\.npz is damaged or not a checkpoint of ours"):
        command.main(f"--run {tmp_path} {words}".split())


@pytest.mark.parametrize("option", ["--epochs 0", "--threads 0", "--colour red"])
def test_a_bad_training_option_is_named(option, recordings, tmp_path):
    """Of those of a configuration: tests/spectrogram/test_config.py."""
    with pytest.raises(UserError, match=option.split()[0]):
        train.main(f"--data {recordings} --run {tmp_path / 'run'} {option}".split())
    assert not (tmp_path / "run").exists()


def test_resuming_with_another_option_or_without_a_gpu_is_refused(run, monkeypatch):
    with pytest.raises(UserError, match=r"--batch-size is 3, but .* was begun with 2"):
        train.main(f"--run {run} --resume --batch-size 3".split())
    monkeypatch.setattr("ddim_from_scratch.runtime.backend.cupy", None)
    for command, words in ((train, "--resume --gpu"), (sample, "--gpu")):
        with pytest.raises(UserError, match="pip install"):
            command.main(f"--run {run} {words}".split())


def test_as_a_process_an_error_is_one_line_and_status_2(tmp_path):
    command = [sys.executable, "-m", "ddim_from_scratch.sample", "--run", tmp_path / "absent"]
    environment = os.environ | {"PYTHONWARNINGS": "error::RuntimeWarning"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and re.fullmatch(r"error: .*absent.*\n", done.stderr)


def test_a_run_in_python_draws_what_the_command_draws(run, recordings, tmp_path):
    sample.main(f"--run {run} --num 2 --seconds 1.28 --seed 3 --inverter griffin-lim --out {tmp_path}".split())
    opened = ddim_from_scratch.open_run(run, inverter="griffin-lim")
    clips = opened.sample(2, 1.28, seed=3)
    assert clips.shape == (2, 64 * 320) and clips.dtype == np.float32
    for i, clip in enumerate(clips):
        np.testing.assert_allclose(full_scale(clip), load_audio(tmp_path / f"sample_{i:03d}.wav"), atol=1e-4)
    assert opened.log_mels(np.int64(3), sampling=Sampling("dpm++2m", 2)).shape == (3, 32, 128)
    with pytest.raises(UserError, match="--num is 0"):
        opened.sample(0)
    small = {"window_seconds": 0.64, "windows_per_track": 2, "attention": "none"}
    small |= {"epochs": np.int64(1), "ema": np.float64(0.9), "widths": np.array([4, 4])}
    with pytest.raises(UserError, match="has no 'preset'"):
        ddim_from_scratch.train_run(tmp_path / "fresh", data=recordings, preset="paper")
    assert not (tmp_path / "fresh").exists()
    fresh = ddim_from_scratch.train_run(tmp_path / "fresh", data=recordings, **small)
    assert len(repr(fresh)) < 2000 and fresh.config.epochs == 1 and fresh.log_mels(1).shape == (1, 32, 128)
    checkpoint.checkpoint_path(tmp_path / "fresh").rename(tmp_path / "fresh" / checkpoint.PREVIOUS)
    with pytest.raises(UserError, match="holds a trained run"):  # --resume can rescue it
        ddim_from_scratch.train_run(tmp_path / "fresh", data=str(recordings), **small)


def test_a_run_of_the_first_edition_opens_and_goes_on_as_it_would_have(recordings, tmp_path):
    """Made by commit 80ae413 from such recordings: 2 epochs of 7 steps. Its own steps 27 and 28 had these losses."""
    (tmp_path / "checkpoint.npz").write_bytes((Path(__file__).parent / "data/first_edition.npz").read_bytes())
    assert ddim_from_scratch.open_run(tmp_path).log_mels(2, 0.64).shape == (2, 32, 128)
    train.main(f"--run {tmp_path} --resume --epochs 4 --data {recordings}".split())
    losses = [row[2] for row in read_log(tmp_path / "log.csv")]
    assert losses[-2:] == pytest.approx([0.628914237, 0.636435731], rel=1e-4)


def test_a_run_knows_its_system(run, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="--system"):
        train.main(f"--run {tmp_path} --data x --system tunes".split())
    content = checkpoint.load_checkpoint(run)
    checkpoint.save_checkpoint(checkpoint.checkpoint_path(run), content | {"system": np.array("tunes")})
    for command in (train, sample):
        with pytest.raises(UserError, match="--system tunes: choose from spectrogram"):
            command.main(f"--run {run}".split())
        with pytest.raises(UserError, match=r"--system is spectrogram, but .* was trained with tunes"):
            command.main(f"--run {run} --system spectrogram".split())


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"HOP_LENGTH": 256, "N_MELS": 80}, "its spectrograms have hop_length"),
        ({"N_MELS": 81}, "--widths has 2 levels, which halve 81 mel bins 1 times: give 1 or fewer"),
    ],
)
def test_a_constant_of_the_spectrogram_is_one_edit(edits, said, run, recordings, tmp_path):
    """In a copy of the package: a tiny training and drawings, one of which of other spectrograms."""
    package = Path(ddim_from_scratch.__file__).parent
    shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    home = tmp_path / package.name / "audio/contract.py"
    for constant, value in edits.items():
        text, count = re.subn(rf"(?m)^{constant} = \d+", f"{constant} = {value}", home.read_text())
        assert count == 1
        home.write_text(text)
    fits = "HOP_LENGTH" in edits
    lines = [f"train --data {recordings} --run {tmp_path / 'run'} --epochs 1 {TINY}"]
    if fits:
        how = "--num 2 --steps 2 --seconds 1.28 --inverter griffin-lim"
        lines += [f"sample --run {tmp_path / 'run'} {how}", f"sample --run {run} {how}"]
    environment = os.environ | {"PYTHONPATH": ""}
    for line in lines:
        command = [sys.executable, "-m", *f"ddim_from_scratch.{line}".split()]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 2 and said in done.stderr.splitlines()[-1]
    if fits:
        assert len(load_audio(tmp_path / "run/samples/sample_001.wav")) == 1.28 * 16000
