"""Exercises of lesson 05: four backward passes.

Write the four functions, in any order. `make check-05` puts each in the package's place, on its own, shows what
it answers beside what is expected, and runs the package's gradient checks on it. Loops are welcome; speed is not
asked for. Leave the names and the arguments as they are. Keep the dtype: float32 in, float32 out. A test to write comes
last.

dy is the loss's derivative by the layer's output, an array of its shape. `cache` is what the layer has kept.
"""

import numpy as np


def swish_backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dx for y = x s(x), with the sigmoid s(x) = 1 / (1 + exp(-x)). Remember s' = s (1 - s).

    dy: any shape. cache: x, of that shape. Returns dx, of that shape.

         slope   1 |           .-------
                   |         /              a little above 1 on the right, a little below 0 on the left
        0 |--------.______ ./
                         0               x
    """
    raise NotImplementedError


def conv2d_backward(dy: np.ndarray, cache: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, dict]:
    """dx, dw and db for y[p] = b + sum over shifts s of x[p + s] w[s], zeros outside the plane.

    dy: (N, H, W, D). cache: (x, w), x (N, H, W, C), w (k, k, C, D) with an odd k: 1, 3 or 5.
    w[ky, kx] belongs to the shift s = (ky - k // 2, kx - k // 2).
    Returns dx (N, H, W, C) and {"w": dw (k, k, C, D), "b": db (D,)}.

    With `np.pad(a, ((0, 0), (r, r), (r, r), (0, 0)))`, r = k // 2, every shift is a slice.

        w       dy, one bright pixel       dx: the inputs that this output has read,
        a b c        . . . . .                 . . . . .    with the weights it gave them
        d e f        . . . . .                 . a b c .
        g h i        . . 1 . .                 . d e f .
                     . . . . .                 . g h i .
    """
    raise NotImplementedError


def batch_norm_backward(dy: np.ndarray, cache: dict) -> np.ndarray:
    """dx for y = (x - mean) / sigma, where the mean and sigma of each channel are those of x itself.

    dy: (N, H, W, C). cache: cache["y"] is y, (N, H, W, C), and cache["std"] sigma, (C,). Returns dx: (N, H, W, C).

    Means are over all axes but the last. What comes out is perpendicular to a shift: its mean is 0 in every
    channel; and almost perpendicular to y.
    """
    raise NotImplementedError


def upsample_backward(dy: np.ndarray) -> np.ndarray:
    """dx for the layer that doubles height and width; along each of the two axes

        y[2i] = 3/4 x[i] + 1/4 x[i - 1]        y[2i + 1] = 3/4 x[i] + 1/4 x[i + 1],

    where x[-1] stands for x[0], and x[n] for x[n - 1]. Do one axis, then the other.

    dy: (N, 2H, 2W, C). Returns dx: (N, H, W, C).

        y[2i-1]  y[2i]  y[2i+1]  y[2i+2]       the outputs that x[i] has gone into, and its weights there;
            \\      |       |       /            the first and the last x go into themselves once more, in
            1/4   3/4     3/4    1/4           their neighbour's place
    """
    raise NotImplementedError


def test_batch_norm_backward(batch_norm_backward):
    """A test of `batch_norm_backward`: assertions that hold for the right function, and fail for wrong ones.

    `make check-05` calls it with the right function, which it must accept, and with twelve wrong ones. It says how many
    of them your test finds, and describes the others. `y, cache = batch_norm(x)`, from ddim_from_scratch.nn, is the
    layer; take its cache, which holds more than y and std. Move x by a little and compare the change of sum(dy * y)
    with sum(dx * change of x). Think about which dy you take: some accept everything.
    """
    raise NotImplementedError


EXPERIMENT = """
| input's gradient of the second convolution | loss on the rest of the tune |
|---|---|
| right | ? |
| not reversed | ? |

How could one notice this mistake without a gradient check? ?
Conclusion: ?
"""
