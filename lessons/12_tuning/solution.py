"""Solutions of lesson 12, as a reader of the lesson might write them."""

import numpy as np

from ddim_from_scratch.fad import frechet_distance


def continuous_cosine_alpha_bar(time, min_signal_rate, max_signal_rate):
    """The angle is a straight line in time."""
    first, last = np.arccos(max_signal_rate), np.arccos(min_signal_rate)
    return np.cos((1 - time) * first + time * last) ** 2


def floor(clips, rng):
    """Ten splits."""
    if clips.clips is None:
        return None
    half = len(clips.clips) // 2
    if sum(sorted(map(len, clips.clips))[:half]) < 2:
        return None
    distances = []
    for _ in range(10):
        order = rng.permutation(len(clips.clips))
        a, b = clips.take(order[:half]), clips.take(order[half : 2 * half])
        distances.append(frechet_distance(a.mean, a.covariance, b.mean, b.covariance))
    return float(np.mean(distances))
