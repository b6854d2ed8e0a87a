"""VGGish against TensorFlow's: patches, embeddings, and weights from every kind of file that holds them.

TensorFlow builds the network with the variables and the interface of TF-Hub's, random weights, a sixteenth as wide.
"""

import importlib
import os
import shutil
import sys

import numpy as np
import pytest
from helpers import assert_same_leaves, reference, relative_error

from ddim_from_scratch.fad import (
    load_embedding,
    load_vggish,
    load_vggish_pca,
    musicnn_patches,
    postprocess,
    vggish,
    vggish_at_hand,
    vggish_examples,
)
from ddim_from_scratch.runtime import backend, hub, tree
from ddim_from_scratch.runtime.errors import UserError

network = importlib.import_module("ddim_from_scratch.fad.vggish")  # the package's name of it is the function
weights = importlib.import_module("ddim_from_scratch.fad.weights")

pytestmark = pytest.mark.usefixtures("caches")
SOUNDS = {
    "noise": 0.1 * np.random.default_rng(0).standard_normal(80_000),
    "sine": np.sin(2 * np.pi * 1000 * np.arange(80_000) / 16000),
    "clicks": np.where(np.arange(80_000) % 4000 == 1234, 1.0, 0.0),
    "silence": np.zeros(80_000),
}


NARROW = {
    name: layer._replace(shape=tuple(size // 16 if size >= 64 else size for size in layer.shape))
    for name, layer in weights.LAYERS.items()
}


def random_params():
    """Biases as large as what they are added to; weights so scaled (He et al. 2015) that this lasts to the end."""
    rng = np.random.default_rng(0)
    return {
        name: {
            "w": rng.standard_normal(layer.shape, np.float32) * np.float32((2 / np.prod(layer.shape[:-1])) ** 0.5),
            "b": rng.standard_normal(layer.shape[-1:], np.float32),
        }
        for name, layer in NARROW.items()
    }


# From our names to TensorFlow's.
VARIABLES = {
    f"{name}/{leaf}": f"vggish/{layer.tensorflow}/{theirs}"
    for name, layer in NARROW.items()
    for leaf, theirs in {"w": "weights", "b": "biases"}.items()
}


def tensorflow_examples(tf, waveform):
    magnitude = tf.abs(tf.signal.stft(waveform, 400, 160, 512))
    matrix = tf.signal.linear_to_mel_weight_matrix(64, 257, 16000, 125.0, 7500.0, tf.float64)
    log_mel = tf.math.log(magnitude @ tf.cast(matrix, magnitude.dtype) + 0.01)
    return tf.signal.frame(log_mel, 96, 96, axis=0)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A SavedModel with the interface and the variables of TF-Hub's: waveform (n,) to embeddings (patches, 8)."""
    tf, params = reference("tensorflow"), tree.flatten(random_params())
    variables = {name: tf.Variable(leaf, name=VARIABLES[name]) for name, leaf in params.items()}

    def layer(x, name):
        w, b = variables[f"{name}/w"], variables[f"{name}/b"]
        return (tf.nn.conv2d(x, w, 1, "SAME") if x.shape.rank == 4 else x @ w) + b

    class Exported(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, waveform):
            x = tensorflow_examples(tf, waveform)[..., None]
            for name in ["conv1", "pool", "conv2", "pool", "conv3_1", "conv3_2", "pool", "conv4_1", "conv4_2", "pool"]:
                x = tf.nn.max_pool2d(x, 2, 2, "VALID") if name == "pool" else tf.nn.relu(layer(x, name))
            x = tf.reshape(x, (-1, len(params["fc1_1/w"])))
            return layer(tf.nn.relu(layer(tf.nn.relu(layer(x, "fc1_1")), "fc1_2")), "fc2")

    module, folder = Exported(), tmp_path_factory.mktemp("models") / "vggish"
    module.held = list(variables.values())
    tf.saved_model.save(module, str(folder))
    return folder


@pytest.fixture
def model(exported, narrow, tmp_path):
    """Its copy, as the user has it."""
    return shutil.copytree(exported, tmp_path / "model")


@pytest.fixture
def narrow(monkeypatch):
    """Random parameters of a VGGish that is a sixteenth as wide."""
    monkeypatch.setattr(weights, "LAYERS", NARROW)
    return random_params()


# The patches.


@pytest.mark.parametrize("sound", SOUNDS)
def test_patches_are_tensorflow_s(sound):
    """In float32 a quiet bin beside a loud one holds the FFT's rounding, theirs as ours: so before the logarithm."""
    tf = reference("tensorflow")
    single, double = SOUNDS[sound].astype(np.float32), SOUNDS[sound]
    ours = vggish_examples(single)
    assert ours.dtype == np.float32 and ours.shape == (5, 96, 64)
    assert relative_error(np.exp(ours), np.exp(tensorflow_examples(tf, single))) < 1e-6
    assert relative_error(vggish_examples(double), tensorflow_examples(tf, double)) < 1e-7


@pytest.mark.parametrize(("n", "patches"), [(0, 0), (399, 0), (15_599, 0), (15_600, 1), (30_959, 1), (30_960, 2)])
def test_a_patch_takes_15600_samples_and_the_next_begins_after_15360(n, patches):
    assert vggish_examples(np.zeros(n, np.float32)).shape == (patches, 96, 64)


def test_the_second_patch_is_the_first_of_the_sound_from_its_beginning():
    x = SOUNDS["noise"]
    np.testing.assert_array_equal(vggish_examples(x)[1], vggish_examples(x[15_360:])[0])


@pytest.mark.parametrize("patches", [vggish_examples, musicnn_patches])
def test_what_is_no_sound_is_refused_however_short(patches):
    """As `log_mel` does: tests/audio/test_mel.py."""
    with pytest.raises(ValueError, match="int16"):
        patches(np.zeros(100, np.int16))


# The network.


def test_embeddings_of_a_waveform_are_those_of_tf_hub_s_load(model):
    samples = np.concatenate([SOUNDS["noise"], SOUNDS["sine"][:16000]]).astype(np.float32)
    expected = reference("tensorflow_hub").load(str(model))(samples)
    embeddings = vggish(load_vggish(model), vggish_examples(samples))
    assert embeddings.dtype == np.float32 and embeddings.shape == (6, 8)
    assert relative_error(embeddings, expected) < 1e-4
    assert np.ptp(expected, axis=0).min() > 1e-3  # the patches differ, in every dimension


@pytest.mark.parametrize("threads", [1, 2])
def test_the_network_is_the_same_in_any_chunks_and_threads(narrow, threads, rng, monkeypatch):
    params, examples = tree.map(np.float64, narrow), rng.standard_normal((5, 96, 64))
    before = tree.map(np.copy, params), examples.copy()
    expected = vggish(params, examples)
    for name, value in {"PATCHES": 3, "BLOCK_BYTES": 1000}.items():
        monkeypatch.setattr(network, name, value)
        with backend.threads(threads):
            assert relative_error(vggish(params, examples), expected) < 1e-11
            assert relative_error(vggish(narrow, examples.astype(np.float32)), expected) < 2e-5
    np.testing.assert_array_equal(examples, before[1])
    assert_same_leaves(params, before[0])


def test_no_patches_have_no_embeddings_and_other_shapes_are_refused(narrow):
    assert vggish(narrow, np.zeros((0, 96, 64), np.float32)).shape == (0, 8)
    with pytest.raises(ValueError, match=r"\(64, 96\), not \(n, 96, 64\)"):
        vggish(narrow, np.zeros((64, 96), np.float32))


def test_postprocessing_whitens_clips_and_quantises(rng, tmp_path):
    rotation, _ = np.linalg.qr(rng.standard_normal((128, 128)))
    means = rng.standard_normal(128)
    path = tmp_path / "vggish_pca_params.npz"
    np.savez(path, pca_eigen_vectors=rotation, pca_means=means)
    pca = load_vggish_pca(path)
    # Along the eigenvectors, by construction, from the mean:
    along = np.linspace(-3, 3, 128)
    (quantised,) = postprocess((means + along @ rotation)[None], pca)
    assert quantised.dtype == np.uint8
    assert np.abs(quantised - np.clip((along + 2) / 4 * 255, 0, 255)).max() <= 1
    np.testing.assert_array_equal(postprocess(means[None], {**pca, "means": means}), 127)  # 127.5, cut off

    for vectors, centre in ((0 * rotation, means), (rotation * np.nan, means), (rotation, means * np.inf)):
        np.savez(path, pca_eigen_vectors=vectors, pca_means=centre)
        with pytest.raises(UserError):
            load_vggish_pca(path)
    np.savez(path, pca_eigen_vectors=rotation)
    with pytest.raises(UserError, match="pca_means"):
        load_vggish_pca(path)
    np.savez(path, pca_eigen_vectors=rotation[:3], pca_means=means)
    with pytest.raises(UserError, match=r"\(3, 128\)"):
        load_vggish_pca(path)


@pytest.mark.skipif(not vggish_at_hand(), reason="VGGish's published weights are not on this machine")
def test_the_published_weights_give_the_published_numbers(monkeypatch):
    """The smoke test of tensorflow/models: 3 s of a sine of 1 kHz, its figures and its tolerance of 10 %."""
    monkeypatch.undo()
    embeddings = vggish(load_vggish(), vggish_examples(np.sin(2 * np.pi * 1000 * np.arange(48_000) / 16000)))
    np.testing.assert_allclose([embeddings.mean(), embeddings.std()], [0.000657, 0.343], rtol=0.1)


# The weights.


@pytest.mark.parametrize("version", [1, 2])
def test_weights_from_a_tensorflow_1_checkpoint(narrow, version, tmp_path):
    tf = reference("tensorflow")
    path = tmp_path / "vggish_model.ckpt"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for ours, leaf in tree.flatten(narrow).items():
            tf.compat.v1.get_variable(VARIABLES[ours], initializer=leaf)
            tf.compat.v1.get_variable(f"{VARIABLES[ours]}/Adam", initializer=np.zeros_like(leaf))
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver(write_version=version).save(session, str(path))
    assert path.exists() == (version == 1)  # version 2 is a prefix of several files
    assert_same_leaves(load_vggish(path), narrow)


def test_a_converted_model_is_read_without_tensorflow_until_the_source_changes(model, narrow, caches, monkeypatch):
    reading = weights._tensorflow_arrays
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "tensorflow", None)
        with pytest.raises(UserError, match=r"needs TensorFlow .*ddim_from_scratch\[hub\]"):
            load_vggish(model)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(np, "savez", lambda file, **_: file.write(b"half") and interrupt())
        with pytest.raises(KeyboardInterrupt):
            load_vggish(model)
    assert not any(caches.glob("*"))
    with monkeypatch.context() as unwritable:
        caches.with_name("file").touch()
        unwritable.setenv("DDIM_CACHE", str(caches.with_name("file")))
        assert_same_leaves(load_vggish(model), narrow)
    assert_same_leaves(load_vggish(model), narrow)
    (converted,) = caches.glob("*")
    assert_same_leaves(load_vggish(converted), narrow)

    with monkeypatch.context() as without:
        without.setitem(sys.modules, "tensorflow", None)
        assert_same_leaves(load_vggish(model), narrow)
    converted.write_bytes(converted.read_bytes()[:1000])
    assert_same_leaves(load_vggish(model), narrow)  # converted again

    monkeypatch.setattr(weights, "_tensorflow_arrays", lambda source: {n: a + 1 for n, a in reading(source).items()})
    assert_same_leaves(load_vggish(model), narrow)
    os.utime(model / "variables/variables.index", (0, 0))
    assert_same_leaves(load_vggish(model), tree.map(lambda leaf: leaf + 1, narrow))


def interrupt():
    raise KeyboardInterrupt


def test_the_published_model_is_found_and_its_conversion_outlives_it(model, narrow, tmp_path):
    assert not vggish_at_hand()
    folder = tmp_path / "KAGGLEHUB_CACHE/models" / hub.VGGISH.kaggle
    shutil.copytree(model, folder)
    assert vggish_at_hand()
    assert_same_leaves(load_vggish(), narrow)
    (folder / "saved_model.pb").unlink()
    assert vggish_at_hand()
    assert_same_leaves(load_vggish(), narrow)


def test_without_weights_the_user_learns_how_to_get_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_hub", None)
    with pytest.raises(UserError, match=r"VGGish .*pip install .*--embedding musicnn"):
        load_vggish()


def test_a_download_cut_short_is_named(model, caches):
    data = model / "variables/variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100_000])
    with pytest.raises(UserError, match=r"variables is damaged .*download it again"):
        load_vggish(model)
    data.with_name("variables.index").unlink()
    with pytest.raises(UserError, match="damaged"):
        load_vggish(model)
    (model / "saved_model.pb").unlink()
    with pytest.raises(UserError, match=r"saved_model\.pb"):
        load_vggish(model)
    assert not any(caches.glob("*"))


def test_files_of_our_own_are_checked(narrow, tmp_path):
    path = tmp_path / "mine.npz"
    tree.save(path, narrow)
    assert_same_leaves(load_vggish(path), narrow)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"mine\.npz is damaged"):
        load_vggish(path)
    tree.save(path, {name: leaves for name, leaves in narrow.items() if name != "fc2"})
    with pytest.raises(UserError, match=r"mine\.npz has no fc2/w"):
        load_vggish(path)
    tree.save(path, narrow | {"conv2": {"w": narrow["conv2"]["w"].swapaxes(2, 3), "b": narrow["conv2"]["b"]}})
    with pytest.raises(UserError, match=r"conv2/w is float32 \(3, 3, 8, 4\), VGGish's is float32 \(3, 3, 4, 8\)"):
        load_vggish(path)
    for value in (np.nan, 0, np.inf, 1e30):
        tree.save(path, narrow | {"fc2": {"w": np.full_like(narrow["fc2"]["w"], value), "b": narrow["fc2"]["b"]}})
        with pytest.raises(UserError, match="fc2/w"):
            load_vggish(path)
    with pytest.raises(UserError, match=r"nowhere\.ckpt does not exist"):
        load_vggish(tmp_path / "nowhere.ckpt")


def test_the_command_s_embedding_is_the_network_s(narrow, tmp_path, rng):
    tree.save(tmp_path / "mine.npz", narrow)
    clips = [0.1 * rng.standard_normal(n).astype(np.float32) for n in (20_000, 50_000)]
    expected = [vggish(narrow, vggish_examples(clip)) for clip in clips]
    plain = load_embedding("vggish", weights=tmp_path / "mine.npz")
    for ours, theirs in zip(plain.of_clips(clips), expected, strict=True):
        assert relative_error(ours, theirs) < 1e-5
