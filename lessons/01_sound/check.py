"""What the exercises of lesson 01 are held to, and the mistakes that are known."""

import numpy as np
import scipy.fft

from ddim_from_scratch.audio.stft import hann, istft, overlap_add, stft
from lessons.tool.check import Exercise

TESTS = "tests/audio/test_stft.py::"
NOISE = np.random.default_rng(1).standard_normal(23)
FRAMES = np.arange(1.0, 13.0).reshape(3, 4)


def windowed(samples, window, hop_length, n_fft, count):
    """A short-time transform with any window and number of frames."""
    padded = np.pad(samples, (0, len(window)))
    frames = [padded[m * hop_length : m * hop_length + len(window)] * window for m in range(count)]
    return scipy.fft.rfft(np.array(frames), n=n_fft)


def inverse(spectrum, frame_length, hop_length, n_fft, synthesis, weight):
    """An overlap-add of the inverse frames times `synthesis`, divided by that of `weight`."""
    y = scipy.fft.irfft(spectrum, n=n_fft)[..., :frame_length] * synthesis
    total = overlap_add(y, hop_length)
    weights = overlap_add(np.tile(weight, (len(spectrum), 1)), hop_length)
    return (total / np.maximum(weights, np.finfo(float).tiny))[: (len(spectrum) - 1) * hop_length + frame_length]


def last_one_wins(frames, hop_length):
    count, frame_length = frames.shape
    y = np.zeros((count - 1) * hop_length + frame_length)
    for m in range(count):
        y[m * hop_length : m * hop_length + frame_length] = frames[m]
    return y


EXERCISES = [
    Exercise(
        "ddim_from_scratch.audio.stft.hann",
        tests=(TESTS + "test_hann_is_periodic", TESTS + "test_frames_by_definition"),
        examples={"hann(8)": lambda hann: hann(8)},
        mistakes={
            "this is the symmetric window: divide by n, not by n - 1, so that the last zero is left out": np.hanning,
            "this is the Hamming window, which does not come down to 0: both factors are 1/2": (
                lambda n: 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(n) / n)
            ),
            "the cosine is added: subtract it, so that the window is 0 at its ends and 1 in the middle": (
                lambda n: 0.5 + 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
            ),
            "a factor 2 is missing inside the cosine: over n points it makes one whole turn, 2 pi": (
                lambda n: 0.5 - 0.5 * np.cos(np.pi * np.arange(n) / n)
            ),
            "this is the square root of the window: the sine must be squared": (
                lambda n: np.sin(np.pi * np.arange(n) / n)
            ),
            "this is the square of the window: the sine is squared once": lambda n: hann(n) ** 2,
            "this has a sine inside: the cosine is even, so that the window is symmetric": (
                lambda n: 0.5 - 0.5 * np.sin(2 * np.pi * np.arange(n) / n)
            ),
            "this is a triangle: the window is a raised cosine": lambda n: 1 - np.abs(2 * np.arange(n) / n - 1),
            "the last point is missing: i runs from 0 to n - 1": lambda n: hann(n)[:-1],
        },
        test_to_write=True,
    ),
    Exercise(
        "ddim_from_scratch.audio.stft.overlap_add",
        tests=(TESTS + "test_istft_undoes_stft", TESTS + "test_istft_is_the_nearest_signal"),
        examples={
            "overlap_add(frames (3, 4), hop_length=2)": lambda overlap_add: overlap_add(FRAMES, 2)[:8],
            "overlap_add(frames (3, 4), hop_length=3)": lambda overlap_add: overlap_add(FRAMES, 3)[:10],
            "overlap_add(a batch of frames (2, 3, 4), hop_length=2)": (
                lambda overlap_add: overlap_add(np.stack([FRAMES, -FRAMES]), 2)[..., :8]
            ),
        },
        mistakes={
            "later frames overwrite earlier ones: use += where they meet": last_one_wins,
            "frames lie end to end: frame m begins at m * hop_length, not at m * frame_length": (
                lambda frames, hop_length: frames.reshape(-1)[: (len(frames) - 1) * hop_length + frames.shape[1]]
            ),
            "frames are averaged where they meet: add them; istft does the dividing": (
                lambda frames, hop_length: (
                    overlap_add(frames, hop_length) / np.maximum(overlap_add(np.ones_like(frames), hop_length), 1)
                )[: (len(frames) - 1) * hop_length + frames.shape[1]]
            ),
            "the last frame is missing: the loop ends one too early": (
                lambda frames, hop_length: np.concatenate(
                    [overlap_add(frames[..., :-1, :], hop_length)[..., :6], np.zeros((*frames.shape[:-2], 2))], axis=-1
                )
            ),
            "the first frame is added every time: frame m is frames[..., m, :]": (
                lambda frames, hop_length: overlap_add(
                    np.repeat(frames[..., :1, :], frames.shape[-2], axis=-2), hop_length
                )
            ),
            "every frame begins at 0: frame m begins at m * hop_length": (
                lambda frames, hop_length: np.pad(frames.sum(axis=-2), (0, (len(frames) - 1) * hop_length))
            ),
            "the end is cut off: there are (count - 1) * hop_length + frame_length samples": (
                lambda frames, hop_length: overlap_add(frames, hop_length)[..., : frames.shape[-2] * hop_length]
            ),
            "only one row of the batch is added up: frames may have axes before the last two": (
                lambda frames, hop_length: overlap_add(frames if frames.ndim == 2 else frames[0], hop_length)[..., :10]
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.audio.stft.stft",
        tests=tuple(
            TESTS + name
            for name in (
                "test_frames_by_definition",
                "test_parseval",
                "test_precision_is_kept",
                "test_istft_undoes_stft",
                "test_batch_equals_single_and_threads_change_nothing",
            )
        ),
        examples={
            "stft(samples (23,), frame_length=8, hop_length=4, n_fft=16)": lambda stft: stft(NOISE, 8, 4, 16),
            "stft(..., pad_end=False)": lambda stft: stft(NOISE, 8, 4, 16, pad_end=False),
            "stft of float32 samples": lambda stft: stft(NOISE.astype(np.float32), 8, 4, 16),
        },
        mistakes={
            "no window is applied: multiply every frame by hann(frame_length)": (
                lambda x, n, hop, n_fft: windowed(x, np.ones(n), hop, n_fft, -(-len(x) // hop))
            ),
            "the window is symmetric: use the periodic one, hann(frame_length)": (
                lambda x, n, hop, n_fft: windowed(x, np.hanning(n), hop, n_fft, -(-len(x) // hop))
            ),
            "the last frames are missing: with pad_end there are ceil(n / hop_length), zeros behind the samples": (
                lambda x, n, hop, n_fft: windowed(x, hann(n), hop, n_fft, 1 + (len(x) - n) // hop)
            ),
            "the FFT has frame_length points: pass n=n_fft": (
                lambda x, n, hop, n_fft: windowed(x, hann(n), hop, n, -(-len(x) // hop))
            ),
            "the result is divided by n_fft: a forward transform is a plain sum": (
                lambda x, n, hop, n_fft: windowed(x, hann(n), hop, n_fft, -(-len(x) // hop)) / n_fft
            ),
            "frames are centred on m * hop_length: here frame m begins there": (
                lambda x, n, hop, n_fft: windowed(np.pad(x, (n // 2, 0)), hann(n), hop, n_fft, -(-len(x) // hop))
            ),
            "float32 samples give complex128: keep the precision, with a window of samples.dtype": (
                lambda x, *sizes, **options: stft(x.astype(float), *sizes, **options)
            ),
            "this is the magnitude: keep the complex numbers, abs() comes later": (
                lambda x, n, hop, n_fft: np.abs(windowed(x, hann(n), hop, n_fft, -(-len(x) // hop)))
            ),
            "the frames lie along the last axis: frames come before bins": (
                lambda x, n, hop, n_fft: windowed(x, hann(n), hop, n_fft, -(-len(x) // hop)).T
            ),
        },
        tolerance=1e-5,  # the float32 example's rounding
    ),
    Exercise(
        "ddim_from_scratch.audio.stft.istft",
        tests=tuple(
            TESTS + name
            for name in ("test_istft_undoes_stft", "test_istft_is_the_nearest_signal", "test_precision_is_kept")
        ),
        examples={
            "istft(stft(samples), frame_length=8, hop_length=4, n_fft=16)": (
                lambda istft: istft(stft(NOISE, 8, 4, 16), 8, 4, 16)
            ),
            "istft(..., hop_length=3)": lambda istft: istft(stft(NOISE, 8, 3, 16), 8, 3, 16),
            "istft(..., length=23)": lambda istft: istft(stft(NOISE, 8, 4, 16), 8, 4, 16, length=23),
            "istft(..., floor=0.1)": lambda istft: istft(stft(NOISE, 8, 4, 16) + 1, 8, 4, 16, floor=0.1),
            "istft of a batch of spectra (2, 6, 9)": (
                lambda istft: istft(stft(np.stack([NOISE, -NOISE]), 8, 4, 16), 8, 4, 16)
            ),
        },
        mistakes={
            "the sum is not divided by sum_m w^2": (
                lambda s, n, hop, n_fft: overlap_add(scipy.fft.irfft(s, n=n_fft)[:, :n] * hann(n), hop)[
                    : (len(s) - 1) * hop + n
                ]
            ),
            "the sum is divided by sum_m w: the window is applied twice, in stft and here, so by sum_m w^2": (
                lambda s, n, hop, n_fft: inverse(s, n, hop, n_fft, hann(n), hann(n))
            ),
            "the frames are not multiplied by the window again before they are added": (
                lambda s, n, hop, n_fft: inverse(s, n, hop, n_fft, np.ones(n), hann(n) ** 2)
            ),
            "this undoes stft, as sum_m y / sum_m w, but is not the nearest signal to a changed spectrum: "
            "multiply the frames by w, and divide by sum_m w^2": (
                lambda s, n, hop, n_fft, floor=0.0: (
                    overlap_add(scipy.fft.irfft(s, n=n_fft)[:, :n], hop)
                    / np.maximum(overlap_add(np.tile(hann(n), (len(s), 1)), hop), max(floor, np.finfo(float).tiny))
                )[: (len(s) - 1) * hop + n]
            ),
            "`length` is not used: cut the sound there, or add zeros": (
                lambda s, n, hop, n_fft, length=None, floor=0.0: istft(s, n, hop, n_fft, floor=floor)
            ),
            "`floor` is not used: divide by no less": (
                lambda s, n, hop, n_fft, length=None, floor=0.0: istft(s, n, hop, n_fft, length)
            ),
            "the frames are n_fft long: cut each to frame_length after the inverse FFT": (
                lambda s, n, hop, n_fft: overlap_add(scipy.fft.irfft(s, n=n_fft), hop)[: (len(s) - 1) * hop + n_fft]
            ),
            "this is the forward transform's scale: irfft divides by n_fft already": (
                lambda s, n, hop, n_fft, **options: istft(s, n, hop, n_fft, **options) / n_fft
            ),
            "only one row of the batch is transformed: a spectrum may have axes before the last two": (
                lambda s, *sizes: istft(s if s.ndim == 2 else s[0], *sizes)
            ),
        },
    ),
]
