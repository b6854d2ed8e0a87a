"""Nested dicts of arrays: parameters, gradients, optimizer moments, checkpoints.

A tree is a dict whose values are trees or arrays. Gradients have the same shape of tree as the
parameters, so AdamW, EMA, checkpoints and device moves are each one call of `map`.
"""

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import backend
from .backend import to_host
from .errors import UserError
from .files import replacing

Tree = dict[str, Any]
LIMIT = 4 << 30  # bytes of arrays in a file: a network of 268 million weights, its moments and its average


class TreeError(UserError):
    """A file that is not a tree of ours; the message names it."""


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
    """A flat dict from "a/b/c" to leaf, in the tree's order."""
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


def digest(tree: Tree) -> str:
    """A hash (SHA-256) of every leaf's name, shape, type and bytes, in the tree's order."""
    sha = hashlib.sha256()
    for name, leaf in flatten(tree).items():
        array = np.asarray(to_host(leaf))
        sha.update(f"{name} {array.shape} {array.dtype}".encode())
        sha.update(np.ascontiguousarray(array).view(np.uint8).data)
    return sha.hexdigest()


def save(path: str | Path, tree: Tree, keep: Path | None = None) -> None:
    """Write `tree` as an `.npz` file, atomically: after a crash there is the old file or the new one, whole.

    keep: the name that the old file gets.
    """
    leaves = {key: np.asarray(to_host(leaf)) for key, leaf in flatten(tree).items()}
    if any(leaf.dtype == object for leaf in leaves.values()):
        raise TypeError(f"{path}: a leaf is no array of numbers or text, and would have to be pickled")
    with replacing(path, keep) as file:
        np.savez(file, **leaves)  # type: ignore[arg-type]


def load(path: str | Path, limit: int = LIMIT) -> Tree:
    """Read a tree that `save` wrote, or another npz file of arrays. Never unpickles.

    limit: bytes that the arrays may take. All sizes are known, and agree with each other, before any is read, so a
    small file cannot ask for much memory.
    Raises FileNotFoundError, or TreeError if the file is cut short, is something else, or holds more than `limit`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            if (size := sum(member.file_size for member in members)) > limit:
                raise ValueError(f"its arrays take {size} bytes, more than {limit}")
            return unflatten({member.filename.removesuffix(".npy"): _array(archive, member) for member in members})
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile and NumPy raise a dozen kinds on damaged bytes
        reason = " ".join(str(error).split())[:200]
        raise TreeError(f"{path} is damaged or not an npz file ({reason})") from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """An array whose header asks for as many bytes as its member of the archive has."""
    with archive.open(member) as file:
        headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = headers[np.lib.format.read_magic(file)](file)
        if (
            dtype.hasobject
            or dtype.itemsize == 0
            or math.prod(shape) * dtype.itemsize != member.file_size - file.tell()
        ):
            raise ValueError(f"{member.filename} has a header of other data, {dtype} {shape}"[:120])
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
