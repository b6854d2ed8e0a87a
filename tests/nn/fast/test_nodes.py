"""Attention through Chebyshev nodes is attention, to rounding, whatever the scores; and linear in the positions."""

import numpy as np
import pytest
from helpers import peak, relative_error
from hypothesis import given
from hypothesis import strategies as st

from ddim_from_scratch import nn
from ddim_from_scratch.nn.fast.processor import attend, nodes
from ddim_from_scratch.runtime import backend


def results(attention, backward, q, k, v, do):
    """o, dq, dk, dv."""
    o, cache = attention(q, k, v)
    return [o, *backward(do, cache)]


def by_nodes(q, k, v):
    return nodes.by_nodes(q, k, v, nodes.enough_nodes(q, k).astype(int))


@given(
    rows=st.integers(1, 30), columns=st.integers(1, 30), spread=st.sampled_from([0.0, 1e-3, 1.0, 30.0]),
    centre=st.sampled_from([0.0, 5.0, -100.0]), seed=st.integers(0, 99),
)  # fmt: skip
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 2e-5)])
def test_nodes_give_what_the_textbook_gives(dtype, tolerance, rows, columns, spread, centre, seed):
    rng = np.random.default_rng(seed)
    q, do = rng.standard_normal((2, 2, rows, 1)).astype(dtype)
    k, v = rng.standard_normal((2, 2, columns, 1)).astype(dtype)
    k = (centre + spread * k).astype(dtype)
    ours = results(by_nodes, nodes.by_nodes_backward, q, k, v, do)
    expected = results(nn.attention, nn.attention_backward, *(a.astype(np.float64) for a in (q, k, v, do)))
    # A gradient is the difference of two sums, whose rounding errors are of their size.
    scales = 1, max(np.abs(k).max(), 1), np.abs(q).max(), 1
    for found, right, scale in zip(ours, expected, scales, strict=True):
        assert relative_error(found, right, scale=scale) < tolerance


def test_float32_comes_nearer_to_the_truth_than_tiles_of_float32(rng):
    q, k, v, do = (3 * rng.standard_normal((2, 1000, 1)).astype(np.float32) for _ in range(4))
    ours = results(by_nodes, nodes.by_nodes_backward, q, k, v, do)
    tiles = results(attend.attention, attend.attention_backward, q, k, v, do)
    truth = results(nn.attention, nn.attention_backward, *(a.astype(np.float64) for a in (q, k, v, do)))
    for found, other, right in zip(ours, tiles, truth, strict=True):
        assert found.dtype == np.float32
        assert relative_error(found, right) <= relative_error(other, right)


def test_it_is_used_where_it_saves_work_and_only_there(rng):
    q, k = rng.standard_normal((2, 1, 600, 1)).astype(np.float32)
    assert (nodes.how_many(q, k) == nodes.enough_nodes(q, k)).all()
    assert None is nodes.how_many(np.where(q == q.max(), np.nan, q), k)
    assert None is nodes.how_many(q, k[:, :60])  # few keys
    assert None is nodes.how_many(100 * q, k)  # scores that take many nodes
    assert None is nodes.how_many(*rng.standard_normal((2, 1, 600, 2)))


def test_huge_scores_do_not_overflow():
    q, k = np.linspace(-1e3, 1e3, 400, dtype=np.float32).reshape(2, 1, 200, 1)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        o, cache = by_nodes(q, k, k)
        assert all(np.isfinite(a).all() for a in (o, *nodes.by_nodes_backward(o, cache)))


def there_and_back(positions):
    q, k, v = np.random.default_rng(0).standard_normal((3, 1, positions, 1), dtype=np.float32)
    with backend.threads(1):
        nodes.by_nodes_backward(*by_nodes(q, k, v))


def test_memory_is_linear_in_the_positions():
    assert peak(lambda: there_and_back(32768)) < 2.2 * peak(lambda: there_and_back(16384))
