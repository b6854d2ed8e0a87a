"""The Frechet distance against that of fadtk and of frechet-audio-distance, on the same embeddings."""

from importlib.util import find_spec

import numpy as np
import pytest
from helpers import reference

from bench.theirs import PACKAGES, distance_of
from ddim_from_scratch.fad import frechet_distance, gaussian


@pytest.fixture(params=PACKAGES)
def theirs(request):
    reference("torch")
    if find_spec(request.param) is None:
        reference(request.param)
    return distance_of(request.param)


def embeddings(rng, n, dimension, mean=0.0):
    """Correlated, with standard deviations from 1 down to 1/100, as networks' embeddings are."""
    mixing = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]
    return mean + rng.standard_normal((n, dimension)) * np.geomspace(1, 0.01, dimension) @ mixing


@pytest.mark.filterwarnings("ignore:.*disp.*:DeprecationWarning")
@pytest.mark.parametrize("dimension", [2, 128, 256])
def test_same_distance_where_covariances_have_full_rank(theirs, dimension, rng):
    a, b = embeddings(rng, 700, dimension), embeddings(rng, 500, dimension, 0.1)
    assert frechet_distance(*gaussian(a), *gaussian(b)) == pytest.approx(theirs(a, b), rel=1e-6)


@pytest.mark.filterwarnings("ignore:.*disp.*:DeprecationWarning")
def test_with_fewer_embeddings_than_dimensions_theirs_is_no_oracle(theirs, rng):
    """With centred embeddings A, B: tr (S_a S_b)^(1/2) = |A B^T|_* / sqrt((n_a - 1)(n_b - 1)), the nuclear norm.

    That has no root of a singular matrix in it. Ours agrees with it; theirs need not.
    """
    a, b = embeddings(rng, 20, 128), embeddings(rng, 30, 128, 0.1)
    (mu_a, sigma_a), (mu_b, sigma_b) = gaussian(a), gaussian(b)
    root = np.linalg.norm((a - mu_a) @ (b - mu_b).T, ord="nuc") / (19 * 29) ** 0.5
    exact = (mu_a - mu_b) @ (mu_a - mu_b) + np.trace(sigma_a) + np.trace(sigma_b) - 2 * root
    ours = frechet_distance(mu_a, sigma_a, mu_b, sigma_b)
    assert ours == pytest.approx(exact, rel=1e-6)
    try:
        error = abs(theirs(a, b) - exact)
    except ValueError as complaint:
        assert "maginary" in str(complaint)
    else:
        assert error >= abs(ours - exact)
