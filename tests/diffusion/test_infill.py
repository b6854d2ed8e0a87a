"""Infilling: the exact conditional distribution where it is known, what is kept, and what is refused."""

import numpy as np
import pytest
from helpers import REGISTRY, SAMPLERS, last, walk

from ddim_from_scratch.diffusion import (
    correlated_gaussian_eps_model,
    eps_of_x0,
    gaussian_eps_model,
    infill,
    linear_schedule,
    quadratic_tau,
    uniform_tau,
)

LINEAR = linear_schedule(1000)
MEAN = np.array([0.5, -0.3, 0.2, 0.1])
COVARIANCE = 0.8 * 0.6 ** abs(np.subtract.outer(np.arange(4), np.arange(4)))
MASK = np.array([True, False, False, True])
KNOWN = np.array([1.5, np.nan, np.nan, -1.0])


def conditional():
    """Mean and covariance of what is unknown, given what is known (Bishop 2006, eq. 2.81 and 2.82)."""
    u, k = np.flatnonzero(~MASK), np.flatnonzero(MASK)
    gain = COVARIANCE[np.ix_(u, k)] @ np.linalg.inv(COVARIANCE[np.ix_(k, k)])
    return MEAN[u] + gain @ (KNOWN[k] - MEAN[k]), COVARIANCE[np.ix_(u, u)] - gain @ COVARIANCE[np.ix_(k, u)]


def errors(rng, steps, resamplings, n=4000):
    """Of the mean and of the covariance of n infillings."""
    eps_model = correlated_gaussian_eps_model(MEAN, COVARIANCE, LINEAR)
    steps = walk("ddim", eps_model, LINEAR, quadratic_tau(1000, steps), rng)
    x = last(infill(steps, rng.standard_normal((n, 4)), np.broadcast_to(KNOWN, (n, 4)), MASK, resamplings))[:, ~MASK]
    mean, covariance = conditional()
    return np.abs(x.mean(axis=0) - mean).max(), np.abs(np.cov(x.T) - covariance).max()


def test_resampling_leads_to_the_conditional_distribution(rng):
    once, often = errors(rng, 50, 1), errors(rng, 50, 12)
    # 4000 draws have a mean within 0.011 and a variance within 0.010 of theirs (one standard error). Measured on
    # 20 000: 0.22 and 0.12 for one resampling; 0.045 and 0.012 for 8; the mean's error falls like one over them.
    assert once[0] > 0.18 and once[1] > 0.07
    assert often[0] < 0.06 and often[1] < 0.05


def test_what_is_known_is_kept_exactly_and_what_the_mask_hides_does_not_matter(rng):
    steps = walk("ddim", gaussian_eps_model(0.0, 1.0, LINEAR), LINEAR, uniform_tau(1000, 5), rng)
    known = np.broadcast_to(KNOWN, (2, 4))
    x = last(infill(steps, rng.standard_normal((2, 4)), known, MASK, 2))
    np.testing.assert_array_equal(x[:, MASK], known[:, MASK])
    assert np.isfinite(x).all()


def test_what_is_kept_in_part_is_shown_whole_and_blends_at_the_end(rng):
    x_T, known = rng.standard_normal((2, 4)), np.broadcast_to([1.5, 2.0, np.nan, -1.0], (2, 4))

    def filled(mask):
        seen = []

        def eps_model(x, t):  # a network that takes all music for 3
            seen.append(x)
            return eps_of_x0(x, LINEAR[t], np.full_like(x, 3.0))

        steps = walk("ddim", eps_model, LINEAR, uniform_tau(1000, 5), np.random.default_rng(1))
        return seen, last(infill(steps, x_T, known, np.array(mask)))

    (seen, whole), (seen_in_part, part) = filled([1.0, 1.0, 0.0, 1.0]), filled([1.0, 0.25, 0.0, 1.0])
    np.testing.assert_array_equal(seen, seen_in_part)
    np.testing.assert_allclose(whole, [[1.5, 2, 3, -1]] * 2)
    np.testing.assert_allclose(part, [[1.5, 0.25 * 2 + 0.75 * 3, 3, -1]] * 2)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_sampler_infills_and_is_asked_as_often_as_promised(name, dtype, rng):
    times = []

    def eps_model(x, t):
        assert x.dtype == dtype
        times.append(t)
        return 0.1 * x

    x_T, known = rng.standard_normal((2, 2, 3)).astype(dtype)
    mask = np.array([[True], [False]])
    xs = list(infill(walk(name, eps_model, linear_schedule(100), uniform_tau(100, 4), rng), x_T, known, mask, 3))
    assert len(xs) == (4 - 1) * 3 + 1 + 1 and {x.dtype for x in xs} == {np.dtype(dtype)}
    expected = 3 * [100] + 3 * [75] + 3 * [50] + [25]
    twice = name in REGISTRY and REGISTRY[name].evaluations == 2
    assert times == (expected if not twice else [100, 75] * 3 + [75, 50] * 3 + [50, 25] * 3 + [25])


def test_nothing_to_keep_is_the_sampler_itself(rng):
    x_T = rng.standard_normal((3, 2))
    steps = walk("dpm++2m", gaussian_eps_model(0.5, 0.3, LINEAR), LINEAR, uniform_tau(1000, 7), rng)  # memory and all
    nothing = infill(steps, x_T, np.full((3, 2), np.nan), np.zeros(2, bool))
    for a, b in zip(nothing, steps(x_T), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"mask": np.ones(3, bool)}, r"mask, bool \(3,\), .* \(2, 4\)"),
        ({"mask": np.ones((1, 2, 4), bool)}, r"mask, bool \(1, 2, 4\)"),
        ({"mask": np.ones(4, int)}, "mask, int64"),
        ({"known": np.ones((2, 3))}, r"known has shape \(2, 3\)"),
        ({"resamplings": 0}, "resamplings is 0"),
        ({"tau": np.array([0, 5, 5])}, "tau"),
    ],
)
def test_senseless_arguments_are_refused(change, named, rng):
    arguments = {"tau": np.arange(11), "known": np.ones((2, 4)), "mask": MASK, "resamplings": 1} | change
    steps = walk("ddim", lambda x, t: x, linear_schedule(10), arguments.pop("tau"), rng)
    with pytest.raises(ValueError, match=named):
        next(infill(steps, np.ones((2, 4)), **arguments))
