"""Files and options from elsewhere: whatever is in them, there is a result or one clear line, and memory is bounded.

A few hundred cases; DDIM_FUZZ=10000 (or any number) says how many of each kind.
"""

import io
import json
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddim_from_scratch import sample, train
from ddim_from_scratch.audio import AudioError, load_audio
from ddim_from_scratch.experiments import __main__ as experiments
from ddim_from_scratch.fad import __main__ as fad
from ddim_from_scratch.fad.statistics import load_statistics
from ddim_from_scratch.fad.weights import _from_tensorflow
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.data import Scaler, Windows
from ddim_from_scratch.spectrogram.model import init_state, read_run
from ddim_from_scratch.spectrogram.system import Training
from ddim_from_scratch.training import checkpoint, loop

CASES = int(os.environ.get("DDIM_FUZZ", 100))
fuzz = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))


def saved(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def audio(kind, subtype=None):
    t = np.arange(3000) / 16000
    return saved(lambda f: soundfile.write(f, np.stack([np.sin(900 * t)] * 2, 1), 16000, format=kind, subtype=subtype))


def mutations(whole):
    """A file with some bytes set, cut, removed or inserted, the header preferred; or bytes of any kind."""
    place = st.one_of(st.integers(0, min(len(whole), 200) - 1), st.integers(0, len(whole) - 1))
    value = st.one_of(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]), st.integers(0, 255))
    change = st.tuples(st.sampled_from(["set", "set", "set4", "cut", "remove", "insert"]), place, value)

    def mutate(changes):
        content = bytearray(whole)
        for how, at, byte in changes:
            if how == "set" and at < len(content):
                content[at] = byte
            elif how == "set4":
                content[at : at + 4] = bytes([byte]) * 4
            elif how == "cut":
                del content[at + 100 :]
            elif how == "remove":
                del content[at : at + byte % 16]
            else:
                content[at:at] = bytes([byte]) * (byte % 9)
        return bytes(content)

    return st.lists(change, min_size=1, max_size=5).map(mutate)


def survives(function):
    """Runs, or raises a UserError of one line."""
    try:
        function()
    except UserError as error:
        assert str(error) and "\n" not in str(error)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_a_recording_with_any_bytes_changed(kind, tmp_path):
    path, whole = tmp_path / f"a.{kind.lower()}", audio(kind)

    @fuzz
    @given(mutations(whole))
    def check(content):
        path.write_bytes(content)
        survives(lambda: load_audio(path))

    check()


@pytest.mark.parametrize(("rate", "seconds"), [(1, 100), (999, 1)])
def test_a_rate_that_would_make_much_of_little_is_refused(rate, seconds, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(rate * seconds), rate)
    with pytest.raises(AudioError, match=f"{rate} samples a second"):
        load_audio(tmp_path / "a.wav")


def test_a_header_that_promises_days_is_refused(tmp_path):
    content = bytearray(audio("FLAC"))
    content[21] |= 0x0F  # STREAMINFO's number of samples, 36 bits, ends 26 bytes into the file
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(AudioError, match="hours"):
        load_audio(tmp_path / "a.flac")


@pytest.fixture(scope="module")
def whole_checkpoint(tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    config = Config(data="x", widths=(2, 3), window_seconds=0.64, attention="none")
    scaler = Scaler(np.zeros(128, np.float32), np.ones(128, np.float32))
    state = init_state(config, np.random.default_rng(0))
    system = Training(config, Windows([], np.zeros((4, 2), int), 32, []), scaler)
    checkpoint.save_checkpoint(checkpoint.checkpoint_path(run), loop.checkpoint(system, state, 3))
    return checkpoint.checkpoint_path(run).read_bytes()


def test_a_checkpoint_with_any_bytes_changed(whole_checkpoint, tmp_path):
    @fuzz
    @given(mutations(whole_checkpoint))
    def check(content):
        checkpoint.checkpoint_path(tmp_path).write_bytes(content)
        survives(lambda: read_run(tmp_path))

    check()


def json_values():
    numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([0, 1, 10**9, 10**30]))
    leaf = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=5))
    return st.one_of(leaf, st.lists(leaf, max_size=4), st.just([10**9] * 2), st.just([60_000] * 8))


@fuzz
@given(
    st.dictionaries(st.sampled_from([*Config.__dataclass_fields__, "other"]), json_values(), max_size=3),
    st.dictionaries(
        st.sampled_from(["system", "contract", "step", "windows", "scaler", "state", "checksum"]),
        json_values(),
        max_size=1,
    ),
)
def test_a_checkpoint_whose_configuration_says_anything(tmp_path_factory, whole_checkpoint, values, others):
    """Written as `save_checkpoint` does, checksum and all: it is what it says that is odd."""
    run = tmp_path_factory.getbasetemp()
    path = checkpoint.checkpoint_path(run)
    path.write_bytes(whole_checkpoint)
    content = tree.load(path)
    config = json.loads(str(content["config"])) | values
    content |= {"config": np.array(json.dumps(config))}
    content |= {name: np.array(str(value)) for name, value in others.items()}
    content["checksum"] = np.array(tree.digest({k: v for k, v in content.items() if k != "checksum"}))
    tree.save(path, content)
    survives(lambda: read_run(run))


def test_statistics_with_any_bytes_changed(tmp_path):
    path = tmp_path / "a.npz"

    @fuzz
    @given(mutations(saved(lambda f: np.savez_compressed(f, mu=np.zeros(4), sigma=np.eye(4), n=9))))
    def check(content):
        path.write_bytes(content)
        survives(lambda: load_statistics(path, "mel"))

    check()


@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
def test_a_tensorflow_checkpoint_with_any_bytes_changed(part, tmp_path):
    """What is read of VGGish's; small, for its 288 MB would be written a hundred times."""
    tf = reference("tensorflow").compat.v1
    with tf.Graph().as_default(), tf.Session() as session:
        names = [f"vggish/conv{i}/{leaf}" for i in (1, 2) for leaf in ("weights", "biases")]
        variables = [tf.get_variable(name, initializer=np.ones((3, 4), np.float32)) for name in names]
        session.run(tf.global_variables_initializer())
        tf.train.Saver(variables).save(session, str(tmp_path / "vggish.ckpt"), write_meta_graph=False)
    path = tmp_path / f"vggish.ckpt.{part}"

    @fuzz
    @given(mutations(path.read_bytes()))
    def check(content):
        path.write_bytes(content)
        survives(lambda: _from_tensorflow(tmp_path / "vggish.ckpt"))

    check()


def header(shape, dtype="<f4"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": dtype})
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "limit"),
    [
        (header((1 << 40,)), tree.LIMIT),  # asks for more than it has
        (header((1 << 20,), "|V0"), tree.LIMIT),  # any number of nothings
        (header((32 << 20,), "|u1") + bytes(32 << 20), 16 << 20),  # 32 MB of zeros in 0.1 MB
    ],
    ids=["header", "no bytes", "zip bomb"],
)
def test_a_small_file_cannot_ask_for_much_memory(content, limit, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    tracemalloc.start()
    try:
        with pytest.raises(tree.TreeError, match=r"a\.npz"):
            tree.load(tmp_path / "a.npz", limit)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


COMMANDS = {"train": train, "sample": sample, "experiments": experiments, "fad": fad}
WORDS = st.one_of(
    st.sampled_from(["0", "1", "-1", "3", "1e9", "1e400", "nan", "10" * 20, "", "x", "ddim", "eps", "mel", "nowhere"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4),
)


@pytest.mark.parametrize("name", COMMANDS)
def test_any_options(name, tmp_path, monkeypatch):
    """They are refused, or the command comes to where its work begins, which is not there."""
    monkeypatch.chdir(tmp_path)
    command = COMMANDS[name]
    files = Path(command.__file__).parent.glob("*.py") if name == "experiments" else [Path(command.__file__)]
    text = "".join(file.read_text() for file in files)
    options = [f"--{f.replace('_', '-')}" for f in Config.__dataclass_fields__] if name == "train" else []
    options += [word for word in text.replace('"', " ").split() if word.startswith("--") and "=" not in word]
    first = {"train": ["--run", "run"], "sample": ["--run", "run"], "fad": ["a", "b"]}.get(name, [])

    @fuzz
    @given(st.lists(st.one_of(st.sampled_from([o for o in options if o != "--help"]), WORDS), max_size=6))
    def check(words):
        try:
            survives(lambda: command.main([*first, *words]))
        except SystemExit as stop:  # --help, and what argparse takes for it
            assert stop.code == 0
        except OSError as error:
            assert error.filename is not None

    check()
