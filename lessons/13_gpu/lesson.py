# %% [markdown]
# # Where the time goes, and the same code on a GPU
#
# A training step is billions of multiplications. This lesson counts them for each layer, together with the bytes that
# must move. It measures how fast this machine can multiply and copy, and draws both in one picture, the roofline. It
# also shows how one text runs on a processor and on a GPU, and how to convolve with half the multiplications.
#
# You need lessons 05 (convolution) and 07 (the U-Net). The lesson measures the machine that it runs on, so your numbers
# will differ. The text holds for all machines.

# %%
import functools
import time
from collections import Counter
from types import SimpleNamespace
from unittest.mock import patch

import matplotlib.pyplot as plt
import numpy as np

from ddim_from_scratch.diffusion import ddim, gaussian_eps_model, linear_schedule, q_sample, uniform_tau
from ddim_from_scratch.networks import unet
from ddim_from_scratch.nn.fast import layers_for, processor
from ddim_from_scratch.nn.fast.processor import block, swish, taps, winograd
from ddim_from_scratch.nn.fast.processor.dense import swish_prologue
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.backend import (
    BackendError,
    array_module,
    blocks,
    parallel,
    require_gpu,
    threads,
    to_device,
    to_host,
    worker_count,
)
from lessons import FAST, show_source

repeats = 3 if FAST else 7


def best_seconds(*functions):
    """The shortest time that each takes. They are called in turn, so that a busy machine slows all of them."""
    seconds = [[] for _ in functions]
    for _ in range(repeats):
        for function, times in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    return [min(times) for times in seconds]


# %% [markdown]
# ## One text for two machines
#
# CuPy has NumPy's functions for arrays that live on a GPU. Most code needs no more: `a * x + b` calls
# the methods of whatever `x` is. Where a function is called by name, the package asks the array:

# %%
show_source(array_module, q_sample)

# %% [markdown]
# The text does not show *where* things happen. A GPU has its own memory. A NumPy array must be sent there, and a result
# that the CPU needs must be fetched, which waits until all earlier work is done. To see such transfers without a GPU,
# here is a stand-in for an array on a device. It counts operations (a GPU calls them *kernels*) and transfers.
#
# **Predict.** How many arrays does DDIM send to the device in 50 steps, without noise ($\eta = 0$) and with noise
# ($\eta = 1$)?


# %%
counts = Counter()


class Remote(np.lib.mixins.NDArrayOperatorsMixin):
    """An array on another device. It counts the operations on it and the transfers."""

    def __init__(self, host):
        self.host, self.shape, self.dtype = host, host.shape, host.dtype

    def __array_ufunc__(self, ufunc, method, *inputs, **settings):
        counts["kernels"] += 1
        counts["sent"] += sum(isinstance(x, np.ndarray) for x in inputs)
        return Remote(ufunc(*(x.host if isinstance(x, Remote) else x for x in inputs)))

    def get(self):
        counts["fetched"] += 1
        return self.host.copy()


alpha_bar, tau = linear_schedule(1000), uniform_tau(1000, 50)
exact = gaussian_eps_model(0.0, 0.25, alpha_bar)  # a network with nothing to learn: lesson 04


def careless(x, t):
    """A network that is still on the CPU."""
    counts["sent"] += 1
    return Remote(exact(x.get(), t))


print("50 steps of DDIM          kernels   arrays sent   fetched")
seen = {}
for name, model, eta in (("eta 0", exact, 0.0), ("eta 1", exact, 1.0), ("network on the CPU", careless, 0.0)):
    counts.clear()
    x_T = np.random.default_rng(0).standard_normal((1, 256, 128, 1), dtype=np.float32)
    *_, x = ddim(model, Remote(x_T), alpha_bar, tau, eta, np.random.default_rng(1))
    seen[name] = [counts[key] for key in ("kernels", "sent", "fetched")]
    print(f"{name:26}{seen[name][0]:7}{seen[name][1]:14}{seen[name][2]:10}")
    assert isinstance(x, Remote) and x.dtype == np.float32
assert seen["eta 0"][1:] == [0, 0] and seen["eta 1"][1:] == [49, 0]
assert seen["network on the CPU"][1:] == [50, 50]

# %% [markdown]
# The sampler itself transfers nothing: $\bar\alpha_t$ are Python numbers, which are part of the call of a kernel.
# With noise (eta 1) it sends one array for each step but the last. The package draws noise on the CPU on purpose, so
# that a seed gives the same music on every machine. The last line is a mistake that changes no result and prints no
# warning, but each of its 50 fetches makes both machines wait for each other. The package's tests run every layer on
# a stricter stand-in, which refuses to mix arrays of the two kinds.
#
# ## Two speeds
#
# A processor computes at one speed, and moves numbers to and from memory at another. The first decides how long the
# product of two large matrices takes, the second how long a copy takes. This machine:

# %%
size = 512 if FAST else 1024
a = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
big = np.zeros((64, 1 << 18), np.float32)  # 64 MB, more than the caches hold
other = np.zeros_like(big)


def multiply():
    parallel(lambda _: a @ a, range(worker_count()))


def copy():
    parallel(lambda part: np.copyto(other[part], big[part]), blocks(big, 1 << 20))


with threads():
    seconds_multiply, seconds_copy = best_seconds(multiply, copy)
    peak = worker_count() * 2 * size**3 / seconds_multiply  # a product and a sum each
    bandwidth = 2 * big.nbytes / seconds_copy  # read and written
    print(f"threads: {worker_count()}; {peak / 1e9:.0f} GFLOP/s in products, {bandwidth / 1e9:.1f} GB/s in copies")
print(f"While one byte is moved there is time for {peak / bandwidth:.1f} operations.")

# %% [markdown]
# The last number is the *machine balance*. A layer has a similar number, its *arithmetic intensity*: operations for
# each byte that it must read or write. If its intensity is below the balance, a layer waits for memory, else for the
# processor:
#
# $$\text{operations per second} \le \min(\text{peak},\ \text{intensity} \times \text{bandwidth}).$$
#
# On logarithmic scales this is a slope with a flat top, the *roofline*
# ([Williams, Waterman and Patterson 2009](https://doi.org/10.1145/1498765.1498785)). Data sheets give the two speeds of
# other machines ([H100](https://www.nvidia.com/en-us/data-center/h100/)).

# %%
machines = {
    "this machine": (peak, bandwidth),
    "NVIDIA H100 SXM": (67e12, 3.35e12),  # its data sheet: FP32 without tensor cores, HBM3
}
for name, (flops, bytes_) in machines.items():
    print(
        f"{name:16} {flops / 1e12:7.2f} TFLOP/s  {bytes_ / 1e12:6.3f} TB/s  balance {flops / bytes_:5.1f} FLOP a byte"
    )
assert machines["NVIDIA H100 SXM"][0] / machines["NVIDIA H100 SXM"][1] == 20

# %% [markdown]
# ## Every layer counted
#
# A convolution of $H \times W$ pixels with a $k \times k$ kernel from $C$ to $D$ channels does
#
# $$2\, k^2\, C D\, H W \ \text{operations and must move}\ 4\, (H W (C + D) + k^2 C D) \ \text{bytes}.$$
#
# An activation does a few operations for each number, and moves the number twice. To count all of this, wrap every
# layer that `unet` and its residual blocks call, and run the network on a clip of 5.12 s, with the paper's widths.
#
# **Predict.** Which share of all operations do the 3x3 convolutions have?

# %%
BY_NUMBER = {  # operations for each number that comes out
    "average_pool": 4,
    "upsample": 6,
    "add_in_place": 1,
    "concatenate": 0,
}
calls = []


def counting(name, function):
    """`function`, which also notes its operations, bytes and seconds in `calls`."""

    def call(*arguments, **named):
        start = time.perf_counter()
        result = function(*arguments, **named)
        seconds = time.perf_counter() - start
        y = result[0] if isinstance(result, tuple) else result
        arguments_ = arguments[0] if name == "concatenate" else (*arguments, named.get("w"))
        arrays = [a for a in arguments_ if isinstance(a, np.ndarray)]
        label, operations = name, BY_NUMBER.get(name, 0) * y.size
        if name == "conv2d":
            k, _, inputs, _ = named["w"].shape
            label, operations = f"convolution {k}x{k}", 2 * k * k * inputs * y.size
        if name == "multi_head_attention":  # two products, and about as much for the softmax
            positions, heads = y[0, ..., 0].size, arguments[3]
            operations = 8 * heads * positions**2
        moved = 4 * (y.size + sum(a.size for a in arrays))
        calls.append((label, y.shape, operations, moved, seconds))
        return result

    return call


rng = np.random.default_rng(0)
params, statistics = unet.init_unet(rng)  # widths 32, 64, 96, 128, depth 2, attention in the lowest up block
x = rng.standard_normal((1, 256, 128, 1), dtype=np.float32)
of_network = ["conv2d", "multi_head_attention", "average_pool", "upsample", "concatenate"]
layers = SimpleNamespace(**vars(processor) | {name: counting(name, getattr(processor, name)) for name in of_network})
of_blocks = {name: counting(name, getattr(block, name)) for name in ("conv2d", "add_in_place")}
with threads(), patch.multiple(block, **of_blocks):
    for _ in range(2):  # the second run finds its memory in place
        calls.clear()
        unet.unet(params, statistics, x, np.array([0.5]), layers)

total_operations, total_seconds = (sum(call[i] for call in calls) for i in (2, 4))
print(f"{'layer':22}{'calls':>6}{'GFLOP':>8}{'MB':>7}{'FLOP a byte':>13}{'of the time':>13}")
for label in sorted({call[0] for call in calls}, key=lambda label: -sum(c[2] for c in calls if c[0] == label)):
    rows = [call for call in calls if call[0] == label]
    flops, moved, seconds = (sum(row[i] for row in rows) for i in (2, 3, 4))
    print(
        f"{label:22}{len(rows):6}{flops / 1e9:8.2f}{moved / 1e6:7.0f}{flops / moved:13.1f}"
        f"{100 * seconds / total_seconds:11.0f} %"
    )
print(f"{'all':22}{len(calls):6}{total_operations / 1e9:8.2f}   {total_seconds:.2f} s")
threes = [call for call in calls if call[0] == "convolution 3x3"]
assert len(threes) == 28 and sum(call[2] for call in threes) > 0.9 * total_operations
assert all(call[2] / call[3] < 2 for call in calls if call[0] in BY_NUMBER)
assert all(call[2] / call[3] > 60 for call in threes)

# %% [markdown]
# More than nine tenths of the operations belong to the 3x3 convolutions, two in each of 14 residual blocks. Each does
# more than 60 operations for a byte. The sums and copies at the end of the table do less than two, so their time is
# spent on memory. (Attention is counted by its definition; lesson 06 shows how the network needs far less.) So there
# are two ways to be faster: convolutions must multiply less, or better, and the other layers must use memory less
# often.
#
# Two kinds of layers are not in the table: normalisation (here by running statistics) and swish. Both change each
# number on its own, and a 3x3 convolution reads the result. The convolution copies its input anyway, a tile at a time,
# to put zeros around it. So it does their arithmetic on the copy, while that is in the cache. The fast residual block
# passes both as a *prologue*. A separate layer must write its result to memory, and the convolution must read it again.
# How much time that costs depends on the machine, and on what its caches hold:

# %%
h, w, b = (rng.standard_normal(s, dtype=np.float32) for s in [(1, 256, 128, 32), (3, 3, 32, 32), (32,)])
with threads():
    fused, apart = best_seconds(
        lambda: winograd.conv2d(h, w, b, prologue=swish_prologue), lambda: winograd.conv2d(swish(h)[0], w, b)
    )
    assert np.array_equal(winograd.conv2d(h, w, b, swish_prologue)[0], winograd.conv2d(swish(h)[0], w, b)[0])
print(f"swish, then convolution: {1000 * apart:.1f} ms; swish as its prologue: {1000 * fused:.1f} ms; the same numbers")
print(f"not written and not read again: {h.nbytes / 1e6:.1f} MB")

# %% [markdown]
# On which planes are the operations? At half the height and width a layer has a quarter of the pixels, but more
# channels:

# %%
planes = sorted({call[1][1:3] for call in threes}, reverse=True)
print("3x3 convolutions on a plane of")
for plane in planes:
    rows = [call for call in threes if call[1][1:3] == plane]
    flops, moved = sum(row[2] for row in rows), sum(row[3] for row in rows)
    what = f"{flops / 1e9:5.2f} GFLOP, {100 * flops / total_operations:3.0f} % of all"
    print(f"{plane[0]:4} x {plane[1]:3}: {len(rows):3}, {what}, {flops / moved:4.0f} FLOP a byte")
assert [len([c for c in threes if c[1][1:3] == plane]) for plane in planes] == [8, 8, 8, 4]

# %% [markdown]
# ## A convolution as nine products
#
# A 3x3 convolution is nine matrix products. For each of the nine taps, shift the picture by the tap, and multiply the
# channels of all pixels by the tap's matrix $w_{ky,kx}$, of $C \times D$:
#
# $$y[i, j] = b + \sum_{ky,\, kx} x[i + ky - 1,\ j + kx - 1]\ w_{ky, kx}.$$
#
# In NumPy this is a line, with zeros around the picture:


# %%
def nine_products(x, w, b):
    """x: (N, H, W, C). w: (3, 3, C, D). Returns (N, H, W, D)."""
    _, height, width, _ = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [(ky, kx) for ky in range(3) for kx in range(3)]
    return b + sum(padded[:, ky : ky + height, kx : kx + width] @ w[ky, kx] for ky, kx in taps)


x = rng.standard_normal((1, 128, 64, 64), dtype=np.float32)
w = rng.standard_normal((3, 3, 64, 64), dtype=np.float32) / 24
b = rng.standard_normal(64, dtype=np.float32)
by_hand = nine_products(x, w, b)
print("largest difference to the package's:", f"{np.abs(taps.conv2d(x, w, b)[0] - by_hand).max():.0e}")
assert np.abs(taps.conv2d(x, w, b)[0] - by_hand).max() < 1e-4

# %% [markdown]
# The package's `taps.conv2d` does the same on tiles of rows. A tile stays in a core's cache during its nine products,
# and each thread has tiles of its own. So the picture is read from memory once, not nine times.
#
# ## With half the multiplications
#
# Take one dimension. Two outputs of a filter with three taps are $y_0 = d_0 w_0 + d_1 w_1 + d_2 w_2$ and $y_1 = d_1
# w_0 + d_2 w_1 + d_3 w_2$: six products. Winograd (1980; for networks, [Lavin and Gray
# 2016](https://arxiv.org/abs/1509.09308)) showed that four are enough. Look at the middle: $d_1$ and $d_2$ occur in
# both outputs. Take these four products,
#
# $$m_1 = (d_0 - d_2)\, w_0, \qquad m_2 = (d_1 + d_2)\, \frac{w_0 + w_1 + w_2}{2},$$
#
# $$m_3 = (d_2 - d_1)\, \frac{w_0 - w_1 + w_2}{2}, \qquad m_4 = (d_1 - d_3)\, w_2,$$
#
# and add: $y_0 = m_1 + m_2 + m_3$ and $y_1 = m_2 - m_3 - m_4$. Check $y_0$: in $m_2 + m_3$ the terms $d_1 w_0$,
# $d_1 w_2$ and $d_2 w_1$ cancel, and $d_2 w_0 + d_1 w_1 + d_2 w_2$ is left; $m_1$ turns $d_2 w_0$ into $d_0 w_0$.
# With numbers, and whole ones, so that it can be followed by hand:

# %%
d0, d1, d2, d3 = 1, 4, 2, 7
w0, w1, w2 = 3, 1, 5
m1, m2, m3, m4 = (d0 - d2) * w0, (d1 + d2) * (w0 + w1 + w2) / 2, (d2 - d1) * (w0 - w1 + w2) / 2, (d1 - d3) * w2
print(f"m = {m1}, {m2:g}, {m3:g}, {m4}")
print(f"y0 = {m1 + m2 + m3:g}, directly {d0 * w0 + d1 * w1 + d2 * w2}")
print(f"y1 = {m2 - m3 - m4:g}, directly {d1 * w0 + d2 * w1 + d3 * w2}")
assert m1 + m2 + m3 == d0 * w0 + d1 * w1 + d2 * w2 and m2 - m3 - m4 == d1 * w0 + d2 * w1 + d3 * w2

# %% [markdown]
# The sums of taps are formed once for a whole picture, so they cost almost nothing. This is $F(2, 3)$: two outputs,
# three taps, four products. As matrices, with $\odot$ for products entry by entry, $y = A^T [(G w) \odot (B^T d)]$:

# %%
B2 = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
G2 = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
A2 = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])
y = A2 @ ((G2 @ [w0, w1, w2]) * (B2 @ [d0, d1, d2, d3]))
print("y =", y)
assert y.tolist() == [d0 * w0 + d1 * w1 + d2 * w2, d1 * w0 + d2 * w1 + d3 * w2]

# %% [markdown]
# Where do such sums come from? The package uses $F(4, 3)$: four outputs, for which six products are enough in place
# of twelve. The reason is that a convolution multiplies polynomials: the taps and the inputs are coefficients. A
# product of degree 5 is determined by its values at six points. So evaluate both factors at six points (sums),
# multiply the values (six products), and compute the coefficients of the product (sums). A filter is the transpose of
# this:
#
# $$y = A^T\, \big[(G\, w) \odot (B^T d)\big], \qquad d \text{: 6 inputs},\ w \text{: 3 taps},\ y \text{: 4
# outputs}.$$
#
# The points are $0, 1, -1, 2, -2$ and infinity. The three matrices are small and hold small numbers:

# %%
print("B^T =")
print(np.round(winograd.B_T).astype(int))
print("G (times 24) =")
print(np.round(24 * winograd.G).astype(int))
print("A^T =")
print(np.round(winograd.A_T).astype(int))
d, w1 = rng.standard_normal(6), rng.standard_normal(3)
direct = [d[i : i + 3] @ w1 for i in range(4)]
fast = winograd.A_T @ ((winograd.G @ w1) * (winograd.B_T @ d))
print("12 products:", np.round(direct, 6))
print(" 6 products:", np.round(fast, 6))
assert np.allclose(direct, fast) and np.allclose(winograd.B_T, np.round(winograd.B_T))

# %% [markdown]
# Now let each of the six inputs be a whole *row* of pixels and channels. $B^T$ adds rows, which is cheap, and $\odot$
# becomes a matrix product over the channels. The three taps along the width stay as they are. So there are $6 \times
# 3 = 18$ products, each on a quarter of the rows, in place of 9 on all rows: $18 / 4$ against 9, half.

# %% tags=["answer"]
show_source(winograd._windows_at_points, winograd._products)

# %% [markdown] tags=["answer"]
# Why are products cut into pieces? The library that multiplies matrices, OpenBLAS, first copies them into an order of
# its own. This pays off only for matrices much larger than these. On processors with AVX-512 it [does not
# copy](https://github.com/OpenMathLib/OpenBLAS/blob/develop/kernel/x86_64/sgemm_small_kernel_permit_skylakex.c) if a
# product has at most a million multiplications.

# %% [markdown]
# **Predict.** Half the multiplications: is Winograd's convolution twice as fast? And which way has the largest error?

# %%
ways = {
    "nine products, by hand": lambda: nine_products(x, w, b),
    "nine products, in tiles": lambda: taps.conv2d(x, w, b),
    "Winograd, in tiles": lambda: winograd.conv2d(x, w, b),
}
operations = 2 * 9 * x.size * 64  # of the definition, however they are saved
moved = 4 * (2 * x.size + w.size)
with threads():
    seconds = dict(zip(ways, best_seconds(*ways.values()), strict=True))
    exact = taps.conv2d(x.astype(float), w.astype(float), b.astype(float))[0]
    errors = [
        np.abs(way().reshape(exact.shape) - exact).max()
        if name == "nine products, by hand"
        else np.abs(way()[0] - exact).max()
        for name, way in ways.items()
    ]
for (name, value), error in zip(seconds.items(), errors, strict=True):
    print(f"{name:24} {1000 * value:7.1f} ms  {operations / value / 1e9:6.1f} GFLOP/s  error {error:.0e}")
assert max(errors) < 1e-4 and 2 < errors[2] / errors[1] < 50

# %% [markdown]
# Winograd's sums of rows take time, so the gain is less than a factor of two where the products run at the same speed.
# They also cost about one decimal digit: they subtract numbers of similar size. With few channels the sums use up most
# of the gain.
#
# ## The roofline
#
# The picture shows all measurements. A dot is a layer of the U-Net. The larger marks are the three ways to convolve.
# Their operations are counted by the definition; Winograd's way does half of them, so it may lie above the roof.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 4.2))
intensity = np.array([0.05, peak / bandwidth, 1000])
ax.loglog(intensity, np.minimum(peak, intensity * bandwidth) / 1e9, color="#333333", label="roof: copies, products")
groups = {"convolutions 3x3": threes, "other layers": [c for c in calls if c not in threes and c[2] > 0]}
for (name, rows), marker in zip(groups.items(), "ov", strict=True):
    points = [(row[2] / row[3], row[2] / row[4] / 1e9) for row in rows]
    ax.plot(*zip(*points, strict=True), marker, markersize=4, alpha=0.6, label=name)
for (name, value), marker in zip(seconds.items(), "Ds*", strict=True):
    hollow = {"markersize": 10, "markerfacecolor": "none", "markeredgewidth": 2}  # two of them may nearly coincide
    ax.plot(operations / moved, operations / value / 1e9, marker, label=name, **hollow)
ax.set(xlabel="arithmetic intensity (FLOP a byte)", ylabel="speed (GFLOP/s)", title="the roofline of this machine")
ax.legend(fontsize=8, loc="lower right")
plt.show()

# %% [markdown]
# The layers at the left lie at or below the slope: faster arithmetic would not help them. `upsample` can lie far
# below it, because it passes over its numbers several times. The 3x3 convolutions are near the flat part. They lose
# time because tiles must be prepared, and because other programs run on the same machine. A layer can also lie above
# the slope, if its input is still in the cache.
#
# ## On a GPU
#
# The roofline gives a lower bound for the time on another machine: for each layer the larger of two times, its
# operations over the peak and its bytes over the bandwidth. A 3x3 convolution counts half of its operations, as in
# Winograd's way. In addition the CPU must start each kernel, which takes some microseconds; take 5.

# %%
needed = [(call[2] / (2 if call in threes else 1), call[3]) for call in calls]  # operations and bytes
for name, (flops, bytes_) in machines.items():
    least = sum(max(count / flops, moved_ / bytes_) for count, moved_ in needed)
    waiting = sum(moved_ / bytes_ for count, moved_ in needed if moved_ / bytes_ > count / flops)
    print(f"{name:16} at least {1000 * least:8.2f} ms a network call, {100 * waiting / least:3.0f} % of it for memory")
launches = 5e-6 * len(calls)
flops, bytes_ = machines["NVIDIA H100 SXM"]
least = sum(max(count / flops, moved_ / bytes_) for count, moved_ in needed)
print(f"starting {len(calls)} kernels, one a layer, 5 us each: {1000 * launches:.2f} ms")
assert launches > least / 2

# %% [markdown]
# For one clip, starting kernels takes the large GPU about as long as running them. So a GPU gets many clips at once,
# and layers are merged into fewer kernels where possible. Its balance is so high that memory takes a large part of
# the time even in this network.
#
# Sending a clip once costs little in comparison:

# %%
clip_bytes = 4 * 256 * 128
print(f"a clip of 5.12 s is {clip_bytes / 1e3:.0f} kB: {1e6 * clip_bytes / 64e9:.0f} us over a bus of 64 GB/s (PCIe 5)")
try:
    require_gpu()
    device = "gpu"
except BackendError as error:
    device = "cpu"
    print(f"No GPU here, so nothing is measured on one.\n({str(error).split(':')[0]}.)")

# %%
if device == "gpu":
    moved_params, moved_statistics = (tree.map(lambda leaf: to_device(leaf, device), t) for t in (params, statistics))
    clips = rng.standard_normal((16, 256, 128, 1), dtype=np.float32)
    there, level = to_device(clips, device), np.full(16, 0.5)
    here, remote = best_seconds(
        lambda: unet.unet(params, statistics, clips, level, processor),
        lambda: to_host(unet.unet(moved_params, moved_statistics, there, level, layers_for(there))[0]),
    )
    print(f"16 clips: {1000 * here:.0f} ms on the CPU, {1000 * remote:.1f} ms on the GPU, fetched")
else:
    print("On a machine with one, this cell times the U-Net on both.")

# %% [markdown]
# ## Common mistakes
#
# | what you see | what it is |
# |---|---|
# | the GPU is slower than the CPU | one clip at a time; or an array is transferred in every step |
# | the GPU's time is zero | the call only starts kernels: fetch a result before you stop the clock |
# | float32 becomes float64, at half the speed | a NumPy scalar in the arithmetic: make it a Python `float` |
# | two threads are slower than one | BLAS starts threads of its own in each: limit it to one |
# | the first call is slow | memory is mapped and kernels are compiled: do not count it |
# | twice the FLOP/s of the peak | operations are counted that Winograd's way skips |
# | a layer became faster, and the step did not | the layer took little of the time: measure first |
#
# ## Exercises
#
# Write `blocks`, which cuts an array into pieces for the cache, and `conv2d` with Winograd's products, in
# `lessons/13_gpu/exercise.py`, and run `make check-13`. Right answers look like this:

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(6, 2.8))
with threads(2):
    for i, part in enumerate(blocks(np.zeros((10, 4), np.float32), 48)):
        axes[0].broken_barh([(part.start, part.stop - part.start)], (-i - 0.4, 0.8), color=f"C{i}")
axes[0].set(
    title="blocks of 10 rows, 3 rows fit", xlabel="row", ylabel="block", yticks=[0, -1, -2, -3], yticklabels="0123"
)
spot = np.zeros((1, 12, 12, 1))
spot[0, 4, 7] = 1
edge = np.outer([1, 2, 1], [1, 0, -1])[..., None, None].astype(float)
axes[1].imshow(winograd.conv2d(spot, edge, np.zeros(1))[0][0, ..., 0], cmap="cividis", origin="upper")
axes[1].set(title="conv2d of a dot", xlabel="column", ylabel="row")
plt.show()

# %% [markdown]
# ## Experiment
#
# From how many channels on is Winograd's way worth it? Time `taps.conv2d` and `winograd.conv2d` on planes of 64 x 64
# pixels with 4, 8, 16, 32, 64 and 128 channels in and out. For each, count how many multiplications the sums of rows
# need for one multiplication in a product. Fill in the form at the end of `exercise.py`.

# %% tags=["answer"]
print("channels   taps (ms)   Winograd (ms)   taps / Winograd   sums for 100 multiplications")
gain, share = {}, {}
for channels in (4, 8, 16, 32, 64, 128):
    inputs = np.random.default_rng(0).standard_normal((1, 64, 64, channels), dtype=np.float32)
    filters, none = np.ones((3, 3, channels, channels), np.float32), np.zeros(channels, np.float32)
    ways = [functools.partial(way, inputs, filters, none) for way in (taps.conv2d, winograd.conv2d)]
    with threads():
        pair = best_seconds(*ways)
    gain[channels] = pair[0] / pair[1]
    # For four rows of a channel: B^T has 6 x 6 entries, A^T 4 x 6; the products have 18 C for each of C channels.
    share[channels] = (36 + 24) / (18 * channels)
    print(f"{channels:8}{1e3 * pair[0]:11.2f}{1e3 * pair[1]:15.2f}{gain[channels]:17.2f}{100 * share[channels]:22.1f}")
assert share[4] > 0.8 and share[128] < 0.03

# %% [markdown] tags=["answer"]
# The sums grow with the number of channels, and the products with its square. With 4 channels there are nearly as many
# sums as multiplications, and memory limits the sums, so little is gained. With 128 channels there are 3 sums for 100
# multiplications, and the gain can be nearer to its limit of 2. The times depend on the machine, and vary when other
# programs run; the counts in the last column do not.

# %% [markdown]
# ## Sources
#
# - S. Williams, A. Waterman, D. Patterson (2009), [Roofline: an insightful visual performance model for multicore
#   architectures](https://doi.org/10.1145/1498765.1498785).
# - A. Lavin, S. Gray (2016), [Fast algorithms for convolutional neural networks](https://arxiv.org/abs/1509.09308):
#   Winograd's products for networks.
# - S. Winograd (1980), [Arithmetic complexity of computations](https://doi.org/10.1137/1.9781611970364).
# - [CuPy](https://docs.cupy.dev): NumPy's functions on a GPU.
# - NVIDIA, [H100](https://www.nvidia.com/en-us/data-center/h100/): its two speeds.
