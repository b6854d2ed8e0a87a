"""Solutions of lesson 11, as a reader of the lesson might write them."""

import numpy as np

from ddim_from_scratch import fad
from ddim_from_scratch.fad.reliability import Extrapolation


def gaussian(embeddings):
    """Mean and covariance, with n - 1."""
    if embeddings.ndim != 2 or len(embeddings) < 2:
        raise ValueError(f"embeddings of shape {embeddings.shape}: a covariance needs 2 or more")
    x = embeddings.astype(np.float64)
    mean = x.sum(axis=0) / len(x)
    return mean, (x - mean).T @ (x - mean) / (len(x) - 1)


def frechet_distance(mu_b, sigma_b, mu_e, sigma_e):
    """The shift of the means, and the traces."""
    if mu_b.shape != mu_e.shape or not sigma_b.shape == sigma_e.shape == (len(mu_b), len(mu_b)):
        raise ValueError(f"{mu_b.shape} and {mu_e.shape} are not of the same embedding")
    if not all(np.isfinite(a).all() for a in (mu_b, sigma_b, mu_e, sigma_e)):
        raise ValueError("there is a NaN, or something infinite")
    values, vectors = np.linalg.eigh(sigma_b)
    root = vectors @ np.diag(np.sqrt(np.maximum(values, 0))) @ vectors.T
    of_product = np.maximum(np.linalg.eigvalsh(root @ sigma_e @ root), 0)
    traces = np.trace(sigma_b) + np.trace(sigma_e) - 2 * np.sqrt(of_product).sum()
    return max(0.0, float(((mu_b - mu_e) ** 2).sum() + traces))


def infinity(background, evaluated, rng):
    """A line through the scores of subsets."""
    if evaluated.clips is None or evaluated.n < 4:
        return None
    embeddings = np.concatenate(evaluated.clips)
    sizes = np.linspace(max(2, min(500, evaluated.n // 2)), evaluated.n, 25).astype(int)
    scores = []
    for n in sizes:
        subset = embeddings[rng.permutation(evaluated.n)[:n]]
        scores.append(fad.frechet_distance(background.mean, background.covariance, *fad.gaussian(subset)))
    slope, score = np.polyfit(1 / sizes, scores, 1)
    residual = scores - (score + slope / sizes)
    r_squared = 1 - (residual**2).sum() / ((scores - np.mean(scores)) ** 2).sum()
    return Extrapolation(float(score), float(slope), float(r_squared))


def log_mel_statistics(log_mels):
    """Where it is, how far it swings, how fast."""
    change = np.diff(log_mels, axis=1)
    return np.concatenate([log_mels.mean(axis=1), log_mels.std(axis=1), change.std(axis=1)], axis=1)


def test_frechet_distance(frechet_distance):
    """A shift, diagonal and singular covariances, one that turns, and too few embeddings."""
    zero, one = np.zeros(2), np.eye(2)
    assert abs(frechet_distance(zero, one, zero, one)) < 1e-9
    assert np.isclose(frechet_distance(zero, one, np.array([3.0, 4]), one), 25)
    # With diagonal covariances, sums over the dimensions: here (2 - 3)^2 + (1 - 5)^2.
    assert np.isclose(frechet_distance(zero, np.diag([4.0, 1]), zero, np.diag([9.0, 25])), 17)
    # Variances in different directions: nothing in common, and no root of a product to subtract.
    assert np.isclose(frechet_distance(zero, np.diag([0.0, 4]), zero, np.diag([9.0, 0])), 13)
    # A covariance with entries beside its diagonal, and the same one turned back to it: eigenvalues 1 and 3.
    assert np.isclose(frechet_distance(zero, np.array([[2.0, 1], [1, 2]]), zero, one), (3**0.5 - 1) ** 2)
    few = [np.random.default_rng(seed).standard_normal((50, 128)) for seed in (0, 1)]
    distance = frechet_distance(*(part for x in few for part in (x.mean(axis=0), np.cov(x.T))))
    assert np.isrealobj(distance) and 100 < distance < 160
