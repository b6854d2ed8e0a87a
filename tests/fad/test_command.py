"""python -m ddim_from_scratch.fad, as a user runs it: the numbers, the cache, and all that can be wrong."""

import json
import os

import numpy as np
import pytest
import soundfile

from ddim_from_scratch.audio import load_audio, log_mel, write_wav
from ddim_from_scratch.fad import embeddings, frechet_distance, gaussian, load_embedding, log_mel_statistics
from ddim_from_scratch.fad.__main__ import main
from ddim_from_scratch.fad.statistics import load_statistics
from ddim_from_scratch.runtime.errors import UserError

pytestmark = pytest.mark.usefixtures("caches")
KEYS = "fad n_background n_eval rank_background rank_eval floor interval fad_infinity embedding"


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """Two folders: chords in minor keys, and noise; of different rates, formats and channels."""
    folder = tmp_path_factory.mktemp("music")
    rng = np.random.default_rng(0)
    for name in ("chords", "noise"):
        (folder / name).mkdir()
        for i, (rate, suffix) in enumerate([(16000, "wav"), (22050, "flac"), (44100, "wav"), (16000, "ogg")]):
            t = np.arange(4 * rate) / rate
            chord = sum(np.sin(2 * np.pi * hz * 2 ** (i / 12) * t) for hz in (220, 262, 330)) * np.cos(5 * t) ** 2
            sound = chord / 10 if name == "chords" else 0.1 * rng.standard_normal(len(t))
            soundfile.write(folder / name / f"{i}.{suffix}", np.stack([sound] * (1 + i % 2), axis=1), rate)
    return folder


def score(tmp_path, *arguments):
    main([*map(str, arguments), "--json", str(tmp_path / "score.json")])
    return json.loads((tmp_path / "score.json").read_text())


def test_mel_scores_are_the_distance_of_the_statistics_of_every_second(music, tmp_path):
    result = score(tmp_path, music / "chords", music / "noise", "--embedding", "mel")
    sides = []
    for name in ("chords", "noise"):
        log_mels = np.stack([log_mel(load_audio(path)) for path in sorted((music / name).iterdir())])
        sides += gaussian(log_mel_statistics(log_mels.reshape(-1, 50, 128)))
    assert result["fad"] == pytest.approx(frechet_distance(*sides), rel=1e-5)
    assert result["n_background"] == result["n_eval"] == 16
    assert result["clips_background"] == 4 and result["rank_background"] == 15
    assert result.keys() >= set(KEYS.split())
    assert result["embedding"] == "mel" and result["fad_infinity"] is None
    low, high = result["interval"]
    assert low < result["fad"] < high


def test_musicnn_hears_that_noise_is_not_music(music, tmp_path, capsys):
    result = score(tmp_path, music / "chords", music / "noise", "--embedding", "musicnn", "--tags")
    assert result["fad"] > 2 * result["floor"] > 0
    out = capsys.readouterr().out
    assert "rank" in out and "warning" in out and "real against real" in out
    assert "3.ogg" in out


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("embedding", ["mel", "musicnn"])
def test_silence_has_null_and_a_sentence_instead_of_nan(embedding, music, tmp_path, capsys):
    (tmp_path / "silence").mkdir()
    for i in range(4):
        soundfile.write(tmp_path / f"silence/{i}.wav", np.zeros(5 * 16000), 16000)
    options = "--embedding", embedding, "--infinity"
    for other in (tmp_path / "silence", music / "chords"):
        result = score(tmp_path, tmp_path / "silence", other, *options)
        assert result["interval"] is result["floor"] is result["fad_infinity"] is None
        assert np.isfinite(result["fad"])
        (note, *_) = result["notes"]
        assert note.startswith("all embeddings of the background are equal") and note in capsys.readouterr().out
    result = score(tmp_path, music / "chords", music / "noise", *options)
    assert result["interval"] and result["fad_infinity"].keys() == {"score", "slope", "r_squared"}
    assert "FAD-infinity" in capsys.readouterr().out


def test_equal_sets_have_no_negative_fad_infinity(music, tmp_path, capsys):
    result = score(tmp_path, music / "chords", music / "chords", "--embedding", "mel", "--infinity")
    assert result["fad_infinity"] is None
    assert "no FAD-infinity: the line leads to -" in capsys.readouterr().out


def test_saved_statistics_take_the_place_of_recordings_with_or_without_a_count_and_a_suffix(music, tmp_path, capsys):
    rng, options = np.random.default_rng(0), ("--embedding", "mel")
    embeddings = rng.standard_normal((500, 384))
    np.savez(tmp_path / "uncounted.npz", mu=embeddings.mean(axis=0), sigma=np.cov(embeddings.T))
    for background, other, n in [("uncounted.npz", "uncounted.npz", 0), (music / "chords", music / "noise", 16)]:
        first = score(tmp_path, tmp_path / background, tmp_path / other, *options, "--save", tmp_path / "saved")
        assert f"statistics are in {tmp_path / 'saved.npz'}" in capsys.readouterr().out
        assert load_statistics(tmp_path / "saved.npz", "mel").n == n
    saved = tmp_path / "saved.npz"
    second = score(tmp_path, saved, music / "noise", *options)
    assert second["fad"] == first["fad"] and second["n_background"] == 16
    assert second["floor"] is None and second["clips_background"] is None and second["interval"]
    assert score(tmp_path, saved, saved, *options)["fad"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(UserError, match="--embedding mel"):
        main([str(saved), str(saved), "--embedding", "musicnn"])


def test_a_clip_is_heard_as_it_would_be_from_its_file(tmp_path, rng):
    """Louder than full scale: every set that is compared gets the same gain, whether it comes from a file or not."""
    loud = 2 * rng.standard_normal((2, 16000), dtype=np.float32)
    embedding = load_embedding("mel")
    for i, clip in enumerate(loud):
        write_wav(tmp_path / f"{i}.wav", clip)
    from_files = embeddings.embed_files(embedding, sorted(tmp_path.glob("*.wav")), "files").values()
    for found, expected in zip(embeddings.embed_clips(embedding, loud, "clips"), from_files, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-3)  # a file has 16 bits


def test_another_content_or_embedding_is_another_entry_and_damage_is_mended(music, tmp_path, caches, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one.wav").write_bytes((music / "chords/0.wav").read_bytes())
    arguments = (tmp_path, tmp_path / "a", music / "noise", "--embedding", "mel")
    first = score(*arguments)
    with monkeypatch.context() as again:
        again.setattr(embeddings, "load_audio", lambda path: pytest.fail("computed again"))
        assert score(*arguments) == first
    entries = set(caches.rglob("*.npz"))
    for entry in entries:
        entry.write_bytes(entry.read_bytes()[:-30])
    assert score(*arguments) == first
    (tmp_path / "a/one.wav").write_bytes((music / "noise/0.wav").read_bytes())
    assert score(*arguments)["fad"] != first["fad"]
    assert set(caches.rglob("*.npz")) == entries  # noise/0.wav's is the same, chords/0.wav's stays
    score(*arguments[:-1], "musicnn")
    assert len(set(caches.rglob("*.npz"))) > len(entries)


def test_unusable_recordings_are_skipped_by_name_and_counted(music, tmp_path, capsys):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in ("0.wav", "1.flac"):
        (folder / name).write_bytes((music / "chords" / name).read_bytes())
    (folder / "corrupt.wav").write_bytes(b"RIFF....WAVE")
    (folder / "cut.wav").write_bytes((music / "chords/2.wav").read_bytes()[:5000])
    soundfile.write(folder / "short.wav", np.zeros(8000), 16000)
    result = score(tmp_path, folder, music / "noise", "--embedding", "mel")
    assert result["clips_background"] == 2
    assert sorted(os.path.basename(path) for path in result["skipped"]) == ["corrupt.wav", "cut.wav", "short.wav"]
    captured = capsys.readouterr()
    assert all(name in captured.err for name in ("corrupt.wav", "cut.wav", "short.wav"))
    assert "skipped 3" in captured.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("missing", "does not exist"),
        ("empty", "0 embeddings in 0 usable of 0 recordings"),
        ("one", "1 embedding in 1 usable of 1 recording,"),
        ("damaged.npz", "damaged"),
        ("nameless.npz", "no mu and sigma"),
        ("other.npz", "384 dimensions"),
        ("one --weights x.npz", "--weights is for VGGish"),
    ],
)
def test_errors_name_the_file_and_the_remedy(arguments, message, music, tmp_path, monkeypatch):
    """More files that are no statistics: tests/test_strangers.py."""
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "one"):
        (tmp_path / name).mkdir()
    soundfile.write("one/short.wav", 0.1 * np.ones(20000), 16000)
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 and no more")
    np.savez("nameless.npz", a=np.ones(3))
    np.savez("other.npz", mu=np.ones(3), sigma=np.eye(3))
    with pytest.raises(UserError, match=message):
        main([str(music / "chords"), *arguments.split(), "--embedding", "mel"])
