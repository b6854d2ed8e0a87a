"""How far a run's clips are from its training music, on a scale between noise and real music."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import NamedTuple

import numpy as np

from ..audio import find_audio, load_audio, log_mel, write_wav
from ..audio.contract import FRAMES_PER_SECOND, HOP_LENGTH, N_MELS, SR
from ..audio.distance import WINDOWS, distances_from_recordings
from ..audio.inverter import Inverter, add_inverter_option, load_inverter
from ..diffusion import Sampling, loss_of_zero
from ..fad import Embedding, Set, embed_clips, load_embedding
from ..fad.embeddings import add_embedding_option
from ..fad.reliability import distance, interval
from ..notes.compose import Player
from ..notes.config import Config as NotesConfig
from ..notes.score import Notes
from ..runtime import tree
from ..runtime.backend import parallel, threads
from ..runtime.cli import add_threads_option, counted, output_file
from ..runtime.errors import UserError, printable
from ..runtime.files import require_writable, write_json
from ..runtime.sets import new_set, read_about, sets_in
from ..spectrogram.compose import Composer
from ..spectrogram.config import Config
from ..spectrogram.data import Windows, load_windows, require_unchanged
from ..spectrogram.model import Model, Saved, init_state, read_run
from ..spectrogram.system import PROBE
from ..systems import load_run
from ..training.checkpoint import BEST, read_log
from . import played
from .heard import MEANING as HEARD
from .heard import heard, memorises, nearest
from .pictures import save_log_mels

PICTURED = 4  # clips per row of a picture
UNTRAINED = Sampling(steps=5)

MEANING = {
    "noise": "standardised noise, inverted",
    "untrained": "clips of the network before training",
    "generated": "clips of the trained network",
    "ceiling": "other real music, inverted as generated clips are: what a perfect model would reach",
    "real": "other real music, not inverted: how far apart two halves of the music are",
    "inverted": "the reference music itself, inverted",
}


def embedded(embedding: Embedding, sets: dict[str, np.ndarray]) -> dict[str, Set]:
    """Sets of clips (n, samples) at 16 kHz, embedded."""
    return {name: Set.of(embed_clips(embedding, clips, name)) for name, clips in sets.items()}


def distances(background: Set, sets: dict[str, Set]) -> dict:
    """Frechet distance of each set of clips from the background.

    Returns {"clips_per_set": n, "fad": {set: distance}, "interval": {set: [low, high]}}.
    """
    return {
        "clips_per_set": len(background.clips),
        "fad": {name: distance(background, clips) for name, clips in sets.items()},
        "interval": {name: interval(background, clips, np.random.default_rng(0)) for name, clips in sets.items()},
    }


def log_mel_error(sound: np.ndarray, log_mels: np.ndarray) -> float:
    """Mean |log_mel(sound) - log_mels|, in natural logarithms: 0.1 is 0.9 dB."""
    return float(np.mean([np.abs(log_mel(clip) - target).mean() for clip, target in zip(sound, log_mels, strict=True)]))


def inversion_errors(sound: np.ndarray, log_mels: np.ndarray, recordings: np.ndarray) -> dict[str, float]:
    """How far inverted log-mels are from themselves, and from the recordings that they are of. Means over the clips.

    sound, recordings: (n, samples). log_mels: (n, frames, 128). Returns {"log_mel_error": `log_mel_error`'s} and what
    `distances_from_recordings` does.
    """
    return {"log_mel_error": log_mel_error(sound, log_mels)} | distances_from_recordings(sound, recordings)


class Chosen(NamedTuple):
    """The set of clips that is compared, (n, samples) at 16 kHz, and the real music beside it.

    windows: the training music, of the clips' length. reference: indices of windows that do not overlap, as many as
    there are `others`, which are other music. notes: those of the others, where the clips play them; else none.
    """

    folder: Path
    clips: np.ndarray
    windows: Windows
    reference: np.ndarray
    others: Windows
    notes: tuple[Notes, ...] = ()


class TooFewWindows(UserError):
    """The recordings have too few windows of `frames` to compare clips with."""

    def __init__(self, message: str, frames: int) -> None:
        super().__init__(message)
        self.frames = frames


def load_clips(folder: Path, paths: list[Path]) -> np.ndarray:
    """The clips of a folder, (n, samples) at 16 kHz. Raises UserError if there are none or their lengths differ."""
    clips = parallel(load_audio, paths)
    if not clips:
        raise UserError(f"{folder} holds no clips")
    seconds = sorted({len(clip) / SR for clip in clips})
    if len(seconds) > 1:
        raise UserError(
            f"{folder} holds clips of {seconds[0]:g} s and of {seconds[-1]:g} s: choose a set of one length"
        )
    return np.stack(clips)


@dataclass(frozen=True)
class Choice:
    """How clips of a run are chosen, and the music that they are compared with, by the inverter that made them.

    Other music is that of the recordings `unheard`, or what --hold-out kept from the network, or else its own.
    """

    run: Path
    saved: Saved
    invert: Inverter
    embedding: Embedding
    unheard: str | None = None

    @property
    def config(self) -> Config:
        return self.saved.config

    @property
    def least(self) -> int:
        """Frames that a clip must have for the embedding, and has in training."""
        return max(self.config.frames_lasting(self.embedding.seconds), self.config.window_frames)

    def newest(self) -> Chosen:
        """The newest set in RUN that its network drew and that can be compared.

        Raises UserError if none can, with a reason for the newest ones and the command that makes one.
        """
        networks, reasons = self.networks, []
        for one in sets_in(self.run / "samples"):
            about = read_about(one)
            if not about:
                reasons.append(f"{one} does not say which network drew it (--samples {one} takes it nevertheless)")
            elif not about.get("finished"):
                reasons.append(f"{one} was not finished")
            elif about.get("network") not in networks:
                reasons.append(f"{one} was drawn by another network, of step {about.get('step')}")
            else:
                try:
                    return self.pair_up(one, sorted(one.glob("sample_*.wav")))
                except TooFewWindows as error:
                    if error.frames <= self.least:
                        raise
                    reasons.append(str(error))
                except UserError as error:
                    reasons.append(str(error))
        found = "; ".join(reasons[:3]) or f"{self.run / 'samples'} holds no clips"
        length = f" --seconds {self.least / FRAMES_PER_SECOND:g}" if self.least > self.config.window_frames else ""
        command = f"python -m ddim_from_scratch.sample --run {quote(str(self.run))} --num 16{length}"
        raise UserError(f"{found}. Draw some: {command}")

    @property
    def networks(self) -> set[str]:
        """The digests of the run's last checkpoint and of its best one, as set.json has them."""
        digests = {tree.digest(self.saved.state)}
        if (self.run / BEST).exists():
            digests.add(tree.digest(read_run(self.run, best=True).state))
        return digests

    def pair_up(self, folder: Path, paths: list[Path]) -> Chosen:
        """The clips in these files of a folder. Raises UserError if they, or the recordings, are too few or short."""
        clips = load_clips(folder, paths)
        frames = round(clips.shape[1] / HOP_LENGTH)
        if clips.shape[1] < round(self.embedding.seconds * SR):
            raise UserError(
                f"{folder} holds clips of {frames / FRAMES_PER_SECOND:g} s, and a patch of {self.embedding.name} lasts "
                f"{self.embedding.seconds:.2f} s"
            )
        if (inverter := read_about(folder).get("inverter", self.invert.name)) != self.invert.name:
            raise UserError(f"{folder} was made with --inverter {inverter}: give it here, too")
        if len(clips) < 2:
            raise UserError(f"{folder} has {counted(len(clips), 'clip')}, and 2 are needed")
        return Chosen(folder, clips, *self.windows(len(clips), frames))

    def played(self, model: Model, programs: tuple[int, ...]) -> Chosen:
        """Clips in which the model plays the notes that other music has of these programs, a new set in RUN/played.

        Raises UserError if fewer than 2 can.
        """
        frames = max(self.config.frames_lasting(played.PLAYED_SECONDS), self.least)
        windows, reference, others = self.windows(played.PLAYED, frames)
        notes = played.notes_of(others, programs)
        about = self.saved.origin(self.run) | {"mode": "compare"}
        with new_set(self.run / "played", about, numbered=True) as folder:
            clips = self.invert(composer(model, PROBE, notes).draw(len(notes), frames), "generated music")
            for i, clip in enumerate(clips):
                write_wav(folder / f"sample_{i:03d}.wav", clip)
        return Chosen(folder, clips, windows, reference, others, notes)

    def windows(self, most: int, frames: int) -> tuple[Windows, np.ndarray, Windows]:
        """Windows of the training music, the indices of at most `most` that do not overlap, and as many of other music.

        frames: the length of a window. Raises UserError if there are fewer than 2.
        """
        rng = np.random.default_rng(self.config.seed)
        windows = load_windows(self.config, frames=frames)
        chosen = rng.permutation(windows.apart())
        if self.unheard or self.config.hold_out:
            config = self.config
            if self.unheard:
                config = dataclasses.replace(config, data=self.unheard, hold_out=0.0, limit=None)
            others = load_windows(config, held_out=not self.unheard, frames=frames)
            rest = rng.permutation(others.apart())
        else:
            half = min(most, len(chosen) // 2)
            others, chosen, rest = windows, chosen[:half], chosen[half : 2 * half]
        n = min(most, len(chosen), len(rest))
        if n < 2:
            short = f"{self.config.data} has not 2 pairs of windows of {frames / FRAMES_PER_SECOND:g} s"
            raise TooFewWindows(f"{short}: train a run on more recordings", frames)
        return windows, chosen[:n], others.some(rest[:n])


def composer(model: Model, sampling: Sampling, notes: tuple[Notes, ...]) -> Composer:
    """The composer for a network; if there are notes, clip i plays notes[i]."""
    if notes:
        return Player(model, sampling, model.config.seed, scores=notes)
    return Composer(model, sampling, model.config.seed)


def sounds(chosen: Chosen, model: Model, invert: Inverter) -> dict[str, np.ndarray]:
    """The sets of MEANING, but for "inverted": clips (n, samples) at 16 kHz, as many in each as there are others."""
    n, frames, rng = len(chosen.others), chosen.windows.frames, np.random.default_rng(model.config.seed + 1)
    noise = model.scaler.restore(rng.standard_normal((n, frames, N_MELS), dtype=np.float32))
    plain = dataclasses.replace(model.scaler, outline=None, limits=None)
    fresh = init_state(model.config, rng)["average"]
    untrained = dataclasses.replace(model, network=fresh, early=None, scaler=plain)
    return {
        "noise": invert(noise, "noise"),
        "untrained": invert(composer(untrained, UNTRAINED, chosen.notes).draw(n, frames), "untrained"),
        "generated": chosen.clips[:n],
        "ceiling": invert(chosen.others.take(), "real music"),
        "real": chosen.others.sound(),
    }


def far_apart(chosen: Chosen, sets: dict[str, np.ndarray], invert: Inverter, embedding: Embedding) -> dict:
    """`distances` of the sets from the training music, and `nearest` of its clips, in one dict."""
    windows, reference, apart = chosen.windows, chosen.reference, chosen.windows.apart()
    music = embed_clips(embedding, windows.sound(apart), "training music")
    found = embedded(embedding, sets)
    copies = found["ceiling"].clips
    if windows.paths != chosen.others.paths:  # then those are of other music
        copies = embed_clips(embedding, invert(windows.take(reference), "training music"), "copies")
    background = Set.of([music[i] for i in np.searchsorted(apart, reference)])
    near = nearest(music, windows.starts[apart, 0], found["generated"].clips, copies)
    return distances(background, found) | {"nearest": near}


def compare(
    run: Path, invert: Inverter, embedding: Embedding, samples: Path | None = None, unheard: str | None = None
) -> dict:
    """Frechet distances of noise, an untrained network, the run's clips and real music from the training music.

    Of a network that plays notes, also how many of them are heard. samples: the folder of the clips; by default, as
    `Choice` says. unheard: other recordings to compare with, see there. All sets have the same number of clips, because
    the distance depends on it. Writes metrics.json and comparison.png into the run's folder, and returns the content of
    metrics.json.
    """
    saved = load_run(run)
    require_writable(run)
    saved.config.recordings({})  # a shared copy has none
    require_unchanged(saved.config, saved.contents)
    model, choice = saved.model(), Choice(run, saved, invert, embedding, unheard)
    if not isinstance(saved.config, NotesConfig):
        chosen = choice.pair_up(samples, find_audio(samples)) if samples else choice.newest()
    elif samples:
        raise UserError(f"--samples {samples}: {run} plays notes, and which ones these clips play is not known")
    else:
        chosen = choice.played(model, saved.config.programs)
    sets = sounds(chosen, model, invert)
    real, generated = chosen.others.take(), np.stack([*map(log_mel, sets["generated"])])
    rows = np.array(read_log(run / "log.csv", 4))
    metrics = {
        "samples": str(chosen.folder),
        "step": read_about(chosen.folder).get("step"),
        "inverter": invert.name,
        "embedding": embedding.name,
        **far_apart(chosen, sets, invert, embedding),
        **inversion_errors(sets["ceiling"], real, sets["real"]),
        "heard": {"generated": heard(generated, model.scaler), "real": heard(real, model.scaler)},
        "loss_of_zero": loss_of_zero(saved.config.noise_schedule, saved.config.prediction),
        "noise_loss": {"first 50 steps": rows[:50, 2].mean(), "last 50 steps": rows[-50:, 2].mean()},
        "training_seconds": rows[:, 4].sum(),
        "steps": len(rows),
    }
    if chosen.notes and (scores := played.onset_f1(sets, chosen.notes)):
        metrics["onset_f1"] = scores
    write_json(run / "metrics.json", metrics)
    pictured = {"training": chosen.windows.take(chosen.reference[:PICTURED]), "generated": generated[:PICTURED]}
    save_log_mels(run / "comparison.png", pictured)
    return metrics


def summary(metrics: dict) -> str:
    """The metrics of `compare` or `ceiling` in words."""
    n, name = metrics["clips_per_set"], metrics["embedding"]
    lines = [
        f"Frechet distance from {counted(n, 'clip')} of real music (embedding {name}), lower is better (95 % interval):"
    ]
    if "samples" in metrics:
        step = f", drawn at step {metrics['step']}" if metrics["step"] is not None else ""
        lines.insert(0, f"The generated clips are those of {metrics['samples']}{step}.")
    for kind, value in metrics["fad"].items():
        low, high = metrics["interval"][kind]
        lines.append(f"  {kind:10s} {value:8.4g}  ({low:.4g} to {high:.4g})  {MEANING[kind]}")
    if "onset_f1" in metrics:
        lines += played.summary(metrics["onset_f1"])
    lines.append(
        "Real music is not at 0 either, because the sets are small. The inverter changes a log-mel by "
        f"{metrics['log_mel_error']:.4f} on average (0.1 is 0.9 dB)."
    )
    lines.append("Its sound's distance from the recordings (SC: spectral convergence, LM: log magnitudes):")
    lines += [f"  window {w:4d}   SC {metrics[f'sc_{w}']:.3f}   LM {metrics[f'lm_{w}']:.3f}" for w in WINDOWS]
    if "heard" in metrics:
        lines.append("What is heard:        generated      real")
        generated, real = metrics["heard"]["generated"], metrics["heard"]["real"]
        lines += [f"  {key:16s} {generated[key]:12.3f} {real[key]:9.3f}  {text}" for key, text in HEARD.items()]
    if near := metrics.get("nearest"):
        lines.append(
            f"The nearest training clip is {near['generated']:.3g} away from a generated clip, {near['copies']:.3g} "
            f"from an inverted copy of one, and that of another track {near['real']:.3g} from a training clip."
        )
        if memorises(near):
            lines.append("So this network memorises: it draws copies of its training music.")
    if "noise_loss" in metrics:
        first, last = metrics["noise_loss"].values()
        lines.append(
            f"Noise loss: {first:.3f} in the first steps, {last:.3f} in the last; a network that has learnt nothing "
            f"has {metrics['loss_of_zero']:.2f}."
        )
    return "\n".join(lines)


def add_listening_options(parser: argparse.ArgumentParser) -> None:
    """--inverter and --embedding, for the experiments that measure sound."""
    add_inverter_option(parser)
    add_embedding_option(parser)


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """--json, for the experiments that end with `print_summary`."""
    parser.add_argument("--json", type=output_file, metavar="FILE", help="also write the numbers to a JSON file")


def print_summary(metrics: dict, json: Path | None) -> None:
    """Writes the metrics to the file `json`, if there is one, and prints them in words."""
    if json:
        write_json(json, metrics)
    print(summary(metrics))


def add_command(commands: argparse._SubParsersAction) -> None:
    """experiments compare."""
    parser = commands.add_parser(
        "compare",
        help="how far a run's clips are from its training music",
        description="Compares a run's clips with noise, an untrained network and real music, by the Frechet distance. "
        "A network that plays notes plays those of other recordings, and basic-pitch counts the notes that it hears.",
    )
    parser.add_argument("--run", type=Path, required=True, help="folder of a trained run with samples")
    parser.add_argument(
        "--samples", type=Path, metavar="FOLDER", help="the clips (default: the newest set in RUN that fits)"
    )
    unheard_help = "recordings that it was not trained on, to compare with, or whose notes to play (default: those of "
    unheard_help += "--hold-out, else the training music)"
    parser.add_argument("--unheard", metavar="FOLDER", help=unheard_help)
    add_listening_options(parser)
    add_json_option(parser)
    add_threads_option(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> None:
    with threads(args.threads):
        listening = load_inverter(args.inverter), load_embedding(args.embedding)
        metrics = compare(args.run, *listening, args.samples, args.unheard)
    print_summary(metrics, args.json)
    clips, run = printable(metrics["samples"]), printable(args.run)
    print(f"Listen to {clips}/*.wav; look at comparison.png and loss.png in {run}.")
