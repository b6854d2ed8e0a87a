"""What the exercises of lesson 13 are held to, and the mistakes that are known."""

import numpy as np

from ddim_from_scratch.runtime.backend import worker_count
from lessons.tool.check import Exercise

BACKEND, TWINS = "tests/runtime/test_backend.py::", "tests/nn/test_layers.py::test_twins_give_what_the_textbook_gives"
PROCESSOR = "tests/nn/fast/test_processor.py::"
RNG = np.random.default_rng(1)
DOT = np.zeros((1, 5, 4, 1))
DOT[0, 1, 2] = 1
TAPS = np.arange(1.0, 10).reshape(3, 3, 1, 1)
X, W, B = (RNG.standard_normal(shape) for shape in [(2, 6, 5, 3), (3, 3, 3, 2), (2,)])


def cut(blocks, x, bytes_per_block):
    """The starts and ends of the blocks, for a thread a core."""
    return np.array([(block.start, block.stop) for block in blocks(x, bytes_per_block)])


def pieces(rows, count, step=None):
    step = step or -(-rows // count)
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def products(x, w, b=0.0, before=1, after=1):
    """The nine products, with so many rows and columns of zeros before and after."""
    _, height, width, _ = x.shape
    (top, left), (bottom, right) = (n if isinstance(n, tuple) else (n, n) for n in (before, after))
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    taps = [(ky, kx) for ky in range(3) for kx in range(3)]
    return b + sum(padded[:, ky : ky + height, kx : kx + width] @ w[ky, kx] for ky, kx in taps), (x, w)


def rounded(conv2d):
    """1 if a large row spoils its neighbours two rows away, as sums over a tile do, and nine products do not."""
    x = X.astype(np.float32)
    x[:, 0] *= 1e8
    y = conv2d(x, W.astype(np.float32), B.astype(np.float32))[0][:, 2:4]
    exact = products(x.astype(np.float64), W, B)[0][:, 2:4]
    return float(np.abs(y - exact).max() > 1e-2)


EXERCISES = [
    Exercise(
        "ddim_from_scratch.runtime.backend.blocks",
        tests=(BACKEND + "test_blocks_cover_every_row_once",),
        examples={
            "blocks(10 rows of 16 bytes, 48 bytes a block): starts and ends": (
                lambda blocks: cut(blocks, np.zeros((10, 4), np.float32), 48)
            ),
            "blocks(10 rows of 16 bytes, 1000 bytes a block), a thread a core": (
                lambda blocks: cut(blocks, np.zeros((10, 4), np.float32), 1000)
            ),
            "blocks(1 row, 1000 bytes a block)": lambda blocks: cut(blocks, np.zeros((1, 4), np.float32), 1000),
            "blocks(no rows)": lambda blocks: cut(blocks, np.zeros((0, 4), np.float32), 1000),
            "blocks(10 rows of 16 bytes, 40 bytes a block): a row above the limit": (
                lambda blocks: cut(blocks, np.zeros((10, 4), np.float32), 40)
            ),
        },
        mistakes={
            "the number of pieces is rounded down: up, or the pieces are too large": (
                lambda x, limit: pieces(len(x), max(x.nbytes // limit, min(worker_count(), len(x))))
            ),
            "a piece has one row": lambda x, limit: pieces(len(x), len(x)),
            "the limit is taken as a number of values: it is in bytes": (
                lambda x, limit: pieces(len(x), max(-(-x.size // limit), 2))
            ),
            "every thread should have a piece: at least worker_count() of them": (
                lambda x, limit: pieces(len(x), -(-x.nbytes // limit))
            ),
            "the rows of a piece are rounded down: up, or there is one piece too many": (
                lambda x, limit: pieces(len(x), 4, len(x) // 4)
            ),
            "no rows are one empty slice: slice(0, 0)": (
                lambda x, limit: (
                    pieces(len(x), max(-(-x.nbytes // limit), min(worker_count(), len(x)))) if len(x) else []
                )
            ),
            "pieces overlap: a slice ends where the next begins": (
                lambda x, limit: [slice(part.start, min(part.stop + 1, len(x))) for part in pieces(len(x), 4)]
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.nn.fast.processor.winograd.conv2d",
        tests=(
            PROCESSOR + "test_winograd_loses_about_one_digit_and_no_more",
            *(TWINS + f"[processor-{name}]" for name in ("conv2d 3x3", "conv2d 3x3, one pixel a row")),
        ),
        examples={
            "conv2d(a dot at row 1, column 2, taps 1..9, 0)": (
                lambda conv2d: conv2d(DOT, TAPS, np.zeros(1))[0][0, ..., 0]
            ),
            "conv2d(x (2, 6, 5, 3), w (3, 3, 3, 2), b)": lambda conv2d: conv2d(X, W, B)[0],
            "conv2d of float32": lambda conv2d: conv2d(*(a.astype(np.float32) for a in (X, W, B)))[0],
            "whether rounding shows Winograd's sums: float32, one row a hundred million times as large": rounded,
        },
        mistakes={
            "right, but not the sums of F(4, 3) in x's dtype: these may be nine products, or sums of float64": products,
            "the taps are mirrored: networks slide w as it is": lambda x, w, b: products(x, w[::-1, ::-1], b),
            "height and width of the filter are swapped": lambda x, w, b: products(x, w.swapaxes(0, 1), b),
            "all is moved by one pixel: pad a row and a column on each side, not two after": (
                lambda x, w, b: products(x, w, b, 0, 2)
            ),
            "all is moved by one pixel: pad a row and a column on each side, not two before": (
                lambda x, w, b: products(x, w, b, 2, 0)
            ),
            "all is moved by one row: pad one before the first row": lambda x, w, b: products(x, w, b, (0, 1), (2, 1)),
            "all is moved by one row: pad one row before, not two": lambda x, w, b: products(x, w, b, (2, 1), (0, 1)),
            "all is moved by one column: pad one on each side": lambda x, w, b: products(x, w, b, (1, 0), (1, 2)),
            "the bias is missing": lambda x, w, b: products(x, w),
            "the bias is subtracted": lambda x, w, b: products(x, w, -b),
        },
        tolerance=1e-5,  # of float32
    ),
]
