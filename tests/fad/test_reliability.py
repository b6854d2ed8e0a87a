"""What is said of a score: intervals that cover, floors, extrapolations that find the limit."""

import numpy as np
import pytest

from ddim_from_scratch.fad.reliability import distance, floor, infinity, interval, rotated
from ddim_from_scratch.fad.statistics import Set, load_statistics

D = 4


def clips(rng, count, patches=3, mean=0.0, within=0.3):
    """Clips whose embeddings resemble each other: D independent dimensions, nearly all variance between clips."""
    centres = mean + rng.standard_normal((count, 1, D))
    return [c + within * rng.standard_normal((patches, D)) for c in centres]


def test_the_floor_is_what_two_draws_of_the_same_score(rng):
    measured = np.mean([floor(Set.of(clips(rng, 40)), rng) for _ in range(30)])
    expected = np.mean([distance(Set.of(clips(rng, 20)), Set.of(clips(rng, 20))) for _ in range(200)])
    assert measured == pytest.approx(expected, rel=0.15)


def test_the_floor_needs_a_covariance_in_each_half(rng):
    single = [clip[:1] for clip in clips(rng, 4)]
    assert floor(Set.of(single), rng) > 0
    assert floor(Set.of(single[:3]), rng) is None
    assert floor(Set(np.zeros(D), np.eye(D)), rng) is None


def test_the_interval_covers_the_score_of_other_clips(rng):
    """Of 60 experiments with 25 clips a side, 95 % should cover; fewer than 80 % has a chance of 1e-5."""
    truth = np.mean([distance(Set.of(clips(rng, 25)), Set.of(clips(rng, 25, mean=0.5))) for _ in range(300)])
    covered = 0
    for _ in range(60):
        low, high = interval(Set.of(clips(rng, 25)), Set.of(clips(rng, 25, mean=0.5)), rng)
        covered += low <= truth <= high
    assert covered >= 48


def test_the_interval_draws_clips_not_patches(rng):
    """A clip's patches are almost copies: a hundred of each say no more than two."""
    few = [c[:2] for c in clips(rng, 20, patches=100, within=0.01)]
    rng_a, rng_b = np.random.default_rng(1), np.random.default_rng(1)
    background = Set(np.zeros(D), np.eye(D))
    low, high = interval(background, Set.of(few), rng_a)
    many_low, many_high = interval(background, Set.of([np.repeat(c, 50, axis=0) for c in few]), rng_b)
    assert many_high - many_low == pytest.approx(high - low, rel=0.1)


def test_no_interval_without_clips_to_draw(rng):
    known = Set(np.zeros(D), np.eye(D))
    assert interval(known, known, rng) is None
    assert interval(known, Set.of(clips(rng, 1)), rng) is None
    low, high = interval(known, Set.of(clips(rng, 30)), rng)
    assert 0 <= low < high


def test_infinity_finds_the_distance_of_the_populations(rng):
    """300 embeddings of N(0, I) in 16 dimensions score too high against N(0, I) itself; their limit is near 0."""
    background = Set(np.zeros(16), np.eye(16))
    sets = [Set.of([rng.standard_normal((300, 16))]) for _ in range(10)]
    plain = np.mean([distance(background, eval) for eval in sets])
    found = [infinity(background, eval, rng) for eval in sets]
    assert abs(np.mean([extrapolation.score for extrapolation in found])) < 0.2 * plain
    assert all(extrapolation.slope > 0 and extrapolation.r_squared > 0.5 for extrapolation in found)
    assert infinity(background, background, rng) is None


def test_infinity_s_line_fits_an_exact_line(monkeypatch, rng):
    monkeypatch.setattr("ddim_from_scratch.fad.reliability.distance", lambda background, eval: 3.0 + 70.0 / eval.n)
    score, slope, r_squared = infinity(Set(np.zeros(D), np.eye(D)), Set.of([rng.standard_normal((900, D))]), rng)
    assert (score, slope, r_squared) == pytest.approx((3.0, 70.0, 1.0))


def test_fewer_embeddings_than_dimensions_are_as_far_apart_in_fewer_coordinates(rng):
    wide = [Set.of([c.astype(np.float32) for c in rng.standard_normal((3, 2, 40)) + shift]) for shift in (0.0, 5.0)]
    narrow = rotated(*wide)
    assert len(narrow[0].mean) == 12
    assert distance(*narrow) == pytest.approx(distance(*wide), rel=1e-7)
    many = [Set.of([rng.standard_normal((30, 40))]) for _ in range(2)]
    assert rotated(*many) == tuple(many)


def test_rank_counts_the_directions_seen(rng):
    assert Set.of([rng.standard_normal((5, 20)).astype(np.float32)]).rank == 4
    assert Set.of([rng.standard_normal((50, 20)).astype(np.float32)]).rank == 20


@pytest.fixture
def set_of_5(rng):
    return Set.of([rng.standard_normal((10, 5))])


@pytest.mark.parametrize("mu, sigma", [("mu", "sigma"), ("mean", "cov"), ("musicnn.mu", "musicnn.cov")])
def test_statistics_are_read_under_the_names_that_people_use(mu, sigma, set_of_5, tmp_path):
    np.savez(tmp_path / "a.npz", **{mu: set_of_5.mean, sigma: set_of_5.covariance, "other.mu": np.ones(3)})
    loaded = load_statistics(tmp_path / "a.npz", "musicnn")
    assert distance(loaded, set_of_5) == pytest.approx(0, abs=1e-7)
    assert loaded.n == 0


def test_statistics_of_a_folder_as_fadtk_writes_them(set_of_5, tmp_path):
    np.save(tmp_path / "mu.npy", set_of_5.mean)
    np.save(tmp_path / "cov.npy", set_of_5.covariance)
    assert distance(load_statistics(tmp_path, "vggish"), set_of_5) == pytest.approx(0, abs=1e-7)
