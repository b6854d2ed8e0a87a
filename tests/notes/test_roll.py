"""The roll: in time with the spectrogram, without seams, and clear about what it cannot show."""

import numpy as np
import pytest

from ddim_from_scratch.audio import log_mel
from ddim_from_scratch.audio.contract import HOP_LENGTH, N_MELS, SR
from ddim_from_scratch.audio.midi import Notes
from ddim_from_scratch.notes.roll import SOUNDS, STARTS, comb, features, roll

PROGRAMS = (0, 24)
NOTES = Notes.of([(0.1, 0.5, 60, 127, 0), (0.313, 0.9, 64, 64, 24), (0.5, 0.9, 60, 64, 0)])


# A mel bin of each pitch that the other does not sound in, and how much of it a harmonic takes.
BINS = {a: int(np.where(comb(b) == 0, comb(a), 0).argmax()) for a, b in ((60, 64), (64, 60))}
SHARE = {pitch: comb(pitch)[mel] for pitch, mel in BINS.items()}


def planes(notes, first, frames, programs=PROGRAMS):
    return roll(notes, first, frames, programs).reshape(frames, len(programs), 2, N_MELS)


@pytest.mark.parametrize("sample", [6400, 6480, 6640, 6719])
def test_a_start_is_in_the_frame_that_hears_it_most(sample):
    click = np.zeros(SR, np.float32)
    click[sample] = 0.5
    loudest = log_mel(click).mean(axis=1)
    starts = planes(Notes.of([(sample / SR, 0.9, 60, 127, 0)]), 0, len(loudest))[:, 0, STARTS, BINS[60]] / SHARE[60]
    assert starts.argmax() == loudest.argmax()
    middles = (np.arange(len(starts)) + 1) * HOP_LENGTH
    assert starts.sum() == pytest.approx(1) and starts @ middles == pytest.approx(sample)


def test_each_note_has_its_place_and_nothing_else_has():
    shown = planes(NOTES, 0, 60)
    assert shown.shape == (60, 2, 2, N_MELS) and shown.dtype == np.float32 and features(PROGRAMS) == 2 * 2 * N_MELS
    line = shown[:, 0, SOUNDS, BINS[60]]
    np.testing.assert_array_equal(np.flatnonzero(line), np.arange(4, 44))  # one note from 0.1 to 0.5, one to 0.9 s
    np.testing.assert_array_equal(np.flatnonzero(shown[:, 1, SOUNDS, BINS[64]]), np.arange(15, 44))
    assert shown[:, 0, STARTS, BINS[60]].sum() == pytest.approx(SHARE[60] * (1 + 64 / 127))
    assert shown[:, 1, STARTS, BINS[64]].sum() == pytest.approx(SHARE[64] * 64 / 127)
    assert (shown[:, 0, :, BINS[64]] == 0).all() and (shown[:, 1, :, BINS[60]] == 0).all()


def test_parts_of_a_roll_are_the_rolls_of_parts():
    whole = roll(NOTES, 0, 60, PROGRAMS)
    parts = [roll(NOTES, first, 12, PROGRAMS) for first in range(0, 60, 12)]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-6)  # times are rounded after a shift


def test_a_comb_lies_on_a_tones_partials():
    pitch = 57  # 220 Hz
    t = np.arange(SR) / SR
    tone = sum(np.sin(2 * np.pi * 220 * n * t) for n in range(1, 11)).astype(np.float32) / 20
    heard = log_mel(tone)[10]
    alike = {other: np.corrcoef(heard, comb(other))[0, 1] for other in range(45, 70)}
    assert max(alike, key=alike.get) == pitch
    assert comb(127).sum() < comb(60).sum()  # most of its harmonics lie above the mel axis
