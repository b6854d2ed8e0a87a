"""Guidance: exact where the guided distribution is known, and nothing at weight 1."""

import numpy as np
import pytest

from ddim_from_scratch.diffusion import gaussian_eps_model, linear_schedule
from ddim_from_scratch.diffusion.guidance import guided

LINEAR = linear_schedule(1000)
MEAN, VARIANCE = 0.7, 0.5


@pytest.mark.parametrize("weight", [0, 0.5, 2, 5])
@pytest.mark.parametrize("t", [1, 300, 1000])
def test_guidance_moves_the_mean_of_a_gaussian_in_proportion(rng, weight, t):
    # Gaussians of one variance have scores linear in their means: from mean a towards b leads to a + weight (b - a).
    told, untold = (gaussian_eps_model(mean, VARIANCE, LINEAR) for mean in (MEAN, -0.2))
    moved = gaussian_eps_model(-0.2 + weight * (MEAN + 0.2), VARIANCE, LINEAR)
    x = rng.standard_normal((3, 4))
    np.testing.assert_allclose(guided(told, untold, weight)(x, t), moved(x, t), rtol=0, atol=1e-12)


def test_weight_1_is_the_model_itself_and_asks_no_other(rng):
    told, x = gaussian_eps_model(MEAN, VARIANCE, LINEAR), rng.standard_normal((3, 4), dtype=np.float32)
    np.testing.assert_array_equal(guided(told, lambda x, t: pytest.fail("asked"), 1)(x, 300), told(x, 300))


def test_a_weight_of_numpy_keeps_float32(rng):
    told, untold = (gaussian_eps_model(mean, VARIANCE, LINEAR) for mean in (MEAN, -0.2))
    x = rng.standard_normal((3, 4), dtype=np.float32)
    assert guided(told, untold, np.float64(2))(x, 300).dtype == np.float32
