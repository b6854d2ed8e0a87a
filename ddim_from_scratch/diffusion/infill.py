"""Infilling: a part of the data is given, the network composes the rest. It needs no training of its own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..runtime.backend import Array, array_module
from .process import Rng, eps_of_x0, noise_like, predict_x0, q_sample
from .samplers import Walk


def infill(walk: Walk, x_T: Array, known: Array, mask: Array, resamplings: int = 1) -> Iterator[Array]:
    """RePaint: Lugmayr et al. (2022), Algorithm 1, with any sampler and any tau.

    Whenever the network is asked, what is known takes its place in x, with fresh noise for that time; and its answer
    has the known x0. For the rest the network goes by what there is, which came of less: to bring what is composed into
    accord with what is known, a step is undone by adding its noise again, and taken anew, `resamplings` times in all.
    The last step, which ends without noise, is taken once: the network is asked (S - 1) resamplings + 1 times by a
    sampler that asks once a step.

    walk: with a generator, whatever its sampler. Where steps are taken anew, each is the first of a fresh walk: a
    sampler that remembers earlier steps forgets them, so that `dpm_solver_pp_2m` becomes `ddim`.
    known: like x_T; its values where mask is 0 do not matter. mask: of a shape that is broadcast to x_T's, bool, True
    for what is kept, or x_T's dtype, 1 for what is kept and 0 for what is not. What is between them is shown to the
    network like what is kept; of the last x it is that share, and the rest is what the network made of it, which joins
    what is composed without a seam. Yields x after every step, the undone ones too.
    Raises ValueError for a mask or a known of another shape, and for what the sampler refuses.
    """
    if known.shape != x_T.shape:
        raise ValueError(f"known has shape {known.shape}, x_T {x_T.shape}: they must be the same")
    sizes = zip(mask.shape[::-1], x_T.shape[::-1], strict=False)
    if (
        mask.dtype not in (bool, x_T.dtype)
        or mask.ndim > x_T.ndim
        or any(size not in (1, whole) for size, whole in sizes)
    ):
        raise ValueError(
            f"the mask, {mask.dtype} {mask.shape}, must be bool or x's dtype and broadcast to x's shape, {x_T.shape}"
        )
    if resamplings < 1:
        raise ValueError(f"resamplings is {resamplings}: a step is taken 1 time or more")

    xp, share = array_module(x_T), mask.astype(x_T.dtype)
    if (rng := walk.rng) is None:
        raise ValueError("infilling adds noise at every step: pass rng, a numpy.random.Generator")

    def eps_model(x: Array, t: int) -> Array:
        ab_t = float(walk.alpha_bar[t])
        seen = xp.where(mask > 0, q_sample(known, ab_t, noise_like(x, rng)), x)
        x0 = predict_x0(seen, ab_t, walk.eps_model(seen, t))
        return eps_of_x0(x, ab_t, xp.where(mask > 0, share * known + (1 - share) * x0, x0))

    told = walk._replace(eps_model=eps_model)
    steps = told(x_T) if resamplings == 1 else _resampled(told, x_T, rng, resamplings)
    x = next(steps)
    for following in steps:
        yield x
        x = following
    yield xp.where(mask == 1, known, x)  # free of the steps' rounding


def _resampled(walk: Walk, x_T: Array, rng: Rng, resamplings: int) -> Iterator[Array]:
    """The walk with each step but the last taken `resamplings` times."""
    x = next(walk(x_T))  # refuses a bad tau before any work
    yield x
    levels = np.asarray(walk.alpha_bar)[walk.tau].tolist()
    for i in range(len(levels) - 1, 0, -1):
        for again in range(resamplings if i > 1 else 1):
            if again:
                x = q_sample(x, levels[i] / levels[i - 1], noise_like(x, rng))  # DDPM's forward process, s to t
            step = walk._replace(tau=walk.tau[: i + 1])(x)
            _, x = next(step), next(step)
            yield x
