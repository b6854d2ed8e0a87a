"""The tagger against musicnn's own TensorFlow graph and librosa's front end, and its weights against their source."""

import importlib
import importlib.resources
import importlib.util
import os
import runpy
from pathlib import Path

import numpy as np
import pytest
import soxr
from helpers import reference, relative_error

from ddim_from_scratch.audio import synth
from ddim_from_scratch.fad import load_musicnn, musicnn, musicnn_patches, top_tags
from ddim_from_scratch.fad.musicnn import TAGS
from ddim_from_scratch.runtime import backend, tree
from ddim_from_scratch.runtime.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def music():
    """12 s at 16 kHz: noise that swells, a chord, a plucked string again and again, and silence, 3 s each."""
    rng, t = np.random.default_rng(0), np.arange(48_000) / 16_000
    noise = rng.standard_normal(48_000) * np.linspace(0, 1, 48_000)
    chord = sum(np.sin(2 * np.pi * hz * t) for hz in (261.6, 329.6, 392.0)) / 3
    string = np.resize(synth.tone("plucked", 57), 48_000)
    return np.concatenate([noise, chord, string, np.zeros(48_000)]).astype(np.float32)


def heard(samples):
    return musicnn(load_musicnn(), musicnn_patches(samples))[0]


@pytest.fixture
def checkpoint():
    """musicnn/MTT_vgg of the musicnn package, which is not imported: it needs the libraries of 2019."""
    spec = importlib.util.find_spec("musicnn")
    if spec is None:
        reason = "musicnn is not installed: pip install --no-deps musicnn==0.1.0"
        (pytest.fail if os.environ.get("DDIM_REQUIRE_REFERENCES") else pytest.skip)(reason)
    return Path(spec.origin).with_name("MTT_vgg")


def test_patches_are_those_of_librosa(music):
    librosa = reference("librosa")
    power = librosa.feature.melspectrogram(
        y=music, sr=16000, n_fft=512, hop_length=256, n_mels=96, pad_mode="reflect"
    )  # reflect was the default that musicnn was trained with
    patches = musicnn_patches(music)
    assert patches.shape == (4, 187, 96) and patches.dtype == np.float32
    np.testing.assert_allclose(patches.reshape(-1, 96), np.log10(10000 * power.T[:748] + 1), atol=1e-5)
    np.testing.assert_allclose(musicnn_patches(music.astype(np.float64)), patches, atol=1e-5)


@pytest.mark.parametrize(
    ("n", "count"), [(0, 0), (1, 0), (47_615, 0), (47_616, 1), (95_487, 1), (95_488, 2), (480_000, 10)]
)
def test_patch_counts(n, count):
    assert musicnn_patches(np.zeros(n, np.float32)).shape == (count, 187, 96)


def test_patches_may_overlap(music):
    patches = musicnn_patches(music, hop_frames=62)
    assert patches.shape == (10, 187, 96)
    np.testing.assert_array_equal(patches[3, 1:], musicnn_patches(music)[1, :-1])  # 3 x 62 = 187 - 1


def test_tags_and_features_are_those_of_musicnns_own_graph(music, checkpoint):
    """The graph that musicnn's author saved beside the checkpoint, less its gradients, in TensorFlow."""
    tf = reference("tensorflow")
    v1 = tf.compat.v1
    graph_def = v1.MetaGraphDef.FromString((checkpoint / ".meta").read_bytes()).graph_def
    graph_def = v1.graph_util.extract_sub_graph(graph_def, ["model/Sigmoid", "save/restore_all"])
    patches = musicnn_patches(music)
    with tf.Graph().as_default(), v1.Session() as session:
        tf.import_graph_def(graph_def, name="")
        session.run("save/restore_all", {"save/Const:0": f"{checkpoint}/"})
        inputs = {"model/Placeholder:0": patches, "model/Placeholder_2:0": False}  # the latter: training
        expected = session.run(["model/Sigmoid:0", "model/Flatten/flatten/Reshape:0"], inputs)
    assert np.ptp(expected[0], axis=0).max() > 0.1  # the patches differ
    for ours, theirs in zip(musicnn(load_musicnn(), patches), expected, strict=True):
        assert ours.dtype == np.float32
        assert relative_error(ours, theirs) < 2e-5  # Winograd's rounding: 4e-6 measured


def test_tags_are_in_musicnns_order(checkpoint):
    assert list(TAGS) == runpy.run_path(str(checkpoint.with_name("configuration.py")))["MTT_LABELS"]


def test_weights_are_those_of_the_checkpoint_bit_for_bit(checkpoint):
    reference("tensorflow")
    convert = runpy.run_path(str(ROOT / "tools" / "convert_musicnn.py"))["convert"]
    ours, theirs = tree.flatten(load_musicnn()), tree.flatten(convert(checkpoint))
    assert list(ours) == list(theirs)
    for name in ours:
        assert ours[name].dtype == theirs[name].dtype == np.float32
        assert ours[name].tobytes() == theirs[name].tobytes()
    with pytest.raises(UserError, match="holds no checkpoint"):
        convert(checkpoint.parent)


def test_weights_travel_with_their_licence():
    """In the package, and among the files that pyproject.toml puts into a wheel."""
    folder = Path(str(importlib.resources.files("ddim_from_scratch.fad")))
    licence = (folder / "musicnn_mtt_vgg.LICENSE").read_text(encoding="utf-8")
    assert "Universitat Pompeu Fabra 2019" in licence and "Permission to use, copy, modify" in licence
    tomllib = pytest.importorskip("tomllib", reason="tomllib comes with Python 3.11")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    packed = {
        path.name for pattern in settings["package-data"]["ddim_from_scratch.fad"] for path in folder.glob(pattern)
    }
    assert packed == {"musicnn_mtt_vgg.npz", "musicnn_mtt_vgg.LICENSE"}


def test_patches_are_heard_one_by_one_on_any_number_of_threads(music):
    patches = musicnn_patches(music)
    with backend.threads(1):
        alone = [musicnn(load_musicnn(), patches[i : i + 1]) for i in range(len(patches))]
    with backend.threads(2):
        together = musicnn(load_musicnn(), patches)
    for ours, theirs in zip(together, zip(*alone, strict=True), strict=True):
        assert relative_error(ours, np.concatenate(theirs)) < 1e-5
    tags, features = musicnn(load_musicnn(), patches[:0])
    assert tags.shape == (0, 50) and features.shape == (0, 256)


def test_a_plucked_string_is_heard_as_one():
    notes = synth.score(synth.TUNES["Ode to Joy (Beethoven)"], held=False)
    track = synth.play(notes, "plucked", 0, 100, np.random.default_rng(0))
    (first, probability), *others = top_tags(heard(soxr.resample(track, synth.SR, 16000)))
    assert first == "guitar" and 0.3 < probability < 0.5
    assert "strings" in dict(others) and not {"vocal", "female", "male", "drums", "rock"} & set(dict(others))


def test_top_tags_are_the_likeliest_in_order(music):
    tags, ranked = heard(music).mean(axis=0), top_tags(heard(music), k=50)
    assert {name for name, _ in ranked} == set(TAGS) and len(TAGS) == 50
    assert [p for _, p in ranked] == sorted((float(p) for p in tags), reverse=True)
    assert ranked[:3] == top_tags(heard(music), k=3)
    assert dict(ranked)["harp"] == float(tags[TAGS.index("harp")])


def test_weights_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        load_musicnn()["dense"]["b"][0] = 0


@pytest.mark.parametrize("damage", ["missing", "cut", "a leaf less", "another number"])
def test_other_weights_than_the_published_are_refused(damage, tmp_path, monkeypatch):
    path, leaves = tmp_path / "musicnn.npz", tree.flatten(load_musicnn())
    if damage == "a leaf less":
        del leaves["norm3/mean"]
    elif damage == "another number":
        leaves["norm3/mean"] = leaves["norm3/mean"] + 1
    if damage != "missing":
        tree.save(path, tree.unflatten(leaves))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    monkeypatch.setattr(importlib.import_module("ddim_from_scratch.fad.musicnn"), "WEIGHTS", path)
    with pytest.raises(UserError, match=r"musicnn\.npz is"):
        load_musicnn.__wrapped__()
