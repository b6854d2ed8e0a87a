"""What the exercises of lesson 10 are held to, and the mistakes that are known."""

import numpy as np

from ddim_from_scratch.audio import log_mel
from ddim_from_scratch.runtime.errors import UserError
from lessons.tool.check import Exercise

INVERTER, COMMANDS = "tests/audio/test_inverter.py::", "tests/test_commands.py::"
SOUND = 0.2 * np.sin(0.2 * np.arange(2 * 3200, dtype=np.float32) ** 1.1).reshape(2, 3200)
LOG_MELS = np.stack([log_mel(x) for x in SOUND])
LOG_MELS += np.multiply.outer([1, 2], np.linspace(-0.5, 1, 128))[:, None]


def refused(log_mels):
    """1 if a check refuses them by a UserError, else 0."""

    def probe(check_log_mels):
        try:
            check_log_mels(log_mels)
        except UserError:
            return 1
        return 0

    return probe


def refuse(condition):
    """A check of log-mels that refuses on another condition."""

    def mistaken(log_mels):
        if condition(log_mels):
            raise UserError("shape NaN decibels")

    return mistaken


def beyond(x, slack=1e-4):
    return x.min() < np.log(1e-5) - slack or x.max() > np.log(1e8) + slack


def shaped(x):
    return x.ndim == 3 and x.shape[-1] == 128 and x.size > 0


def hold(log_mels):
    """A frame's first number, for all its samples."""
    return np.repeat(log_mels[:, :, 0], 320, axis=1)


def position(log_mels):
    """How far each sample is from the start of what the decoder was given, 0 to 1: chunks can be told apart."""
    n, frames, _ = log_mels.shape
    return np.tile(np.arange(frames * 320, dtype=np.float32) / 3e5, (n, 1))


def decoded(decoder, frames):
    """Every 160th sample of what `decode` makes of log-mels that count frames."""
    log_mels = np.broadcast_to(np.arange(1, frames + 1, dtype=np.float32)[:, None] / 1000, (1, frames, 128))
    return lambda decode: decode(decoder, log_mels)[:, ::160]


def around_the_seam(decode):
    return decoded(position, 540)(decode)[0, 2 * 508 : 2 * 524]


def heard(frames):
    """The first 20 frames that the decoder was given for the last chunk of a clip of so many frames."""

    def probe(decode):
        given = []

        def listening(log_mels):
            given.append(log_mels[0, :20, 0])
            return hold(log_mels)

        decoded(listening, frames)(decode)
        return given[-1]

    return probe


def wrong(mode="reflect", length=512, before=16, fade="linear", shared=8, alone=False):
    """A `decode` with other context, chunks or fades."""

    def mistaken(decoder, log_mels):
        n, frames, _ = log_mels.shape
        padded = np.pad(log_mels, [(0, 0), (16, 16), (0, 0)], mode=mode)
        sound = np.zeros((n, frames * 320), np.float32)
        ramp = np.linspace(0, 1, 8 * 320)
        for first in range(0, max(frames - 8, 1), length):
            last = min(first + length + shared, frames)
            mirrored = np.pad(log_mels[:, first:last], [(0, 0), (16, 16), (0, 0)], mode=mode)
            made = decoder(mirrored if alone else padded[:, first : last + 32])
            made = made[:, before * 320 : (before + last - first) * 320].copy()
            if first and shared:
                old = sound[:, first * 320 : (first + 8) * 320]
                new = made[:, : 8 * 320]
                if fade == "linear":
                    new[...] = ramp * new + (1 - ramp) * old
                elif fade == "power":
                    new[...] = np.sin(np.pi / 2 * ramp) * new + np.cos(np.pi / 2 * ramp) * old
                elif fade == "reversed":
                    new[...] = (1 - ramp) * new + ramp * old
                elif fade == "sum":
                    new[...] = new + old
            sound[:, first * 320 : last * 320] = made
        return sound

    return mistaken


EXERCISES = [
    Exercise(
        "ddim_from_scratch.experiments.compare.log_mel_error",
        tests=(COMMANDS + "test_the_ceiling_is_the_distance_that_the_inverter_makes",),
        examples={
            "log_mel_error(sound (2, 3200), log_mels (2, 10, 128))": lambda f: f(SOUND, LOG_MELS),
            "log_mel_error of one clip": lambda f: f(SOUND[:1], LOG_MELS[:1]),
        },
        mistakes={
            "differences of opposite sign cancel: take the absolute value first, then the mean": (
                lambda sound, log_mels: float(np.mean([log_mel(x) for x in sound] - log_mels))
            ),
            "the mean comes before the absolute value": (
                lambda sound, log_mels: float(abs(np.mean([log_mel(x) for x in sound] - log_mels)))
            ),
            "this is the mean square: take absolute values": (
                lambda sound, log_mels: float(np.mean(([log_mel(x) for x in sound] - log_mels) ** 2))
            ),
            "this is the root of the mean square: take the mean of absolute values": (
                lambda sound, log_mels: float(np.sqrt(np.mean(([log_mel(x) for x in sound] - log_mels) ** 2)))
            ),
            "this is in decibels: leave it in natural logarithms": (
                lambda sound, log_mels: float(20 / np.log(10) * np.mean(np.abs([log_mel(x) for x in sound] - log_mels)))
            ),
            "this is the error of the first clip: take the mean over all": (
                lambda sound, log_mels: float(np.mean(np.abs(log_mel(sound[0]) - log_mels[0])))
            ),
            "this is the sum: take the mean": (
                lambda sound, log_mels: float(np.sum(np.abs([log_mel(x) for x in sound] - log_mels)))
            ),
        },
        tolerance=1e-5,
    ),
    Exercise(
        "ddim_from_scratch.audio.inverter.check_log_mels",
        tests=(
            INVERTER + "test_log_mels_that_are_none_are_refused",
            INVERTER + "test_the_ends_of_the_range_are_within_it",
        ),
        examples={
            "refused, of a clip of zeros (1, 4, 128)": refused(np.zeros((1, 4, 128))),
            "refused, of one NaN among zeros": refused(np.where(np.arange(512) == 7, np.nan, 0).reshape(1, 4, 128)),
            "refused, of -80 (decibels)": refused(np.full((1, 4, 128), -80.0)),
            "refused, of 19": refused(np.full((1, 4, 128), 19.0)),
            "refused, of silence in float32": refused(np.full((1, 4, 128), np.log(1e-5), np.float32)),
            "refused, of ln(1e8) in float32": refused(np.full((1, 4, 128), np.log(1e8), np.float32)),
            "refused, of shape (4, 128)": refused(np.zeros((4, 128))),
            "refused, of shape (1, 128, 4)": refused(np.zeros((1, 128, 4))),
            "refused, of shape (0, 4, 128)": refused(np.zeros((0, 4, 128))),
        },
        mistakes={
            "NaN passes, since no comparison with it is true: test np.isfinite as well": (
                refuse(lambda x: not shaped(x) or beyond(x))
            ),
            "values beyond the range pass: compare with ln(1e-5) and ln(1e8)": (
                refuse(lambda x: not shaped(x) or not np.isfinite(x).all())
            ),
            "values above ln(1e8) pass": (
                refuse(lambda x: not shaped(x) or not np.isfinite(x).all() or x.min() < np.log(1e-5) - 1e-4)
            ),
            "the ends themselves are refused where float32 rounds them: allow 1e-4": (
                refuse(lambda x: not shaped(x) or not np.isfinite(x).all() or beyond(x.astype("f8"), 0))
            ),
            "a single clip without the first axis passes: ask for three axes": (
                refuse(lambda x: x.shape[-1] != 128 or not np.isfinite(x).all() or beyond(x))
            ),
            "mel bins and frames exchanged pass: the last axis must have 128": (
                refuse(lambda x: x.ndim != 3 or not np.isfinite(x).all() or beyond(x))
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.audio.inverter.decode",
        tests=tuple(
            INVERTER + name
            for name in (
                "test_every_frame_comes_out_once_and_in_its_place",
                "test_the_decoder_hears_the_clip_mirrored_at_both_ends",
                "test_clicks_in_the_first_and_last_frames_are_cut",
                "test_no_click_at_a_seam",
            )
        ),
        examples={
            "decode(a decoder that repeats each frame's number, 3 frames)": decoded(hold, 3),
            "what the decoder is given at the start of 20 frames": heard(20),
            "... and at the start of the second chunk of 540": heard(540),
            "a decoder that counts its samples, around frame 512 of 540": around_the_seam,
            "decode(the first decoder, 1040 frames)": decoded(hold, 1040),
        },
        mistakes={
            "the context at the start is not cut: drop the first 16 * 320 samples": wrong(before=0),
            "the ends are padded with zeros: mirror them": wrong(mode="constant"),
            "the first and last frames are repeated: that is mode='edge' or 'symmetric'; use 'reflect'": (
                wrong(mode="symmetric")
            ),
            "the first frame is held, mode='edge': use 'reflect'": wrong(mode="edge"),
            "each chunk is mirrored by itself: give the decoder the frames of its neighbours": wrong(alone=True),
            "chunks are joined without a fade": wrong(fade="none"),
            "this fade keeps powers: both chunks are nearly the same there, so weights must add up to 1": (
                wrong(fade="power")
            ),
            "the fade goes the wrong way: the later chunk fades in": wrong(fade="reversed"),
            "the shared frames are added: weigh them": wrong(fade="sum"),
            "chunks end at 512 frames, so they have nothing in common to fade in": wrong(shared=0),
        },
        tolerance=1e-5,
    ),
]
