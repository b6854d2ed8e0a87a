"""Exercises of lesson 12: the schedule whose ends were tuned, and the score of real music against real music.

Write the two functions. `make check-12` puts each in the package's place, on its own, shows what it answers beside
what is expected, and runs the package's tests on it. Leave the names and the arguments as they are.
"""

import numpy as np

from ddim_from_scratch.fad import frechet_distance  # noqa: F401  (mu_b, sigma_b, mu_e, sigma_e) -> float


def continuous_cosine_alpha_bar(time: np.ndarray, min_signal_rate: float, max_signal_rate: float) -> np.ndarray:
    """alpha_bar = cos(angle)^2; the angle goes in a straight line from arccos(max_signal_rate) at time 0
    to arccos(min_signal_rate) at time 1.

    time: any shape, from 0 to 1. Returns the same shape.

        max^2 | .
              |    .
              |       .             the square root of alpha_bar is the signal rate:
        min^2 |          .  .       its largest value is at time 0
              +-------------- time
    """
    raise NotImplementedError


def floor(clips, rng: np.random.Generator) -> float | None:
    """The mean Frechet distance of two random halves of a set, over 10 random splits.

    clips: a Set, as in lesson 11: clips.clips is a list with the embeddings (patches, D) of each clip, or None if they
        are not known; clips.take(indices) is the Set of the clips with these indices, and has .mean and .covariance.
    Split the clips, not their embeddings, which resemble each other within a clip: `rng.permutation`. The halves
    have equally many clips; an odd one stays out.
    Returns a float, or None if clips.clips is None, or there are fewer than 2 embeddings in some half
    (the half of those clips that have the fewest embeddings).

        clips     a b c d e f
        a split   d a f | c b e     distance of the two;  ten times;  mean
    """
    raise NotImplementedError


EXPERIMENT = """
How many recordings would the paper have needed? The generator with the wrong mean, off by 1.4.

| recordings | mean score | two rows apart (%) |
|---|---|---|
| 25 | ? | ? |
| 100 | ? | ? |
| 400 | ? | ? |

Four times as many recordings change the distance of two rows by a factor of: ?
To see a difference of 5 % between two rows, each needs about this many: ?
What that says about the paper's table: ?
"""
