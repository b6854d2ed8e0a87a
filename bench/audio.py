"""The audio front end beside librosa: time and error of the log-mel spectrogram and of Griffin-Lim.

    python -m bench.audio [RECORDING ...]

Without recordings it takes the embedded music. Ours and theirs run in turns on the same clips, both in a `threads`
context, as in every command, where BLAS has one thread: on a busy machine librosa is many times slower with
several. Griffin-Lim makes each library's default number of iterations, 144 and 32. A ratio is the median of the turns'
ratios, so that what else the machine does counts little. The error of a sound is the mean |log_mel(sound) - log_mel|
over all but the first and last two frames, where the two lay their windows differently. Without librosa only our
columns are filled.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soxr

from ddim_from_scratch.audio import griffin_lim, load_audio, log_mel
from ddim_from_scratch.audio.contract import HOP_LENGTH, MEL_MIN
from ddim_from_scratch.audio.synth import GENRES, TUNES, play, score
from ddim_from_scratch.audio.synth import SR as SYNTH_SR
from ddim_from_scratch.runtime.backend import available_cores, threads
from ddim_from_scratch.runtime.cli import run_command

try:
    import librosa
except ImportError:
    librosa = None

CLIP = 256 * HOP_LENGTH  # 5.12 s
OFFSET = (1024 - 640) // 2  # librosa's window lies in the middle of the FFT, ours at its start
# The settings of librosa that come nearest to ours: see docs/spectrograms.md.
STFT = {"n_fft": 1024, "hop_length": HOP_LENGTH, "win_length": 640, "center": False}
MEL = {"sr": 16000, "fmin": 0.0, "fmax": 8000.0, "htk": True, "norm": None}


def embedded() -> dict[str, np.ndarray]:
    """The same tune in every timbre, CLIP samples each."""
    notes = score(TUNES["Ode to Joy (Beethoven)"], held=False)
    tracks = {genre: play(notes, genre, 0, 100, np.random.default_rng(0)) for genre in GENRES}
    return {genre: soxr.resample(track, SYNTH_SR, 16000)[:CLIP] for genre, track in tracks.items()}


def librosa_log_mel(samples: np.ndarray) -> np.ndarray:
    padded = np.pad(samples, (OFFSET, STFT["n_fft"]))
    mel = librosa.feature.melspectrogram(y=padded, power=1.0, n_mels=128, **STFT, **MEL)
    return np.log(np.maximum(mel, MEL_MIN)).T[: -(-len(samples) // HOP_LENGTH)]


def librosa_griffin_lim(clip: np.ndarray) -> np.ndarray:
    sound = librosa.feature.inverse.mel_to_audio(np.exp(clip).T, power=1.0, **STFT, **MEL)  # 32 iterations
    return sound[OFFSET:][: len(clip) * HOP_LENGTH]


def inverse_error(clip: np.ndarray, sound: np.ndarray) -> float:
    return float(np.abs(log_mel(sound) - clip)[2:-2].mean())


def in_turns(ours: Callable, theirs: Callable, argument: np.ndarray, turns: int, calls: int) -> list[float]:
    """Median seconds a call of ours and theirs, and the median over the turns of ours / theirs.

    A turn is one call to warm up and `calls` that are timed, of each.
    """
    seconds = np.empty((turns, 2))
    for turn in seconds:
        for i, function in enumerate((ours, theirs)):
            function(argument)
            start = time.perf_counter()
            for _ in range(calls):
                function(argument)
            turn[i] = (time.perf_counter() - start) / calls
    return [*np.median(seconds, axis=0), float(np.median(seconds[:, 0] / seconds[:, 1]))]


def measure(samples: np.ndarray, turns: int) -> list[float]:
    """The numbers of a row: two times in ms and their ratio, two in s and theirs, two errors."""
    clip = log_mel(samples)
    ms = in_turns(log_mel, librosa_log_mel if librosa else log_mel, samples, 2 * turns, calls=20)
    s = in_turns(griffin_lim, librosa_griffin_lim if librosa else griffin_lim, clip, turns, calls=1)
    theirs = inverse_error(clip, librosa_griffin_lim(clip)) if librosa else np.nan
    return [1e3 * ms[0], 1e3 * ms[1], ms[2], *s, inverse_error(clip, griffin_lim(clip)), theirs]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.audio", description=__doc__.split("\n")[0])
    parser.add_argument("recordings", nargs="*", type=Path, help="5.12 s from the start of each (default: embedded)")
    parser.add_argument("--turns", type=int, default=3, help="how often each is timed (default: 3)")
    args = parser.parse_args(argv)
    clips = {path.name: load_audio(path)[:CLIP] for path in args.recordings} or embedded()
    against = f"librosa {librosa.__version__}" if librosa else "librosa is not installed: pip install librosa"
    print(f"{available_cores()} cores, NumPy {np.__version__}, {against}\n")
    print("| 5.12 s of | log-mel, ms | librosa | ratio | Griffin-Lim, s | librosa | ratio | its error | librosa's |")
    print("|---|---|---|---|---|---|---|---|---|")
    rows = []
    with threads():
        for name, samples in clips.items():
            rows.append(measure(samples, args.turns))
            print_row(name, rows[-1])
    print_row("median", np.median(rows, axis=0))


def print_row(name: str, row: list[float] | np.ndarray) -> None:
    formats = (".2f", ".2f", ".2f", ".3f", ".3f", ".2f", ".4f", ".4f")
    ours_only = (0, 3, 6)
    cells = [
        f"{x:{f}}" if librosa or i in ours_only else "-" for i, (x, f) in enumerate(zip(row, formats, strict=True))
    ]
    print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    run_command(main)
