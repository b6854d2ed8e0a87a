"""Files and options from elsewhere: whatever is in them, there is a result or one clear line, and memory is bounded.

DDIM_FUZZ=10000 (or any number) says how many cases of each kind.
"""

import io
import json
import os
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from helpers import peak, reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddim_from_scratch import sample, train
from ddim_from_scratch.audio import AudioError, load_audio
from ddim_from_scratch.audio.inverter import load_decoder
from ddim_from_scratch.audio.midi import Notes, read_midi, write_midi
from ddim_from_scratch.experiments import __main__ as experiments
from ddim_from_scratch.experiments.heard import MEANING
from ddim_from_scratch.experiments.steps import read_points
from ddim_from_scratch.experiments.table import Settings, read_settings
from ddim_from_scratch.experiments.tune import open_study
from ddim_from_scratch.experiments.tune import tune as search
from ddim_from_scratch.fad import __main__ as fad
from ddim_from_scratch.fad.statistics import load_statistics
from ddim_from_scratch.fad.weights import _from_tensorflow, load_vggish, load_vggish_pca
from ddim_from_scratch.notes.score import read_notes
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.errors import FileError, UserError
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.data import Scaler, Windows
from ddim_from_scratch.spectrogram.model import init_state, read_run
from ddim_from_scratch.spectrogram.system import Training
from ddim_from_scratch.training import checkpoint, datasets, loop
from ddim_from_scratch.training.checkpoint import read_log

pytestmark = pytest.mark.usefixtures("quick")
CASES = int(os.environ.get("DDIM_FUZZ", 50))
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


def survives(function, said=""):
    """Runs, or raises a UserError that says so much."""
    try:
        function()
    except UserError as error:
        assert said in str(error)


def fuzzed(path, whole, read):
    """Read, or refused by name."""

    @fuzz
    @given(mutations(whole))
    def check(content):
        path.write_bytes(content)
        survives(read, str(path.with_suffix("")))

    check()


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff", "a.mid", "checkpoint.npz", "mu.npz"])
def test_a_file_with_any_bytes_changed(name, whole_checkpoint, tmp_path):
    path = tmp_path / name
    if name == "checkpoint.npz":
        fuzzed(path, whole_checkpoint, lambda: read_run(tmp_path))
    elif name == "mu.npz":
        whole = saved(lambda file: np.savez_compressed(file, mu=np.zeros(4), sigma=np.eye(4), n=9))
        fuzzed(path, whole, lambda: load_statistics(path, "mel"))
    elif name == "a.mid":
        write_midi(path, Notes.of([(i / 4, i / 4 + 1, 60 + i % 12, 80, i % 3) for i in range(12)]))
        fuzzed(path, path.read_bytes(), lambda: read_midi(path))
    else:
        fuzzed(path, audio(path.suffix[1:].upper()), lambda: load_audio(path))


def test_a_sound_that_would_make_much_of_little_is_refused(tmp_path):
    for rate, seconds in ((1, 100), (999, 1)):
        soundfile.write(tmp_path / "a.wav", np.ones(rate * seconds), rate)
        with pytest.raises(AudioError, match=f"{rate} samples a second"):
            load_audio(tmp_path / "a.wav")
    content = bytearray(audio("FLAC"))
    content[21] |= 0x0F  # STREAMINFO's number of samples, 36 bits, ends 26 bytes into the file
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(AudioError, match="hours"):
        load_audio(tmp_path / "a.flac")


CONFIG = Config(data="x", widths=(2, 3), window_seconds=0.64, attention="none")


@pytest.fixture(scope="module")
def whole_checkpoint(tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    scaler = Scaler(np.zeros(128, np.float32), np.ones(128, np.float32))
    state = init_state(CONFIG, np.random.default_rng(0))
    system = Training(CONFIG, Windows([], np.zeros((4, 2), int), 32, []), scaler)
    checkpoint.save_checkpoint(checkpoint.checkpoint_path(run), loop.checkpoint(system, state, 3))
    return checkpoint.checkpoint_path(run).read_bytes()


def rewritten(run, whole, **changes):
    """The checkpoint with other leaves or parts, or more of them, and a checksum that fits."""
    path = checkpoint.checkpoint_path(run)
    path.write_bytes(whole)
    parts = tuple(f"{name}/" for name in ("checksum", *changes))
    kept = {name: leaf for name, leaf in tree.flatten(tree.load(path)).items() if not f"{name}/".startswith(parts)}
    content = tree.unflatten({name: np.asarray(leaf) for name, leaf in (kept | changes).items()})
    tree.save(path, content | {"checksum": np.array(tree.digest(content))})


def json_values():
    numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([0, 1, 10**9, 10**30]))
    leaf = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=5))
    return st.one_of(leaf, st.lists(leaf, max_size=4), st.just([10**9] * 2), st.just([60_000] * 8))


@fuzz
@given(
    st.dictionaries(st.sampled_from([*Config.__dataclass_fields__, "other"]), json_values(), max_size=3),
    st.dictionaries(
        st.sampled_from(["system", "contract", "step", "windows", "scaler", "state"]), json_values(), max_size=1
    ),
)
def test_a_checkpoint_whose_configuration_says_anything(tmp_path_factory, whole_checkpoint, values, others):
    run = tmp_path_factory.getbasetemp()
    config = json.dumps(json.loads(CONFIG.to_json()) | values)
    rewritten(run, whole_checkpoint, config=config, **{name: str(value) for name, value in others.items()})
    survives(lambda: read_run(run), str(checkpoint.checkpoint_path(run)))


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
    fuzzed(path, path.read_bytes(), lambda: _from_tensorflow(tmp_path / "vggish.ckpt"))


def header(shape, dtype="<f4"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": dtype})
    return file.getvalue()


MB = header((1 << 20,), "|u1") + bytes(1 << 20)


@pytest.mark.parametrize(
    ("content", "method", "message"),
    [
        (header((1 << 40,)), zipfile.ZIP_DEFLATED, "a header of other data"),  # asks for more than it has
        (header((1 << 20,), "|V0"), zipfile.ZIP_DEFLATED, "damaged"),  # any number of nothings
        (header((70 << 20,), "|u1") + bytes(70 << 20), zipfile.ZIP_DEFLATED, "more than"),  # 70 MB in 70 kB
        (MB, zipfile.ZIP_BZIP2, "not stored or deflated"),
        (MB, zipfile.ZIP_LZMA, "not stored or deflated"),
    ],
    ids=["header", "no bytes", "deflated", "bzip2", "lzma"],
)
def test_a_small_file_cannot_ask_for_much_memory(content, method, message, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("a.npy", content)

    def load():
        with pytest.raises(FileError, match=rf"a\.npz.*{message}"):
            tree.load(tmp_path / "a.npz")

    assert peak(load) < 1 << 20


def test_a_large_file_is_read(tmp_path):
    """As `save` writes it: it takes what it holds."""
    np.savez(tmp_path / "a.npz", a=np.zeros(70 << 20, np.uint8))
    assert tree.load(tmp_path / "a.npz")["a"].size == 70 << 20
    np.savez_compressed(tmp_path / "statistics.npz", mu=np.zeros(2049), sigma=np.zeros((2049, 2049)))
    with pytest.raises(UserError, match="dimensions"):
        load_statistics(tmp_path / "statistics.npz", "mel")


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


# What is written, and where.


@pytest.fixture
def run(whole_checkpoint, tmp_path):
    (tmp_path / "run").mkdir()
    checkpoint.checkpoint_path(tmp_path / "run").write_bytes(whole_checkpoint)
    return tmp_path / "run"


@pytest.mark.parametrize("folder", ["samples", "continued"])
def test_nothing_is_drawn_into_a_folder_behind_a_link(folder, run, tmp_path):
    clip = tmp_path / "elsewhere/sample_000.wav"
    clip.parent.mkdir()
    soundfile.write(clip, np.sin(np.arange(32000) / 9), 16000)
    before = clip.read_bytes()
    (run / folder).symlink_to(clip.parent)
    words = ["continue", str(clip)] if folder == "continued" else []
    with pytest.raises(UserError, match="is a link"):
        sample.main([*words, "--run", str(run), "--num", "1", "--steps", "1", "--inverter", "griffin-lim"])
    assert clip.read_bytes() == before
    assert list(clip.parent.iterdir()) == [clip]


def test_a_training_that_is_refused_removes_nothing(run, whole_checkpoint):
    others = [run / "mine.tmp", run / "log.csv.1.tmp", run / f".log.csv.{'0' * 16}.tmp"]
    for path in others:
        path.touch()
    with pytest.raises(UserError, match=r"holds a trained run.*--resume"):
        train.main(["--run", str(run), "--data", str(run)])
    assert all(path.exists() for path in others)
    assert checkpoint.checkpoint_path(run).read_bytes() == whole_checkpoint


def test_a_training_removes_nothing_of_the_user_s_and_keeps_files_private(tmp_path):
    (tmp_path / "data").mkdir()
    soundfile.write(tmp_path / "data/a.wav", np.sin(np.arange(32000) / 9), 16000)
    words = ["--run", str(tmp_path / "run"), "--data", str(tmp_path / "data"), "--widths", "1", "2", "--epochs"]
    words += ["1", "--window-seconds", "0.64", "--attention", "none", "--block-depth", "1"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run/mine.tmp").touch()
    unfinished = tmp_path / f"run/.checkpoint.npz.{'0' * 16}.tmp"
    unfinished.touch()
    train.main(words)
    assert (tmp_path / "run/mine.tmp").exists() and not unfinished.exists()
    files = [path for path in (tmp_path / "run").iterdir() if path.name not in (".lock", "mine.tmp")]
    for path in files:
        path.chmod(0o600)
    words[words.index("--epochs") + 1] = "2"
    train.main([*words, "--resume"])
    assert len(files) >= 4 and {path.stat().st_mode & 0o777 for path in files} == {0o600}


@pytest.mark.parametrize("name", ["../elsewhere", "/tmp/elsewhere", "trial_000/..", "", "x", 3, None, ["trial_000"]])
def test_a_study_names_no_other_folder(name, tmp_path, monkeypatch):
    optuna = reference("optuna")
    trial = SimpleNamespace(number=0, user_attrs={"run": name})
    study = SimpleNamespace(trials=(), get_trials=lambda **_: [], optimize=lambda objective, n_trials: objective(trial))
    monkeypatch.setattr(optuna.storages, "fail_stale_trials", lambda _: None)
    with pytest.raises(UserError, match="as the folder of a trial"):
        search(study, Config(data="x"), None, tmp_path / "out", 1)
    assert not list(tmp_path.iterdir())


# What is no file.


READERS = {
    "checkpoint.npz": lambda path: sample.main(["--run", str(path.parent)]),
    "config.json": lambda path: train.main(["--run", str(path.parent / "new"), "--config", str(path)]),
    "a.npz": lambda path: fad.main([str(path), str(path), "--embedding", "mel"]),
    "log.csv": read_log,
    "mu.npy": lambda path: load_statistics(path.parent, "mel"),
    "settings.json": lambda path: read_settings(path.parent, Settings),
    "study.db": lambda path: reference("optuna") and open_study(path.parent, Config(data="x")),
    "saved_model.pb": lambda path: reference("tensorflow_hub") and load_decoder(str(path.parent)),
    "w.npz": load_vggish,
    "w.pth": load_vggish,
    "pca.npz": load_vggish_pca,
    "maestro-v2.0.0.csv": lambda path: datasets.composers(path.parent),
    "a.jams": read_notes,
    "a.mid": read_notes,
    "a.wav": load_audio,
}


@pytest.mark.parametrize("content", [None, b"no such\nfile", b"[" * 200_000], ids=["pipe", "text", "nested"])
@pytest.mark.parametrize("name", READERS)
def test_a_file_of_another_kind_is_refused_at_once_and_named_once(name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(content) if content else os.mkfifo(path)
    with pytest.raises(UserError, match=None if content else "not a regular file") as error:
        READERS[name](path)
    assert str(error.value).count(str(tmp_path)) == 1 and "\n" not in str(error.value)


def test_a_pipe_for_a_lock_is_refused(run):
    os.mkfifo(run / ".lock")
    with pytest.raises(UserError, match="not a regular file"):
        train.main(["--run", str(run), "--data", str(run)])


# Types and ranges of what is in a checkpoint; Config's are in tests/spectrogram/test_config.py.

LEAVES = {
    "step": [
-5, 1.5, np.inf, "3", True, [3], 1j, np.datetime64("2020-01-01"), np.zeros(3, "i4,f4"), np.zeros((0,), int)],
    "windows": [0, -1, 2.0, "4", [4, 4], np.timedelta64(3, "s")],
    "scaler/std": [np.zeros(128, "f"), -np.ones(128, "f"), np.full(128, np.inf, "f"), np.full(128, np.nan, "f"),
                   np.array(["1"] * 128), np.ones(128, "c8"),
                   np.ones(128, "f4,f4"), np.ones(127, "f"), np.ones(128, "i4"),
                   np.zeros(128, "M8[s]"), np.ones((1, 128), "f")],
    "scaler/mean": [np.full(128, np.nan, "f"), np.full(128, 1e30, "f"), np.array(["x"] * 128), np.ones(128, bool)],
    "scaler/limits": [np.zeros((2, 128)), np.zeros(128, "f"), np.full((2, 128), np.nan, "f"),
                      np.array([["x"] * 128] * 2), np.array([[1.0] * 128, [0.0] * 128], "f"),
                      np.full((2, 128), 1e30, "f")],
    "scaler/other": [np.ones(128, "f")],
    "scaler/pitches": [np.array([[40, 80, 90]]), np.array([[40.0, 80.0]]), np.array(40), np.array([["40", "80"]])],
    "system": [3, ["spectrogram"], "other\x1b[31m"],
    "config": [3, ["{}"], b"{}", "[" * 100_000],
    "contract": ["[]", "3", "{}", "[" * 100_000, '{"sr": "\\u001b[31m"}'],
    "surprise": [1],
    "state/network/params/output/w": [np.full((1, 1, 2, 1), np.nan, "f"), np.zeros((1, 1, 2, 1), "f8"), "x"],
    "state/moments/v/output/b": [-np.ones(1, "f")],
    "state/moments/w/output/b": [np.ones(1, "f")],
}  # fmt: skip
CHANGED = [(name, value) for name, values in LEAVES.items() for value in values]


@pytest.mark.parametrize(("name", "value"), CHANGED, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CHANGED)])
def test_every_leaf_of_a_checkpoint_has_a_type_and_a_range(name, value, whole_checkpoint, run):
    rewritten(run, whole_checkpoint, **{name: value})
    with pytest.raises(UserError) as caught:
        read_run(run)
    assert str(checkpoint.checkpoint_path(run)) in str(caught.value)
    assert len(str(caught.value)) < 400
    for command in (sample, train):
        with pytest.raises(UserError):
            command.main(["--run", str(run), *(["--resume"] if command is train else [])])


def test_a_rewritten_checkpoint_is_read(whole_checkpoint, run):
    rewritten(run, whole_checkpoint, step=8)
    assert read_run(run).step == 8


GOOD_LOG = "step,epoch,noise_loss,reconstruction_loss,seconds\n1,1,0.5,0.5,0.1\n2,1,0.4,0.4,0.1\n"


@pytest.mark.parametrize(
    "text",
    ["", "\n", "step,epoch\n1,1\n", GOOD_LOG + "3,1\n", GOOD_LOG + "3,1,1,1,1,1\n", GOOD_LOG + "2,1,0,0,0\n",
     GOOD_LOG + "nan,1,0,0,0\n", GOOD_LOG + "3,1,inf,0,0\n", GOOD_LOG + "3,1,1e300,0,0\n", GOOD_LOG + "3.5,1,0,0,0\n",
     GOOD_LOG + "-1,1,0,0,0\n", GOOD_LOG + "3,x,0,0,0\n", GOOD_LOG + '3,"1\n', GOOD_LOG + "\n", "\0" * 99, "\xff\xfe",
     '"' + "x" * 200_000],
)  # fmt: skip
def test_a_log_is_rows_of_as_many_numbers(text, tmp_path):
    (tmp_path / "log.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"log\.csv is damaged"):
        read_log(tmp_path / "log.csv")
    (tmp_path / "log.csv").write_text(GOOD_LOG)
    assert len(read_log(tmp_path / "log.csv", 5)) == 2
    with pytest.raises(UserError, match="damaged"):
        read_log(tmp_path / "log.csv", 6)  # columns


def table_folder(out, **changes):
    """A table with one row whose metrics are there."""
    row = {"seconds": 5.12, "epochs": 1, "steps": 2, "batch_size": 1, "paper": None, "fad": 1.0, "interval": [0, 2]}
    row |= {"fad_infinity": {"score": 1.0}, "floor": 1.0, "ceiling": 1.0, "nearest": None, "n": 2, "n_training": 2}
    row |= {"embeddings": 4, "dimension": 128, "training_steps": 1, "training_seconds": 1.0, "seconds_a_step": 1.0}
    row |= {"drawing_seconds": 1.0, "noise_loss": 1.0, "hardware": "a machine", "windows": 3}
    row |= {"heard": {side: dict.fromkeys(MEANING, 1.0) for side in ("generated", "real")}}
    settings = {"data": {"gtzan": "x", "carnatic": "y"}, "scale": 1.0, "preset": "paper", "clips": 2}
    settings |= {"inverter": "griffin-lim", "embedding": "mel"}
    (out / "rows/gtzan-10").mkdir(parents=True)
    for name, value in changes.items():
        (settings if name in settings else row)[name] = value
    (out / "rows/gtzan-10/metrics.json").write_text(json.dumps(row))
    (out / "settings.json").write_text(json.dumps(settings))
    return ["table", "--report", "--rows", "gtzan-10", "--out", str(out)]


@pytest.mark.parametrize(
    ("name", "value"),
    [("fad", "1"), ("fad", None), ("fad", [1]), ("fad", True), ("fad", 10**400), ("interval", [1, "x"]), ("n", 1.5),
     ("interval", {"a": 1}), ("interval", [1]), ("fad_infinity", {"score": None}), ("fad_infinity", 3), ("nearest", []),
     ("hardware", 3), ("heard", {}), ("seconds", "x"), ("epochs", None), ("paper", "x"), ("embeddings", None),
     ("training_seconds", None),
     ("data", []), ("data", {"gtzan": 3, "carnatic": "y"}), ("data", {}), ("scale", "1"), ("scale", 0), ("scale", 1e99),
     ("preset", "x"), ("preset", ["paper"]), ("clips", 1.5), ("embedding", None), ("other", float("inf"))],
)  # fmt: skip
def test_a_table_s_files_have_types(name, value, tmp_path):
    with pytest.raises(UserError, match="damaged"):
        experiments.main(table_folder(tmp_path, **{name: value}))


def test_a_table_is_reported(tmp_path):
    experiments.main(table_folder(tmp_path))
    assert (tmp_path / "table.md").exists()


@pytest.mark.parametrize("file", ["rows/gtzan-10/metrics.json", "settings.json"])
@pytest.mark.parametrize("text", ["", "x", "[" * 100_000, "\xff", "3", "null", "NaN", "[{}]", "9" * 5000])
def test_a_table_s_files_are_json(file, text, tmp_path):
    words = table_folder(tmp_path)
    (tmp_path / file).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="damaged"):
        experiments.main(words)


@pytest.mark.parametrize("link", ["rows", "rows/gtzan-10", "rows/gtzan-10/metrics.json", "settings.json"])
def test_a_report_tells_nothing_that_a_link_leads_to(link, tmp_path):
    words = table_folder(tmp_path / "out")
    (tmp_path / "out" / link).rename(tmp_path / "private")
    (tmp_path / "out" / link).symlink_to(tmp_path / "private")
    with pytest.raises(UserError, match="is a link"):
        experiments.main(words)
    assert not (tmp_path / "out/table.json").exists()


POINT = {"sampler": "ddim", "steps": 5, "evaluations": 5, "seconds": 1.0, "rms": 1.0, "fad": 1.0, "interval": [0, 2]}


@pytest.mark.parametrize(
    "points",
    [3, {}, [3], [{}], [POINT | {"steps": "5"}], [POINT | {"fad": None}], [POINT | {"interval": ["x", 2]}], None,
     [POINT | {"interval": None}], [POINT | {"sampler": ["ddim"]}], [POINT | {"rms": 10**400}]],
)  # fmt: skip
def test_points_of_other_types_are_measured_again(points, tmp_path):
    def read(points, kind="f4", **others):
        tree.save(tmp_path / "steps.npz", {"reference": np.zeros((2, 32, 128), kind)})
        (tmp_path / "steps.json").write_text(json.dumps({"settings": settings | others, "points": points}))
        return read_points(tmp_path, settings)

    settings = {"clips": 2, "seconds": 0.64}
    assert read([POINT])[0] == [POINT]
    assert read(points) == read([POINT], seconds=np.inf) == read([POINT], "U1") == ([], None)


@pytest.mark.parametrize("table", ["maestro-v3.0.0.json", "maestro-v2.0.0.csv"])
@pytest.mark.parametrize(
    "text",
    ["", "3", "[3]", "[[]]", "{}", '{"audio_filename": 3, "canonical_composer": {}}', "[" * 100_000, "\xff",
     "\0,\0\n\0",
     '{"audio_filename": {"0": 3}, "canonical_composer": {"0": "x"}}', '"' + "x" * 200_000, "a,b\n1\n1,2,3\n",
     '{"audio_filename": {"0": "x"}, "canonical_composer": {}}', "audio_filename,canonical_composer\nx\n"],
)  # fmt: skip
def test_a_data_set_s_table_is_one_or_none(table, text, tmp_path):
    (tmp_path / table).write_bytes(text.encode("latin-1"))
    survives(lambda: datasets.composers(tmp_path))
    (tmp_path / "A by B/T").mkdir(parents=True)
    (tmp_path / "A by B/T/T.json").write_bytes(text.encode("latin-1"))
    assert datasets.artist(tmp_path / "A by B/T/T.mp3.mp3") == "B"


# Statistics that are none.


def changed(**changes):
    return {"mu": np.zeros(4), "sigma": np.eye(4), "n": 9} | changes


@pytest.mark.parametrize(
    "arrays",
    [changed(sigma=-np.eye(4)), changed(sigma=np.eye(4) + np.eye(4, k=1)), changed(sigma=np.full((4, 4), 1.7e308)),
     changed(mu=np.full(4, 1e300)), changed(mu=np.full(4, np.nan)), changed(sigma=np.full((4, 4), np.inf)),
     changed(sigma=1 - np.eye(4)), changed(n=-5), changed(n=1), changed(n=2.5), changed(n="9"), changed(n=[9, 9]),
     changed(sigma=np.eye(4, dtype=int)), changed(mu=np.zeros(4, complex)), changed(mu=np.zeros(4, "f4,f4")),
     changed(mu=np.zeros((4, 1))), changed(sigma=np.eye(3)), changed(mu=np.zeros(4, np.longdouble)),
     changed(mu=np.zeros(0), sigma=np.zeros((0, 0))), changed(embedding=3), changed(embedding="x\x1b[31m" * 99)],
)  # fmt: skip
def test_statistics_are_those_of_some_set(arrays, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError) as caught:
        load_statistics(tmp_path / "a.npz", "mel")
    assert len(str(caught.value)) < 300


def test_an_array_whose_type_is_no_expression_is_none(tmp_path):
    """NumPy evaluates the header of an .npy file, and raises SyntaxError."""
    for name, array in (("mu", np.zeros(4)), ("cov", np.eye(4))):
        np.save(tmp_path / f"{name}.npy", array)
    header = (tmp_path / "mu.npy").read_bytes()
    (tmp_path / "mu.npy").write_bytes(header.replace(b"'<f8'", b"',f8'"))
    with pytest.raises(UserError, match="holds no statistics"):
        load_statistics(tmp_path, "mel")


def test_a_covariance_of_any_rank_and_in_float32_is_one(rng, tmp_path):
    few = rng.standard_normal((5, 128)).astype(np.float32)
    for dtype in (np.float32, np.float64):
        np.savez(tmp_path / "a.npz", mu=few.mean(0), sigma=np.cov(few, rowvar=False).astype(dtype), n=5)
        assert load_statistics(tmp_path / "a.npz", "mel").n == 5
    np.savez(tmp_path / "a.npz", mu=np.zeros(4), sigma=np.zeros((4, 4)))  # of clips that are all the same
    assert load_statistics(tmp_path / "a.npz", "mel").n == 0
