"""VGGish (Hershey et al. 2017): the network whose embeddings the Frechet audio distance is defined on.

    samples --vggish_examples--> (n, 96, 64) log-mel patches of 0.96 s --vggish--> (n, 128)

The results are those of the published model (TF-Hub google/vggish/1). Its log-mel differs from the diffusion model's:
shorter windows, fewer mel bins, and an offset instead of a clip.

All convolutions are 3x3, and most have so many channels that products dominate the time. So they use Winograd's
F(4x4, 3x3), the algorithm of nn/fast/processor/winograd.py along both axes: 36 products for a tile of 16 outputs
instead of 144. Only the forward pass is here, because VGGish is not trained.
"""

from __future__ import annotations

import numpy as np

from ..audio.contract import SR
from ..audio.mel import check_samples, mel_matrix
from ..audio.stft import frame, frame_slices, windowed_rfft
from ..nn.fast.processor import winograd
from ..runtime.backend import Array, array_module, constant, empty, parallel
from ..runtime.backend import blocks as parts
from ..runtime.tree import Tree

FRAME_LENGTH = 400  # samples: 25 ms
HOP_LENGTH = 160  # samples: 10 ms
N_FFT = 512
N_MELS = 64
F_MIN_HZ = 125.0
F_MAX_HZ = 7500.0
LOG_OFFSET = 0.01  # added to mel magnitudes before the logarithm
PATCH_FRAMES = 96  # 0.96 s; patches do not overlap
PATCH_SECONDS = ((PATCH_FRAMES - 1) * HOP_LENGTH + FRAME_LENGTH) / SR  # shortest sound with that many frames: 0.975 s

CONVOLUTIONS = {
    "conv1": 2,
    "conv2": 2,
    "conv3_1": 1,
    "conv3_2": 2,
    "conv4_1": 1,
    "conv4_2": 2,
}  # number of pixels that are pooled in each direction
PATCHES = 64  # per batch, for which the dense layers' 270 MB of weights are read once
BLOCK_BYTES = 6 << 20  # of Winograd's points per thread; with fewer the deep layers' filters are read too often

# Both axes at once: A^T X A as a vector is (A^T kron A^T) times X as a vector.
B_T, G, A_T = (np.kron(matrix, matrix) for matrix in (winograd.B_T, winograd.G, winograd.A_T))  # (36, 36), ...


def vggish_examples(samples: Array) -> Array:
    """VGGish's log-mel patches: ln(|STFT(samples)| @ mel_matrix + 0.01), cut every 96 frames.

    samples: (n,) float32 or float64 (computed in that precision), mono, 16 000 Hz, in [-1, 1].
    Returns float32 (patches, 96, 64). A patch needs 15 600 samples, and the next one begins after 15 360. The rest at
    the end is ignored. With too few samples for a patch the result is (0, 96, 64).
    Raises ValueError if samples are not one-dimensional, floating point and finite.
    """
    check_samples(samples)
    xp = array_module(samples)
    patches = max(len(samples) - FRAME_LENGTH + HOP_LENGTH, 0) // (HOP_LENGTH * PATCH_FRAMES)
    log_mel = empty((patches * PATCH_FRAMES, N_MELS), samples, np.float32)
    if patches:
        frames = frame(samples, FRAME_LENGTH, HOP_LENGTH, pad_end=False)
        matrix = constant(mel_matrix, N_FFT, N_MELS, SR, F_MIN_HZ, F_MAX_HZ, like=samples)  # (257, 64)

        def transform(rows: slice) -> None:
            log_mel[rows] = xp.log(xp.abs(windowed_rfft(frames[rows], N_FFT)) @ matrix + LOG_OFFSET)

        parallel(transform, frame_slices(len(log_mel)))
    return log_mel.reshape(patches, PATCH_FRAMES, N_MELS)


def vggish(params: Tree, examples: Array) -> Array:
    """The embeddings of patches: the last dense layer, before any activation.

    params: as `weights.load_vggish` returns them, {"conv1": {"w": (3, 3, 1, 64), "b": (64,)}, ...}; a tree of
        narrower layers works too.
    examples: (n, 96, 64) float32, from `vggish_examples`. Preparing the filters costs as much as two patches, so pass
        the patches of many clips at once.
    Returns (n, 128). Raises ValueError for other shapes.
    """
    if examples.ndim != 3 or examples.shape[1:] != (PATCH_FRAMES, N_MELS):
        raise ValueError(f"examples have shape {examples.shape}, not (n, 96, 64): make them with vggish_examples")
    xp = array_module(examples)
    points = parallel(lambda layer: filter_at_points(params[layer]["w"]), CONVOLUTIONS)
    filters = dict(zip(CONVOLUTIONS, points, strict=True))
    embeddings = empty((len(examples), len(params["fc2"]["b"])), examples)
    for start in range(0, len(examples), PATCHES):
        x = examples[start : start + PATCHES, :, :, None]
        for layer, pool in CONVOLUTIONS.items():
            x = conv_relu_pool(x, filters[layer], params[layer]["b"], pool)  # ... (n, 6, 4, 512)
        x = x.reshape(len(x), -1)
        for layer in ("fc1_1", "fc1_2"):
            x = xp.maximum(dense(params[layer], x), 0)
        embeddings[start : start + PATCHES] = dense(params["fc2"], x)
    return embeddings


def conv_relu_pool(x: Array, filter_points: Array, b: Array, pool: int) -> Array:
    """max over squares of pool x pool pixels of max(0, w * x + b), for a 3x3 filter w, SAME padding, stride 1.

    x: (N, H, W, C), H and W divisible by 4. filter_points: (36, C, D), from `filter_at_points`. b: (D,).
    pool: 1 or 2. Returns (N, H / pool, W / pool, D).

    A tile of 4 x 4 outputs needs 6 x 6 inputs. Pooling comes before adding b and clipping at 0, which do not change the
    order of the values and then work on a quarter of the pixels.
    """
    xp = array_module(x)
    n, height, width, c = x.shape
    d = filter_points.shape[-1]
    down, across, size = height // 4, width // 4, 4 // pool
    y = empty((n, height // pool, width // pool, d), x)

    def some(part: slice) -> None:
        m = len(x[part])
        padded = empty((m, height + 2, width + 2, c), x)
        padded[:, 0] = padded[:, -1] = 0
        padded[:, :, 0] = padded[:, :, -1] = 0
        padded[:, 1:-1, 1:-1] = x[part]
        sample, row, pixel, channel = padded.strides
        windows = empty((6, 6, m, down, across, c), x)
        windows[...] = xp.lib.stride_tricks.as_strided(
            padded, windows.shape, (row, pixel, sample, 4 * row, 4 * pixel, channel)
        )
        points = times(B_T, windows).reshape(36, -1, c)
        products = xp.matmul(points, filter_points, out=empty((36, points.shape[1], d), x))
        tiles = times(A_T, products).reshape(4, 4, m, down, across, d)
        if pool == 2:
            tiles = xp.maximum(tiles[0::2], tiles[1::2])
            tiles = xp.maximum(tiles[:, 0::2], tiles[:, 1::2])
        tiles += b
        out = y[part].reshape(m, down, size, across, size, d)
        xp.maximum(tiles.transpose(2, 3, 0, 4, 1, 5), 0, out=out)

    growth = 36 / 16 * (1 + d / c)  # from the input to points and products
    parallel(some, parts(x, int(BLOCK_BYTES / growth)))
    return y


def filter_at_points(w: Array) -> Array:
    """G w G^T: a filter (3, 3, C, D) at Winograd's 6 x 6 points, (36, C, D)."""
    return times(G, w).reshape(36, *w.shape[2:])


def times(matrix: np.ndarray, x: Array) -> Array:
    """matrix (m, k) @ x, where the first axes of x have k elements in total. Returns (m, rest)."""
    xp = array_module(x)
    x = x.reshape(matrix.shape[1], -1)
    return xp.matmul(xp.asarray(matrix, x.dtype), x, out=empty((len(matrix), x.shape[1]), x))


def dense(params: Tree, x: Array) -> Array:
    """x @ w + b. x: (n, C). w: (C, D). b: (D,). Each thread reads its own columns of w, the largest array."""
    w, b = params["w"], params["b"]
    y = empty((len(x), len(b)), x)

    def some(columns: slice) -> None:
        y[:, columns] = x @ w[:, columns] + b[columns]

    parallel(some, parts(w.T, w.nbytes))
    return y


def postprocess(embeddings: Array, pca: Tree) -> Array:
    """The 8-bit embeddings of AudioSet's own release: whitened, clipped to [-2, 2], quantised to 0..255.

    embeddings: (n, 128), from `vggish`. pca: {"eigen_vectors": (128, 128), one a row, "means": (128,)}, from
    `weights.load_vggish_pca`. Returns uint8 (n, 128); fractions are dropped, as Google's code does, where
    torchvggish rounds. The Frechet distance is taken of embeddings without this.
    """
    whitened = (embeddings - pca["means"]) @ pca["eigen_vectors"].T
    return ((whitened.clip(-2, 2) + 2) * (255 / 4)).astype("uint8")
