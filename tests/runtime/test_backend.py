"""Threads and the buffer pool: nothing that is in use is handed out twice, everything else is."""

import gc
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from ddim_from_scratch.runtime import backend

LIKE = np.zeros(1, np.float32)


def address(array):
    return array.__array_interface__["data"][0]


def test_freed_memory_is_given_out_again():
    with backend.threads(1):
        first = backend.empty((4, 8), LIKE)
        used = address(first)
        del first
        assert address(backend.empty((32,), LIKE)) == used
        assert address(backend.empty((2, 8), LIKE, np.float64)) == used  # the same number of bytes


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[1:],
        lambda a: a.T,
        lambda a: a.reshape(-1)[::2],
        lambda a: a.view(np.int32),
        lambda a: np.broadcast_to(a, (3, *a.shape)),
        lambda a: memoryview(a),
        lambda a: iter(a),
        lambda a: lambda: a,
    ],
)
def test_memory_is_kept_while_a_view_refers_to_it(view):
    with backend.threads(1):
        array = backend.empty((4, 8), LIKE)
        used = address(array)
        holder = view(array)
        del array
        assert address(backend.empty((4, 8), LIKE)) != used
        del holder
        gc.collect()
        assert address(backend.empty((4, 8), LIKE)) == used


@pytest.mark.parametrize(("said", "kb"), [("2048K\n", 2048), ("16384K\n", 2048), ("512K\n", 512), ("", 1024)])
def test_the_cache_is_what_the_system_says_up_to_2_mb(said, kb, monkeypatch):
    monkeypatch.setattr(backend.Path, "read_text", lambda path: said)
    assert backend.cache_bytes() == kb << 10


def test_arrays_of_several_threads_never_overlap():
    barrier = threading.Barrier(4, timeout=30)

    def work(seed):
        rng, held = np.random.default_rng(seed), []
        barrier.wait()
        for i in range(400):
            array = backend.empty((int(rng.integers(1, 3)), 16), LIKE)
            array[...] = value = seed + i / 512
            held.append((array[:, 1:], value))
            if len(held) > 5:
                view, value = held.pop(int(rng.integers(len(held))))
                assert (view == value).all()

    with backend.threads(4):
        backend.parallel(work, range(4))


def test_arrays_outlive_the_threads_context():
    with backend.threads(2):
        array = backend.empty((64,), LIKE)
        array[...] = 7
    with backend.threads(2):
        backend.empty((64,), LIKE)[...] = 8
    assert (array == 7).all()


def test_empty_arrays_have_the_asked_shape_and_dtype():
    for context in (backend.threads(1), backend.threads(2)):
        with context:
            assert backend.empty((0, 3), LIKE).shape == (0, 3)
            assert backend.empty((), LIKE).shape == ()
            array = backend.empty((2, 3), LIKE, np.complex64)
            assert array.dtype == np.complex64 and array.flags.c_contiguous and array.flags.aligned


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_blas_gets_one_thread_inside_and_its_own_back_outside():
    before = blas_threads()
    assert before
    with pytest.raises(KeyError), backend.threads(2):
        assert blas_threads() == [1] * len(before) and backend.worker_count() == 2
        with backend.threads(3):
            assert backend.worker_count() == 3
        assert blas_threads() == [1] * len(before) and backend.worker_count() == 2
        raise KeyError
    assert blas_threads() == before and backend.worker_count() == backend.available_cores()


@pytest.mark.parametrize("cores", [1, 3])
def test_work_outside_any_context_uses_every_core_and_leaves_blas_as_it_was(cores, monkeypatch):
    monkeypatch.setattr(backend, "available_cores", lambda: cores)
    before, met = blas_threads(), threading.Barrier(cores, timeout=30)

    def work(i):
        met.wait()  # for as many threads as there are cores
        return blas_threads()

    inside = backend.parallel(work, range(cores))
    assert inside == [[1] * len(before) if cores > 1 else before] * cores
    assert blas_threads() == before


def test_a_buffer_serves_smaller_arrays_but_none_of_less_than_half_its_size():
    def buffer_size(numbers):
        return (backend.empty((numbers,), LIKE).base.nbytes - backend.LINE) // LIKE.itemsize

    with backend.threads(1):
        assert [buffer_size(n) for n in (1000, 999, 500, 490, 1010)] == [1000, 1000, 1000, 490, 1010]
        backend.empty((900,), LIKE), backend.empty((1100,), LIKE)  # in use at once
        assert sorted([buffer_size(900), buffer_size(1100)]) == [1010, 1100]


def test_arrays_begin_at_a_cache_line():
    with backend.threads(1):
        held = [backend.empty((n, 3), LIKE) for n in (1, 7, 1000, 10**6)]
    assert [a.ctypes.data % backend.LINE for a in held] == [0] * 4


def test_buffers_of_many_sizes_take_no_more_than_was_in_use_at_once():
    with backend.threads(1):
        tracemalloc.start()
        for numbers in range(1000, 100_000, 7000):
            held = [backend.empty((n,), LIKE) for n in (numbers, 100_000 - numbers)]
        in_use, peak = sum(a.nbytes for a in held), tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 3 * in_use  # the next pair is made while the last is held, in buffers that are too large


def test_parallel_keeps_the_order_whoever_finishes_first():
    turn = threading.Event()

    def late_first(i):
        if i == 0:
            assert turn.wait(30)
        if i == 3:
            turn.set()
        return i * i

    with backend.threads(2):
        assert backend.parallel(late_first, range(4)) == [0, 1, 4, 9]


@pytest.mark.parametrize("count", [1, 2])
def test_parallel_raises_what_its_function_raises(count):
    with backend.threads(count), pytest.raises(ZeroDivisionError):
        backend.parallel(lambda i: 1 // i, [1, 0, 2])
    assert backend.parallel(len, []) == []


def test_parallel_within_parallel_does_not_wait_for_itself():
    def outer(i):
        return backend.parallel(lambda j: 10 * i + j, range(2))

    with backend.threads(2):
        assert backend.parallel(outer, range(3)) == [[0, 1], [10, 11], [20, 21]]


@given(rows=st.integers(0, 50), columns=st.integers(1, 20), limit=st.integers(1, 2000))
def test_blocks_cover_every_row_once(rows, columns, limit):
    """The number of threads is the machine's: an answer to lesson 13, judged in a process of its own, has no other."""
    x = np.zeros((rows, columns), np.float32)
    blocks = backend.blocks(x, limit)
    assert [i for block in blocks for i in range(rows)[block]] == list(range(rows))
    assert len(blocks) >= min(backend.worker_count(), rows) // 2
    assert all(x[block].nbytes < limit + x[:1].nbytes for block in blocks)


def test_a_missing_gpu_is_explained(monkeypatch):
    monkeypatch.setattr(backend, "cupy", None)
    with pytest.raises(backend.BackendError, match="pip install"):
        backend.to_device(LIKE, "gpu")
    assert backend.to_device(LIKE) is LIKE and backend.to_host(LIKE) is LIKE and backend.array_module(LIKE) is np
