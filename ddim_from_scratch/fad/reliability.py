"""How reliable a Frechet distance is: its floor, its confidence interval, and its limit for many embeddings.

The distance between finite sets is biased upwards by about 1/n, so two halves of one collection are not at distance 0.
Resampling draws whole clips, because embeddings of the same clip resemble each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ..runtime.backend import parallel
from .frechet import frechet_distance
from .statistics import Set

SPLITS = 10
RESAMPLES = 100
SIZES = 25  # subset sizes, as in Gui et al. 2024 ("Adapting Frechet audio distance for generative music evaluation")
SMALLEST_SIZE = 500  # embeddings in their smallest subset


class Extrapolation(NamedTuple):
    """The line score + slope / n fitted to the distances of n embeddings. r_squared: of the fit."""

    score: float
    slope: float
    r_squared: float


def distance(background: Set, evaluated: Set) -> float:
    """The Frechet distance between two sets."""
    return frechet_distance(background.mean, background.covariance, evaluated.mean, evaluated.covariance)


def rotated(background: Set, evaluated: Set) -> tuple[Set, Set]:
    """Projects both sets onto the directions they span, if those are fewer than D. Distances stay the same.

    This module computes hundreds of distances, and each costs about D^3 multiplications.
    """
    if not background.clips or not evaluated.clips or background.n + evaluated.n > len(background.mean):
        return background, evaluated
    embeddings = np.concatenate([*background.clips, *evaluated.clips]).astype(np.float64)
    directions = np.linalg.svd(embeddings - embeddings.mean(axis=0), full_matrices=False)[2]  # (n, D)
    first, second = (Set.of([clip @ directions.T for clip in clips]) for clips in (background.clips, evaluated.clips))
    return first, second


def floor(background: Set, rng: np.random.Generator, other: Set | None = None) -> float | None:
    """Mean distance between random halves of a set, of equal size: the distance that identical music would have.

    other: modified versions of the same clips. The second half is taken from them, so the result includes the effect
    of the modification. Returns None if a half has fewer than 2 embeddings.
    """
    background, other = rotated(background, other or background)
    half = len(background.clips) // 2
    if sum(sorted(len(clip) for clip in background.clips)[:half]) < 2:
        return None
    orders = [rng.permutation(len(background.clips)) for _ in range(SPLITS)]
    splits = progress(
        "real against real", orders, lambda i: distance(background.take(i[:half]), other.take(i[half : 2 * half]))
    )
    return float(np.mean(splits))


def interval(background: Set, evaluated: Set, rng: np.random.Generator) -> tuple[float, float] | None:
    """The 95 % bootstrap interval of the distance, for other clips of the same kind and in the same number.

    Clips are drawn with replacement, in each set that has clips. Resampled sets are less diverse and so too far apart:
    their distances are shifted so that their mean equals the distance of the sets themselves.
    Returns None if neither set has clips, or one has fewer than 2.
    """
    background, evaluated = rotated(background, evaluated)
    sides = [side for side in (background, evaluated) if side.clips]
    if not sides or min(len(side.clips) for side in sides) < 2:
        return None

    def resampled(side: Set, rng: np.random.Generator) -> Set:
        return side.take(rng.integers(len(side.clips), size=len(side.clips))) if side.clips else side

    distances = progress(
        "bootstrap",
        rng.spawn(RESAMPLES),
        lambda child: distance(resampled(background, child), resampled(evaluated, child)),
    )
    low, high = np.quantile(distances, [0.025, 0.975]) - np.mean(distances) + distance(background, evaluated)
    return max(float(low), 0.0), float(high)


def infinity(background: Set, evaluated: Set, rng: np.random.Generator) -> Extrapolation | None:
    """FAD-infinity (Gui et al. 2024): the distance as the number of evaluated embeddings grows without limit.

    Distances of random subsets of n embeddings are linear in 1/n (Chong and Forsyth 2020), and the intercept is the
    limit. Subsets are drawn without replacement. With replacement, as fadtk draws them, the line leads to the biased
    distance of the whole set. The background's own bias remains.
    Returns None if the evaluated set has no embeddings or fewer than 4, or if all distances are equal.
    """
    if not evaluated.clips or evaluated.n < 4:
        return None
    background, evaluated = rotated(background, evaluated)
    embeddings = np.concatenate(evaluated.clips)
    sizes = np.linspace(max(2, min(SMALLEST_SIZE, evaluated.n // 2)), evaluated.n, SIZES).astype(int)
    subsets = [rng.permutation(evaluated.n)[:size] for size in sizes]
    distances = np.array(
        progress("extrapolation", subsets, lambda rows: distance(background, Set.of([embeddings[rows]])))
    )
    slope, intercept = np.polyfit(1 / sizes, distances, 1)
    residual = distances - (intercept + slope / sizes)
    spread = distances - distances.mean()
    if not spread.any():
        return None
    return Extrapolation(float(intercept), float(slope), float(1 - residual @ residual / (spread @ spread)))


def progress(label: str, items: list, function: Callable) -> list:
    """`parallel` with a progress bar."""
    with tqdm(total=len(items), desc=label, leave=False) as bar:

        def step(item: object) -> object:
            result = function(item)
            bar.update()
            return result

        return parallel(step, items)
