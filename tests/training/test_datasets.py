"""Data sets: the recordings that each layout gives, what is held out, and mirdata's part, on a stand-in."""

import errno
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.data import load_windows
from ddim_from_scratch.training import datasets
from ddim_from_scratch.training.datasets import artist, hold_out, recordings

SECONDS = 1.0


def record(path, hz, sr=22050):
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(int(SECONDS * sr)) / sr
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hz * t), sr, format="MP3" if path.suffix == ".mp3" else None)
    return path


COMPOSERS = {"2004/a.wav": "Chopin", "2004/b.wav": "Chopin", "2008/c.wav": "Haydn", "2008/d.wav": "Liszt"}
CONCERTS = {"Live at Arkay by Sharma": "Sharma", "An evening": "Sharma", "Akkarai Sisters by Akkarai": None}
LAYOUTS = {
    "gtzan": [f"genres/{genre}/{genre}.{i:05d}.wav" for genre in ("classical", "jazz") for i in range(4)],
    "GuitarSet": [
        f"{folder}/{player:02d}_{style}_{folder[-3:]}.wav"
        for folder in ("audio_hex-pickup_original", "audio_mono-mic", "audio_mono-pickup_mix")
        for player in range(3)
        for style in ("BN1-129-Eb_comp", "Jazz2-110-Bb_solo")
    ],
    "maestro-v2.0.0": list(COMPOSERS),
    "saraga1.5_carnatic": [  # two concerts of one artist, whom only one concert's folder names, and one of another
        f"{concert}/{title}/{title}.{kind}.mp3"
        for concert in CONCERTS
        for title in ("Bhuvini", "Kamakshi")
        for kind in ("mp3", "multitrack-violin")
    ],
}


def recorded(folder, name):
    """A data set's recordings, all different."""
    for i, path in enumerate(LAYOUTS[name]):
        record(folder / name / path, 200 + 10 * i)
    return folder / name


@pytest.fixture
def gtzan(tmp_path):
    jazz = recorded(tmp_path, "gtzan") / "genres/jazz"
    (jazz / "jazz.00054.wav").write_bytes(b"RIFF no samples")
    (jazz / "jazz.00003.wav").write_bytes((jazz / "jazz.00001.wav").read_bytes())
    return tmp_path / "gtzan"


@pytest.fixture
def guitarset(tmp_path):
    return recorded(tmp_path, "GuitarSet")


@pytest.fixture
def maestro(tmp_path):
    write_table(recorded(tmp_path, "maestro-v2.0.0"), ".csv")
    return tmp_path / "maestro-v2.0.0"


def write_table(root, kind):
    """MAESTRO's table: CSV; version 2's JSON, a list of rows; or version 3's, a dictionary of columns."""
    for old in root.glob("maestro-v*"):
        old.unlink()
    rows = [{"audio_filename": name, "canonical_composer": composer} for name, composer in COMPOSERS.items()]
    columns = {key: {str(i): row[key] for i, row in enumerate(rows)} for key in rows[0]}
    name, text = {
        ".csv": ("maestro-v2.0.0.csv", "\n".join(",".join(row) for row in (rows[0], *(r.values() for r in rows)))),
        "rows": ("maestro-v2.0.0.json", json.dumps(rows)),
        "columns": ("maestro-v3.0.0.json", json.dumps(columns)),
    }[kind]
    (root / name).write_text(text)
    datasets.composers.cache_clear()


@pytest.fixture
def saraga(tmp_path):
    root = recorded(tmp_path, "saraga1.5_carnatic")
    for path in root.rglob("*.mp3.mp3"):
        if name := CONCERTS[path.parents[1].name]:
            path.with_name(f"{path.parent.name}.json").write_text(json.dumps({"album_artists": [{"name": name}]}))
    return root


def names(paths):
    return [path.name for path in paths]


def test_gtzan_loses_its_copies_and_the_unreadable_track(gtzan, capsys):
    found = recordings(str(gtzan / "genres/jazz"))
    assert names(found) == ["jazz.00000.wav", "jazz.00001.wav", "jazz.00002.wav", "jazz.00054.wav"]
    assert "jazz.00003.wav is a copy of" in capsys.readouterr().err
    config = Config(data=str(gtzan), window_seconds=0.64, widths=(1, 1))
    assert len(load_windows(config).tracks) == 7
    assert "jazz.00054" in capsys.readouterr().err
    assert len({artist(path) for path in found}) == 4
    assert len({tuple(hold_out(found, 0.25, seed)[1]) for seed in range(5)}) > 1


def test_guitarset_is_heard_through_one_microphone(guitarset):
    assert [path.parent.name for path in recordings(str(guitarset))] == ["audio_mono-mic"] * 6
    mix = guitarset / "audio_mono-pickup_mix"
    assert {path.parent for path in recordings(str(mix))} == {mix}
    for path in (guitarset / "audio_mono-mic").iterdir():
        path.unlink()
    assert {path.parent for path in recordings(str(guitarset))} == {mix}
    assert artist(mix / "02_BN1-129-Eb_comp_mix.wav") == artist(mix / "02_Jazz2-110-Bb_solo_mix.wav") == "player 02"


def test_saraga_is_its_mixes(saraga):
    found = recordings(str(saraga))
    assert len(found) == 6 and all(path.name.endswith(".mp3.mp3") for path in found)
    assert [artist(path) for path in found] == ["Akkarai"] * 2 + ["Sharma"] * 4
    assert len(load_windows(Config(data=str(saraga), window_seconds=0.64, widths=(1, 1))).tracks) == 6


@pytest.mark.parametrize("table", [".csv", "rows", "columns"])
def test_maestros_table_names_the_composers(maestro, table):
    write_table(maestro, table)
    assert [artist(path) for path in recordings(str(maestro))] == list(COMPOSERS.values())


def test_a_damaged_table_of_maestro_is_named(maestro):
    (maestro / "maestro-v2.0.0.csv").write_text("something,else\n1,2\n")
    datasets.composers.cache_clear()
    with pytest.raises(UserError, match=r"maestro-v2\.0\.0\.csv is not MAESTRO's table"):
        hold_out(recordings(str(maestro)), 0.1, 0)


@pytest.mark.parametrize("layout", ["guitarset", "maestro", "saraga"])
def test_no_artist_is_on_both_sides(layout, request):
    paths = recordings(str(request.getfixturevalue(layout)))
    for seed in range(4):
        train, held = hold_out(paths, 0.25, seed)
        assert sorted(train + held) == paths and train and held
        assert not {artist(path) for path in train} & {artist(path) for path in held}
        assert len(held) <= 2  # a quarter, or the artist with the fewest recordings
        assert hold_out(paths, 0.25, seed) == (train, held)
    assert hold_out(paths, 0, seed) == (paths, [])


def test_one_artist_cannot_be_held_out(guitarset):
    (only := guitarset / "only/audio_mono-mic").mkdir(parents=True)
    for i, path in enumerate(sorted((guitarset / "audio_mono-mic").glob("00_*"))):
        (only / f"00_{i}_mic.wav").write_bytes(path.read_bytes())
    with pytest.raises(UserError, match=r"--hold-out is 0\.5, but 2 recordings by player 00 cannot be divided"):
        hold_out(recordings(str(only)), 0.5, 0)


def test_something_is_left_to_train_on(tmp_path):
    for share in (0.5, 0.9, 0.99):
        train, held = hold_out([tmp_path / f"{i}.wav" for i in range(3)], share, 0)
        assert train and held and len(train + held) == 3


class Mirdata:
    """mirdata's interface over recordings that `download` makes. fails: what download does instead, once."""

    def __init__(self, home, monkeypatch):
        self.data_home, self.calls, self.index, self.fails, self.bad = str(home), [], False, None, ()
        monkeypatch.setitem(sys.modules, "mirdata", SimpleNamespace(initialize=self.initialize))

    def initialize(self, dataset_name, data_home=None, version="default"):
        self.asked = dataset_name, version
        return self

    def paths(self):
        if self.asked[0] == "gtzan_genre":
            return {f"{g}.{i:05d}": f"main/{g}/{g}.{i:05d}.wav" for g in ("classical", "jazz") for i in range(3)}
        return {f"{i:02d}_x": f"audio_mono-mic/{i:02d}_x_mic.wav" for i in range(3)}

    def download(self, partial_download=None, force_overwrite=False, cleanup=False):
        self.calls.append(partial_download)
        self.index = True
        if partial_download == ["index"]:
            return
        if self.fails:
            error, self.fails = self.fails, None
            raise error
        for i, name in enumerate(self.paths().values()):
            record(Path(self.data_home, name), 300 + 10 * i)

    def load_tracks(self):
        if not self.index:
            raise FileNotFoundError("This dataset's index must be downloaded. Did you run .download()?")
        attribute = "audio_mic_path" if self.asked[0] == "guitarset" else "audio_path"
        return {
            name: SimpleNamespace(**{"track_id": name, attribute: str(Path(self.data_home, path))})
            for name, path in self.paths().items()
        }

    def validate(self, verbose=True):
        self.calls.append("validate")
        missing = {name: [f"{self.data_home}/{name}.beats"] for name in self.paths()}  # annotations, not fetched
        damaged = {name: [str(Path(self.data_home, self.paths()[name]))] for name in self.bad}
        return {"tracks": missing}, {"tracks": damaged}

    def license(self):
        self.calls.append("license")


@pytest.fixture
def mirdata(tmp_path, monkeypatch):
    return Mirdata(tmp_path / "home", monkeypatch)


def test_a_data_set_is_downloaded_and_verified_once(mirdata):
    found = recordings("gtzan:classical")
    assert names(found) == [f"classical.0000{i}.wav" for i in range(3)]
    assert mirdata.asked == ("gtzan_genre", "mini")
    assert mirdata.calls == [["index"], "license", ["mini"], "validate"]
    assert recordings("gtzan:classical") == found and len(recordings("gtzan")) == 6
    assert len(mirdata.calls) == 4
    found[0].unlink()
    assert recordings("gtzan:classical") == found  # fetched and verified again
    assert mirdata.calls[4:] == ["license", ["mini"], "validate"]


def test_each_data_set_asks_for_what_it_needs(mirdata):
    assert {path.parent.name for path in recordings("guitarset")} == {"audio_mono-mic"}
    assert mirdata.calls[2] == ["audio_mic", "annotations"]
    for name, module in (("maestro", "maestro"), ("saraga", "saraga_carnatic")):
        recordings(name)
        assert mirdata.asked == (module, "default")


def test_a_folder_goes_before_a_data_set_of_its_name(mirdata, guitarset, monkeypatch):
    monkeypatch.chdir(guitarset.parent)
    guitarset.rename(guitarset.parent / "guitarset")
    assert len(recordings("guitarset")) == 6 and not mirdata.calls


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("gtzan:polka", "polka: there is no such genre; GTZAN's are blues, classical"),
        ("saraga:hindustani", "only gtzan has parts"),
        ("nsynth", "nsynth is neither a folder nor one of the data sets gtzan, guitarset, maestro, saraga"),
    ],
)
def test_an_unknown_set_or_genre_is_named(data, message, mirdata):
    with pytest.raises(UserError, match=message):
        recordings(data)
    assert not mirdata.calls


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("main.zip has an MD5 checksum (1) differing from expected (2), file may be corrupted."), "delete it"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk of .* is full: gtzan is not whole"),
        (OSError("<urlopen error [Errno -2] Name or service not known>"), "could not be downloaded .* name its folder"),
        (EOFError("Compressed file ended before the end-of-stream marker"), "could not be unpacked"),
    ],
)
def test_a_download_that_fails_says_what_to_do_and_goes_on_later(error, message, mirdata):
    mirdata.fails = error
    with pytest.raises(UserError, match=message):
        recordings("gtzan:jazz")
    assert len(recordings("gtzan:jazz")) == 3


def test_damaged_recordings_are_not_trained_on(mirdata):
    mirdata.bad = ("jazz.00001",)
    with pytest.raises(UserError, match=r"1 of 6 recordings are not whole \(.*jazz\.00001\.wav is damaged"):
        recordings("gtzan:classical")
    mirdata.bad = ()
    assert len(recordings("gtzan:classical")) == 3


def test_without_mirdata_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mirdata", None)
    with pytest.raises(UserError, match=r"pip install 'ddim_from_scratch\[data\]'"):
        recordings("maestro")


@pytest.mark.parametrize("found", datasets.SETS.values(), ids=datasets.SETS)
def test_mirdata_itself_knows_the_sets(found):
    mirdata = pytest.importorskip("mirdata")
    dataset = mirdata.initialize(found.module, version=found.version)
    assert set(found.remotes or ()) <= set(dataset.remotes)
    assert found.audio in dataset._track_class.__doc__
