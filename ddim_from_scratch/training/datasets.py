"""Which recordings to train on: a folder in any layout, or a data set by name, through mirdata.

    --data recordings/          any folder, nested as you like, also a data set's own
    --data gtzan:classical      a data set, downloaded to ~/mir_datasets and verified once (extra `data`)

Data sets have habits. GuitarSet holds each excerpt four times, once a microphone; Saraga and Slakh keep the
instruments' tracks beside the mix; GTZAN holds some recordings twice (Sturm 2012 counts 50 replicas). One recording a
piece is used. Tracks of one artist resemble each other, so what is held out for a test is held out by the artist.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import sys
from collections import defaultdict
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..audio import LeftOut, find_audio
from ..runtime.cli import counted
from ..runtime.errors import UserError, naming, printable, warn, why
from ..runtime.files import LIMIT, conforms, read_bytes, read_json, replacing


class DataSet(NamedTuple):
    """A data set that mirdata knows as `module`.

    version: of its index. remotes: what to download of it, None for all. audio: the attribute of a track that
    names its recording.
    """

    module: str
    version: str = "default"
    remotes: tuple[str, ...] | None = None
    audio: str = "audio_path"


SETS = {
    # The link to all 1000 tracks is dead; this version has ten a genre.
    "gtzan": DataSet("gtzan_genre", "mini", ("mini",)),
    "guitarset": DataSet("guitarset", remotes=("audio_mic", "annotations"), audio="audio_mic_path"),
    "maestro": DataSet("maestro"),
    "saraga": DataSet("saraga_carnatic"),
}
GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
VERIFIED = ".verified"  # beside the recordings: they are all there, with mirdata's checksums

# GuitarSet's folders of the same excerpts, the one to use first: a microphone, and mixes of the six strings' pickups.
GUITARSET = (
    "audio_mono-mic",
    "audio_mono-pickup_mix",
    "audio_hex-pickup_debleeded",
    "audio_hex-pickup_original",
)
MAESTRO_TABLES = ("maestro-v*.csv", "maestro-v*.json")


def recordings(data: str, left_out: LeftOut | None = None) -> list[Path]:
    """The recordings that `data` names, one a piece, in the order of their names: a folder's, or a data set's.

    left_out: takes those that are not returned, by the reason. Without it, what a folder leaves out is a warning.
    Raises UserError if there is neither, or if the data set cannot be had.
    """
    name, _, part = data.partition(":")
    if not Path(data).is_dir() and name in SETS:
        return without_copies(sorted(fetch(name, part)), left_out)
    if not Path(data).is_dir():
        raise UserError(
            f"{printable(data)} is neither a folder nor one of the data sets {', '.join(SETS)}: check the path"
        )
    return without_copies(one_a_piece(find_audio(data, left_out), left_out), left_out)


def one_a_piece(paths: list[Path], left_out: LeftOut | None = None) -> list[Path]:
    """`paths` without other recordings of the same piece, in the layouts of Saraga, Slakh and GuitarSet."""
    mixed = {path.parent for path in paths if path.stem == "mix"}  # Slakh: TRACK/mix.flac and TRACK/stems/S00.flac
    kept = [path for path in paths if not (path.parent.name == "stems" and path.parent.parent in mixed)]
    kept = [path for path in kept if ".multitrack-" not in path.name]  # Saraga: TITLE.multitrack-violin.mp3
    takes = [folder for folder in GUITARSET if any(path.parent.name == folder for path in kept)]
    kept = [path for path in kept if path.parent.name not in takes[1:]]
    if left_out is not None and len(kept) < len(paths):
        left_out["other recordings of the same piece"] = sorted(set(paths) - set(kept))
    return kept


def without_copies(paths: list[Path], left_out: LeftOut | None = None) -> list[Path]:
    """`paths` without copies of an earlier file, which are named on stderr.

    A file that cannot be read stays: whoever reads it says why.
    """
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in paths:
        with suppress(OSError):
            by_size[path.stat().st_size].append(path)
    copies: set[Path] = set()
    first: dict[bytes, Path] = {}
    for alike in by_size.values():
        for path in alike if len(alike) > 1 else ():  # only files of one size can be the same
            try:
                content = hashlib.sha256(read_bytes(path)).digest()
            except (OSError, UserError):
                continue
            if content in first:
                warn(f"skipped: {printable(path)} is a copy of {printable(first[content])}")
                copies.add(path)
            first.setdefault(content, path)
    if copies and left_out is not None:
        left_out["copies"] = sorted(copies)
    return [path for path in paths if path not in copies]


def artist(path: Path) -> str:
    """The artist of a recording, as far as its data set's layout tells; its own name where it does not.

    GuitarSet: the player, 00_BN1-129-Eb_comp_mic.wav. MAESTRO: the composer, from its table. Saraga: the album's
    artist, from TITLE.json, else from the folder, CONCERT by ARTIST. GTZAN does not tell.
    """
    if path.parent.name in GUITARSET:
        return f"player {path.name.partition('_')[0]}"
    if composer := composers(path.parent.parent).get(f"{path.parent.name}/{path.name}"):
        return composer
    concert = path.parent.parent.name
    if path.name.endswith(".mp3.mp3"):  # Saraga: CONCERT by ARTIST/TITLE/TITLE.mp3.mp3
        try:
            description = read_json(path.with_name(path.name.removesuffix(".mp3.mp3") + ".json"))
            if conforms(description, {"album_artists": [{"name": str}]}):
                return ", ".join(sorted(one["name"] for one in description["album_artists"])) or concert
        except (OSError, ValueError):
            pass
        return concert.rpartition(" by ")[2]
    return str(path)


@lru_cache
def composers(root: Path) -> dict[str, str]:
    """MAESTRO's table, if `root` holds one: the composer of each recording, 2004/MIDI-....wav."""
    tables = sorted(path for pattern in MAESTRO_TABLES for path in root.glob(pattern))
    if not tables:
        return {}
    with naming(tables[0], "is not MAESTRO's table", "copy it again, or remove it"):
        if tables[0].suffix == ".json":
            rows = read_json(tables[0])
        else:
            rows = list(csv.DictReader(io.StringIO(read_bytes(tables[0], LIMIT).decode(), newline="")))
        file, composer = "audio_filename", "canonical_composer"
        if isinstance(rows, dict):  # version 3 has a column each, {"0": ..., "1": ...}
            if not conforms(rows, {file: {str: str}, composer: {str: str}}):
                raise UserError("its columns are others")
            return {rows[file][row]: rows[composer][row] for row in rows[file]}
        if not conforms(rows, [{file: str, composer: str}]):
            raise UserError("its columns are others")
        return {row[file]: row[composer] for row in rows}


def hold_out(paths: list[Path], share: float, seed: int) -> tuple[list[Path], list[Path]]:
    """Recordings to train on, and about `share` of them, at least one, that are never trained on.

    No artist is on both sides. Artists are drawn at random, and held out if they are not more than is still to be;
    if all are, the one with the fewest recordings is. Raises UserError if there is only one.
    """
    if not share:
        return paths, []
    by_artist = defaultdict(list)
    for path in paths:
        by_artist[artist(path)].append(path)
    if len(by_artist) < 2:
        raise UserError(
            f"--hold-out is {share:g}, but {counted(len(paths), 'recording')} by {', '.join(by_artist) or 'no one'} "
            "cannot be divided: add others, or leave it out"
        )
    held: set[Path] = set()
    room = min(max(round(share * len(paths)), 1), len(paths) - 1)
    names = list(by_artist)
    for i in np.random.default_rng(seed).permutation(len(names)):
        if len(held) + len(by_artist[names[i]]) <= room:
            held.update(by_artist[names[i]])
    if not held:
        held.update(by_artist[min(by_artist, key=lambda name: len(by_artist[name]))])
    return [path for path in paths if path not in held], [path for path in paths if path in held]


def fetch(name: str, part: str = "") -> list[Path]:
    """The recordings of a data set, downloaded, unpacked and verified if need be. part: one of GTZAN's genres.

    What has been verified once is not looked through again. Raises UserError, saying what to do, for an unknown
    genre, without mirdata, a network or room, and for archives and recordings that are not whole.
    """
    if part and name != "gtzan":
        raise UserError(f"--data {name}:{part}: only gtzan has parts, its genres: give {name}")
    if part and part not in GENRES:
        raise UserError(f"--data {name}:{part}: there is no such genre; GTZAN's are {', '.join(GENRES)}")
    try:
        import mirdata
    except ImportError as error:
        raise UserError(
            f"--data {name} needs mirdata ({why(error)}): pip install 'ddim_from_scratch[data]', or get the data set "
            "yourself and name its folder"
        ) from None
    found = SETS[name]
    dataset = mirdata.initialize(found.module, version=found.version)
    home = Path(dataset.data_home)
    if not tracks(dataset, found):
        download(name, dataset, ["index"])
    if not all(path.is_file() for path, _ in tracks(dataset, found)):
        (home / VERIFIED).unlink(missing_ok=True)
        dataset.license()  # prints it
        download(name, dataset, list(found.remotes) if found.remotes else None)
    if not (home / VERIFIED).exists():
        verify(name, dataset, tracks(dataset, found))
        with replacing(home / VERIFIED) as file:
            file.write(b"Every recording has the checksum that mirdata's index gives.\n")
    return [path for path, track in tracks(dataset, found) if not part or track.track_id.startswith(f"{part}.")]


def tracks(dataset: Any, found: DataSet) -> list[tuple[Path, Any]]:
    """Each track's recording and mirdata's track; none before the index is there."""
    try:
        every = dataset.load_tracks().values()
    except FileNotFoundError:
        return []
    return [(Path(path), track) for track in every if (path := getattr(track, found.audio))]


def download(name: str, dataset: Any, remotes: list[str] | None) -> None:
    """mirdata's download of some of its remotes, None for all. Raises UserError, saying what to do, if it fails."""
    home = dataset.data_home
    try:
        dataset.download(partial_download=remotes, cleanup=True)  # cleanup: unpacked archives are deleted
    except OSError as error:
        reason = why(error)
        if error.errno == errno.ENOSPC:
            raise UserError(f"the disk of {home} is full: {name} is not whole; make room and try again") from None
        if "checksum" in reason:
            raise UserError(f"{reason} It is half-downloaded or damaged: delete it and try again") from None
        raise UserError(
            f"{name} could not be downloaded ({reason}): try again with a network, or get the data set yourself and "
            "name its folder"
        ) from None
    except (EOFError, ValueError, RuntimeError) as error:  # of an archive that is cut short
        raise UserError(
            f"{name} could not be unpacked ({why(error)}): delete the archive in {home}, try again"
        ) from None


def verify(name: str, dataset: Any, found: list[tuple[Path, Any]]) -> None:
    """Raises UserError unless every recording is there with the checksum that mirdata's index has."""
    print(f"verifying {len(found)} recordings of {name}", file=sys.stderr)
    missing, damaged = (
        {path for tracks in report.values() for paths in tracks.values() for path in paths}
        for report in dataset.validate(verbose=False)  # each {kind: {track: [path]}}, annotations among them
    )
    wrong = [(path, "is missing") for path, _ in found if str(path) in missing]
    wrong += [(path, "is damaged") for path, _ in found if str(path) in damaged]
    if wrong or not found:
        example = "the index is missing" if not found else f"{wrong[0][0]} {wrong[0][1]}"
        raise UserError(
            f"{name}: {len(wrong)} of {len(found)} recordings are not whole ({example}): delete those and the archive "
            f"in {dataset.data_home}, and try again"
        )
