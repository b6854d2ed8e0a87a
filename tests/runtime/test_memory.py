"""Memory: what cannot fit is refused at once; long clips and many recordings need little more than their results."""

import importlib
from functools import partial

import numpy as np
import pytest
import soundfile
from helpers import peak

from ddim_from_scratch import sample
from ddim_from_scratch.audio import inverter
from ddim_from_scratch.fad import Set, embed_set, gaussian, load_embedding
from ddim_from_scratch.runtime.errors import UserError


def test_more_clips_than_memory_holds_are_refused_at_once(trained, tmp_path):
    with pytest.raises(
        UserError, match=r"999999999 clips would take 4915\d\.\d+ GB of memory; .* Lower --num, or their length"
    ):
        sample.main(f"--run {trained} --out {tmp_path} --num 999999999 --inverter griffin-lim".split())


def test_a_long_clip_takes_little_more_than_its_sound(run, monkeypatch):
    """Phases are left out: their heap, of one chunk at a time, is slow where memory is traced."""
    monkeypatch.setattr(inverter, "griffin_lim", partial(inverter.griffin_lim, iterations=2))
    text = importlib.import_module("ddim_from_scratch.audio.griffin_lim")
    monkeypatch.setattr(text, "_phases", lambda spectrum, known, rng: np.zeros(spectrum.shape, np.float32))

    def draw(seconds):
        options = "--num 1 --steps 1 --resamplings 1 --inverter griffin-lim"
        sample.main(f"--run {run} {options} --seconds {seconds}".split())

    draw(12)  # fills caches
    growth = (peak(lambda: draw(32)) - peak(lambda: draw(12))) / 20
    assert growth < 3 * (16000 + 50 * 128) * 4  # floats of sound and log-mel in a second


def test_many_recordings_take_little_more_than_their_embeddings(tmp_path, caches, rng):
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
