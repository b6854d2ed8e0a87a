"""The Frechet (Wasserstein-2) distance of two Gaussians (Dowson and Landau 1982; Kilgour et al. 2019)."""

from __future__ import annotations

from ..runtime.backend import Array, array_module

ROWS = 4096  # embeddings converted to float64 at a time, because a copy of all would double the memory


def gaussian(embeddings: Array) -> tuple[Array, Array]:
    """Mean (D,) and unbiased covariance (D, D), float64, of embeddings (n, D). Raises ValueError if n < 2."""
    if embeddings.ndim != 2 or len(embeddings) < 2:
        raise ValueError(f"embeddings of shape {embeddings.shape}: a covariance needs (n, D) with n of 2 or more")
    mean = embeddings.mean(axis=0, dtype="float64")
    covariance = array_module(embeddings).zeros((len(mean), len(mean)))
    for start in range(0, len(embeddings), ROWS):
        centred = embeddings[start : start + ROWS] - mean
        covariance += centred.T @ centred
    return mean, covariance / (len(embeddings) - 1)


def frechet_distance(mu_b: Array, sigma_b: Array, mu_e: Array, sigma_e: Array) -> float:
    """F = |mu_b - mu_e|^2 + tr(S_b + S_e - 2 (S_b S_e)^(1/2)), the square of the distance, in float64.

    mu: (D,). sigma: (D, D), symmetric, positive semi-definite. Real and >= 0 whatever their rank: with
    R = S_b^(1/2), the product S_b S_e has the eigenvalues of R S_e R, which is symmetric, so that
        tr (S_b S_e)^(1/2) = sum of sqrt(eigenvalues of R S_e R).
    A general matrix square root of S_b S_e returns complex numbers where a covariance is singular.
    Raises ValueError for other shapes, or NaN or infinity.
    """
    xp = array_module(mu_b)
    mu_b, sigma_b, mu_e, sigma_e = (xp.asarray(a, dtype=xp.float64) for a in (mu_b, sigma_b, mu_e, sigma_e))
    d = mu_b.shape[0] if mu_b.ndim == 1 else -1
    if mu_b.shape != mu_e.shape or not sigma_b.shape == sigma_e.shape == (d, d):
        raise ValueError(
            f"means {mu_b.shape}, {mu_e.shape} and covariances {sigma_b.shape}, {sigma_e.shape} "
            "are not (D,) and (D, D) of one D: are both from the same embedding?"
        )
    if not all(bool(xp.isfinite(a).all()) for a in (mu_b, sigma_b, mu_e, sigma_e)):
        raise ValueError("a mean or covariance contains NaN or infinity: look for it in the embeddings")
    values, vectors = xp.linalg.eigh(sigma_b)
    root = (vectors * xp.sqrt(xp.maximum(values, 0))) @ vectors.T
    product = xp.linalg.eigvalsh(root @ sigma_e @ root)
    trace = xp.trace(sigma_b) + xp.trace(sigma_e) - 2 * xp.sqrt(xp.maximum(product, 0)).sum()
    shift = mu_b - mu_e
    return max(float(shift @ shift + trace), 0.0)  # rounding can leave -1e-16 for equal Gaussians
