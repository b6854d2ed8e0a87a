"""How much memory a command will need, said before it starts, and refused if it is not there.

What the process holds already, interpreter, libraries and recordings, is measured. What is to come is counted: the
arrays of a step are asked for and given back here in the order of unet.py, from the pool of `backend.empty`, with
buffers that have a length and no content. So what a layer holds is said here a second time; a test compares with what
real processes take.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..audio.inverter import CHUNK, CONTEXT
from ..audio.mel import HOP_LENGTH, N_FFT, N_MELS
from ..nn.fast.processor.taps import TILE_PIXELS
from ..runtime import mpi, tree
from ..runtime.backend import WORK_BYTES, Memory, free_gpu_memory, worker_count
from ..runtime.errors import UserError
from ..runtime.tree import Tree
from .config import Config
from .model import CLIPS_AT_ONCE, state_shapes
from .unet import HEADS

FLOAT = 4  # bytes
PLANES = 8  # arrays of the size of x that a step and a sampler hold: x0, eps, x_t, the output, its gradient ...
POINTS = 18  # Winograd's numbers for a pair of channels, six points by three taps, in place of a filter's nine
FILTERS = 5  # of the largest layer, at those points, that live at once: for the products, mirrored, summed over tiles
ATTENDED = 6 * HEADS  # numbers that attention keeps for a position: query, key, value and 1, output, log-sum
COPIES = 4  # of the log-mels: what is known of them, what was drawn, both as one
SPECTRA = 8  # complex ones that a thread of Griffin-Lim holds
HEAP = 1.15  # bytes of the system for one in use: between those that are, malloc keeps some that are free
EMBEDDING = 160 << 20  # bytes of --fad-every: musicnn's largest layers on two threads, Griffin-Lim, recordings
GPU_WORK = 3 * WORK_BYTES  # a convolution's columns, or attention's tiles of scores, or nodes


def announce_training(config: Config, batch_size: int, resumed: bool, device: str) -> None:
    """Say what a training will need, as `announce` does. resumed: it holds its state already."""
    part = -(-batch_size // mpi.size())
    step = step_bytes(config, part, config.window_frames, training=True)
    if config.fad_every:
        step = EMBEDDING + max(step, step_bytes(config, CLIPS_AT_ONCE, config.window_frames, training=False))
    remedy = "--batch-size, --widths, --block-depth or --window-seconds"
    announce(
        f"batches of {batch_size}", 0 if resumed else state_bytes(config), step, state_bytes(config), device, remedy
    )


def announce_sampling(config: Config, num: int, piece: int, frames: int, device: str) -> None:
    """Say what `num` clips of `frames` will need, which are drawn in pieces of `piece` frames."""
    group = min(num, CLIPS_AT_ONCE)
    spectrograms = COPIES * FLOAT * N_MELS * num * frames
    sound = 2 * FLOAT * HOP_LENGTH * group * frames
    phases = worker_count() * SPECTRA * 2 * FLOAT * (N_FFT // 2 + 1) * min(frames, CHUNK + 2 * CONTEXT)
    step = step_bytes(config, -(-group // mpi.size()), piece, training=False)
    announce(f"{num} clip{'s' * (num != 1)}", spectrograms + sound + phases, step, 0, device, "--num or --seconds")


def announce(what: str, more: int, step: int, state: int, device: str, remedy: str) -> None:
    """Say on stderr how much memory `what` will need. Raises UserError, which names the remedy, if it is not there.

    more: bytes beyond what the process holds now, wherever it computes. step: more of them, on the device. state: what
    a GPU must hold beside. Under mpirun each process on this machine needs as much. Where the system does not tell
    what there is, nothing is refused.
    """
    if device == "cpu":
        needs = [(more + step, resident(), available(), "memory")]
    else:
        needs = [
            (more, resident(), available(), "memory"),
            (state + step + GPU_WORK, 0, free_gpu_memory(), "GPU memory"),
        ]
    for missing, held, free, kind in needs:
        each = f" in each of {mpi.neighbours()} processes" if mpi.neighbours() > 1 else ""
        said = f"about {in_words(missing + held)} of {kind}{each} for {what}"
        if free is not None and missing * mpi.neighbours() > free:
            raise UserError(f"{said} are needed, and {in_words(free)} are free: lower {remedy}")
        print(said + (f" ({in_words(free)} free)" if free is not None else ""), file=sys.stderr)


def in_words(size: float) -> str:
    """Bytes to two or more digits: 0.86 GB, 12 GB, 1234 GB."""
    return f"{size / 1e9:.2f} GB" if size < 1e10 else f"{size / 1e9:.0f} GB"


def resident(status: Path = Path("/proc/self/status")) -> int:
    """The bytes of memory that this process holds; where the system does not tell, what it held at most, or 0."""
    with suppress(OSError):
        if found := re.search(r"VmRSS:\s+(\d+) kB", status.read_text()):
            return int(found[1]) << 10
    with suppress(ImportError):  # Windows has none
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << (0 if sys.platform == "darwin" else 10)
    return 0


def available(root: Path = Path("/")) -> int | None:
    """The bytes that can still be had: of the machine, or of the control groups of this process, if those leave less.

    None where the system does not tell.
    """
    try:
        free = int(re.search(r"MemAvailable:\s+(\d+) kB", (root / "proc/meminfo").read_text())[1]) << 10
    except (OSError, TypeError):
        return None
    return min([free, *_left_in_groups(root)])


def _left_in_groups(root: Path) -> Iterator[int]:
    """What each control group (version 2, or 1) with a limit has left; its cache of files can be given up."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            top = root / "sys/fs/cgroup" / controllers
            names = ("limit_in_bytes", "usage_in_bytes") if controllers else ("max", "current")
            group = top / path.lstrip("/")
            for folder in (group, *group.parents):
                with suppress(OSError, ValueError):  # not there, or "max": no limit
                    limit, used = (int((folder / f"memory.{name}").read_text()) for name in names)
                    cache = re.search(r"^inactive_file (\d+)", (folder / "memory.stat").read_text(), re.MULTILINE)
                    yield max(limit - used + (int(cache[1]) if cache else 0), 0)
                if folder == top:
                    break


def state_bytes(config: Config) -> int:
    """What `init_state` makes: the weights, their average and two moments."""
    return FLOAT * _numbers(state_shapes(config))


def step_bytes(config: Config, n: int, frames: int, training: bool) -> int:
    """What a step takes beside the state, of `n` clips of `frames`: a training step, or one of a sampler."""
    params = state_shapes(config)["network"]["params"]
    pairs = [leaf[2] * leaf[3] for leaf in tree.flatten(params).values() if len(leaf) == 4]
    numbers = PLANES * n * frames * N_MELS + FILTERS * POINTS * max(pairs) + (_numbers(params) if training else 0)
    return round(HEAP * (FLOAT * numbers + pool_bytes(params, n, n * frames * N_MELS, training, worker_count())))


def pool_bytes(params: Tree, n: int, pixels: int, training: bool, workers: int) -> int:
    """The pool of `backend.empty` after a step: its arrays are asked for in the order of unet.py, and given back.

    params: shapes. n: clips. pixels: all of theirs, at full resolution. A variable below holds an array as long as the
    network does. An array is a `range`, which has a length and takes no memory.
    """
    pool = Memory(range)
    caches, skips, d_skips = [], [], []

    def buffer(numbers: float) -> range:
        return pool.take(int(FLOAT * numbers))

    def array(channels: int) -> range:
        return buffer(channels * here)

    def tiles(*channels: float, sums: int = 0) -> list[range]:
        """What the threads of a convolution have in hand, and one array of `sums` numbers a tile."""
        of_tile = min(TILE_PIXELS, -(-here // workers))
        count = max(n, workers, here // TILE_PIXELS) if sums else 0
        return [buffer(c * of_tile) for _ in range(workers) for c in channels] + [buffer(sums) for _ in range(count)]

    def convolution(c: int, d: int) -> range:
        y = array(d)
        tiles(c, 1.5 * c, 1.5 * d, 1.5 * d, d)  # padded rows, at six points for four rows, products, sums, rows
        return y

    def convolution_backward(c: int, d: int) -> range:
        dx = array(c)
        tiles(d, 1.5 * d, 1.5 * c, 1.5 * c, c, c, 1.5 * c, sums=POINTS * c * d)
        return dx

    def block(x: range, c: int, d: int) -> range:
        shortcut = array(d) if c != d else None
        inner = convolution(c, d)
        y = convolution(d, d)
        if training:
            caches.append((x, inner))
        del shortcut
        return y

    def block_backward(c: int, d: int) -> range:
        x, inner = caches.pop()
        dh = convolution_backward(d, d)
        dh = array(d)
        del inner
        dh = convolution_backward(c, d)
        dh = array(c)
        shortcut = array(c) if c != d else None
        del x, shortcut
        return dh

    here, last = pixels, params["input"]["w"][3]
    h = array(last)
    sizes = _blocks(params, pixels)
    for place, first, c, d, attended, here in sizes:
        if place == "up":
            skip, h = skips.pop(), array(last) if first else h  # upsampled
            made = (array(attended), buffer(ATTENDED * here)) if attended else ()
            if attended and training:
                caches.append((h, skip, made[1]))
            h = array(c)  # concatenated
            del skip, made
        elif first:
            h = array(c)  # pooled, or concatenated with the embedding
        h, last = block(h, c, d), d
        if place == "down":
            skips.append(h)
    if not training:
        return pool.most_in_use

    output, h, dh = h, None, array(last)
    del output
    for place, first, c, d, attended, here in reversed(sizes):
        dh = block_backward(c, d)
        if place == "up":
            d_skips.append(array(d))
            dh = array(c - d - attended)
            if attended:
                d_looked = array(attended), array(d), array(d)
                del d_looked
                caches.pop()
            here //= 4 if first else 1
            dh = array(c - d - attended) if first else dh
        elif place == "down":
            d_skips.pop()
            dh = array(c) if first else dh
    return pool.most_in_use


def _blocks(params: Tree, pixels: int) -> list[tuple[str, bool, int, int, int, int]]:
    """Of each residual block "down", "bottom" or "up", whether it is the first of its level, its channels in and out,
    those of its attention, and the pixels it works on."""
    halvings = sum(name.startswith("down") for name in params)
    found = []
    for name, blocks in params.items():  # in the order of the forward pass
        if name not in ("input", "output"):
            place = name.rstrip("0123456789")
            here = pixels >> 2 * int(name.removeprefix(place) or halvings)
            for i, block in enumerate(blocks.values()):
                attended = block["attention"]["output"]["w"][1] if "attention" in block else 0
                found.append((place, i == 0, *block["conv1"]["w"][2:], attended, here))
    return found


def _numbers(shapes: Tree) -> int:
    return sum(map(math.prod, tree.flatten(shapes).values()))
