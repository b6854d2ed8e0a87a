"""Puts new sound into a recording that otherwise stays as it is: its own samples, at its own rate, in its channels."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..runtime.files import reading, replacing
from .contract import SR
from .wav import libsndfile, load_audio

FADE_SECONDS = 0.05  # of the cross-fade at a seam, on its kept side
NEIGHBOURS_SECONDS = 5.0  # beside a seam: what the new sound is made as loud as
MOST_GAIN = 10.0  # 20 dB: more would make music of the inverter's noise
SILENT = 1e-4  # RMS of what has no level
SAME_SUBTYPES = {"PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}  # others are written with 16 bits


@dataclass(frozen=True)
class Recording:
    """The samples of a file as they are: float32 (n, channels), at `rate` Hz. subtype: libsndfile's, for writing."""

    samples: np.ndarray
    rate: int
    subtype: str

    @classmethod
    def read(cls, path: str | Path) -> Recording:
        """Raises AudioError as `load_audio` does, whose mono sound is taken where the file's own can't be had."""
        mono = load_audio(path)
        try:
            with reading(path) as binary, libsndfile().SoundFile(binary) as file:
                subtype = file.subtype if file.subtype in SAME_SUBTYPES else "PCM_16"
                own = cls(file.read(dtype="float32", always_2d=True), file.samplerate, subtype)
        except (RuntimeError, OSError):  # libsndfile's error is a RuntimeError
            own = None
        seconds = len(mono) / SR
        same = own is not None and abs(own.seconds - seconds) < 0.01  # else its header is wrong about its length
        return own if own and same else cls(mono[:, None], SR, "PCM_16")

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    def spliced(self, sound: np.ndarray, begins: float, start: float, stop: float) -> np.ndarray:
        """The recording with `sound` in it from second `start` to `stop`: float32 (n, channels) at its own rate.

        sound: mono (m,) at 16 kHz, of which the first sample is at second `begins`. It reaches a cross-fade beyond
        start and stop, or to the recording's ends. In each channel it is made as loud as the recording is beside it,
        but not louder than full scale. Where `stop` is beyond the end, the recording becomes longer.
        """
        a, b, first = (round(second * self.rate) for second in (start, stop, begins))
        new = resampled(sound, self.rate)[:, None]
        out = np.zeros((max(len(self.samples), b), self.samples.shape[1]), np.float32)
        out[: len(self.samples)] = self.samples
        fade = round(FADE_SECONDS * self.rate)
        low, high = max(a - fade, first, 0), min(b + fade, first + len(new), len(out))
        t = np.arange(low, high)
        away = np.maximum(np.maximum(a - t, t - b + 1), 0)  # from what is new, in samples
        angle = (np.pi / 2 * np.clip(1 - away / fade, 0, 1))[:, None]  # old and new have no phase in common
        gain = self._gain(new[max(a - first, 0) : b - first], a, b)
        mixed = np.cos(angle) * out[low:high] + np.sin(angle) * gain * new[low - first : high - first]
        inside = (away == 0)[:, None]
        out[low:high] = np.where(inside, gain * new[low - first : high - first], mixed)
        return out

    def write(self, path: str | Path, samples: np.ndarray) -> None:
        """Writes samples (n, channels) as a WAV file of this recording's rate and subtype, atomically."""
        memory = io.BytesIO()
        libsndfile().write(memory, samples, self.rate, format="WAV", subtype=self.subtype)
        with replacing(path) as file:
            file.write(memory.getbuffer())

    def _gain(self, new: np.ndarray, a: int, b: int) -> np.ndarray:
        """The gain of `new` in each channel, (channels,): see `spliced`."""
        near = round(NEIGHBOURS_SECONDS * self.rate)
        beside = np.concatenate([self.samples[max(a - near, 0) : a], self.samples[b : b + near]])
        gain = np.ones(self.samples.shape[1])
        if len(beside) and len(new) and (level := rms(new)[0]) >= SILENT:
            gain = np.minimum(rms(beside) / level, MOST_GAIN)
        return np.minimum(gain, 1 / max(np.abs(new).max(initial=0), SILENT)).astype(np.float32)


def rms(samples: np.ndarray) -> np.ndarray:
    """Root mean square of each channel of samples (n, channels)."""
    return np.sqrt(np.mean(np.square(samples, dtype=np.float64), axis=0))


def resampled(sound: np.ndarray, rate: int) -> np.ndarray:
    """Sound (n,) at 16 kHz, at another rate."""
    if rate == SR:
        return sound
    import soxr

    return soxr.resample(sound, SR, rate, quality="HQ")
