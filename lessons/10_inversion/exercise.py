"""Exercises of lesson 10: the error of an inversion, what may be inverted, and a decoder used without clicks.

Write the three functions. `make check-10` puts each in the package's place, on its own, shows what it answers
beside what is expected, and runs the package's tests on it. `log_mel`, from ddim_from_scratch.audio, may be
imported.
"""

from collections.abc import Callable

import numpy as np


def log_mel_error(sound: np.ndarray, log_mels: np.ndarray) -> float:
    """The mean of |log_mel(sound[i]) - log_mels[i]| over all clips, frames and mel bins.

    sound: (n, frames * 320) at 16 kHz. log_mels: (n, frames, 128), natural logarithms. Returns a Python float;
    0.1 is 0.9 dB.

        log_mels[i] --> decoder --> sound[i] --> log_mel --> how far from log_mels[i]?
    """
    raise NotImplementedError


def check_log_mels(log_mels: np.ndarray) -> None:
    """Raise UserError (from ddim_from_scratch.runtime.errors) unless `log_mels` are what `log_mel` can make. Refused:

        a shape other than (n, frames, 128), all above 0: the message contains f"shape {log_mels.shape}";
        NaN or infinity anywhere: the message contains "NaN";
        values outside ln(1e-5) .. ln(1e8) by more than 1e-4: the message contains
            f"{least:.2f} .. {largest:.2f}, not -11.51 .. 18.42: " and, as the likely reason, the word "decibels".

    In this order: no comparison with NaN is ever true, so a test of the range alone lets it pass. Returns nothing.
    """
    raise NotImplementedError


def decode(decoder: Callable[[np.ndarray], np.ndarray], log_mels: np.ndarray) -> np.ndarray:
    """The sound of `log_mels`, chunk by chunk, without clicks at ends and seams.

    decoder: float32 log-mels (n, any frames, 128) to sound (n, frames * 320).
    log_mels: (n, frames, 128). Returns float32 (n, frames * 320).

    1. Mirror 16 frames at either end: `np.pad(..., mode="reflect")`, along the frames only. It repeats neither the
       first nor the last frame.
    2. Chunks begin at frames 0, 512, 1024, ... and last 512 + 8 frames, or to the end. The last one begins before
       `frames - 8`; a clip of 8 frames or fewer is one chunk. Give the decoder a chunk and the 16 frames on
       either side, and cut what it made of those 16, at 320 samples a frame.
    3. Two neighbours share 8 frames. In these, the later one fades in by `np.linspace(0, 1, 8 * 320)`, while the
       earlier one fades out by 1 minus that.

        frames        | 0 ............ 511 | 512 .... 519 | 520 .........
        chunk 0   [16 | ------------------------------\\   | 16]
        chunk 1                       [16  | /------------------------ ...
    """
    raise NotImplementedError


EXPERIMENT = """
How exact must the network be? Errors of the sound against the unrounded log-mels.

| step | in dB | rounding alone | sound |
|---|---|---|---|
| 0 | 0 | 0 | ? |
| 0.1 | ? | ? | ? |
| 0.25 | ? | ? | ? |
| 0.5 | ? | ? | ? |
| 1 | 8.7 | ? | ? |

The mean error of rounding to a step q is: ?
From this step on, rounding costs more than Griffin-Lim: ?
What that says about a network: ?
"""
