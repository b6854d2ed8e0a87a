"""Music that goes on, drawn by the exact network of music whose law is known: no seam, nothing kept is changed."""

from functools import cache

import numpy as np
import pytest

from ddim_from_scratch.diffusion import Sampling, correlated_gaussian_eps_model
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.spectrogram import compose
from ddim_from_scratch.spectrogram.compose import Composer
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.data import Scaler
from ddim_from_scratch.spectrogram.model import Model

SCALER = Scaler(np.full(128, -3, np.float32), np.full(128, 1.5, np.float32))
CORRELATION = 0.9  # of a mel bin with itself a frame later; the bins know nothing of each other


def covariance(frames):
    return CORRELATION ** abs(np.subtract.outer(np.arange(frames), np.arange(frames)))


@pytest.fixture
def seen(monkeypatch):
    """The shape and the context of every piece, which the exact eps of such music stands in for a network."""
    seen = []

    def exact_eps_model(model, conditions=(), alpha_bar=None):
        def eps_model(x, t):
            seen.append((x.shape, *(conditions or (None,))))
            return np.moveaxis(exact(x.shape[1])(np.moveaxis(x, 1, -1), t), -1, 1)

        @cache
        def exact(frames):
            return correlated_gaussian_eps_model(np.zeros(frames), covariance(frames), alpha_bar)

        return eps_model

    monkeypatch.setattr(Model, "eps_model", exact_eps_model)
    return seen


def composer(schedule="linear", overlap=16, steps=8, context=False, attention="lowest", eta=0.0, **how):
    config = Config(
        data="x", window_seconds=0.64, widths=(4, 4), schedule=schedule, context=context, attention=attention
    )
    how = {"resamplings": 1} | how
    return Composer(Model({}, config, SCALER), Sampling(steps=steps, eta=eta), overlap=overlap, **how)


def music(n, frames, seed=1):
    """Clips of it, as log-mels."""
    x = np.random.default_rng(seed).standard_normal((n, 128, frames)) @ np.linalg.cholesky(covariance(frames)).T
    return SCALER.restore(np.swapaxes(x, 1, 2).astype(np.float32))


def jumps(clips):
    """The root mean square over the mel bins of the change from each frame to the next."""
    return np.sqrt((np.diff(clips, axis=1) ** 2).mean(axis=-1))


def test_resampling_and_blending_leave_no_seam(seen, monkeypatch):
    limit = np.quantile(jumps(music(4, 500)), 0.99)

    def seams(resamplings):
        clips = composer("continuous-cosine", steps=30, eta=1.0, resamplings=resamplings).draw(4, 32 + 16 * 6)
        return jumps(clips)[:, np.arange(32, 128, 16) - 1]

    once, often = seams(1), seams(4)
    assert np.mean(often <= limit) > 0.9
    assert np.mean(once) > 1.1 * np.mean(often)
    monkeypatch.setattr(compose, "BLENDED", 0)
    cut = seams(4)
    assert np.mean(cut) > 1.15 * np.mean(often)  # 1.38 over four seeds
    assert np.mean(cut > limit) > 0.3  # 0.54 to 0.75: of music's own changes, 0.01


@pytest.mark.parametrize(("attention", "windows"), [("none", 4), ("lowest", 1)])
def test_the_network_sees_one_piece_at_a_time_however_long_the_music(attention, windows, seen):
    clips = composer(attention=attention, steps=1).draw(9, 501)
    assert clips.shape == (9, 501, 128) and clips.dtype == np.float32
    assert max(shape[:2] for shape, _ in seen) == (8, windows * 32)
    assert len(np.unique(clips[:, -10:].mean(axis=(1, 2)))) == 9


@pytest.mark.parametrize("how", [{"eta": 1.0}, {"resamplings": 2, "seed": 3}])
def test_a_clip_is_the_same_however_many_are_drawn_and_grows_from_the_same_beginning(how, seen):
    clips = composer(**how).draw(10, 60)
    np.testing.assert_allclose(composer(first=9, **how).draw(1, 60)[0], clips[9], atol=1e-5)
    np.testing.assert_allclose(composer(**how).draw(1, 32)[0, :24], clips[0, :24], atol=1e-5)
    assert np.abs(composer(**how | {"seed": 4}).draw(1, 60)[0] - clips[0]).mean() > 0.3


def test_a_prompt_is_kept_and_goes_on_for_any_number_of_frames(seen):
    prompt = music(2, 40)
    clips = composer().go_on(prompt, 21)
    assert clips.shape == (2, 61, 128)
    np.testing.assert_array_equal(clips[:, : 40 - compose.BLENDED], prompt[:, : 40 - compose.BLENDED])
    assert np.abs(clips[:, :40] - prompt).mean() < 0.1 * prompt.std()
    assert np.all(np.abs(np.diff(clips[:, 39:].mean(axis=-1), axis=1)) > 0)  # nothing is left empty
    np.testing.assert_array_equal(composer().go_on(prompt, 0), prompt)


@pytest.mark.parametrize(("context", "needed"), [(False, 16), (True, 32)])
def test_a_prompt_shorter_than_what_is_needed_is_refused(context, needed, seen):
    composer(context=context).go_on(music(1, needed), 5)
    with pytest.raises(ValueError, match=f"{needed - 1} frames, and {needed} are needed"):
        composer(context=context).go_on(music(1, needed - 1), 5)


@pytest.mark.parametrize("overlap", [0, 8])
def test_a_context_is_what_came_before_the_piece_backwards(overlap, seen):
    clips = composer(context=True, overlap=overlap, steps=1).draw(2, 32 + (32 - overlap) + 1)
    assert [not context.any() for _, context in seen] == [True, False, False]  # there is nothing before the first piece
    for i, (_, context) in enumerate(seen[1:], 1):
        # The first piece's end is what the second saw, but for the frames that then blended.
        past = SCALER.standardise(clips[:, max(i * (32 - overlap) - 32, 0) : i * (32 - overlap)])[:, ::-1]
        np.testing.assert_array_equal(context[:, : past.shape[1], :, 0], past)
        assert not context[:, past.shape[1] :].any()


@pytest.mark.parametrize(("start", "stop"), [(60, 70), (0, 5), (95, 100), (3, 20)])
def test_a_gap_is_composed_anew_and_the_rest_is_kept(start, stop, seen):
    clip = music(1, 100)[0]
    clips = composer().fill(clip, start, stop, 3)
    rest = np.delete(np.arange(100), np.arange(start, stop))
    away = np.abs(rest - np.clip(rest, start, stop - 1))
    far = rest[away > compose.BLENDED]
    np.testing.assert_array_equal(clips[:, far], np.repeat(clip[None, far], 3, axis=0))
    assert np.abs(clips[:, rest] - clip[rest]).max() < 3
    assert np.abs(clips[:, start:stop] - clip[start:stop]).mean() > 0.3
    assert np.abs(clips[0, start:stop] - clips[1, start:stop]).mean() > 0.3
    assert {shape[1] for shape, _ in seen} == {32}


@pytest.mark.parametrize(("start", "stop"), [(5, 5), (20, 10), (-1, 5), (90, 101), (0, 32)])
def test_an_impossible_gap_is_refused(start, stop, seen):
    with pytest.raises(UserError, match="--gap"):
        composer().fill(music(1, 100)[0], start, stop, 1)


def test_variations_leave_the_clip_as_far_as_they_are_told(seen):
    clip = music(1, 32)[0]
    away = [np.abs(composer(steps=20).vary(clip, s, 9) - clip).mean() for s in (0, 0.1, 0.4, 1)]
    assert away[0] == 0 < away[1] < away[2] < away[3]
    other = np.abs(music(9, 32, seed=2) - clip).mean()
    assert away[1] < 0.3 * other and away[3] == pytest.approx(other, rel=0.1)
    np.testing.assert_array_equal(composer().vary(clip, 0.0004, 1)[0], clip)  # less than one time


def test_between_two_clips_lie_clips_of_the_same_kind(seen):
    a, b = music(2, 32)
    clips = composer(steps=100).between(a, b, 5)
    scale = np.abs(a - b).mean()
    assert np.abs(clips[0] - a).mean() < 0.05 * scale and np.abs(clips[-1] - b).mean() < 0.05 * scale
    from_a = [np.abs(clip - a).mean() for clip in clips]
    assert np.all(np.diff(from_a) > 0)
    assert jumps(clips).mean(axis=1) == pytest.approx(jumps(clips[:1]).mean(), rel=0.1)  # not halved by averaging
    np.testing.assert_allclose(composer(steps=100).between(a, b, 1)[0], clips[2], atol=1e-3)
