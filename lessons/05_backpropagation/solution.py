"""Solutions of lesson 05, as a reader of the lesson might write them. The package's own are faster."""

import numpy as np

from ddim_from_scratch.nn import batch_norm


def swish_backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dy times the slope."""
    x = cache
    s = 1 / (1 + np.exp(-x))
    return dy * s * (1 + x * (1 - s))


def conv2d_backward(dy: np.ndarray, cache: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, dict]:
    """Nine shifted products, mirrored and transposed."""
    x, w = cache
    k, (_, height, width, _) = w.shape[0], x.shape
    border = k // 2
    x_padded, dy_padded = (np.pad(a, ((0, 0), (border, border), (border, border), (0, 0))) for a in (x, dy))
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for ky in range(k):
        for kx in range(k):
            my, mx = k - 1 - ky, k - 1 - kx
            dx += dy_padded[:, my : my + height, mx : mx + width] @ w[ky, kx].T
            x_shifted = x_padded[:, ky : ky + height, kx : kx + width]
            dw[ky, kx] = x_shifted.reshape(-1, x.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])
    return dx, {"w": dw, "b": dy.sum(axis=(0, 1, 2))}


def batch_norm_backward(dy: np.ndarray, cache: dict) -> np.ndarray:
    """What is left of dy without its parts along 1 and y."""
    y, sigma = cache["y"], cache["std"]
    pixels = (0, 1, 2)
    return (dy - dy.mean(axis=pixels) - y * (dy * y).mean(axis=pixels)) / sigma


def upsample_backward(dy: np.ndarray) -> np.ndarray:
    """The transpose, one axis after the other."""

    def halve_rows(dy: np.ndarray) -> np.ndarray:
        even, odd = dy[:, 0::2], dy[:, 1::2]
        dx = 0.75 * (even + odd)
        dx[:, :-1] += 0.25 * even[:, 1:]
        dx[:, :1] += 0.25 * even[:, :1]
        dx[:, 1:] += 0.25 * odd[:, :-1]
        dx[:, -1:] += 0.25 * odd[:, -1:]
        return dx

    return halve_rows(halve_rows(dy).swapaxes(1, 2)).swapaxes(1, 2)


def test_batch_norm_backward(batch_norm_backward):
    """A gradient check with random dy: dy of all ones has a gradient of 0, and so finds little."""
    rng = np.random.default_rng(0)
    step, dy, x = rng.standard_normal((3, 2, 4, 3, 2))
    x = 3 * x + 1
    dx = batch_norm_backward(dy, batch_norm(x)[1])
    assert dx.shape == x.shape
    change = batch_norm(x + 1e-5 * step)[0] - batch_norm(x - 1e-5 * step)[0]
    assert np.isclose(np.sum(dy * change) / 2e-5, np.sum(dx * step), rtol=1e-6)
