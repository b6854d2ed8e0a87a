"""What commands say that they will need is what they need; they refuse what can't be; long and many need no more."""

import re
import subprocess
import sys
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ddim_from_scratch import sample, train
from ddim_from_scratch.audio import inverter
from ddim_from_scratch.fad import Set, embed_set, gaussian, load_embedding
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.spectrogram import memory

TINY = "--window-seconds 0.64 --windows-per-track 4 --widths 4 4 --attention none --epochs 1 --threads 2"
MEDIUM = "--window-seconds 2.56 --windows-per-track 2 --limit 2 --epochs 1 --threads 2"  # the paper's network

# Runs a command and says its peak: a process's own, unlike what resource tells a child of a larger process.
PEAK = """
import re, runpy, sys
module, *sys.argv[1:] = sys.argv[1:]
runpy.run_module("ddim_from_scratch." + module, run_name="__main__")
print("VmHWM", re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


@pytest.fixture(scope="module")
def tiny(recordings, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "tiny"
    train.main(f"--data {recordings} --run {run} {TINY}".split())
    return run


def said_and_taken(*arguments):
    """Bytes."""
    command = [sys.executable, "-c", PEAK, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(train.__file__).parents[1])
    assert done.returncode == 0, done.stderr
    (said,) = re.findall(r"about ([\d.]+) GB of memory for ", done.stderr)
    return float(said) * 1e9, int(re.search(r"VmHWM (\d+)", done.stdout)[1]) << 10


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_is_said_is_what_is_taken(recordings, tmp_path):
    """If a layer has come to hold more or less, say so in memory.py."""
    trainings = {name: ["train", "--data", recordings, "--run", tmp_path / name] for name in ("tiny", "medium")}
    samples = ["sample", "--run", tmp_path / "medium", "--inverter", "griffin-lim", "--steps", 1, "--threads", 2]
    commands = {
        "tiny training": [*trainings["tiny"], *TINY.split()],
        "medium training": [*trainings["medium"], *MEDIUM.split()],
        "sampling": [*samples, "--num", 8, "--seconds", 2.56],
    }
    for name, command in commands.items():
        said, taken = said_and_taken(*command)
        assert said == pytest.approx(taken, rel=0.15), name


@pytest.mark.parametrize("command", ["train", "sample"])
def test_what_cannot_fit_is_refused_before_it_starts(command, recordings, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 50_000_000)
    said = r"about [\d.]+ GB of memory for {} are needed, and 0\.05 GB are free: lower .*--{}"
    if command == "train":
        with pytest.raises(UserError, match=said.format("batches of 4", "batch-size.*--widths.*--window-seconds")):
            train.main(f"--data {recordings} --run {tmp_path / 'new'} {TINY} --widths 512 512".split())
        assert not (tmp_path / "new" / "config.json").exists()
    else:
        with pytest.raises(UserError, match=said.format("9999 clips", "num.*--seconds")):
            sample.main(f"--run {tiny} --out {tmp_path} --num 9999 --inverter griffin-lim".split())


def test_available_is_what_the_machine_and_each_control_group_leave(tmp_path):
    assert memory.available(tmp_path) is None  # no Linux
    files = {
        "proc/meminfo": "MemTotal: 99 kB\nMemAvailable:   4096 kB\n",
        "proc/self/cgroup": "4:cpu:/\n3:memory:/job\n0::/slice/job\n",
        "sys/fs/cgroup/slice/memory.max": "max\n",
        "sys/fs/cgroup/slice/memory.current": "5\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert memory.available(tmp_path) == 4 << 20
    for name, text in {"max": "3000000", "current": "2000000", "stat": "anon 1\ninactive_file 500000\n"}.items():
        (tmp_path / f"sys/fs/cgroup/slice/memory.{name}").write_text(text)
    assert memory.available(tmp_path) == 1_500_000
    (tmp_path / "sys/fs/cgroup/memory/job").mkdir(parents=True)
    for name, text in {"limit_in_bytes": "900000", "usage_in_bytes": "800000", "stat": ""}.items():
        (tmp_path / f"sys/fs/cgroup/memory/job/memory.{name}").write_text(text)
    assert memory.available(tmp_path) == 100_000


def peak(function):
    """The bytes of Python's and NumPy's that were held at once within a call, beyond those at its start."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_long_clip_takes_little_more_than_its_sound(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(inverter, "griffin_lim", partial(inverter.griffin_lim, iterations=2))

    def draw(seconds):
        options = "--num 1 --steps 1 --resamplings 1 --inverter griffin-lim"
        sample.main(f"--run {tiny} --out {tmp_path} {options} --seconds {seconds}".split())

    draw(15)  # fills caches
    growth = (peak(lambda: draw(75)) - peak(lambda: draw(15))) / 60
    assert growth < 5 * (16000 + 50 * 128) * 4  # floats of sound and log-mel in a second; Griffin-Lim's spectra are 20


def test_many_recordings_take_little_more_than_their_embeddings(tmp_path, monkeypatch, rng):
    monkeypatch.setenv("DDIM_CACHE", str(tmp_path / "cache"))
    paths = [tmp_path / f"{i}.wav" for i in range(200)]
    for path in paths:
        soundfile.write(path, 0.1 * rng.standard_normal(int(16000 * rng.uniform(1, 2))), 16000)
    embedding = load_embedding("mel")
    embed_set(embedding, paths[:20], "first")  # fills caches
    few, many = (peak(partial(embed_set, embedding, some, "some")) for some in (paths[20:52], paths[32:]))
    assert many - few < 136 * 384 * 4 * 8  # of 168 and 32 recordings


def test_statistics_take_no_copy_of_the_embeddings(rng):
    embeddings = rng.standard_normal((50_000, 64), dtype=np.float32)
    assert peak(lambda: gaussian(embeddings)) < embeddings.nbytes
    assert peak(lambda: Set.of([embeddings])) < 2 * embeddings.nbytes
