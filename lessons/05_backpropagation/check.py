"""What the exercises of lesson 05 are held to, and the mistakes that are known."""

import numpy as np

from ddim_from_scratch.nn import average_pool, batch_norm, conv2d_backward, swish, upsample_backward
from lessons.tool.check import Exercise

TESTS = "tests/nn/test_layers.py::"
RNG = np.random.default_rng(5)
DY, X = np.array([1.0, 1, 1, 2]), np.array([-2.0, 0, 1, 1])


def noise(*shape):
    return RNG.standard_normal(shape)


def checks(name):
    """The package's tests of a layer."""
    return tuple(
        f"{TESTS}{test}[plain-{name}]"
        for test in ("test_gradients_match_finite_differences", "test_precision_and_arguments_are_kept")
    )


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def convolution(n, c, d, k=3):
    """dy and cache for a plane of 3 x 4 pixels."""
    return noise(n, 3, 4, d), (noise(n, 3, 4, c), noise(k, k, c, d))


ONE, TWO, BATCH, FIVE = convolution(1, 1, 1), convolution(1, 2, 2), convolution(3, 2, 4), convolution(1, 2, 3, 5)


def altered(dx=None, dw=None, db=None):
    """The right backward pass of a convolution with one of its answers changed."""

    def backward(dy, cache):
        right, grads = conv2d_backward(dy, cache)
        changes = zip((right, grads["w"], grads["b"]), (dx, dw, db), strict=True)
        right, w, b = (a if change is None else change(a, dy, *cache) for a, change in changes)
        return right, {"w": w, "b": b}

    return backward


def dx_with(kernel):
    """dx as if the kernel were another one."""
    return altered(dx=lambda dx, dy, x, w: conv2d_backward(dy, (x, kernel(w)))[0])


PIXELS = (0, 1, 2)
NORM = noise(2, 1, 2, 1), batch_norm(noise(2, 1, 2, 1))[1]
NORM_TWO = noise(3, 2, 4, 2), batch_norm(3 * noise(3, 2, 4, 2) + 1)[1]


def norm(mean=1.0, variance=1.0, scale=1.0, axes=PIXELS, total=np.mean):
    """dx of a normalisation with its terms weighted."""

    def backward(dy, cache):
        y, inverse_std = cache["y"], 1 / cache["std"]
        mean_dy, mean_dy_y = (total(a, axis=axes, keepdims=True) for a in (dy, dy * y))
        return (dy - mean * mean_dy - variance * y * mean_dy_y) * inverse_std**scale

    return backward


UP = noise(1, 6, 2, 1)


def halved(near, far, border=True, axes=2):
    """The way back through upsampling along both axes, with weights for near and far pixels."""

    def rows(dy):
        even, odd = dy[:, 0::2], dy[:, 1::2]
        dx = near * (even + odd)
        dx[:, :-1] += far * even[:, 1:]
        dx[:, 1:] += far * odd[:, :-1]
        if border:
            dx[:, :1] += far * even[:, :1]
            dx[:, -1:] += far * odd[:, -1:]
        return dx

    return lambda dy: rows(dy) if axes == 1 else rows(rows(dy).swapaxes(1, 2)).swapaxes(1, 2)


EXERCISES = [
    Exercise(
        "ddim_from_scratch.nn.dense.swish_backward",
        tests=checks("swish"),
        examples={
            "swish_backward(dy=[1, 1, 1, 2], x=[-2, 0, 1, 1])": lambda swish_backward: swish_backward(DY, X),
            "swish_backward(dy (2, 3), x (2, 3))": lambda swish_backward: swish_backward(
                np.outer(X[:2], DY[:3]), np.outer(DY[2:], X[:3])
            ),
        },
        mistakes={
            "this is the slope alone: multiply it by dy": lambda dy, x: sigmoid(x) * (1 + x * (1 - sigmoid(x))),
            "this is the sigmoid's slope, s (1 - s): y = x s(x) is a product, and has two terms": (
                lambda dy, x: dy * sigmoid(x) * (1 - sigmoid(x))
            ),
            "the first term of the product rule, s, is missing": lambda dy, x: dy * x * sigmoid(x) * (1 - sigmoid(x)),
            "the second term of the product rule, x s', is missing": lambda dy, x: dy * sigmoid(x),
            "s' is s (1 - s), with a minus": lambda dy, x: dy * sigmoid(x) * (1 + x * (1 + sigmoid(x))),
            "the slope is taken at y: the cache is x": (
                lambda dy, x: dy * sigmoid(swish(x)[0]) * (1 + swish(x)[0] * (1 - sigmoid(swish(x)[0])))
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.nn.conv.conv2d_backward",
        tests=(
            *checks("conv2d 3x3"),
            *checks("conv2d 1x1"),
            *checks("conv2d 5x5, larger than the plane"),
        ),
        examples={
            "dx of conv2d_backward(dy (1, 3, 4, 1), x, w (3, 3, 1, 1))": lambda backward: backward(*ONE)[0],
            "dw of the same": lambda backward: backward(*ONE)[1]["w"],
            "db of the same": lambda backward: backward(*ONE)[1]["b"],
            "dx with 2 channels in and 2 out": lambda backward: backward(*TWO)[0],
            "dw with 2 channels in and 2 out": lambda backward: backward(*TWO)[1]["w"],
            "dw with 3 samples": lambda backward: backward(*BATCH)[1]["w"],
            "db with 3 samples": lambda backward: backward(*BATCH)[1]["b"],
            "dx with a 5x5 kernel": lambda backward: backward(*FIVE)[0],
        },
        mistakes={
            "the kernel is not reversed: dx[q] sums dy[q - s] w[s].T": dx_with(lambda w: w[::-1, ::-1]),
            "the kernel is reversed along one axis only": dx_with(lambda w: w[::-1]),
            "rows and columns of the kernel are exchanged": dx_with(lambda w: w.swapaxes(0, 1)),
            "w[s] is not transposed in dx: dy has the output's channels": dx_with(lambda w: w.swapaxes(2, 3)),
            "dw is upside down: dw[s] pairs x[p + s] with dy[p]": altered(dw=lambda dw, *_: dw[::-1, ::-1]),
            "dw has its channels exchanged: x.T @ dy, not dy.T @ x": altered(dw=lambda dw, *_: dw.swapaxes(2, 3)),
            "dw is that of the last sample: add up all samples": (
                altered(dw=lambda dw, dy, x, w: conv2d_backward(dy[-1:], (x[-1:], w))[1]["w"])
            ),
            "db is a mean: every pixel adds to it": altered(db=lambda db, dy, *_: dy.mean(axis=PIXELS)),
            "db is that of the last sample: add up all samples": altered(db=lambda db, dy, *_: dy[-1].sum(axis=(0, 1))),
        },
    ),
    Exercise(
        "ddim_from_scratch.nn.norm.batch_norm_backward",
        tests=(*checks("batch_norm"), *checks("batch_norm, one sample"), *checks("residual_block")),
        examples={
            "batch_norm_backward(dy (2, 1, 2, 1), cache)": lambda backward: backward(*NORM),
            "batch_norm_backward(dy (3, 2, 4, 2), cache)": lambda backward: backward(*NORM_TWO),
        },
        mistakes={
            "mean and sigma are treated as constants: they move with x, which gives two more terms": norm(0, 0),
            "the mean's term is missing: subtract the mean of dy": norm(0, 1),
            "sigma's term is missing: subtract y times the mean of y dy": norm(1, 0),
            "the two terms are sums: divide them by the number of pixels": norm(total=np.sum),
            "it is multiplied by sigma: divide by it": norm(scale=-1),
            "1 / sigma is missing": norm(scale=0),
            "1 / sigma is there twice": norm(scale=2),
            "the means are over the samples only: take them over time and mel bins, too": norm(axes=(0,)),
            "the two terms are added: subtract them": norm(-1, -1),
            "the means are over the channels, too: each channel is normalised on its own": norm(axes=(0, 1, 2, 3)),
            "the means are over the channels only: take them over samples, time and mel bins": norm(axes=(3,)),
            "this is 0, which is right only for a dy of all ones": lambda dy, cache: np.zeros_like(dy),
        },
        test_to_write=True,
    ),
    Exercise(
        "ddim_from_scratch.nn.resize.upsample_backward",
        tests=(
            *checks("upsample"),
            *checks("upsample, one pixel"),
            f"{TESTS}test_gradients_match_finite_differences[plain-unet, attention none]",
        ),
        examples={
            "upsample_backward(dy (1, 6, 2, 1))": lambda backward: backward(UP),
            "upsample_backward(ones (1, 2, 2, 1))": lambda backward: backward(np.ones((1, 2, 2, 1))),
        },
        mistakes={
            "this is the mean of the four pixels: gradients add up": average_pool,
            "this is the sum of the four pixels, the way back from repeating each: neighbours read x, too": (
                halved(1, 0)
            ),
            "it is too small by 4: the transpose is no mean, its columns add up to 2 along each axis": (
                lambda dy: upsample_backward(dy) / 4
            ),
            "the borders are missing: the first and last x stand in for their missing neighbours": (
                halved(0.75, 0.25, border=False)
            ),
            "the weights 3/4 and 1/4 are exchanged": halved(0.25, 0.75),
            "the neighbours' quarters are missing: an x is read by two outputs beside its own two": halved(
                0.75, 0, border=False
            ),
            "only time is halved: the mel axis, too": halved(0.75, 0.25, axes=1),
            "every second pixel is picked: all outputs have read x": lambda dy: dy[:, ::2, ::2],
        },
    ),
]
