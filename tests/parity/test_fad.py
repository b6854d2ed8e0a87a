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
