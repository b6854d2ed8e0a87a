"""What the exercises of lesson 11 are held to, and the mistakes that are known."""

import numpy as np
import scipy.linalg

from ddim_from_scratch.fad import frechet_distance, gaussian
from ddim_from_scratch.fad.statistics import Set
from lessons.tool.check import Exercise

FRECHET, RELIABILITY = "tests/fad/test_frechet.py::", "tests/fad/test_reliability.py::"
POINTS = np.array([[0.0, 1], [2, 1], [4, 4]])
PAIR = np.zeros(2), np.array([[2.0, 1], [1, 2]]), np.array([3.0, 4]), np.array([[5.0, 0], [0, 1]])
FLAT = np.zeros(2), np.diag([0.0, 4]), np.zeros(2), np.diag([9.0, 0])
FEW = tuple(part for seed in (0, 1) for part in gaussian(np.random.default_rng(seed).standard_normal((50, 128))))
WALKS = np.cumsum(np.random.default_rng(1).standard_normal((2, 5, 128)), axis=1)

# The corners of a simplex: any n of them score the same as any other n, whichever are drawn.
TRUTH = Set(np.zeros(12), np.eye(12))
CORNERS = Set.of([np.eye(12)[:5], np.eye(12)[5:]])


def both(answer):
    """Mean and covariance in one array."""
    mean, covariance = answer
    return np.vstack([mean, covariance])


def general(mu_b, sigma_b, mu_e, sigma_e, shift=lambda d: d @ d, factor=2, product=np.matmul, root=np.sqrt):
    """The distance with one thing or another changed."""
    values = np.linalg.eigvals(product(sigma_b, sigma_e)).real
    return float(shift(mu_b - mu_e) + np.trace(sigma_b + sigma_e) - factor * root(np.maximum(values, 0)).sum())


def raw_root(mu_b, sigma_b, mu_e, sigma_e):
    """The formula as it is printed."""
    return np.sum((mu_b - mu_e) ** 2) + np.trace(sigma_b + sigma_e - 2 * scipy.linalg.sqrtm(sigma_b @ sigma_e))


def subset_scores(background, evaluated, rng):
    """Sizes, and the scores of subsets of the evaluated embeddings."""
    embeddings = np.concatenate(evaluated.clips)
    sizes = np.linspace(max(2, evaluated.n // 2), evaluated.n, 25).astype(int)
    subsets = [gaussian(embeddings[rng.permutation(evaluated.n)[:n]]) for n in sizes]
    return sizes, np.array([frechet_distance(background.mean, background.covariance, *s) for s in subsets])


def line(background, evaluated, rng, of=lambda n: 1 / n, swap=False, root=False):
    """The straight line, with one thing or another changed."""
    sizes, scores = subset_scores(background, evaluated, rng)
    slope, score = np.polyfit(of(sizes), scores, 1)
    r_squared = 1 - ((scores - score - slope * of(sizes)) ** 2).sum() / ((scores - scores.mean()) ** 2).sum()
    return slope if swap else score, score if swap else slope, r_squared**0.5 if root else r_squared


def plain_score(background, evaluated, rng):
    """The last score, in place of the line's end."""
    _, slope, r_squared = line(background, evaluated, rng)
    return distance_of_all(background, evaluated), slope, r_squared


def distance_of_all(background, evaluated):
    return frechet_distance(background.mean, background.covariance, *gaussian(np.concatenate(evaluated.clips)))


def unexplained(background, evaluated, rng):
    score, slope, r_squared = line(background, evaluated, rng)
    return score, slope, 1 - r_squared


def statistics(log_mels, axis=1, last=lambda change: change.std(axis=1), ddof=0):
    change = np.diff(log_mels, axis=1)
    parts = [log_mels.mean(axis=1), log_mels.std(axis=1, ddof=ddof), last(change)]
    return np.concatenate(parts, axis=axis)


EXERCISES = [
    Exercise(
        "ddim_from_scratch.fad.frechet.gaussian",
        tests=(
            FRECHET + "test_gaussian_has_the_unbiased_covariance",
            RELIABILITY + "test_rank_counts_the_directions_seen",
        ),
        examples={
            "gaussian([[0, 1], [2, 1], [4, 4]]), mean above covariance": lambda gaussian: both(gaussian(POINTS)),
            "gaussian of float32": lambda gaussian: both(gaussian(POINTS.astype(np.float32))),
        },
        mistakes={
            "the covariance is divided by n: by n - 1, so that it is right on average": (
                lambda x: (x.mean(0), np.cov(x.T, ddof=0))
            ),
            "the mean is not subtracted: these are the second moments": lambda x: (x.mean(0), x.T @ x / (len(x) - 1)),
            "the sum is not divided by n - 1": lambda x: (x.mean(0), (x - x.mean(0)).T @ (x - x.mean(0))),
            "these are correlations, divided by the standard deviations: leave them out": (
                lambda x: (x.mean(0), np.corrcoef(x.T))
            ),
            "only the variances are there: the covariance has entries beside its diagonal": (
                lambda x: (x.mean(0), np.diag(x.var(0, ddof=1)))
            ),
            "the second is the standard deviations' matrix, the covariance's root: do not take it here": (
                lambda x: (x.mean(0), np.sqrt(np.cov(x.T)))
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.fad.frechet.frechet_distance",
        tests=tuple(
            FRECHET + name
            for name in (
                "test_equal_gaussians_are_at_distance_zero",
                "test_a_shift_of_the_mean_counts_with_its_square",
                "test_diagonal_covariances",
                "test_one_dimension",
                "test_symmetry_and_rotation_invariance",
                "test_agrees_with_the_general_square_root_on_full_rank",
                "test_rank_deficient_covariances_give_a_real_distance",
                "test_bad_shapes_and_values_are_refused",
            )
        ),
        examples={
            "frechet_distance of means 5 apart": lambda frechet_distance: frechet_distance(*PAIR),
            "frechet_distance of two singular covariances": lambda frechet_distance: frechet_distance(*FLAT),
            "frechet_distance of 50 embeddings and 50 others, of 128 dimensions": (
                lambda frechet_distance: frechet_distance(*FEW)
            ),
        },
        mistakes={
            "a general matrix root of a singular product is complex: take the root of the symmetric R S_e R": raw_root,
            "the distance of the means is not squared": lambda *a: general(*a, shift=lambda d: np.sqrt(d @ d)),
            "the means are left out": lambda *a: general(*a, shift=lambda d: 0.0),
            "the factor 2 before the root's trace is missing": lambda *a: general(*a, factor=1),
            "the root's trace is added: subtract it, equal Gaussians are at 0": lambda *a: general(*a, factor=-2),
            "the product is taken entry by entry: take a matrix product, @": lambda *a: general(
                *a, product=np.multiply
            ),
            "the root of every entry is taken: np.sqrt(matrix) is no matrix root, use eigenvalues": (
                lambda mu_b, sigma_b, mu_e, sigma_e: float(
                    (mu_b - mu_e) @ (mu_b - mu_e) + np.trace(sigma_b + sigma_e - 2 * np.sqrt(sigma_b @ sigma_e))
                )
            ),
            "there is no root: sum the square roots of the eigenvalues": lambda *a: general(*a, root=lambda x: x),
            "this is the root of the distance: the score is its square": lambda *a: general(*a) ** 0.5,
        },
        test_to_write=True,
    ),
    Exercise(
        "ddim_from_scratch.fad.reliability.infinity",
        tests=(RELIABILITY + "test_infinity_finds_the_distance_of_the_populations",),
        examples={
            "infinity(N(0, I), the 12 corners of a simplex, rng): score and slope": (
                lambda infinity: np.array(infinity(TRUTH, CORNERS, np.random.default_rng(0)))[:2]
            ),
            "... and r^2": lambda infinity: np.array(infinity(TRUTH, CORNERS, np.random.default_rng(0)))[2],
        },
        mistakes={
            "the line is fitted over n: over 1/n, where the limit is at 0": lambda *a: line(*a, of=lambda n: n),
            "score and slope are swapped: polyfit returns the slope first": lambda *a: line(*a, swap=True),
            "the last is r, not r squared": lambda *a: line(*a, root=True),
            "this is the score of all embeddings: read the line off at 1/n = 0": plain_score,
            "r^2 is the share that the line leaves: 1 minus that": unexplained,
            "the line is fitted over 1/sqrt(n): the bias falls as 1/n": lambda *a: line(*a, of=lambda n: n**-0.5),
        },
    ),
    Exercise(
        "ddim_from_scratch.fad.embeddings.log_mel_statistics",
        tests=(
            FRECHET + "test_statistics_of_log_mels_are_per_clip_and_bin",
            FRECHET + "test_statistics_tell_frames_in_order_from_the_same_frames_shuffled",
        ),
        examples={
            "log_mel_statistics(walks (2, 5, 128)), the bins 0 of the three": (
                lambda log_mel_statistics: log_mel_statistics(WALKS)[:, ::128]
            ),
            "log_mel_statistics(walks (2, 5, 128))": lambda log_mel_statistics: log_mel_statistics(WALKS),
        },
        mistakes={
            "the deviations divide by one less than the number of frames: take NumPy's default": (
                lambda x: statistics(x, ddof=1, last=lambda change: change.std(axis=1, ddof=1))
            ),
            "the last are means of the changes, which know only the ends: take their standard deviation": (
                lambda x: statistics(x, last=lambda change: change.mean(axis=1))
            ),
            "the last are mean absolute changes: take their standard deviation": (
                lambda x: statistics(x, last=lambda change: np.abs(change).mean(axis=1))
            ),
            "the variance is meant as standard deviation: take its root": (
                lambda x: np.concatenate([x.mean(axis=1), x.var(axis=1), np.diff(x, axis=1).var(axis=1)], axis=1)
            ),
            "mean and deviation are exchanged: the mean comes first": (
                lambda x: np.concatenate([x.std(axis=1), x.mean(axis=1), np.diff(x, axis=1).std(axis=1)], axis=1)
            ),
            "changes are taken from bin to bin: from frame to frame, axis 1": (
                lambda x: np.concatenate(
                    [x.mean(axis=1), x.std(axis=1), np.diff(x, axis=2, append=0).std(axis=1)], axis=1
                )
            ),
        },
    ),
]
