"""What the exercises of lesson 12 are held to, and the mistakes that are known."""

import numpy as np

from ddim_from_scratch.fad import frechet_distance, gaussian
from ddim_from_scratch.fad.statistics import Set
from lessons.tool.check import Exercise

SCHEDULE, RELIABILITY = "tests/diffusion/test_schedule.py::", "tests/fad/test_reliability.py::"
TIMES = np.linspace(0, 1, 5)

# Two clips: there is one way to halve them, so the answer does not depend on the random numbers.
PAIR = Set.of([np.array([[0.0, 0], [2, 0], [0, 3]]), np.array([[5.0, 1], [5, 4], [9, 1]])])
BASE = np.array([[5.0, 0, 0], [3, 1, 0], [4, 0, 2]])
THREE = Set.of([np.roll(BASE, k, axis=1) for k in range(3)])  # any two are as far apart as any other two
FOUR = Set.of([*PAIR.clips, np.array([[1.0, 2], [3, 7], [2, 2]]), np.array([[8.0, 0], [6, 1], [6, 9]])])


def between(time, start, end, of=lambda angle: np.cos(angle) ** 2):
    return of(start + time * (end - start))


def halves(clips, a=slice(0, 1), b=slice(1, 2)):
    """The distance of two parts of the clips."""
    return frechet_distance(*gaussian(np.concatenate(clips.clips[a])), *gaussian(np.concatenate(clips.clips[b])))


def one_split(clips, rng):
    order = rng.permutation(len(clips.clips))
    a, b = clips.take(order[: len(order) // 2]), clips.take(order[len(order) // 2 :])
    return frechet_distance(a.mean, a.covariance, b.mean, b.covariance)


def answers(floor):
    """A single split of four clips has 3."""
    return min(len({round(floor(FOUR, np.random.default_rng(seed)), 6) for seed in range(20)}), 4)


EXERCISES = [
    Exercise(
        "ddim_from_scratch.diffusion.schedule.continuous_cosine_alpha_bar",
        tests=(
            SCHEDULE + "test_continuous_cosine_schedule_is_linear_in_the_angle_between_its_rates",
            SCHEDULE + "test_alpha_bar_falls_from_one",
        ),
        examples={
            "continuous_cosine_alpha_bar([0, 0.25, 0.5, 0.75, 1], 0.02, 0.95)": lambda f: f(TIMES, 0.02, 0.95),
            "continuous_cosine_alpha_bar(the same, 0.1952, 0.9326)": lambda f: f(TIMES, 0.1952, 0.9326),
        },
        mistakes={
            "this is the signal rate: alpha_bar is its square": (
                lambda t, low, high: between(t, np.arccos(high), np.arccos(low), np.cos)
            ),
            "this is the noise's share of the variance: take the cosine, not the sine": (
                lambda t, low, high: between(t, np.arccos(high), np.arccos(low), lambda angle: np.sin(angle) ** 2)
            ),
            "time runs backwards: at time 0 there is most signal": (
                lambda t, low, high: between(t, np.arccos(low), np.arccos(high))
            ),
            "the signal rate is the straight line: its angle should be": (
                lambda t, low, high: between(t, high, low, np.square)
            ),
            "alpha_bar is the straight line: the angle should be": (
                lambda t, low, high: between(t, high**2, low**2, lambda x: x)
            ),
            "the angle ends at pi / 2, with no signal at all: end at arccos(min_signal_rate)": (
                lambda t, low, high: between(t, np.arccos(high), np.pi / 2)
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.fad.reliability.floor",
        tests=(
            RELIABILITY + "test_the_floor_is_what_two_draws_of_the_same_score",
            RELIABILITY + "test_the_floor_needs_a_covariance_in_each_half",
        ),
        examples={
            "floor of two clips of three embeddings": lambda floor: floor(PAIR, np.random.default_rng(0)),
            "floor of three clips, of which one stays out": lambda floor: floor(THREE, np.random.default_rng(0)),
            "floor of four clips, with 20 generators: how many different answers, counted up to 4": answers,
        },
        mistakes={
            "this is a half against the whole set: against the other half": (
                lambda clips, rng: halves(clips, slice(0, 1), slice(0, 2))
            ),
            "this is the sum of ten distances: take their mean": lambda clips, rng: 10 * halves(clips),
            "this is a single split: take the mean of ten": one_split,
            "an odd clip is kept in one half: the halves have equally many": (
                lambda clips, rng: halves(clips, b=slice(1, None)) if len(clips.clips) % 2 else halves(clips)
            ),
            "this is the root of the distance: the score is its square": lambda clips, rng: halves(clips) ** 0.5,
            "this is half of the distance: take the mean of ten distances": lambda clips, rng: halves(clips) / 2,
            "the means of the two halves are mixed up: give both means and both covariances": (
                lambda clips, rng: (
                    halves(clips) - np.sum((gaussian(clips.clips[0])[0] - gaussian(clips.clips[1])[0]) ** 2)
                )
            ),
            "a set is compared with itself: the second half begins where the first ends": lambda clips, rng: 0.0,
        },
    ),
]
