"""Embedding networks, and a cache of embeddings."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..audio import full_scale, load_audio, log_mel
from ..audio.contract import FRAMES_PER_SECOND, SR
from ..runtime import mpi, tree
from ..runtime.backend import Array, array_module, parallel, to_device, to_host
from ..runtime.cli import counted
from ..runtime.errors import UserError, line, naming, warn
from ..runtime.files import cache_folder, read_bytes
from .musicnn import PATCH_SECONDS as MUSICNN_SECONDS
from .musicnn import load_musicnn, musicnn, musicnn_patches
from .statistics import Set
from .vggish import PATCH_SECONDS as VGGISH_SECONDS
from .vggish import vggish, vggish_examples
from .weights import keep, load_vggish, vggish_at_hand

Clips = list[np.ndarray] | np.ndarray  # each clip: samples (n,) at 16 kHz

NAMES = ("vggish", "musicnn", "mel")
MUSICNN_HOP_FRAMES = 62  # between patches, about 1 s: a clip of 5 s has three
EMBEDDED_AT_ONCE = 16  # per batch: networks are faster on large batches, and a killed run loses at most one
CODE_VERSION = 1  # part of every cache key; increase it when the code's embeddings change


@dataclass(frozen=True)
class Embedding:
    """An embedding, one of NAMES: cuts sound into patches, and maps each patch to a vector by a network.

    seconds: length of a clip with one patch. patches: function of samples (n,) at 16 kHz that returns (m, ...).
    network: function of these that returns (m, D). digest: hash of its weights. device: where both compute.
    """

    name: str
    seconds: float
    patches: Callable[[Array], Array]
    network: Callable[[Array], Array]
    digest: str = ""
    device: str = "cpu"

    def check(self, samples: np.ndarray) -> np.ndarray:
        """Returns the clip. Raises UserError if it is shorter than one patch."""
        if len(samples) / SR < self.seconds:
            raise UserError(f"it lasts less than a patch of {self.name}, {self.seconds:g} s")
        return samples

    def of_clips(self, clips: Clips) -> list[np.ndarray]:
        """The embeddings, float32 (m, D) on the host, of each clip: samples (n,) at 16 kHz.

        Raises UserError if a clip is shorter than one patch.
        """
        patches = parallel(lambda clip: self.patches(to_device(self.check(clip), self.device)), clips)
        embeddings = to_host(self.network(array_module(patches[0]).concatenate(patches)))
        parts = np.split(embeddings, np.cumsum([len(some) for some in patches])[:-1])
        return [part.copy() for part in parts]  # a view would keep the whole buffer alive


def default_embedding() -> str:
    """VGGish, as in the paper, if its weights are installed, else musicnn."""
    return "vggish" if vggish_at_hand() else "musicnn"


def add_embedding_option(parser: argparse.ArgumentParser) -> None:
    """--embedding."""
    parser.add_argument(
        "--embedding",
        choices=NAMES,
        help="embedding network (default: vggish if its weights are installed, else musicnn)",
    )


def load_embedding(name: str | None = None, device: str = "cpu", weights: str | Path | None = None) -> Embedding:
    """Loads an embedding by name (default: `default_embedding`).

    weights: VGGish's, in any form that `load_vggish` reads; by default from a cache or TF-Hub.
    Raises UserError if there is no such embedding, or its weights are unavailable.
    """
    name = name or default_embedding()
    if name == "mel":
        return Embedding(name, 1.0, mel_patches, log_mel_statistics, device=device)
    if name == "vggish":
        params, network, patches, seconds = load_vggish(weights), vggish, vggish_examples, VGGISH_SECONDS
    elif name == "musicnn":
        params, network, seconds = load_musicnn(), lambda *x: musicnn(*x)[1], MUSICNN_SECONDS
        patches = partial(musicnn_patches, hop_frames=MUSICNN_HOP_FRAMES)
    else:
        raise UserError(f"there is no embedding {name!r}: choose from {', '.join(NAMES)}")
    on_device = tree.to_device(params, device)
    return Embedding(name, seconds, patches, partial(network, on_device), tree.digest(params), device)


def mel_patches(samples: Array) -> Array:
    """The log-mel spectrogram of each whole second: (m, 50, 128)."""
    log_mels = log_mel(samples)
    frames = round(FRAMES_PER_SECOND)
    seconds = len(log_mels) // frames
    return log_mels[: seconds * frames].reshape(seconds, frames, -1)


def log_mel_statistics(log_mels: Array) -> Array:
    """Three numbers for each log-mel bin: (n, frames, 128) to (n, 384).

    These are its mean and standard deviation over time, and the standard deviation of its change from frame to frame,
    which distinguishes noise from music with the same spectrum. No pretrained network is needed. The embedding depends
    on loudness, timbre and movement, but not on melody.
    """
    change = log_mels[:, 1:] - log_mels[:, :-1]
    parts = [log_mels.mean(axis=1), log_mels.std(axis=1), change.std(axis=1)]
    return array_module(log_mels).concatenate(parts, axis=1)


def embed_clips(embedding: Embedding, clips: Clips, label: str) -> list[np.ndarray]:
    """`embedding.of_clips` in groups, with a progress bar. Processes share each group, and all get all embeddings.

    Clips are heard in `full_scale`, as they would be from a file.
    """
    found = []
    for group in groups(clips, f"{embedding.name} of {label}"):
        mine = [full_scale(clip) for clip in group[mpi.share(len(group))]]
        found += mpi.join(embedding.of_clips(mine) if len(mine) else [])
    return found


def embed_files(embedding: Embedding, paths: list[Path], label: str) -> dict[Path, np.ndarray]:
    """The embeddings (m, D) of each recording, cached by the content of the file.

    Recordings that are unreadable or shorter than a patch are skipped, with a warning on stderr. Processes share each
    group, and all get all embeddings. Only one group's sound is in memory at a time.
    """
    found: dict[Path, np.ndarray] = {}
    for group in groups(paths, f"{embedding.name} of {label}"):
        for path, result in mpi.join(_embed_group(embedding, group[mpi.share(len(group))])):
            if isinstance(result, UserError):
                warn(f"skipped: {result}")
            else:
                found[path] = result
    return found


def _embed_group(embedding: Embedding, paths: list[Path]) -> list[tuple[Path, np.ndarray | UserError]]:
    """Each recording's embeddings, from the cache or computed now, or the reason it has none."""
    found: dict[Path, Any] = {}

    def recall_or_read(path: Path) -> Any:
        """(cache entry, samples to embed or None), or a UserError. Cached embeddings go into `found`."""
        try:
            with naming(path, "is too short", "leave it out, or choose another --embedding", UserError):
                entry = cache_entry(embedding, path)
                found[path] = recall(entry)
                return entry, embedding.check(load_audio(path)) if found[path] is None else None
        except (UserError, OSError) as error:
            return UserError(line(error))

    results = dict(zip(paths, parallel(recall_or_read, paths), strict=True))
    found |= {path: result for path, result in results.items() if isinstance(result, UserError)}
    new = [path for path in paths if found[path] is None]
    if new:
        for path, embeddings in zip(new, embedding.of_clips([results[path][1] for path in new]), strict=True):
            found[path] = embeddings
            keep(results[path][0], {"embeddings": embeddings})
    return [(path, found[path]) for path in paths]


def embed_set(embedding: Embedding, paths: list[Path], name: str) -> tuple[Set, list[str]]:
    """The Set of some recordings, and the paths of those that were skipped.

    name: what to call the recordings in messages. Raises UserError if fewer than 2 embeddings remain.
    """
    found = embed_files(embedding, paths, Path(name).name)
    n = sum(map(len, found.values()))
    if n < 2:
        raise UserError(
            f"{name} has {counted(n, 'embedding')} in {len(found)} usable of {counted(len(paths), 'recording')}, and a "
            f"covariance needs 2 or more: add recordings of {embedding.seconds:g} s or more"
        )
    return Set.of(list(found.values())), [str(path) for path in paths if path not in found]


def groups(items: Any, label: str) -> Iterator[Any]:
    """`items` in groups of EMBEDDED_AT_ONCE per process, with a progress bar."""
    size = EMBEDDED_AT_ONCE * mpi.size()
    with tqdm(total=len(items), desc=label, unit="clip") as bar:
        for start in range(0, len(items), size):
            group = items[start : start + size]
            yield group
            bar.update(len(group))


def cache_entry(embedding: Embedding, path: Path) -> Path:
    """The cache file of this recording's embeddings, named by its content."""
    content = hashlib.sha256(read_bytes(path)).hexdigest()
    key = f"{CODE_VERSION} {embedding.name} {embedding.digest} {content}"
    return cache_folder() / "embeddings" / f"{hashlib.sha256(key.encode()).hexdigest()}.npz"


def recall(entry: Path) -> np.ndarray | None:
    """Embeddings from the cache, or None if they are missing or damaged."""
    try:
        embeddings = tree.load(entry)["embeddings"]
    except (OSError, UserError, KeyError):
        return None
    return embeddings if embeddings.ndim == 2 and embeddings.dtype == np.float32 else None
