"""Training data: a folder of recordings as windows of standardised log-mel spectrogram."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..audio import AudioError, LeftOut, in_words, load_audio, log_mel
from ..audio.contract import FRAMES_PER_SECOND, HOP_LENGTH, MEL_MAX, MEL_MIN, N_MELS
from ..runtime.backend import parallel
from ..runtime.cli import counted
from ..runtime.errors import UserError, printable, say_once, warn
from ..runtime.files import read_bytes
from ..training.datasets import hold_out
from .config import Config

LOG_MIN, LOG_MAX = np.log([MEL_MIN, MEL_MAX], dtype=np.float32)

LEAST_SHARE = 1 / 3  # least deviation of a mel bin, as a share of that of all bins together
USUAL = 6  # deviations from the mean: what the training music itself leaves by less than 0.1 % of its spectrogram
UNUSUAL_SHARE = 0.05

# Augmentation.
GAIN = 6 * math.log(10) / 20  # 6 dB, in natural logarithms
MIXED = 0.5  # share of the windows: music that nobody mixes has to be learnt, too

COMPONENTS = 16  # of an outline
PATCH = 64  # neighbouring numbers of the rest that count as one in what is known of a window, because they go together
MOST_WINDOWS = 512  # from which an outline is known: their products fit into memory


Indices = Sequence[int] | np.ndarray | slice  # of windows
ALL = slice(None)


@dataclass(frozen=True)
class Scaler:
    """What a run keeps of its training set. mean, std: of each mel bin, which standardise it, float32 (128,).

    outline: a Gaussian of the standardised windows, see `Windows.outline`, with which sampling starts.
    limits: the least and the greatest log-mel of each bin in the training set, float32 (2, 128).
    pitches: lowest and highest of each instrument, int64 (n, 2), if the training set has notes.
    """

    mean: np.ndarray
    std: np.ndarray
    outline: np.ndarray | None = None
    pitches: np.ndarray | None = None
    limits: np.ndarray | None = None

    def standardise(self, log_mels: np.ndarray) -> np.ndarray:
        """(..., 128) natural logarithms to zero mean and unit variance."""
        return (log_mels - self.mean) / self.std

    def unusual(self, log_mels: np.ndarray) -> str | None:
        """A warning if more of a recording than UNUSUAL_SHARE lies outside what the network has seen, else None."""
        x = self.standardise(log_mels)
        share, bins = (abs(x) > USUAL).mean(), np.count_nonzero((abs(x) > USUAL).any(axis=0))
        if share <= UNUSUAL_SHARE:
            return None
        return (
            f"is unlike the training music: {share:.0%} of its spectrogram, in {bins} of {N_MELS} mel bins, lies up to "
            f"{abs(x).max():.1f} deviations from it. The result may be noise; train on recordings like it"
        )

    def restore(self, x: np.ndarray) -> np.ndarray:
        """The inverse, kept within the log-mel contract's range, which a bad sample can leave."""
        return np.clip(x * self.std + self.mean, LOG_MIN, LOG_MAX)

    @property
    def white(self) -> float:
        """The share of the variance that the outline leaves: hardly any of a few windows."""
        assert self.outline is not None
        return max(1 - float(np.square(self.outline, dtype=np.float64).sum(axis=0).mean()), 0.01)

    def draw_outlines(self, rngs: Sequence[np.random.Generator], x: np.ndarray, known: np.ndarray) -> np.ndarray:
        """An outline from each generator, float32 (n, frames, 128), that goes on from what is known of x.

        Of more than a window, it is several that fade into each other: each fades out by the cosine while the next
        fades in by the sine, so that the variance is the same everywhere. x: standardised, (n, frames, 128). known:
        which of its frames are known, bool (frames,).

        x = mean + weights @ basis + rest, where the weights are unit Gaussians, and so is what they are once some of x
        is known (Bishop 2006, equations 3.49 to 3.51).
        """
        assert self.outline is not None
        frames, (mean, *components) = x.shape[1], self.outline
        length, hop = len(mean), -(-len(mean) // 2)
        n = 1 + max(-(-(frames - length) // hop), 0)
        fade = np.sin(np.linspace(0, np.pi / 2, length - hop, dtype=np.float32))[:, None]
        basis = np.zeros((n, len(components), length + (n - 1) * hop, N_MELS), np.float32)
        for i, some in enumerate(basis):
            some[:, i * hop : i * hop + length] = components
            some[:, i * hop : i * hop + length - hop] *= fade if i else 1
            some[:, (i + 1) * hop : i * hop + length] *= fade[::-1] if i < n - 1 else 1
        basis = basis.reshape(-1, *basis.shape[2:])[:, :frames]
        mean = np.tile(mean, (n, 1))[:frames]

        seen = basis[:, known].reshape(len(basis), -1)
        precision = np.eye(len(basis)) + seen @ seen.T / (PATCH * self.white)
        pull = seen @ (x - mean)[:, known].reshape(len(x), -1).T / (PATCH * self.white)
        noise = np.stack([rng.standard_normal(len(basis), dtype=np.float32) for rng in rngs])
        weights = np.linalg.solve(precision, pull) + np.linalg.solve(np.linalg.cholesky(precision).T, noise.T)
        return (mean + np.tensordot(weights.T, basis, 1)).astype(np.float32)


@dataclass(frozen=True)
class Windows:
    """Windows of one length, cut from their tracks when needed: overlapping ones share memory.

    tracks: log-mels, float32 (frames, 128) each. starts: int (n, 2), a window's track and first frame.
    paths: the tracks' recordings.
    """

    tracks: list[np.ndarray]
    starts: np.ndarray
    frames: int
    paths: list[Path]

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, indices: Indices = ALL) -> np.ndarray:
        """The log-mels of the windows of these indices: float32 (n, frames, 128)."""
        return np.stack([self.tracks[t][start : start + self.frames] for t, start in self.starts[indices]])

    def before(self) -> list[np.ndarray]:
        """The log-mels just before each window, as long as one or up to the track's beginning."""
        return [self.tracks[t][max(start - self.frames, 0) : start] for t, start in self.starts]

    def some(self, indices: Indices, rng: np.random.Generator | None = None) -> Windows:
        """The windows of these indices only; with rng, of the same tracks, but each from a random frame on."""
        starts = self.starts[indices]
        if rng:
            room = [len(self.tracks[t]) - self.frames + 1 for t in starts[:, 0]]
            starts = np.stack([starts[:, 0], rng.integers(room)], axis=1)
        return dataclasses.replace(self, starts=starts)

    def apart(self) -> np.ndarray:
        """Indices of windows that do not overlap, so that two sets of them share no sound."""
        chosen, last = [], (-1, 0)
        for i, (track, start) in enumerate(self.starts):
            if track != last[0] or start >= last[1]:
                chosen.append(i)
                last = track, start + self.frames
        return np.array(chosen)

    def sound(self, indices: Indices = ALL) -> np.ndarray:
        """The recordings themselves in the windows of these indices: float32 (n, frames * 320), 16 kHz."""
        starts = self.starts[indices]
        samples = np.zeros((len(starts), self.frames * HOP_LENGTH), np.float32)
        for track in np.unique(starts[:, 0]):
            recording = load_audio(self.paths[track])
            for row in np.flatnonzero(starts[:, 0] == track):
                window = recording[starts[row, 1] * HOP_LENGTH :][: samples.shape[1]]
                samples[row, : len(window)] = window  # the last frame of a track may reach over its end
        return samples

    def names(self) -> str:
        """The windows in words: "a.wav at 3 s, b.wav at 0 s"."""
        return ", ".join(f"{printable(self.paths[t])} at {start / FRAMES_PER_SECOND:g} s" for t, start in self.starts)

    def scaler(self, standardise: str = "bin") -> Scaler:
        """Mean and standard deviation over all frames, per mel bin (default) or, "global", as single numbers.

        A bin that hardly changes, as those above the recordings' bandwidth, counts as changing a little: another
        recording, with sound there, would be hundreds of its deviations away. No bin of full-band music is so still.
        """
        total, squares = np.zeros(N_MELS), np.zeros(N_MELS)
        low, high = np.full(N_MELS, np.inf), np.full(N_MELS, -np.inf)
        for i in range(len(self)):
            window = self.take([i])[0].astype(np.float64)
            total += window.mean(axis=0)
            squares += (window**2).mean(axis=0)
            low, high = np.minimum(low, window.min(axis=0)), np.maximum(high, window.max(axis=0))
        if standardise == "global":
            total[:], squares[:] = total.mean(), squares.mean()
        mean, square = total / len(self), squares / len(self)
        variance_of_all = square.mean() - mean.mean() ** 2
        std = np.sqrt(np.maximum(square - mean**2, max(LEAST_SHARE**2 * variance_of_all, 1e-6)))
        limits = np.stack([low, high]).astype(np.float32)
        return Scaler(mean.astype(np.float32), std.astype(np.float32), limits=limits)

    def outline(self, scaler: Scaler) -> np.ndarray:
        """The Gaussian of standardised windows: their mean, then principal components, float32 (1 + k, frames, 128).

        A component's squares sum to the variance that it explains, over all numbers of a window.
        """
        chosen = np.linspace(0, len(self) - 1, min(len(self), MOST_WINDOWS)).astype(int)
        x = scaler.standardise(self.take(chosen))
        mean = x.mean(axis=0)
        centred = (x - mean).reshape(len(x), -1)
        vectors = np.linalg.eigh(centred @ centred.T)[1][:, -COMPONENTS:]  # there are fewer windows than numbers in one
        components = vectors.T @ centred / len(x) ** 0.5
        return np.concatenate([mean[None], components.reshape(-1, *mean.shape)]).astype(np.float32)


def augmented(log_mels: np.ndarray, windows: Windows, augment: str, rng: np.random.Generator) -> np.ndarray:
    """Augments windows (n, frames, 128). augment: one of config.AUGMENTATIONS.

    gain: scales each by up to 6 dB either way. mix: adds another window to a random share MIXED of them, both scaled
    so. Magnitudes are added, as if no two partials had a phase in common. The log-mel contract's floor stays silent.
    """
    if augment == "none":
        return log_mels
    if "mix" in augment:
        other = windows.take(rng.integers(len(windows), size=len(log_mels)))
        together = np.logaddexp(_louder(log_mels, rng), _louder(other, rng))
        log_mels = np.where(rng.random((len(log_mels), 1, 1)) < MIXED, together, log_mels)
    if "gain" in augment:
        log_mels = _louder(log_mels, rng)
    return np.clip(log_mels, LOG_MIN, LOG_MAX)


def _louder(log_mels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    gain = rng.uniform(-GAIN, GAIN, (len(log_mels), 1, 1)).astype(np.float32)
    return np.where(log_mels > LOG_MIN, log_mels + gain, -np.inf)


# {"trained", "held_out"}: name and digest of each recording, in order; and "beside", of other files that are read.
Contents = dict[str, list[list[str]]]


def sides(config: Config, left_out: LeftOut) -> tuple[list[Path], list[Path]]:
    """The recordings to train on, and those held out. left_out: takes the others, by the reason.

    --limit counts recordings that can be used: others are read, too, until there are enough.
    """
    found: list[Path] = []
    rest = config.recordings(left_out)
    while config.limit and len(found) < config.limit and rest:
        some, rest = rest[: config.limit - len(found)], rest[config.limit - len(found) :]
        flaws = parallel(lambda path: flaw(path, config, path.stat().st_mtime_ns), some)
        found += [path for path, why in zip(some, flaws, strict=True) if not why]
        leave_out(left_out, {path: why for path, why in zip(some, flaws, strict=True) if why})
    if config.limit and rest:
        left_out["beyond --limit"] = rest
    return hold_out(found if config.limit else rest, config.hold_out, config.seed)


def leave_out(left_out: LeftOut, flaws: dict[Path, str]) -> None:
    """Names recordings that cannot be used, with the reason, on stderr and in `left_out`."""
    for path, why in flaws.items():
        left_out.setdefault("unusable", []).append(path)
        warn(f"skipped: {why}")


def read_track(path: Path, config: Config, frames: int) -> np.ndarray:
    """The log-mel of a recording, (n, 128).

    Raises UserError if it is silent, shorter than `frames` or unreadable, and as `config.check_track` does.
    """
    track = log_mel(load_audio(path))
    if len(track) < frames:
        lasts = f"{printable(path)} lasts {len(track) / FRAMES_PER_SECOND:.2f} s"
        length = f"{frames / FRAMES_PER_SECOND:g} s"
        raise AudioError(f"{lasts}, less than a window of {length}: leave it out, or ask for shorter ones")
    if track.max() <= LOG_MIN:
        raise AudioError(f"{printable(path)} is silent: leave it out")
    config.check_track(path, track)
    return track


@cache
def flaw(path: Path, config: Config, modified: int) -> str:
    """The reason why a recording cannot be used; "" if it can."""
    try:
        read_track(path, config, config.window_frames)
    except UserError as error:
        return str(error)
    return ""


def contents(config: Config) -> Contents:
    """The recordings of `config.data` by name and SHA-256, as a run keeps them."""
    trained, held = sides(config, LeftOut())
    common = os.path.commonpath([path.parent for path in trained + held]) if trained else ""

    def digest(path: Path) -> str:
        try:
            return hashlib.sha256(read_bytes(path)).hexdigest()
        except OSError:
            return "unreadable"

    def described(paths: list[Path]) -> list[list[str]]:
        digests = zip(paths, parallel(digest, paths), strict=True)
        return [[os.path.relpath(path, common), digest] for path, digest in digests]

    beside = [file for path in trained + held for file in config.beside(path)]
    found = {"trained": trained, "held_out": held} | ({"beside": beside} if beside else {})
    return {side: described(paths) for side, paths in found.items()}


def require_unchanged(config: Config, known: Contents | None) -> None:
    """Raises UserError, saying what changed, unless `config.data` holds the `known` recordings of a run.

    Names don't count as long as contents and order are the same: a folder may move.
    """
    if known is None:  # a run of the first edition
        return
    now = {side: files for side, files in contents(config).items() if side in known}
    if all([digest for _, digest in now.get(side, ())] == [digest for _, digest in known[side]] for side in known):
        return
    before, after = ({name: digest for side in one.values() for name, digest in side} for one in (known, now))
    changes = {
        "added": [name for name in after if name not in before],
        "missing": [name for name in before if name not in after],
        "changed": [name for name in after if name in before and before[name] != after[name]],
    }
    held = [{name for name, _ in one["held_out"]} for one in (known, now)]
    changes["no longer held out"] = sorted(held[0] - held[1] & after.keys() - set(changes["missing"]))
    said = "; ".join(f"{what}: {printable(listed(names))}" for what, names in changes.items() if names)
    said = said or "the same in another order"
    raise UserError(
        f"{printable(config.data)} is not what the run was trained on ({said}): put back the recordings as they "
        "were, or train a new run"
    )


def listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def load_windows(config: Config, held_out: bool = False, frames: int | None = None) -> Windows:
    """Loads the training windows, or the held-out ones, from every readable track of `config.data`.

    frames: the length of a window; by default the configuration's.
    Tracks that cannot be read, are silent or shorter than a window are skipped with a warning on stderr. A last line
    says how many files and seconds are used, and what is left out.
    Raises UserError if nothing is left.
    """
    left_out = LeftOut()
    data = printable(config.data)
    both = sides(config, left_out)
    paths = both[held_out]
    if not paths:
        reasons = f" that can be used; left out: {in_words(left_out)}" if left_out else ""
        raise UserError(f"{data} holds no WAV, FLAC, OGG, MP3 or AIFF file{reasons}: check the path")
    frames = frames or config.window_frames
    hop = round(config.window_hop_seconds * FRAMES_PER_SECOND)
    with tqdm(total=len(paths), desc="reading tracks", unit="track") as bar:

        def read(path: Path) -> tuple[np.ndarray, int] | UserError:
            """The part that is used, and the number of frames of the whole."""
            try:
                track = read_track(path, config, frames)
                return track[: frames + hop * (config.windows_per_track - 1)].copy(), len(track)
            except UserError as error:
                return error
            finally:
                bar.update()

        results = parallel(read, paths)
    leave_out(left_out, {path: str(r) for path, r in zip(paths, results, strict=True) if isinstance(r, UserError)})
    usable = [i for i, result in enumerate(results) if not isinstance(result, UserError)]
    tracks = [results[i][0] for i in usable]
    if not tracks:
        raise UserError(f"{data}: no track of {len(paths)} can be used; the last one: {results[-1]}")
    used, there = (frames / FRAMES_PER_SECOND for frames in (sum(map(len, tracks)), sum(results[i][1] for i in usable)))
    amount = f"{used:.0f} s" if used == there else f"the first {used:.0f} s of {there:.0f} s (see --windows-per-track)"
    reasons = f"; left out: {in_words(left_out)}" if left_out else ""
    others = f", {len(both[1])} held out" if both[1] and not held_out else ""
    role = "held out" if held_out else "used"
    say_once(f"{data}: {counted(len(usable), 'recording')} {role}, {amount}{others}{reasons}")
    starts = [(t, s) for t, track in enumerate(tracks) for s in range(0, len(track) - frames + 1, hop)]
    return Windows(tracks, np.array(starts), frames, [paths[i] for i in usable])
