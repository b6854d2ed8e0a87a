"""Attention in tiles computes what attention computes, in memory linear in the number of positions."""

import numpy as np
import pytest
from helpers import peak, relative_error
from hypothesis import given
from hypothesis import strategies as st

from ddim_from_scratch import nn
from ddim_from_scratch.nn.fast.processor import attend
from ddim_from_scratch.nn.fast.processor.attend import attention, attention_backward
from ddim_from_scratch.runtime import backend

sizes = st.integers(1, 12)


@given(
    heads=st.integers(1, 3), rows=sizes, columns=sizes, d=st.integers(1, 4), query_tile=sizes, key_tile=sizes,
    spread=st.sampled_from([0.1, 1.0, 30.0]), seed=st.integers(0, 99),
)  # fmt: skip
def test_tiles_of_any_size_give_the_textbook_s_attention(heads, rows, columns, d, query_tile, key_tile, spread, seed):
    rng = np.random.default_rng(seed)
    q, do = spread * rng.standard_normal((heads, rows, d)), rng.standard_normal((heads, rows, d))
    k, v = rng.standard_normal((2, heads, columns, d))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attend, "QUERY_TILE", query_tile)
        patch.setattr(attend, "KEY_TILE", key_tile)
        o, cache = attention(q, k, v)
        gradients = attention_backward(do, cache)
    expected_o, plain_cache = nn.attention(q, k, v)
    assert relative_error(o, expected_o) < 1e-12
    for gradient, expected in zip(gradients, nn.attention_backward(do, plain_cache), strict=True):
        assert relative_error(gradient, expected, scale=spread) < 1e-12


def test_huge_scores_do_not_overflow(rng):
    q, k, v = (scale * rng.standard_normal((1, 40, 2)).astype(np.float32) for scale in (1e3, 1e3, 1))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        o, cache = attention(q, k, v)
        gradients = attention_backward(np.ones_like(o), cache)
    assert all(np.isfinite(a).all() for a in (o, *gradients))


def there_and_back(positions):
    q, k, v = np.random.default_rng(0).standard_normal((3, 1, positions, 8), dtype=np.float32)
    with backend.threads(2):
        attention_backward(*attention(q, k, v))


def test_memory_is_linear_in_the_positions():
    small, large = peak(lambda: there_and_back(4096)), peak(lambda: there_and_back(8192))
    assert large < 2.2 * small
    assert large < 8192 * 8192 * 4 / 20
