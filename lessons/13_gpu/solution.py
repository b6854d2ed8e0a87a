"""Solutions of lesson 13, as a reader of the lesson might write them."""

import numpy as np

from ddim_from_scratch.nn.fast.processor.winograd import A_T, B_T, G
from ddim_from_scratch.runtime import backend


def blocks(x, bytes_per_block=1 << 19):
    """Equal pieces, rounded up twice."""
    rows = len(x)
    if rows == 0:
        return [slice(0, 0)]
    pieces = max(-(-x.nbytes // bytes_per_block), min(backend.worker_count(), rows))
    step = -(-rows // pieces)
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def conv2d(x, w, b):
    """Winograd's F(4, 3) along the height."""
    n, height, width, _ = x.shape
    groups = -(-height // 4)
    padded = np.pad(x, ((0, 0), (1, 4 * groups - height + 1), (1, 1), (0, 0)))
    windows = np.stack([padded[:, i : i + 4 * groups - 3 : 4] for i in range(6)])  # (6, N, groups, W + 2, C)
    points = np.tensordot(B_T.astype(x.dtype), windows, 1)
    filters = np.tensordot(G.astype(x.dtype), w, 1)  # (6, 3, C, D)
    products = sum(points[..., kx : kx + width, :] @ filters[:, None, None, kx] for kx in range(3))
    y = np.tensordot(A_T.astype(x.dtype), products, 1)  # (4, N, groups, W, D)
    y = y.transpose(1, 2, 0, 3, 4).reshape(n, 4 * groups, width, -1)[:, :height]
    return y + b, (x, w)
