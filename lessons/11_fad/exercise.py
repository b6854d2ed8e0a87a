"""Exercises of lesson 11: a Gaussian, the distance of two, the limit of many embeddings, and an ear without a network.

Write the four functions, in this order. `make check-11` puts each in the package's place, on its own, shows what it
answers beside what is expected, and runs the package's tests on it. Leave the names and the arguments as they are.
"""

import numpy as np

from ddim_from_scratch.fad.reliability import Extrapolation  # Extrapolation(score, slope, r_squared)


def gaussian(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mean_j = 1/n sum_i x_ij,    covariance_jk = 1/(n - 1) sum_i (x_ij - mean_j) (x_ik - mean_k).

    embeddings: (n, D), float32 or float64; make them float64 first. `np.cov` would do: write it without.
    Returns the mean (D,) and the covariance (D, D), float64.
    Raises ValueError, with a text that contains "2 or more", if n is less than 2.

        x        .:            mean: the middle of the cloud
          .  .:: .             covariance: its width in each direction (diagonal),
           .: .:.                          and how the directions go together (beside it)
    """
    raise NotImplementedError


def frechet_distance(mu_b: np.ndarray, sigma_b: np.ndarray, mu_e: np.ndarray, sigma_e: np.ndarray) -> float:
    """F = |mu_b - mu_e|^2 + tr S_b + tr S_e - 2 tr (R S_e R)^(1/2),   R = S_b^(1/2).

    The trace of the root of a symmetric matrix is the sum of the roots of its eigenvalues. `np.linalg.eigh` gives
    eigenvalues and vectors of a symmetric matrix, V diag(values) V^T, `np.linalg.eigvalsh` the values alone;
    values that rounding has made negative count as 0.

    mu: (D,). sigma: (D, D), symmetric, no negative eigenvalues, but perhaps zeros.
    Returns a float of 0 or more.
    Raises ValueError that speaks of the "same embedding" if the shapes do not go together, and one that contains
    "NaN" if a value is NaN or infinite.

            ___                    .-.
         .-'   '-.                 | |           apart by their means, and by what it takes
        (    +    ) - - - - - - -  |+|           to stretch one ellipse into the other
         '-.___.-'                 '-'
    """
    raise NotImplementedError


def infinity(background, evaluated, rng: np.random.Generator) -> Extrapolation | None:
    """FAD-infinity: the score of subsets of n embeddings is nearly score + slope / n; return that straight line.

    background, evaluated: Sets, as in the lesson: with mean, covariance, n, and clips, a list of arrays (patches, D).
    Take 25 sizes, `np.linspace(max(2, min(500, evaluated.n // 2)), evaluated.n, 25).astype(int)`, and for each a random
    subset of so many evaluated embeddings, drawn without replacement (`rng.permutation`). Score each against the
    background, and fit the line (`np.polyfit`).
    Returns Extrapolation(score, slope, r_squared), floats; r_squared = 1 - (sum of squared residuals) / (sum of
    squared deviations of the scores from their mean). None if evaluated.clips is None or evaluated.n is less than 4.

        score |              . '
              |        . '          intercept: what is left when 1/n is 0
              |  . '
              +'------------- 1/n
    """
    raise NotImplementedError


def log_mel_statistics(log_mels: np.ndarray) -> np.ndarray:
    """Three numbers for each mel bin: its mean, its standard deviation, that of its change from frame to frame.

    log_mels: (n, frames, 128). Standard deviations over time divide by the number of values (NumPy's default).
    Returns (n, 384): 128 means, then 128 deviations, then 128 deviations of the changes, x[i + 1] - x[i].

        bin k over time   _/\\__/\\_    mean: where it is; deviation: how far it swings;
                                      deviation of changes: how fast. Shuffle the frames, and only the last differs.
    """
    raise NotImplementedError


def test_frechet_distance(frechet_distance):
    """A test of `frechet_distance`: assertions that hold for the right distance, and fail for wrong ones.

    `make check-11` calls it with the right function, which it must accept, and with wrong ones, and says how many of
    them your test finds. Take Gaussians whose distance is known without a computer: equal ones, a shifted one, others
    with diagonal covariances, of which some entries may be 0. And take one case with fewer embeddings than dimensions.
    """
    raise NotImplementedError


EXPERIMENT = """
Does loudness count? Distances of softer copies from the plucked strings.

| softer by | distance | distance / floor |
|---|---|---|
| 1 dB | ? | ? |
| 3 dB | ? | ? |
| 6 dB | ? | ? |
| 12 dB | ? | ? |

Twice as many decibels make the distance larger by a factor of: ?
From this step on loudness counts more than the choice of clips: ?
What to do before comparing two sets: ?
"""
