"""Attention through Chebyshev nodes is attention, to rounding, whatever the scores; and linear in the positions."""

import tracemalloc

import numpy as np
import pytest
from helpers import relative_error
from hypothesis import given
from hypothesis import strategies as st

from ddim_from_scratch.nn.fast import attention as tiled
from ddim_from_scratch.nn.fast import separable
from ddim_from_scratch.runtime import backend


def both(q, k, v, do, dtype):
    """o, dq, dk, dv through nodes and in tiles; the tiles always in float64."""
    results = []
    for module, kind in ((separable, dtype), (tiled, np.float64)):
        qkv = [a.astype(kind) for a in (q, k, v)]
        o, cache = module.attention(*qkv) if module is tiled else by_nodes(*qkv)
        results.append([o, *module.attention_backward(do.astype(kind), cache)])
    return results


def by_nodes(q, k, v):
    return separable.attention(q, k, v, separable.enough_nodes(q, k).astype(int))


@given(
    rows=st.integers(1, 30), columns=st.integers(1, 30), spread=st.sampled_from([0.0, 1e-3, 1.0, 30.0]),
    centre=st.sampled_from([0.0, 5.0, -100.0]), seed=st.integers(0, 99),
)  # fmt: skip
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 2e-5)])
def test_nodes_give_what_tiles_give(dtype, tolerance, rows, columns, spread, centre, seed):
    rng = np.random.default_rng(seed)
    q, do = rng.standard_normal((2, 2, rows, 1)).astype(dtype)
    k, v = rng.standard_normal((2, 2, columns, 1)).astype(dtype)
    k = (centre + spread * k).astype(dtype)
    ours, expected = both(q, k, v, do, dtype)
    # A gradient is the difference of two sums, whose rounding errors are of their size.
    scales = 1, max(np.abs(k).max(), 1), np.abs(q).max(), 1
    for found, right, scale in zip(ours, expected, scales, strict=True):
        assert relative_error(found, right, scale=scale) < tolerance


def test_float32_comes_nearer_to_the_truth_than_tiles_of_float32(rng):
    q, k, v, do = (3 * rng.standard_normal((2, 1000, 1)).astype(np.float32) for _ in range(4))
    ours, truth = both(q, k, v, do, np.float32)
    o, cache = tiled.attention(q, k, v)
    tiles = [o, *tiled.attention_backward(do, cache)]
    for found, other, right in zip(ours, tiles, truth, strict=True):
        assert found.dtype == np.float32
        assert relative_error(found, right) <= relative_error(other, right)


def test_it_is_used_where_it_saves_work_and_only_there(rng):
    q, k = rng.standard_normal((2, 1, 600, 1)).astype(np.float32)
    assert (separable.nodes(q, k) == separable.enough_nodes(q, k)).all()
    assert None is separable.nodes(np.where(q == q.max(), np.nan, q), k)
    assert None is separable.nodes(q, k[:, :60])  # few keys
    assert None is separable.nodes(100 * q, k)  # scores that take many nodes
    assert None is separable.nodes(*rng.standard_normal((2, 1, 600, 2)))


def test_heads_of_the_network_give_the_same_with_and_without_it(rng, monkeypatch):
    params = tiled.init_multi_head_attention(rng, 5, 6, heads=4, head_dim=1)
    x, memory, dy = (rng.standard_normal((2, 40, 20, c)) for c in (5, 6, 5))

    def run():
        y, cache = tiled.multi_head_attention(params, x, memory, 4)
        dx, dmemory, _ = tiled.multi_head_attention_backward(dy, cache)
        return y, dx, dmemory

    fast = run()
    monkeypatch.setattr(separable, "nodes", lambda q, k: None)
    for found, expected in zip(fast, run(), strict=True):
        assert 0 < relative_error(found, expected) < 1e-9


def test_huge_scores_do_not_overflow():
    q, k = np.linspace(-1e3, 1e3, 400, dtype=np.float32).reshape(2, 1, 200, 1)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        o, cache = by_nodes(q, k, k)
        assert all(np.isfinite(a).all() for a in (o, *separable.attention_backward(o, cache)))


def peak_bytes(positions):
    q, k, v = np.random.default_rng(0).standard_normal((3, 1, positions, 1), dtype=np.float32)
    with backend.threads(1):
        tracemalloc.start()
        o, cache = by_nodes(q, k, v)
        separable.attention_backward(o, cache)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def test_memory_is_linear_in_the_positions():
    assert peak_bytes(32768) < 2.2 * peak_bytes(16384)
