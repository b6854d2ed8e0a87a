"""Exercises of lesson 01: the short-time Fourier transform and its inverse.

Write the four functions, in this order; the later ones may call the earlier ones. `make check-01` puts each in
the package's place, on its own, shows what it answers beside what is expected, and runs the package's tests on
it. Loops are welcome; speed is not asked for. Leave the names and the arguments as they are. A test to write comes
last.
"""

import numpy as np


def hann(n: int) -> np.ndarray:
    """The periodic Hann window, w[i] = 1/2 - 1/2 cos(2 pi i / n) for i = 0 .. n - 1.

    Returns float64 (n,).

        1 |      . o .            It starts at 0. What would be its last point, another 0, is the first point of
          |   .         .         the next period, and left out: windows half their length apart then add up
        0 | o             .       to 1 exactly.
          +------------------ i
    """
    raise NotImplementedError


def overlap_add(frames: np.ndarray, hop_length: int) -> np.ndarray:
    """The sum of all frames, frame m moved to where it came from: y[n] = sum over m of frames[m, n - m hop].

    The sum is over the frames that reach sample n: 0 <= n - m hop < frame_length.

    frames: (..., count, frame_length); leading axes are a batch, if there are any.
    Returns (..., (count - 1) * hop_length + frame_length), of the dtype of `frames`; zeros may follow.

        frame 0   a b c d                  with hop_length = 2
        frame 1       e f g h
        sum       a b . . g h              . . = c + e, d + f
    """
    raise NotImplementedError


def stft(
    samples: np.ndarray, frame_length: int = 640, hop_length: int = 320, n_fft: int = 1024, pad_end: bool = True
) -> np.ndarray:
    """S[m, k] = sum_i w[i] x[m hop + i] exp(-2 pi j k i / n_fft), for k = 0 .. n_fft / 2.

    w is the Hann window of frame_length points; i runs over these. The sum is a real FFT of the windowed
    frame with zeros behind it up to n_fft points: `scipy.fft.rfft(..., n=n_fft)`, which keeps float32 as
    complex64.

    samples: (..., n) float32 or float64; leading axes are a batch, if there are any.
    Returns (..., frames, n_fft // 2 + 1), complex64 for float32 and complex128 for float64.
    frames is ceil(n / hop) with `pad_end`, as if zeros followed the samples; else only whole frames count,
    1 + (n - frame_length) // hop.

        samples   |----------------------|0 0 0
        frame 0   [--------]
        frame 1       [--------]                   each a hop later
        ...
        last                         [--------]    begins before the samples end
    """
    raise NotImplementedError


def istft(
    spectrum: np.ndarray,
    frame_length: int = 640,
    hop_length: int = 320,
    n_fft: int = 1024,
    length: int | None = None,
    floor: float = 0.0,
) -> np.ndarray:
    """x = sum_m w y_m / sum_m w^2, the signal whose STFT is nearest to `spectrum` (Griffin & Lim 1984, eq. 6).

    y_m is the inverse FFT of frame m, cut to its first frame_length samples; both sums are overlap-adds.

    spectrum: (..., frames, n_fft // 2 + 1) complex; leading axes are a batch, if there are any.
    length: samples to return, cut or padded with zeros; default (frames - 1) * hop_length + frame_length.
    floor: the least value to divide by. Where no window sees a sample the sums are 0 and 0, and so is x: divide
        by no less than the smallest positive number, `np.finfo(dtype).tiny`.
    Returns (..., length), float32 for complex64 and float64 for complex128.

        sum w^2   1 |  .-.   .-.   .-.         hops of half a window: between 1/2 and 1, so it
                    | /   '-'   '-'   \\        must be divided by, and is 0 at the first sample
                  0 |/                 \\
    """
    raise NotImplementedError


def test_hann(hann):
    """A test of `hann`: assertions that hold for the right window, and fail for wrong ones.

    `make check-01` calls it with the right function, which it must accept, and with nine wrong ones. It says how many
    of them your test finds, and describes the others. Assert properties of the window, not its formula: where it is
    0 and 1, its symmetry, what two windows half their length apart add up to, what its FFT looks like.
    """
    raise NotImplementedError


EXPERIMENT = """
| window | power above 1050 Hz, of the whole (dB) |
|---|---|
| Hann | ? |
| ones | ? |

What do you hear with ones? ?
Why? ?
"""
