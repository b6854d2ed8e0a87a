"""Nested dicts of arrays: parameters, gradients, optimizer moments, checkpoints.

A tree is a dict whose values are trees or arrays. Gradients have the same shape of tree as the
parameters, so AdamW, EMA, checkpoints and device moves are each one call of `map`.
"""

from __future__ import annotations

import hashlib
import math
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import backend
from .backend import Array, to_host
from .errors import UserError, naming
from .files import reading, replacing

Tree = dict[str, Any]
PLAIN = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
LIMIT = 4 << 30  # bytes of arrays in a file: 268 million weights with their moments and moving average
SMALL = 64 << 20  # bytes that any file may unpack to


def map(function: Callable[..., Any], *trees: Tree) -> Tree:
    """The tree of `function(a, b, ...)` over the leaves of one or more trees of the same shape."""
    first = trees[0]
    return {
        key: map(function, *(t[key] for t in trees))
        if isinstance(first[key], Mapping)
        else function(*(t[key] for t in trees))
        for key in first
    }


def to_device(tree: Tree, device: str) -> Tree:
    """The tree with every leaf on `device`, "cpu" or "gpu". Raises BackendError as `backend.to_device` does."""
    return map(lambda leaf: backend.to_device(leaf, device), tree)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves by path, {"a/b/c": leaf}, in the tree's order."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}/")
        else:
            flat[prefix + key] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> Tree:
    """The inverse of `flatten`."""
    tree: Tree = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


class Packed(dict):
    """A tree whose leaves are views of one vector, `flat`, in the tree's order; so is every tree within it.

    What treats all numbers alike (AdamW, clipping, the moving average) is one operation on `flat`. As long as the tree
    is there, its arrays stay where they are in memory: `recorded` holds functions that rely on it, by name.
    """

    flat: Array
    recorded: dict[str, Callable[..., Any]]


def pack(tree: Tree, like: Tree | None = None) -> Packed:
    """A copy of the leaves of `tree`, all of one dtype and device, packed.

    like: a tree with some of its paths. It gives the order, and whatever else is in `tree` is left out.
    """
    leaves = flatten(tree)
    leaves = {path: leaves[path] for path in flatten(tree if like is None else like)}
    first = next(iter(leaves.values()), np.empty(0, np.float32))
    flat = backend.array_module(first).empty(sum(leaf.size for leaf in leaves.values()), first.dtype)
    packed = _views(tree if like is None else like, leaves, flat)
    for view, leaf in zip(flatten(packed).values(), leaves.values(), strict=True):
        view[...] = leaf
    return packed


def _views(shape: Mapping[str, Any], leaves: Mapping[str, Any], flat: Array, prefix: str = "") -> Packed:
    packed, start = Packed(), 0
    packed.recorded = {}
    for key, value in shape.items():
        paths = flatten(value, f"{prefix}{key}/") if isinstance(value, Mapping) else [prefix + key]
        part = flat[start : start + sum(leaves[path].size for path in paths)]
        start += part.size
        if isinstance(value, Mapping):
            packed[key] = _views(value, leaves, part, f"{prefix}{key}/")
        else:
            packed[key] = part.reshape(leaves[prefix + key].shape)
    packed.flat = flat
    return packed


def digest(tree: Tree) -> str:
    """SHA-256 of every leaf's name, shape, dtype and bytes, in the tree's order."""
    sha = hashlib.sha256()
    for name, leaf in flatten(tree).items():
        array = np.asarray(to_host(leaf))
        sha.update(f"{name} {array.shape} {array.dtype}".encode())
        sha.update(np.ascontiguousarray(array).view(np.uint8).data)
    return sha.hexdigest()


def save(path: str | Path, tree: Tree, keep: Path | None = None) -> None:
    """Writes `tree` as an `.npz` file, atomically: a crash leaves either the old file or the new one.

    keep: new name for the old file.
    """
    leaves = {key: np.asarray(to_host(leaf)) for key, leaf in flatten(tree).items()}
    if any(leaf.dtype == object for leaf in leaves.values()):
        raise TypeError(f"{path}: a leaf is no array of numbers or text, and would have to be pickled")
    with replacing(path, keep) as file:
        np.savez(file, **leaves)  # type: ignore[arg-type]


def load(path: str | Path, limit: int | None = None, only: str = "") -> Tree:
    """Reads a tree that `save` wrote, or another npz file of arrays. Never unpickles.

    only: how the names of the leaves to read begin. limit: bytes that the arrays may take; without it the file's own
    size, as `save` does not compress, or SMALL. All sizes are known, and agree with each other, before any is read, so
    a small file cannot ask for much memory. (bz2 and lzma unpack to memory of their own: they are refused.)
    Raises OSError if it cannot be opened, or FileError if it is cut short, something else, or more than `limit`.
    """
    with (
        naming(path, "is damaged or not an npz file", "copy it again, or make it anew"),
        reading(path) as file,
        zipfile.ZipFile(file) as archive,
    ):
        if limit is None:
            limit = min(max(os.fstat(file.fileno()).st_size, SMALL), LIMIT)
        names = {member.filename: member for member in archive.infolist() if member.filename.endswith(".npy")}
        members = [member for name, member in names.items() if name.startswith(only)]
        if other := [m.compress_type for m in members if m.compress_type not in PLAIN]:
            raise UserError(f"it is compressed by method {other[0]}, not stored or deflated")
        if (size := sum(member.file_size for member in members)) > limit:
            raise UserError(f"its arrays take {size} bytes, more than {limit}")
        return unflatten({member.filename.removesuffix(".npy"): _member(archive, member) for member in members})


def text(leaf: Any) -> str:
    """The text in a leaf that `save` made of a str. Raises UserError for anything else."""
    if not (isinstance(leaf, np.ndarray) and leaf.shape == () and leaf.dtype.kind == "U"):
        raise UserError("a leaf is not text")
    return str(leaf)


def integer(leaf: Any, least: int) -> int:
    """The number in a leaf that `save` made of an int >= least. Raises UserError for anything else."""
    if not (isinstance(leaf, np.ndarray) and leaf.shape == () and leaf.dtype.kind in "iu" and leaf >= least):
        raise UserError(f"a leaf is not a whole number, {least} or more")
    return int(leaf)


def is_finite(leaf: Any) -> bool:
    """Whether a leaf is an array of finite floating-point numbers, of 64 bits at most."""
    sound = isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f" and leaf.dtype.itemsize <= 8
    return sound and bool(np.isfinite(leaf).all())


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        return read_array(file, member.file_size, member.filename)


def read_array(file: Any, size: int, name: str) -> np.ndarray:
    """Reads an array in NumPy's npy format. Raises UserError unless its header describes exactly `size` bytes."""
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, _, dtype = headers[np.lib.format.read_magic(file)](file)
    if dtype.hasobject or dtype.itemsize == 0 or math.prod(shape) * dtype.itemsize != size - file.tell():
        raise UserError(f"{name} has a header of other data, {dtype} {shape}"[:120])
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


class _Forgetful(dict):
    """A tree that keeps nothing."""

    def __setitem__(self, name: str, value: object) -> None:
        pass


def cache_for(training: bool) -> Tree:
    """An empty tree for a forward pass to fill. Without training it stays empty, and memory is free at once."""
    return {} if training else _Forgetful()


def blocks(tree: Tree) -> list[str]:
    """The names of the blocks in a network's parameters or cache, in order: block0, block1, ..."""
    return [f"block{i}" for i in range(sum(name.startswith("block") for name in tree))]
