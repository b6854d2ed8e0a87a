"""The inverters behind one function: the decoder's padding, cutting and seams, its SavedModel, and what is refused.

The GAN itself is tested where it is at hand. Elsewhere a stand-in with its signature goes the same way: TensorFlow
exports it as a SavedModel and TF-Hub loads it.
"""

import shutil
import sys
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from helpers import reference, relative_error

from ddim_from_scratch.audio import griffin_lim, load_inverter, log_mel, mel_matrix
from ddim_from_scratch.audio.inverter import CHUNK, CONTEXT, FADE, decode
from ddim_from_scratch.runtime import hub
from ddim_from_scratch.runtime.errors import UserError

FLOOR = np.log(1e-5)


@pytest.fixture(autouse=True)
def no_decoder(request):
    """Except for tests of the real one."""
    if not request.node.name.endswith("[soundstream]"):
        request.getfixturevalue("caches")


# Padding, cutting and seams, with decoders of a line or two.


def ramp(n, frames):
    """Log-mels that count frames, within the range that log_mel makes."""
    return np.broadcast_to(np.arange(frames, dtype=np.float32)[:, None] / 1000, (n, frames, 128))


def hold(log_mels):
    """A frame's first number for all its samples: what went in can be read off what came out."""
    return np.repeat(log_mels[:, :, 0], 320, axis=1)


@pytest.mark.parametrize("frames", [1, 2, CONTEXT, CHUNK, CHUNK + 1, CHUNK + FADE + 1, 2 * CHUNK + 3 * FADE])
def test_every_frame_comes_out_once_and_in_its_place(frames):
    sound = decode(hold, ramp(2, frames))
    assert sound.shape == (2, frames * 320) and sound.dtype == np.float32
    np.testing.assert_allclose(sound, hold(ramp(2, frames)), atol=1e-6)


def test_the_decoder_hears_the_clip_mirrored_at_both_ends():
    heard = []
    decode(lambda m: heard.append(m) or hold(m), ramp(1, 40))
    expected = [*range(CONTEXT, 0, -1), *range(40), *range(38, 38 - CONTEXT, -1)]
    np.testing.assert_allclose(heard[0][0, :, 0] * 1000, expected, atol=1e-3)


def test_clicks_in_the_first_and_last_frames_are_cut():
    def clicking(log_mels):
        sound = hold(log_mels)
        sound[:, : 5 * 320] += 1
        sound[:, -5 * 320 :] -= 1
        return sound

    frames = CHUNK + 100
    np.testing.assert_allclose(decode(clicking, ramp(1, frames)), hold(ramp(1, frames)), atol=1e-6)


def test_griffin_lim_goes_on_at_a_seam_where_chunks_of_their_own_phases_clash(monkeypatch):
    chunk = 192
    monkeypatch.setattr("ddim_from_scratch.audio.inverter.CHUNK", chunk)
    t = np.arange((chunk + 64) * 320) / 16000
    chord = sum(0.1 * np.sin(2 * np.pi * hz * t) for hz in (220, 277.2, 329.6, 440))
    target = log_mel(chord.astype(np.float32))

    def error_at_the_seam(sound):
        """Beyond the error elsewhere."""
        error = np.abs(log_mel(sound[0]) - target)
        return error[chunk : chunk + FADE].mean() - error[50 : chunk - 50].mean()

    ours = load_inverter("griffin-lim")(target[None])
    assert ours.shape == (1, len(t))
    assert error_at_the_seam(ours) < error_at_the_seam(decode(griffin_lim, target[None])) / 1.5


def test_no_click_at_a_seam():
    """A decoder that starts anew in each chunk, so that at the seam the first is at -1 and the second at 1."""
    slope = 801 * np.pi / (CHUNK * 320)  # 400 periods and a half in a chunk, 39 Hz

    def cosine(log_mels):
        return np.cos(slope * np.arange(-CONTEXT * 320, (log_mels.shape[1] - CONTEXT) * 320))[None]

    sound = decode(cosine, ramp(1, 2 * CHUNK))[0]
    assert np.abs(np.diff(sound)).max() < slope + 2 / (FADE * 320)  # the cosine's own, and the fade's


# The SavedModel: signature, TF-Hub, round trip.


def saved_model(folder, function, shape=(None, None, 128), variables=()):
    """The folder, with a SavedModel that calls the function."""
    tf = reference("tensorflow")
    model = tf.Module()
    model.held = variables
    model.__call__ = tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32)])
    tf.saved_model.save(model, str(folder))
    return folder


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory):
    """A SavedModel folder: float32 [batch, frames, 128] to [batch, frames * 320], a click a frame.

    The analysis window of frame m, Hann over 640 samples, is 1 at the middle and 0 at the start, where the
    neighbours' clicks lie: a frame's spectrum is that of its own click, whose magnitudes come from its mel bins.
    So the round trip holds for all spectra that are smooth over frequency, without any phase to be found.
    """
    tf = reference("tensorflow")
    matrix = mel_matrix().astype(np.float32)
    spread = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-9)  # (513, 128): bins between mel centres
    spread /= matrix.sum(axis=0)  # a mel bin sums so many FFT bins

    def clicks(log_mels):
        magnitudes = tf.exp(log_mels) @ spread.T  # (batch, frames, 513)
        click = tf.signal.irfft(tf.cast(magnitudes, tf.complex64))  # symmetric about sample 0
        click = tf.concat([click[..., -320:], click[..., :320]], axis=-1)  # about sample 320
        sound = tf.signal.overlap_and_add(click, 320)  # (batch, (frames + 1) * 320)
        return sound[:, : tf.shape(log_mels)[1] * 320]

    return saved_model(tmp_path_factory.mktemp("models") / "clicks", clicks)


@pytest.fixture(params=["stand-in", "soundstream"])
def inverter(request):
    """The name of a decoder that can be loaded; a slot for the real one."""
    if request.param == "stand-in":
        return str(request.getfixturevalue("stand_in"))
    if hub.find(hub.SOUNDSTREAM) is None:
        pytest.skip("the SoundStream mel decoder is not on this machine: sample --inverter soundstream downloads it")
    return "soundstream"


def vowels(n, frames):
    """Log-mels of smooth spectra that glide: a formant that rises, another loudness in each clip."""
    mel, time = np.arange(128), np.arange(frames)[:, None]
    formant = np.exp(-(((mel - 40 - 30 * np.sin(time / 40)) / 25) ** 2))
    return (np.arange(n)[:, None, None] / 2 - 4 + 4 * formant).astype(np.float32)


def test_a_saved_model_makes_sound_of_any_number_of_frames_and_clips(inverter):
    reference("tensorflow_hub")
    invert = load_inverter(inverter)
    for n, frames in [(1, 1), (9, 7), (2, CHUNK + 50)]:
        sound = invert(vowels(n, frames))
        assert sound.shape == (n, frames * 320) and sound.dtype == np.float32
        assert np.isfinite(sound).all()
    clips = vowels(9, 20)
    np.testing.assert_allclose(invert(clips)[8], invert(clips[8:])[0], atol=1e-5)


def test_the_round_trip_keeps_the_log_mel(inverter):
    """log_mel(invert(m)) is m. The last frame looks beyond the end of the sound, where log_mel sees zeros."""
    reference("tensorflow_hub")
    clips = vowels(2, 60)[:, :-1]
    again = np.stack([log_mel(sound) for sound in load_inverter(inverter)(vowels(2, 60))])[:, :-1]
    error, swapped = np.abs(again - clips).mean(axis=(1, 2)), np.abs(again[::-1] - clips).mean(axis=(1, 2))
    assert (error < swapped).all()
    assert inverter == "soundstream" or error.max() < 0.03  # 0.018 is measured, most of it in the two lowest bins


# One function for all; the default; bad input.


def test_the_default_is_griffin_lim_clip_by_clip_which_needs_no_tensorflow(monkeypatch, capsys, tmp_path, rng):
    for module in ("tensorflow", "tensorflow_hub"):
        monkeypatch.setitem(sys.modules, module, None)
    clips = np.stack([log_mel(sound) for sound in rng.standard_normal((2, 30 * 320), np.float32)])
    sound = load_inverter("griffin-lim")(clips)
    for x, m in zip(sound, clips, strict=True):
        assert relative_error(x, griffin_lim(m)) < 1e-3  # rounding, 64 times over
    capsys.readouterr()
    np.testing.assert_array_equal(load_inverter()(clips), sound)
    line = capsys.readouterr().err.splitlines()[0]
    assert "Griffin-Lim" in line and "--inverter soundstream" in line
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(UserError, match=r"ddim_from_scratch\[hub\].*--inverter griffin-lim"):
        load_inverter(str(tmp_path))


@pytest.mark.parametrize(
    ("log_mels", "message"),
    [
        (np.zeros((5, 128)), r"shape \(5, 128\)"),
        (np.zeros((2, 128, 5)), r"shape \(2, 128, 5\)"),
        (np.zeros((0, 5, 128)), r"shape \(0, 5, 128\)"),
        (np.full((1, 5, 128), np.nan), "NaN"),
        (np.full((1, 5, 128), np.inf), "NaN"),
        (np.full((1, 5, 128), -80.0), r"-80\.00 .. -80\.00, not -11\.51 .. 18\.42: .*decibels"),
        (np.full((1, 5, 128), 18.5), "18.50"),
    ],
)
def test_log_mels_that_are_none_are_refused(log_mels, message):
    with pytest.raises(UserError, match=message):
        load_inverter("griffin-lim")(log_mels)


def test_the_ends_of_the_range_are_within_it():
    low, high = np.full((1, 2, 128), FLOOR, np.float32), np.full((1, 2, 128), np.log(1e8), np.float32)
    assert np.isfinite(load_inverter("griffin-lim")(np.concatenate([low, high]))).all()


def test_a_name_that_is_nothing_is_refused(tmp_path):
    for name in ("melgan", str(tmp_path)):
        with pytest.raises(UserError, match=r"neither soundstream, griffin-lim nor a folder with saved_model\.pb"):
            load_inverter(name)


@pytest.mark.parametrize(
    ("function", "shape", "message"),
    [
        (lambda x: x[:, None] * 2, [None], "no decoder of log-mels"),  # VGGish takes samples
        (lambda x: x * 2, [None, None, 128], r"another model: .* it makes \(2, 9, 128\), not sound \(2, 2880\)"),
    ],
)
def test_another_model_is_refused(function, shape, message, tmp_path):
    reference("tensorflow_hub")
    with pytest.raises(UserError, match=message) as caught:
        load_inverter(str(saved_model(tmp_path, function, shape)))
    assert len(str(caught.value)) < 500


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    """A SavedModel with a decoder's signature, and a file that it writes when it is called. It has a variable."""
    tf = reference("tensorflow")
    folder, scale = tmp_path_factory.mktemp("models"), tf.Variable(1.0)

    @tf.function
    def deeper(x):
        tf.io.write_file(str(folder / "written"), "by the graph")
        return x

    def held(x):
        return tf.repeat(deeper(x)[:, :, 0], 320, axis=1) * scale

    return saved_model(folder / "model", held, variables=[scale]), folder / "written"


def edited(model, folder, edit):
    """A copy of a SavedModel whose graph `edit` has changed."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    shutil.copytree(model, folder)
    graph = SavedModel.FromString((model / "saved_model.pb").read_bytes())
    edit(graph.meta_graphs[0])
    (folder / "saved_model.pb").write_bytes(graph.SerializeToString())
    return str(folder)


def renamed(operation):
    """Another operation in the place of the one that writes."""

    def edit(graph):
        for function in graph.graph_def.library.function:
            for node in function.node_def:
                if node.op == "WriteFile":
                    node.op = operation
                    del node.input[:]

    return edit


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda graph: None, "WriteFile"),
        *((renamed(name), name) for name in ("ReadFile", "SaveV2", "EagerPyFunc", "While")),
        # called by nothing: loading makes it
        (lambda graph: graph.graph_def.node.add(name="names", op="HashTableV2"), "HashTableV2"),
        (lambda graph: graph.object_graph_def.nodes.add().asset.SetInParent(), "asset"),
    ],
)
def test_a_graph_that_can_do_more_than_calculate_is_not_loaded(edit, named, writer, tmp_path, monkeypatch):
    """It is read, not run: TF-Hub is never asked."""
    model, written = writer
    monkeypatch.setattr(reference("tensorflow_hub"), "load", lambda _: pytest.fail("loaded"))
    with pytest.raises(UserError, match=f"is not loaded: its graph has .*{named}"):
        load_inverter(edited(model, tmp_path / "model", edit))
    assert not written.exists()


def test_a_decoder_with_variables_is_loaded(writer, tmp_path):
    """Its export can save them: that is in the graph, too, where nothing calls it."""
    reference("tensorflow_hub")
    harmless = edited(writer[0], tmp_path / "model", renamed("NoOp"))
    assert load_inverter(harmless)(vowels(1, 3)).shape == (1, 960)


@pytest.mark.parametrize("other", ["saved_model.cpb", "saved_model.pbtxt", "tfhub_module.pb", None])
def test_a_damaged_graph_or_a_second_one_is_refused(other, stand_in, tmp_path):
    reference("tensorflow_hub")
    pb = (stand_in / "saved_model.pb").read_bytes()
    (tmp_path / "saved_model.pb").write_bytes(pb if other else pb[: len(pb) // 2])
    if other:
        (tmp_path / other).touch()
    with pytest.raises(UserError, match="does not need" if other else "damaged"):
        load_inverter(str(tmp_path))


@pytest.fixture
def server(stand_in, tmp_path, monkeypatch):
    """A web server with the stand-in as decoder.tar.gz, whole or cut; the address of SoundStream points to it."""
    with tarfile.open(tmp_path / "whole.tar.gz", "w:gz") as archive:
        archive.add(stand_in, arcname=".")
    whole = (tmp_path / "whole.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.tar.gz").write_text("<html>sign in to go on</html>")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()

        def publish(name):
            address = f"http://127.0.0.1:{httpd.server_port}/{name}.tar.gz"
            monkeypatch.setattr(hub, "SOUNDSTREAM", hub.SOUNDSTREAM._replace(tf_hub=address))

        yield publish
        httpd.shutdown()
        thread.join()


def test_soundstream_is_downloaded_once(server, stand_in, tmp_path):
    reference("tensorflow_hub")
    server("whole")
    sound = load_inverter("soundstream")(vowels(1, 10))
    np.testing.assert_array_equal(sound, load_inverter(str(stand_in))(vowels(1, 10)))
    (tmp_path / "whole.tar.gz").unlink()
    np.testing.assert_array_equal(load_inverter("soundstream")(vowels(1, 10)), sound)


@pytest.mark.parametrize("name", ["cut", "page", "missing"])
def test_a_download_that_fails_is_one_line_and_leaves_nothing(name, server, tmp_path):
    reference("tensorflow_hub")
    server(name)
    with pytest.raises(UserError, match="could not be downloaded"):
        load_inverter("soundstream")
    assert list((tmp_path / "TFHUB_CACHE_DIR").rglob("*")) == []
