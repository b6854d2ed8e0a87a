"""A set of clips as a Gaussian in the embedding space, and its files."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..runtime import tree
from ..runtime.errors import FileError, UserError, naming, printable
from ..runtime.files import reading
from .frechet import gaussian

MOST = 2048  # dimensions of an embedding: eigenvalues take seconds
LARGEST = 1e30  # number in statistics: distances and squares of it are finite
COVARIANCE_ROUNDING = 1e-6  # relative, of a covariance in float32
ROUNDING = 1e-5  # of embeddings in float32, relative to the largest
NAMES = [(mean, covariance) for mean in ("mu", "mean") for covariance in ("sigma", "cov")]


@dataclass(frozen=True)
class Set:
    """mean (D,) and covariance (D, D), float64.

    n: number of embeddings, 0 if unknown. clips: embeddings (patches, D) of each clip, empty if only mean and
    covariance are known.
    """

    mean: np.ndarray
    covariance: np.ndarray
    n: int = 0
    clips: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def of(cls, clips: list[np.ndarray]) -> Set:
        """The set of clips with these embeddings. Raises ValueError if there are fewer than 2 in total."""
        embeddings = np.concatenate(clips)
        return cls(*gaussian(embeddings), len(embeddings), clips)

    def take(self, indices: np.ndarray) -> Set:
        """The set of the clips with these indices."""
        return Set.of([self.clips[i] for i in indices])

    @property
    def rank(self) -> int:
        """Rank of the covariance: at most n - 1 for n embeddings."""
        return int(np.linalg.matrix_rank(self.covariance, hermitian=True))

    @property
    def constant(self) -> bool:
        """Whether all embeddings are equal but for rounding, as those of silence are: there is no distribution."""
        spread = np.sqrt(np.abs(np.diag(self.covariance)).max())
        return bool(spread <= ROUNDING * np.abs(self.mean).max())


def holds_statistics(path: Path) -> bool:
    return path.suffix == ".npz" or (path / "mu.npy").is_file()


def load_statistics(path: Path, embedding: str) -> Set:
    """Reads an .npz with mu (or mean) and sigma (or cov), or a folder with mu.npy and cov.npy, as fadtk writes them.

    The names may begin with "EMBEDDING.", so that one file can hold several embeddings. Never unpickles.
    Raises OSError if it cannot be opened; FileError if it is damaged, lacks such arrays, or is of another embedding.
    """
    with naming(path, "is damaged or holds no statistics", "copy it again, or make it anew"):
        if path.suffix == ".npz":
            file = tree.load(path, limit=2 * (MOST + 1) * MOST * 8)
            pairs = [(prefix + m, prefix + c) for prefix in ("", f"{embedding}.") for m, c in NAMES]
            found = [pair for pair in pairs if pair[0] in file and pair[1] in file]
            if not found:
                raise UserError(f"it has no mu and sigma, nor {embedding}.mu and {embedding}.cov")
            mean, covariance = (file[name] for name in found[0])
            n = tree.integer(file["n"], 0) if "n" in file else 0
            made_by = tree.text(file["embedding"]) if "embedding" in file else embedding
        else:
            mean, covariance = (_load_npy(path / name) for name in ("mu.npy", "cov.npy"))
            n, made_by = 0, embedding
        if made_by != embedding:
            made_by = printable(made_by[:40])
            raise FileError(f"{path} was made with {made_by}: give --embedding {made_by}")
        if flaw := _impossible(mean, covariance, n):
            raise UserError(flaw)
        return Set(mean.astype(np.float64), covariance.astype(np.float64), n)


def _impossible(mean: np.ndarray, covariance: np.ndarray, n: int) -> str | None:
    """Why no set of embeddings has these statistics; None if one can."""
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)) or mean.dtype.kind + covariance.dtype.kind != "ff":
        return f"mean {mean.shape} and covariance {covariance.shape} are no (D,) and (D, D) floats"
    if not 1 <= len(mean) <= MOST:
        return f"{len(mean)} dimensions are not 1 to {MOST}"
    if not (tree.is_finite(mean) and tree.is_finite(covariance)):
        return "they contain NaN or infinity, or numbers of more than 64 bits"
    covariance = covariance.astype(np.float64)
    if (largest := max(abs(mean).max(), abs(covariance).max())) > LARGEST:
        return f"they contain {largest:.3g}, more than {LARGEST:g}"
    rounding = COVARIANCE_ROUNDING * abs(covariance).max()
    if abs(covariance - covariance.T).max() > rounding:
        return "the covariance is not symmetric"
    if (least := np.linalg.eigvalsh(covariance)[0]) < -rounding * len(mean):
        return f"the covariance has the eigenvalue {least:.3g}, below 0"
    return "n is 1, and a covariance needs 2 or more" if n == 1 else None


def _load_npy(path: Path) -> np.ndarray:
    with reading(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > (MOST + 1) * MOST * 8:
            raise UserError(f"{path.name} has {size} bytes, more than {MOST} dimensions take")
        return tree.read_array(file, size, path.name)


def save_statistics(path: Path, side: Set, embedding: str) -> None:
    """Writes an .npz that `load_statistics` reads."""
    tree.save(path, {"mu": side.mean, "sigma": side.covariance, "n": side.n, "embedding": embedding})
