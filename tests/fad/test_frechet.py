"""The Frechet distance against its closed forms and against SciPy's general matrix square root."""

import numpy as np
import pytest
import scipy.linalg

from ddim_from_scratch.fad import frechet_distance, gaussian, log_mel_statistics


def covariance(rng, d, rank=None):
    factor = rng.standard_normal((d, rank or 2 * d))
    return factor @ factor.T / factor.shape[1]


def test_equal_gaussians_are_at_distance_zero(rng):
    mu, sigma = rng.standard_normal(16), covariance(rng, 16)
    assert frechet_distance(mu, sigma, mu, sigma) == pytest.approx(0, abs=1e-10)


def test_a_shift_of_the_mean_counts_with_its_square(rng):
    mu, d, sigma = *rng.standard_normal((2, 16)), covariance(rng, 16)
    assert frechet_distance(mu, sigma, mu + d, sigma) == pytest.approx(d @ d, rel=1e-10)


def test_diagonal_covariances(rng):
    a, b = rng.uniform(0.1, 3, (2, 16))
    expected = ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    zero = np.zeros(16)
    assert frechet_distance(zero, np.diag(a), zero, np.diag(b)) == pytest.approx(expected, rel=1e-10)


def test_one_dimension():
    assert frechet_distance(*(np.array(a) for a in ([1.0], [[4.0]], [3.0], [[9.0]]))) == pytest.approx(4 + 1)


def test_symmetry_and_rotation_invariance(rng):
    mu_a, mu_b = rng.standard_normal((2, 12))
    a, b = covariance(rng, 12), covariance(rng, 12)
    q, _ = np.linalg.qr(rng.standard_normal((12, 12)))
    distance = frechet_distance(mu_a, a, mu_b, b)
    assert frechet_distance(mu_b, b, mu_a, a) == pytest.approx(distance, rel=1e-10)
    assert frechet_distance(q @ mu_a, q @ a @ q.T, q @ mu_b, q @ b @ q.T) == pytest.approx(distance, rel=1e-10)


def test_agrees_with_the_general_square_root_on_full_rank(rng):
    a, b, zero = covariance(rng, 32), covariance(rng, 32), np.zeros(32)
    expected = np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)
    assert frechet_distance(zero, a, zero, b) == pytest.approx(expected, rel=1e-10)


def test_rank_deficient_covariances_give_a_real_distance(rng):
    # In disjoint subspaces S_a S_b = 0, so the distance is the sum of the traces.
    a, b = np.zeros((2, 10, 10))
    a[:4, :4], b[4:, 4:] = covariance(rng, 4), covariance(rng, 6, rank=2)
    zero = np.zeros(10)
    assert frechet_distance(zero, a, zero, b) == pytest.approx(np.trace(a) + np.trace(b), rel=1e-10)
    assert frechet_distance(zero, b, zero, b) == pytest.approx(0, abs=1e-7)


def test_gaussian_has_the_unbiased_covariance(rng):
    x = rng.standard_normal((7, 3)).astype(np.float32)
    mu, sigma = gaussian(x)
    np.testing.assert_allclose(mu, x.astype(np.float64).mean(axis=0))
    np.testing.assert_allclose(sigma, np.cov(x.astype(np.float64).T, ddof=1), rtol=1e-12)
    with pytest.raises(ValueError, match="2 or more"):
        gaussian(x[:1])


def test_bad_shapes_and_values_are_refused(rng):
    mu, sigma = np.zeros(3), np.eye(3)
    with pytest.raises(ValueError, match="same embedding"):
        frechet_distance(mu, sigma, np.zeros(4), np.eye(4))
    with pytest.raises(ValueError, match="same embedding"):
        frechet_distance(mu, sigma, mu, np.eye(4))
    with pytest.raises(ValueError, match="NaN"):
        frechet_distance(mu, sigma, mu, sigma * np.nan)


def test_statistics_of_log_mels_are_per_clip_and_bin(rng):
    clips = rng.standard_normal((2, 50, 128))
    embedding = log_mel_statistics(clips)
    assert embedding.shape == (2, 384)
    assert embedding[1, 5] == pytest.approx(clips[1, :, 5].mean())
    assert embedding[1, 128 + 5] == pytest.approx(clips[1, :, 5].std())
    assert embedding[1, 256 + 5] == pytest.approx((clips[1, 1:, 5] - clips[1, :-1, 5]).std())


def test_statistics_tell_frames_in_order_from_the_same_frames_shuffled(rng):
    ordered = np.sort(rng.standard_normal((8, 50, 128)), axis=1)
    shuffled = rng.permuted(ordered, axis=1)
    a, b = gaussian(log_mel_statistics(ordered)), gaussian(log_mel_statistics(shuffled))
    assert frechet_distance(*a, *b) > 10 * frechet_distance(*a, *a) + 10
