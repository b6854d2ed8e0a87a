"""How far a Frechet distance can be trusted: rank, floor, interval, and the limit of many embeddings.

The distance of two finite sets is too high on average, by about 1/n: two halves of one collection are not at 0.
What is drawn at random here are clips, not embeddings, since those of one clip resemble each other.
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
SIZES = 25  # as many as Gui et al. 2024 take ("Adapting Frechet audio distance for generative music evaluation")
LARGEST_LEAST_SIZE = 500  # where they begin


class Extrapolation(NamedTuple):
    """score + slope / n is the straight line through the scores of n embeddings; r_squared says how straight."""

    score: float
    slope: float
    r_squared: float


def distance(background: Set, eval: Set) -> float:
    """The score itself."""
    return frechet_distance(background.mean, background.covariance, eval.mean, eval.covariance)


def rotated(background: Set, eval: Set) -> tuple[Set, Set]:
    """Both sets in coordinates of the directions that they have, if those are fewer than D: distances stay the same.

    What is said here of a score takes hundreds of distances, each some D^3 multiplications.
    """
    if background.clips is None or eval.clips is None or background.n + eval.n > len(background.mean):
        return background, eval
    together = np.concatenate([*background.clips, *eval.clips]).astype(np.float64)
    directions = np.linalg.svd(together - together.mean(axis=0), full_matrices=False)[2]  # (n, D)
    return tuple(Set.of([clip @ directions.T for clip in side.clips]) for side in (background, eval))


def floor(clips: Set, rng: np.random.Generator, other: Set | None = None) -> float | None:
    """The mean distance of two random halves of a set, of equal n: what the same music scores.

    other: the same clips, changed somehow, of which the second half is then taken: what the change adds to the floor.
    None if a half has fewer than 2 embeddings.
    """
    clips, other = rotated(clips, other or clips)
    half = len(clips.clips or []) // 2
    if sum(sorted(len(clip) for clip in clips.clips or [])[:half]) < 2:
        return None
    orders = [rng.permutation(len(clips.clips)) for _ in range(SPLITS)]
    scores = progress(
        "real against real", orders, lambda i: distance(clips.take(i[:half]), other.take(i[half : 2 * half]))
    )
    return float(np.mean(scores))


def interval(background: Set, eval: Set, rng: np.random.Generator) -> tuple[float, float] | None:
    """The 95 % bootstrap interval: where the score may lie for other clips of the same kind, as many on each side.

    Clips are drawn with replacement, on each side that has any. A set drawn so scores too high, because it is
    less diverse: the scores are moved by what their mean exceeds the score itself.
    None if no side has clips, or one has fewer than 2.
    """
    background, eval = rotated(background, eval)
    sides = [side for side in (background, eval) if side.clips is not None]
    if not sides or min(len(side.clips) for side in sides) < 2:
        return None

    def resampled(side: Set, rng: np.random.Generator) -> Set:
        return side if side.clips is None else side.take(rng.integers(len(side.clips), size=len(side.clips)))

    scores = progress(
        "bootstrap", rng.spawn(RESAMPLES), lambda child: distance(resampled(background, child), resampled(eval, child))
    )
    low, high = np.quantile(scores, [0.025, 0.975]) - np.mean(scores) + distance(background, eval)
    return max(float(low), 0.0), float(high)


def infinity(background: Set, eval: Set, rng: np.random.Generator) -> Extrapolation | None:
    """FAD-infinity (Gui et al. 2024): the score of eval as the number of its embeddings grows without limit.

    Scores of random subsets of n embeddings lie on a straight line over 1/n (Chong and Forsyth 2020); its
    intercept is the limit. Subsets are drawn without replacement: drawn with it, as fadtk does, the line leads
    to the score of the whole set, bias included. The background's own bias remains.
    None without eval's embeddings or with fewer than 4.
    """
    if eval.clips is None or eval.n < 4:
        return None
    background, eval = rotated(background, eval)
    embeddings = np.concatenate(eval.clips)
    sizes = np.linspace(max(2, min(LARGEST_LEAST_SIZE, eval.n // 2)), eval.n, SIZES).astype(int)
    subsets = [rng.permutation(eval.n)[:size] for size in sizes]
    scores = np.array(progress("extrapolation", subsets, lambda rows: distance(background, Set.of([embeddings[rows]]))))
    slope, intercept = np.polyfit(1 / sizes, scores, 1)
    residual = scores - (intercept + slope / sizes)
    spread = scores - scores.mean()
    return Extrapolation(float(intercept), float(slope), float(1 - residual @ residual / (spread @ spread)))


def progress(label: str, items: list, function: Callable) -> list:
    """`parallel` under a progress bar."""
    with tqdm(total=len(items), desc=label, leave=False) as bar:

        def step(item: object) -> object:
            result = function(item)
            bar.update()
            return result

        return parallel(step, items)
