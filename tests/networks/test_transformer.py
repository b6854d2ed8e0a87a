"""What the Transformer hears of its condition, and what it does not."""

import numpy as np
import pytest
from helpers import TWINS, condition_like, relative_error

from ddim_from_scratch.networks.decoder import decode
from ddim_from_scratch.networks.transformer import Sizes, encode, init_transformer, transformer
from ddim_from_scratch.runtime import tree

each_twin = pytest.mark.parametrize("twin", TWINS)
LEVELS = np.array([0.2, 0.7])


@pytest.fixture
def params(rng):
    """Of a network whose every part has something to say."""
    return tree.map(lambda leaf: rng.standard_normal(leaf.shape) / 3, init_transformer(rng, Sizes(8, 2, 6, 5, True)))


@each_twin
def test_a_dropped_condition_says_nothing_and_another_one_does(twin, params, rng):
    """The second sample's is dropped. Cross-attention then is 0, and not the mean of what is hidden."""
    x = rng.standard_normal((2, 7, 6))
    given = condition_like(x, 5)
    other = given._replace(context=given.context + 1)
    a, b = (transformer(params, x, LEVELS, condition, TWINS[twin])[0] for condition in (given, other))
    assert abs(a[0] - b[0]).max() > 1e-3
    np.testing.assert_array_equal(a[1], b[1])

    silent = tree.map(np.copy, params)
    for name in ("block0", "block1"):
        silent["decoder"]["stack"][name]["cross"]["layer"]["output"]["w"][:] = 0
    assert relative_error(a[1], transformer(silent, x, LEVELS, given, TWINS[twin])[0][1]) < 1e-12


@each_twin
def test_padding_says_nothing(twin, params, rng):
    x = rng.standard_normal((2, 7, 6))
    given = condition_like(x, 5)
    longer = given._replace(tokens=np.pad(given.tokens, ((0, 0), (0, 9))))
    a, b = (transformer(params, x, LEVELS, condition, TWINS[twin])[0] for condition in (given, longer))
    assert relative_error(b, a) < 1e-12


def test_a_condition_is_encoded_once_for_all_steps(params, rng):
    x = rng.standard_normal((2, 7, 6))
    given = condition_like(x, 5)
    seen, _ = encode(params, given, TWINS["plain"])
    output, _ = decode(params["decoder"], x, LEVELS, seen, None, TWINS["plain"])
    np.testing.assert_array_equal(output, transformer(params, x, LEVELS, given, TWINS["plain"])[0])


def test_a_fresh_network_says_x(rng):
    x = rng.standard_normal((2, 7, 128)).astype(np.float32)
    fresh = init_transformer(rng, Sizes(8, 1, roll_features=3))
    output, _ = transformer(fresh, x, LEVELS, condition_like(x, 0, 3), TWINS["processor"])
    assert output.dtype == np.float32 and (output == x).all()
