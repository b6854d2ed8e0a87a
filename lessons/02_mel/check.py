"""What the exercises of lesson 02 are held to, and the mistakes that are known."""

import numpy as np

from ddim_from_scratch.audio import istft, log_mel, mel_matrix, stft
from ddim_from_scratch.audio.mel import hz_to_mel
from lessons.tool.check import Exercise

MEL, GRIFFIN_LIM = "tests/audio/test_mel.py::", "tests/audio/test_griffin_lim.py::"
CHIRP = 0.3 * np.sin(2e-4 * np.arange(3000.0) ** 2)
HZ = np.array([0.0, 100, 700, 1000, 8000])


def triangles(bins, edges):
    """Triangles on any scale: bins (k,) and edges (n + 2,) are in its units."""
    bins = bins[:, None]
    rising, falling = (bins - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - bins) / np.diff(edges)[1:]
    return np.maximum(0, np.minimum(rising, falling))


def peaks(bins, edges):
    """`triangles` with max in the place of min."""
    bins = bins[:, None]
    rising, falling = (bins - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - bins) / np.diff(edges)[1:]
    return np.maximum(0, np.maximum(rising, falling))


def edges(n_mels, sr):
    return np.linspace(0, hz_to_mel(sr / 2), n_mels + 2)


def bins(n_fft, sr):
    return np.linspace(0, sr / 2, n_fft // 2 + 1)


def to_hz(mel):
    return 700 * np.expm1(mel / 1127)


def logarithm(samples, of=np.log, power=1, low=1e-5, high=1e8):
    mel = np.abs(stft(samples)) ** power @ mel_matrix()
    return of(np.clip(mel, low, high)).astype(np.float32)


def wander(
    picture,
    iterations=64,
    momentum=0.99,
    rng=0,
    keep_momentum=True,
    rescale=True,
    random=True,
    floor=0.1,
    power=1.3,
    limits=(1e-5, 1e8),
):
    """Griffin-Lim with one thing or another left out."""
    target = np.clip(np.exp(picture), *limits).astype(np.float32)
    matrix, length = mel_matrix(), 320 * len(picture)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-9)
    phase = 2 * np.pi * np.random.default_rng(rng).random((len(picture), 513)) * random
    wanted = target @ (matrix / matrix.sum(axis=0)).T
    spectrum, previous = (wanted * np.exp(1j * phase)).astype(np.complex64), 0
    for _ in range(iterations):
        consistent = stft(istft(spectrum, length=length, floor=floor))
        spectrum = consistent + momentum * (consistent - previous) if keep_momentum else consistent
        magnitude = np.abs(consistent)
        ratio = target / np.maximum(magnitude @ matrix, 1e-5)
        magnitude = magnitude * (ratio**power @ share.T) if rescale else wanted
        spectrum = (spectrum * (magnitude / np.maximum(np.abs(spectrum), 1e-5))).astype(np.complex64)
        previous = consistent
    return istft(spectrum, length=length, floor=floor)


PICTURE = log_mel(CHIRP)

EXERCISES = [
    Exercise(
        "ddim_from_scratch.audio.mel.hz_to_mel",
        tests=(MEL + "test_mel_scale", MEL + "test_a_sine_lands_in_its_mel_bin"),
        examples={
            "hz_to_mel(1000.0)": lambda hz_to_mel: hz_to_mel(1000.0),
            "hz_to_mel of 0, 100, 700, 1000, 8000": lambda hz_to_mel: hz_to_mel(HZ),
        },
        mistakes={
            "1127 belongs to the natural logarithm; np.log10 goes with 2595": lambda hz: 1127 * np.log10(1 + hz / 700),
            "2595 belongs to np.log10; the natural logarithm goes with 1127": lambda hz: 2595 * np.log(1 + hz / 700),
            "the 1 + is missing, so that 0 Hz is minus infinity": lambda hz: 1127 * np.log(hz / 700),
            "this is 1 + f / 1000, another scale's: the corner is at 700 Hz": lambda hz: 1127 * np.log(1 + hz / 1000),
            "this is the way back, from mel to Hz": to_hz,
            "this is the logarithm to base 2: take np.log, base e": lambda hz: 1127 * np.log2(1 + hz / 700),
            "the factor 1127 is missing": lambda hz: np.log(1 + hz / 700),
        },
        tolerance=1e-5,  # 2595 log10(1 + f / 700) is the same scale, to five digits
    ),
    Exercise(
        "ddim_from_scratch.audio.mel.mel_matrix",
        tests=(
            MEL + "test_triangles",
            MEL + "test_to_mel_is_the_whole_product",
            MEL + "test_twice_as_loud_is_ln_2_more",
        ),
        examples={
            "mel_matrix(n_fft=16, n_mels=3)": lambda mel_matrix: mel_matrix(16, 3),
            "mel_matrix(512, 64, 16000, 125.0, 7500.0)": lambda mel_matrix: mel_matrix(512, 64, 16000, 125.0, 7500.0),
            "mel_matrix(64, 8, 8000, 0.0, 4000.0)": lambda mel_matrix: mel_matrix(64, 8, 8000, 0.0, 4000.0),
        },
        mistakes={
            "the triangles are straight over Hz: compare mels with mels, m_k = hz_to_mel(k sr / n_fft)": (
                lambda n_fft, n_mels, sr=16000: triangles(bins(n_fft, sr), to_hz(edges(n_mels, sr)))
            ),
            "the edges are at equal distances in Hz: space them equally in mel": (
                lambda n_fft, n_mels, sr=16000: triangles(
                    hz_to_mel(bins(n_fft, sr)), hz_to_mel(np.linspace(0, sr / 2, n_mels + 2))
                )
            ),
            "each triangle is divided by its width, which is Slaney's normalisation: leave the peaks at 1": (
                lambda n_fft, n_mels, sr=16000: (
                    triangles(hz_to_mel(bins(n_fft, sr)), edges(n_mels, sr))
                    * 2
                    / (to_hz(edges(n_mels, sr))[2:] - to_hz(edges(n_mels, sr))[:-2])
                )
            ),
            "the triangles are not cut off at 0: take the maximum with 0": (
                lambda n_fft, n_mels, sr=16000: (
                    1 - np.abs(hz_to_mel(bins(n_fft, sr))[:, None] - edges(n_mels, sr)[1:-1]) / edges(n_mels, sr)[1]
                )
            ),
            "rows and columns are exchanged: a row for each FFT bin": (
                lambda n_fft, n_mels, sr=16000: triangles(hz_to_mel(bins(n_fft, sr)), edges(n_mels, sr)).T
            ),
            "there are n_mels edges: a filter has three of them, so n_mels filters need n_mels + 2": (
                lambda n_fft, n_mels, sr=16000: triangles(hz_to_mel(bins(n_fft, sr)), edges(n_mels - 2, sr))
            ),
            "f_min_hz and f_max_hz are not used: the edges run from one to the other": (
                lambda n_fft, n_mels, sr=16000, *_: mel_matrix(n_fft, n_mels, sr)
            ),
            "the maximum of both slopes is taken: a triangle is below both, so take the minimum": (
                lambda n_fft, n_mels, sr=16000: peaks(hz_to_mel(bins(n_fft, sr)), edges(n_mels, sr))
            ),
            "sr is not used: FFT bin k is at k sr / n_fft": (
                lambda n_fft, n_mels, sr=16000, *limits: mel_matrix(n_fft, n_mels, 16000, *limits)
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.audio.mel.log_mel",
        tests=tuple(
            MEL + name
            for name in (
                "test_float32_is_as_good_as_float64",
                "test_frame_counts",
                "test_silence_is_the_floor",
                "test_a_sine_lands_in_its_mel_bin",
                "test_twice_as_loud_is_ln_2_more",
            )
        ),
        examples={
            "log_mel(samples (3000,))": lambda log_mel: log_mel(CHIRP),
            "log_mel(silence)": lambda log_mel: log_mel(np.zeros(999, np.float32)),
            "log_mel(1e8 times the samples)": lambda log_mel: log_mel(1e8 * CHIRP),
        },
        mistakes={
            "powers are summed, |S|^2: sum magnitudes, |S|": lambda x: logarithm(x, power=2),
            "this is log10: take the natural logarithm, np.log": lambda x: logarithm(x, of=np.log10),
            "this is in decibels: take the natural logarithm": lambda x: logarithm(x, of=lambda m: 20 * np.log10(m)),
            "1e-5 is added: clip the sum to 1e-5 .. 1e8": lambda x: logarithm(x, of=lambda m: np.log(m + 1e-5), low=0),
            "the logarithm comes too early: sum first, then take it": (
                lambda x: (np.log(np.clip(np.abs(stft(x)), 1e-5, 1e8)) @ mel_matrix()).astype(np.float32)
            ),
            "mel bins come first: frames do": lambda x: logarithm(x).T,
            "the sum is not clipped: silence becomes minus infinity": lambda x: logarithm(x, low=0),
            "large sums are not clipped: clip the sum to 1e-5 .. 1e8": lambda x: logarithm(x, high=np.inf),
            "the clip comes after the logarithm: clip the sum, then take it": (
                lambda x: np.clip(np.log(np.abs(stft(x)) @ mel_matrix()), 1e-5, 1e8).astype(np.float32)
            ),
            "the result is float64: it is float32, whatever the samples are": (lambda x: log_mel(x).astype(np.float64)),
        },
        tolerance=1e-5,
    ),
    Exercise(
        "ddim_from_scratch.audio.griffin_lim.plain_griffin_lim",
        tests=tuple(
            GRIFFIN_LIM + name
            for name in (
                "test_error_falls_with_iterations_and_momentum_helps",
                "test_batch_equals_single",
                "test_seed_decides",
                "test_silence_stays_silent",
                "test_no_click_at_the_start",
            )
        ),
        examples={
            "plain_griffin_lim(picture (10, 128), iterations=0)": lambda f: f(PICTURE, 0),
            "plain_griffin_lim(picture, iterations=1, momentum=0)": lambda f: f(PICTURE, 1, 0.0),
            "plain_griffin_lim(picture, iterations=3)": lambda f: f(PICTURE, 3),
            "ln of the largest sample for a picture of -20, and for one of 20, iterations=0": (
                lambda f: np.log([np.abs(f(np.full((10, 128), value, np.float32), 0)).max() for value in (-20, 20)])
            ),
        },
        mistakes={
            "the first phases are all 0: draw them": lambda *a: wander(*a, random=False),
            "floor = 0.1 is missing in istft": lambda *a: wander(*a, floor=0.0),
            "the magnitudes are those of the first guess for ever: rescale |C_new| towards the wanted mel bins": (
                lambda *a: wander(*a, rescale=False)
            ),
            "the correction is not raised to the power 1.3": lambda *a: wander(*a, power=1.0),
            "the momentum is not used": lambda *a: wander(*a, keep_momentum=False),
            "exp is missing: log_mel holds logarithms": (
                lambda picture, *a: wander(np.log(np.maximum(picture, 1e-5)), *a)
            ),
            "T is not clipped to 1e-5 .. 1e8": lambda *a: wander(*a, limits=(0, np.inf)),
        },
        tolerance=1e-3,  # rounding in 32 bits grows from round to round
    ),
]
