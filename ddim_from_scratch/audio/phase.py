"""Phases from magnitudes alone: phase gradient heap integration (Prusa, Balazs & Soendergaard 2017).

For a Gaussian window g(t) = exp(-pi t^2 / gamma), the log magnitude of a spectrum fixes its phase up to a constant. Let

    V(t, w) = integral of x(s) g(s - t) exp(-j w (s - t)) ds = |V| exp(j phi),  w in radians a sample.

A derivative by w brings -j (s - t) under the integral. A derivative by t acts on g and on the exponential, and brings
2 pi (s - t) / gamma + j w. Hence dV/dt = j w V + j (2 pi / gamma) dV/dw. Divide by V: dV / V is d log|V| + j d phi. The
real and the imaginary part are

    d phi / dw = -gamma / (2 pi) d log|V| / dt,        d phi / dt = w + (2 pi / gamma) d log|V| / dw.

So a partial turns at the frequency of its peak, and the slopes beside the peak say how far off that is. These two are
the gradient of phi. `integrate` sums it along paths that avoid quiet bins, where log|V| is steep and the phase is
undefined.

It is exact for a Gaussian window and infinitely fine steps. A Hann window is close to a Gaussian one (GAMMA), and
frames that overlap by half make coarse differences. The result is a start for Griffin-Lim.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import chain

import numpy as np

from .contract import FRAME_LENGTH, HOP_LENGTH, MEL_MIN, N_FFT

GAMMA = 0.25645 * FRAME_LENGTH**2  # samples^2: the Gaussian window that is nearest to Hann's
QUIET = 3e-3  # bins below this part of the largest magnitude keep the phases that they have


def gradient(
    magnitude: np.ndarray, gamma: float = GAMMA, hop_length: int = HOP_LENGTH, n_fft: int = N_FFT
) -> tuple[np.ndarray, np.ndarray]:
    """How far the phase turns from a frame to the next, and from an FFT bin to the next: the equations above.

    magnitude: (frames, n_fft / 2 + 1). gamma: of the window, in samples^2.
    Returns two float64 arrays of this shape, in radians at each bin. Phases refer to the middle of a frame.
    """
    log = np.pad(np.log(np.maximum(magnitude, MEL_MIN, dtype=float)), 1, mode="edge")
    by_frame, by_bin = (log[2:] - log[:-2])[:, 1:-1] / 2, (log[:, 2:] - log[:, :-2])[1:-1] / 2
    hop_in_bins = hop_length * n_fft / gamma
    w = 2 * np.pi * np.arange(magnitude.shape[1]) / n_fft
    return w * hop_length + hop_in_bins * by_bin, -by_frame / hop_in_bins


def integrate(
    magnitude: np.ndarray,
    start: np.ndarray,
    known: int = 0,
    gamma: float = GAMMA,
    hop_length: int = HOP_LENGTH,
    n_fft: int = N_FFT,
) -> np.ndarray:
    """Phases whose differences are the `gradient`'s, from the loudest bins to their neighbours.

    A heap holds the bins whose phase is decided. The loudest of them leaves it, and its undecided neighbours take its
    phase plus the step between, which is the mean of the gradient at both. So errors of the quiet bins stay there.

    magnitude: (frames, n_fft / 2 + 1). start: phases of the same shape, which quiet bins keep, and so does the loudest
        bin of each island of loud ones.
    known: the first frames whose phases in `start` are true. The others continue them.
    Returns float64 (frames, n_fft / 2 + 1), radians. They refer to the middle of a frame.
    """
    turn, slope = gradient(magnitude, gamma, hop_length, n_fft)
    loud = magnitude > QUIET * magnitude.max()
    last_known, undecided = loud.copy(), loud.copy()
    last_known[: max(known - 1, 0)] = last_known[known:] = False
    undecided[: max(known - 1, 0)] = False

    # As flat lists, which Python reads faster than arrays, with a border of decided bins instead of checks for edges.
    width = magnitude.shape[1] + 1

    def flat(x: np.ndarray) -> np.ndarray:
        return np.pad(x, ((1, 1), (0, 1))).ravel()

    # A bin's rank is its place in the order of loudness, so that the heap holds plain numbers.
    waiting, phase = flat(undecided).tolist(), flat(start).tolist()
    to_next_frame = flat((turn + np.roll(turn, -1, axis=0)) / 2).tolist()
    to_next_bin = flat((slope + np.roll(slope, -1, axis=1)) / 2).tolist()
    loudest_first = np.argsort(-flat(magnitude), axis=None, kind="stable")
    rank, at = np.argsort(loudest_first).tolist(), loudest_first.tolist()
    islands = (i for i in at[: np.count_nonzero(loud)] if waiting[i])  # each begins at its loudest bin

    for roots in chain([np.flatnonzero(flat(last_known)).tolist()], ([i] for i in islands)):
        heap = [rank[i] for i in roots]
        heapify(heap)
        for i in roots:
            waiting[i] = False
        while heap:
            i = at[heappop(heap)]
            for j, step in (
                (i + width, to_next_frame[i]),
                (i - width, -to_next_frame[i - width]),
                (i + 1, to_next_bin[i]),
                (i - 1, -to_next_bin[i - 1]),
            ):
                if waiting[j]:
                    waiting[j] = False
                    phase[j] = phase[i] + step
                    heappush(heap, rank[j])
    return np.array(phase).reshape(-1, width)[1:-1, :-1]
