"""Exercises of lesson 13: pieces that stay in the cache, and a convolution with half the multiplications.

Write the two functions. `make check-13` puts each in the package's place, on its own, shows what it answers beside
what is expected, and runs the package's tests on it. Leave the names and the arguments as they are.
"""

import numpy as np

from ddim_from_scratch.nn.fast.processor.winograd import A_T, B_T, G  # noqa: F401  (4, 6), (6, 6), (6, 3)
from ddim_from_scratch.runtime import backend  # noqa: F401  backend.worker_count() is the number of threads


def blocks(x: np.ndarray, bytes_per_block: int = 1 << 19) -> list[slice]:
    """Slices of the first axis of x, in order, that cover each row once.

    Divide x.nbytes by bytes_per_block, and round up: this is the number of pieces, but at least one a thread, as far as
    there are rows. Divide the rows by this number, and round up: these are the rows of a piece. The last piece has what
    is left. (So a piece may exceed bytes_per_block by less than a row, and there may be fewer pieces than the number.)
    No rows, one empty slice.

    10 rows of 16 bytes, 48 bytes a block:  10 * 16 / 48 = 3.3, so 4 pieces of 3 rows, the last of 1

        rows   0 1 2 3 4 5 6 7 8 9
               [----]
                     [----]
                           [----]
                                 []
    """
    raise NotImplementedError


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, tuple]:
    """y[n, i, j] = b + sum over ky, kx of x[n, i + ky - 1, j + kx - 1] @ w[ky, kx], zeros outside x.

    By Winograd's F(4, 3) along the height: y = A^T [(G w) * (B^T d)] for d, six rows of the padded x, four rows apart.
    (Nine products give the same numbers up to rounding, and the check sees that they are not Winograd's.)

        1. Pad x with a zero row and column on each side, and below, until the height is a multiple of 4, and 2 more.
        2. Windows: six arrays (N, groups, W + 2, C); the i-th has the rows i, i + 4, i + 8, ...
        3. Mix the six by B_T; and the three rows of w by G: six filters (3, C, D), three taps along the width each.
        4. For each of the six points: the sum over kx of points[..., kx : kx + W, :] @ filter[kx].
        5. Mix the six by A_T: four rows of each group. Put them in order, cut to H rows, add b.

    `np.einsum` or `np.tensordot` mix. Convert the three matrices to the dtype of x, which stays.

    x: (N, H, W, C). w: (3, 3, C, D). b: (D,). Returns y: (N, H, W, D), and the cache (x, w).

        rows of x    0 1 2 3 4 5 6 7 8 9
        window 0     [---------]              gives rows 0..3 of y
        window 1             [---------]      gives rows 4..7
    """
    raise NotImplementedError


EXPERIMENT = """
From how many channels on is Winograd's way worth it? Planes of 64 x 64 pixels.

| channels | taps (ms) | Winograd (ms) | sums for 100 multiplications |
|---|---|---|---|
| 4 | ? | ? | ? |
| 8 | ? | ? | ? |
| 16 | ? | ? | ? |
| 32 | ? | ? | ? |
| 64 | ? | ? | ? |
| 128 | ? | ? | ? |

Winograd's way is clearly faster from this number on: ?
Why it gains little with few channels: ?
The gain can't be larger than: ?
"""
