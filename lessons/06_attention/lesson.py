# %% [markdown]
# # Attention, and the embedding of the noise level
#
# A convolution sees its neighbours only, and music repeats itself after seconds. Attention lets every position of a
# spectrogram look at every other. Written down directly it needs a table of a billion numbers. This lesson derives
# attention, forward and backward, and computes it without storing the table. The last section shows how the network
# is given one more number, the noise level.
#
# You need lesson 05.

# %%
import time
import tracemalloc
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import soxr

from ddim_from_scratch.audio import griffin_lim, log_mel, synth
from ddim_from_scratch.nn import multi_head_attention, multi_head_attention_backward
from ddim_from_scratch.nn.attend import init_multi_head_attention
from ddim_from_scratch.nn.embedding import sinusoidal_embedding
from ddim_from_scratch.nn.fast.processor import nodes
from ddim_from_scratch.nn.fast.processor.attend import attention, attention_backward
from ddim_from_scratch.nn.gradcheck import gradient_error
from ddim_from_scratch.runtime import backend, tree
from lessons import FAST, show_answer, show_source, sound

rng = np.random.default_rng(0)

# %% [markdown]
# ## A soft look-up
#
# A dictionary has keys $k_j$ and values $v_j$. For a query $q$ it returns the value whose key equals $q$. Attention
# returns a weighted mean of *all* values. The weight of a value is large where its key is similar to the query:
#
# $$\begin{align*}
# s_j &= q \cdot k_j / \sqrt{D} \\
# p_j &= e^{s_j} / \sum_i e^{s_i} \\
# o &= \sum_j p_j v_j
# \end{align*}$$
#
# The *scores* $s$ measure similarity; the *softmax* turns them into positive weights that add up to 1. Every
# step has a derivative, so a network can learn queries, keys and values. Here are five keys on a circle, with the
# values 0 to 4, and a query that turns round:

# %%
angles = 2 * np.pi * np.arange(5) / 5
keys = 6 * np.stack([np.cos(angles), np.sin(angles)], axis=1)  # (5, 2)
values = np.arange(5.0)
turn = np.linspace(0, 2 * np.pi, 201)
queries = np.stack([np.cos(turn), np.sin(turn)], axis=1)  # (201, 2)

scores = queries @ keys.T / np.sqrt(2)
p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
o = p @ values
print("asked for key 2:   weights", *np.round(p[80], 2), f"  answer {o[80]:.2f}")
print("between 2 and 3:   weights", *np.round(p[100], 2), f"  answer {o[100]:.2f}")
assert np.allclose(p.sum(axis=1), 1) and abs(o[80] - 2) < 0.1 and abs(o[100] - 2.5) < 0.01

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.8))
ax.plot(np.degrees(turn), o, label="answer o")
ax.plot(np.degrees(angles), values, "o", color="#333333", label="keys and their values")
ax.set(xlabel="direction of the query (degrees)", ylabel="value", title="a look-up with a gradient")
ax.legend()
plt.show()

# %% [markdown]
# **Why divide by** $\sqrt{D}$**?** If the $D$ entries of a query and a key are independent, of mean 0 and
# variance 1, then $q \cdot k$ has variance $D$. For large $D$ the largest score would get nearly all of the weight, and
# there the softmax has a gradient close to 0.

# %%
print("   D   spread of q.k   largest weight of 100:  plain   divided by sqrt(D)")
for D in (1, 16, 256):
    q, k = rng.standard_normal((400, D)), rng.standard_normal((100, D))
    dots = q @ k.T
    largest = []
    for s in (dots, dots / np.sqrt(D)):
        weights = np.exp(s - s.max(axis=1, keepdims=True))
        largest.append((weights / weights.sum(axis=1, keepdims=True)).max(axis=1).mean())
    print(f"{D:4} {dots.std():12.1f} {largest[0]:31.2f} {largest[1]:14.2f}")
    assert abs(dots.std() / np.sqrt(D) - 1) < 0.15
assert largest[0] > 0.8 > 0.2 > largest[1]

# %% [markdown]
# ## A softmax that cannot overflow
#
# In float32 $e^{89}$ is infinite, and infinity divided by infinity is not a number. A constant added to all scores of
# a row cancels in the fraction, so we may subtract the largest score: every exponent is then at most 0.

# %%
row = np.array([100, 99, 0], np.float32)
with np.errstate(over="ignore", invalid="ignore"):
    plain = np.exp(row) / np.exp(row).sum()
    shifted = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
    print("exp(88), exp(89) in float32:", np.exp(np.float32(88)), np.exp(np.float32(89)))
print("softmax as written:", plain, "   with the largest subtracted:", np.round(shifted, 3))
assert np.isnan(plain[:2]).all() and np.isclose(shifted.sum(), 1)

# %% [markdown]
# ## What attention sees in music
#
# Let the frames of a log-mel spectrogram be queries and keys at once. A dot product is large if two frames are similar,
# but also if one of them is loud. Dividing by both lengths gives the *cosine* of the angle between them, which is 1
# for frames that differ in size only. The tune plays its first phrase twice, 9.6 seconds apart.

# %%
notes = synth.score(synth.TUNES["Ode to Joy (Beethoven)"], held=False)
played = synth.play(notes, "plucked", 0, 100, np.random.default_rng(0))[: int(19.2 * synth.SR)]
picture = log_mel(soxr.resample(played, synth.SR, 16_000))  # (960, 128)
centre, spread = picture.mean(axis=0), picture.std()
frames = (picture - centre) / spread


def cosines(x):
    """The cosine of every pair of rows."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit @ unit.T


alike = cosines(frames)  # (960, 960)
lag = np.array([np.mean(np.diagonal(alike, n)) for n in range(1, 700)])  # mean cosine of frames n apart
best = 100 + np.argmax(lag[99:])
others = np.delete(lag, slice(best - 11, best + 10))[99:]
print(f"most similar beyond 2 s: frames {best} apart, {best / 50:.2f} s, mean cosine {lag[best - 1]:.2f}")
print(f"largest mean cosine of the other distances beyond 2 s: {others.max():.2f}")
assert abs(best - 480) <= 2 and lag[best - 1] > others.max() + 0.1

# %% tags=["hide-input"]
blocks = frames.reshape(64, 15, 128).mean(axis=1)  # 0.3 s, half a beat
fig, ax = plt.subplots(figsize=(6, 5))
image = ax.imshow(cosines(blocks), extent=(0, 19.2, 0, 19.2), cmap="cividis", aspect="equal", vmin=-1, vmax=1)
fig.colorbar(image, label="cosine")
ax.set(xlabel="key: time (s)", ylabel="query: time (s)", title="similarity of all pairs of half beats")
plt.show()

# %% [markdown]
# On the diagonal each moment is compared with itself. The bright lines parallel to it, 9.6 s away, are the phrase's
# repetition. Other bright cells are notes that return. A 3x3 convolution sees one frame to the left and right of the
# diagonal.
#
# ## Attention as the best denoiser
#
# Suppose that the data are the frames $x_1, \dots, x_M$ and nothing else. Pick one at random and add noise: $x_t =
# a\, x_j + b\, \epsilon$, with $\epsilon$ from a normal distribution. Which frame was it? By Bayes' rule the
# probability of each is proportional to $e^{-|x_t - a x_j|^2 / 2 b^2}$. Multiply out the square and drop the terms
# that are the same for all $j$:
#
# $$p_j = \operatorname{softmax}_j \left( \frac{a}{b^2}\, x_t \cdot x_j - \frac{a^2}{2 b^2} |x_j|^2 \right).$$
#
# The best guess of the clean frame, its expected value $\sum_j p_j\, x_j$, **is an attention**: the query is
# the noisy frame, and the known frames are keys and values. (A constant for each key can be added to the score as one
# more column: $[q, 1] \cdot [k, c]$.) Let the first phrase be known, and denoise the second:

# %%
known, second = frames[:480], frames[480:]
a, b = np.sqrt(0.2), np.sqrt(0.8)  # nine tenths of the variance of x_t are noise
x_t = a * second + b * rng.standard_normal(second.shape)

q = np.concatenate([x_t * (a / b**2), np.ones((480, 1))], axis=1)
k = np.concatenate([known, -(a**2 / b**2 / 2) * (known**2).sum(axis=1, keepdims=True)], axis=1)
v = np.concatenate([known, np.zeros((480, 1))], axis=1)
cleaned = attention(q[None] * np.sqrt(129), k[None], v[None])[0][0, :, :128]  # it divides by sqrt(129)

error = {"noisy": np.mean((x_t / a - second) ** 2), "cleaned": np.mean((cleaned - second) ** 2)}
for name, value in error.items():
    print(f"{name:8} mean squared error {value:.2f}")
assert error["cleaned"] < error["noisy"] / 10
for name, sounding in (("The second phrase with noise", x_t / a), ("Cleaned by attention to the first", cleaned)):
    heard = griffin_lim(
        np.minimum(sounding * spread + centre, picture.max()).astype(np.float32)[:250], 4 if FAST else 32
    )
    sound(0.05 * heard / np.sqrt(np.mean(heard**2)), name)

# %% tags=["hide-input"]
fig, axes = plt.subplots(3, 1, figsize=(6, 6.2), sharex=True)
shown = {"the second phrase": second, "with noise": x_t / a, "cleaned by attention to the first": cleaned}
for ax, (name, plane) in zip(axes, shown.items(), strict=True):
    ax.imshow(plane.T, extent=(0, 9.6, 0, 128), vmin=-2.5, vmax=2.5)
    ax.set(title=name, ylabel="mel bin")
axes[-1].set_xlabel("time (s)")
plt.show()

# %% [markdown]
# This needs no training. It can also generate nothing new: where the second phrase ends differently from the first, it
# gives the most similar frames of the first. A network that has memorised its training clips does the same, and
# lesson 08 uses this to detect memorisation.
#
# ## A table that does not fit into memory
#
# In the network a position is a pixel: 256 frames by 128 mel bins at full resolution. The scores of all pairs:

# %%
positions = 256 * 128
table = positions**2 * 4
print(f"{positions} positions: {positions**2 / 1e9:.2f} billion scores, {table / 1e9:.1f} GB a head in float32")
print(f"4 heads: {4 * table / 1e9:.0f} GB, for one spectrogram, and the backward pass wants it again")
lowest = (positions // 16) ** 2 * 4
print(f"in the lowest up block, at a quarter of height and width: {lowest / 1e6:.0f} MB a head")
assert positions == 32_768 and round(table / 1e9, 1) == 4.3

# %% [markdown]
# The authors of our paper ran out of memory and kept attention in the lowest up block only. But the output for a query
# has only $D$ numbers, and the table need not be stored. Go along a row in tiles, and add up what each tile
# contributes:
#
# $$\begin{align*}
# \ell &= \sum_j e^{s_j - m} \\
# u &= \sum_j e^{s_j - m}\, v_j \\
# o &= u / \ell
# \end{align*}$$
#
# The largest score $m$ of the *whole* row is known only at the end, so use the largest score *so far*. If a tile $T$
# has a larger one, $m'$, the sums so far must be corrected from $m$ to $m'$. Since $e^{s - m'} = e^{s - m}\, e^{m -
# m'}$, this is a multiplication by one factor:
#
# $$\begin{align*}
# m' &= \max\big(m,\ \max_{j \in T} s_j\big) \\
# \ell' &= \ell\, e^{m - m'} + \sum_{j \in T} e^{s_j - m'} \\
# u' &= u\, e^{m - m'} + \sum_{j \in T} e^{s_j - m'}\, v_j
# \end{align*}$$
#
# ([Milakov and Gimelshein 2018](https://arxiv.org/abs/1805.02867) for $\ell$; [Rabe and Staats
# 2021](https://arxiv.org/abs/2112.05682) and [Dao et al. 2022](https://arxiv.org/abs/2205.14135),
# "FlashAttention", for all of attention.) Here are one query and twelve keys in tiles of four. The scores rise, so
# that every tile has a new largest one:

# %%
s, v = np.sort(3 * rng.standard_normal(12)), rng.standard_normal(12)
m, total, u = -np.inf, 0.0, 0.0
print("tile   largest of tile   m so far   factor exp(m - m')   sum   answer so far")
for start in range(0, 12, 4):
    tile = slice(start, start + 4)
    new = max(m, s[tile].max())
    factor = np.exp(m - new)
    total = total * factor + np.sum(np.exp(s[tile] - new))
    u = u * factor + np.sum(np.exp(s[tile] - new) * v[tile])
    m = new
    print(f"{start // 4:4} {s[tile].max():14.2f} {m:13.2f} {factor:14.3f} {total:16.3f} {u / total:12.3f}")

whole = np.exp(s - s.max())
print(f"the whole row at once: {whole @ v / whole.sum():.3f}")
assert np.isclose(u / total, whole @ v / whole.sum())

# %% [markdown]
# The package's function is this loop. A column of ones beside $v$ lets one matrix product return $u$ and
# $\ell$ together.

# %%
show_answer(attention)


# %%
def plain_attention(q, k, v):
    s = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])
    p = np.exp(s - s.max(axis=2, keepdims=True))
    return p / p.sum(axis=2, keepdims=True) @ v


def peak(function, n):
    """Megabytes that `function` takes for n positions, and seconds."""
    q, k, v = rng.standard_normal((3, 1, n, 8), dtype=np.float32)
    with backend.threads(2):
        start = time.perf_counter()
        tracemalloc.start()
        function(q, k, v)
        most = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        return most, time.perf_counter() - start


q, k, v = rng.standard_normal((3, 2, 700, 8))
difference = np.abs(attention(q, k, v)[0] - plain_attention(q, k, v)).max()
print(f"largest difference, tiles and plain: {difference:.0e}")
assert difference < 1e-13

sizes = (1024, 2048, 4096)
plain_mb, tiles_mb = ([peak(f, n)[0] for n in sizes] for f in (plain_attention, attention))
for n, x, y in zip(sizes, plain_mb, tiles_mb, strict=True):
    print(f"{n:6} positions: plain {x:6.1f} MB, tiles {y:4.1f} MB")
assert plain_mb[2] > 3.5 * plain_mb[1] and tiles_mb[2] < 1.5 * tiles_mb[1]

n = 8192 if FAST else positions
megabytes, seconds = peak(attention, n)
print(f"{n:6} positions: tiles {megabytes:.1f} MB, {seconds:.1f} s for one head")
assert megabytes < 20

# %% [markdown]
# Every pair is still computed; only the memory is saved.
#
# ## The backward pass
#
# We follow lesson 05's rule. The output is $o = p v$, so $\delta o = \delta p\, v + p\, \delta v$ and
#
# $$dv = p^T do, \qquad dp = do\, v^T.$$
#
# In the softmax of a row, raising a score raises its own weight and lowers all others:
#
# $$\delta p_j = p_j \Big(\delta s_j - \sum_i p_i\, \delta s_i\Big).$$
#
# As in batch normalisation, the matrix is symmetric:
#
# $$ds_j = p_j \Big(dp_j - \sum_i p_i\, dp_i\Big).$$
#
# The sum runs over the whole row, which is not stored. But $\sum_i p_i\, dp_i = \sum_i p_i\, (do \cdot v_i) = do
# \cdot o$, a dot product of two arrays that we have. Last, $s = q k^T / \sqrt{D}$ gives
#
# $$dq = ds\, k / \sqrt{D}, \qquad dk = ds^T q / \sqrt{D}.$$
#
# The weights are not stored either. They are computed again, tile by tile, from one number for each row,
# $\lambda = m + \ln \ell$: $\;p_j = e^{s_j - \lambda}$.


# %%
def backward_by_hand(do, q, k, v):
    scale = 1 / np.sqrt(q.shape[-1])
    s = scale * q @ k.swapaxes(1, 2)
    p = np.exp(s - np.log(np.exp(s).sum(axis=2, keepdims=True)))
    o = p @ v
    dp = do @ v.swapaxes(1, 2)
    ds = p * (dp - (do * o).sum(axis=2, keepdims=True))
    return scale * ds @ k, scale * ds.swapaxes(1, 2) @ q, p.swapaxes(1, 2) @ do


q, k, v = rng.standard_normal((2, 9, 3)), rng.standard_normal((2, 7, 3)), rng.standard_normal((2, 7, 3))
o, cache = attention(q, k, v)
do = rng.standard_normal(o.shape)
for ours, theirs in zip(backward_by_hand(do, q, k, v), attention_backward(do, cache), strict=True):
    assert np.allclose(ours, theirs)
errors = gradient_error(lambda *a: attention(*a)[0], lambda do: attention_backward(do, cache), [q, k, v], rng)
print("by hand and package agree; gradient checks of q, k, v:", *(f"{e:.0e}" for e in errors))
assert max(errors) < 1e-6
show_answer(attention_backward)

# %% [markdown]
# Here, too, some gradient checks accept wrong answers. If all $v_i$ are equal, $o$ does not depend on the weights. Then
# $ds = 0$ is right, and a backward pass that always returns zeros for $dq$ and $dk$ passes.
#
# ## Heads, and a key of one number
#
# In the network, queries come from the features $x$ of the up path, keys and values from those of the skip connection,
# each through a linear layer. One attention gives one weighted mean for each position; four of them, with linear
# layers of their own, can weigh by four different criteria. A last linear layer maps their outputs to $x$'s channels:

# %%
show_source(multi_head_attention)
params = init_multi_head_attention(rng, channels=128, memory_channels=96, inner=4)
count = sum(leaf.size for leaf in tree.flatten(params).values())
by_hand = (128 * 4 + 4) + 2 * (96 * 4 + 4) + (4 * 128 + 128)
print(f"parameters of the first one in the network: {count} = {by_hand}")
assert count == by_hand

# %% [markdown]
# The authors chose a key dimension of **one**. Then query, key and value of a head are single numbers, and the
# score is the product $q k_j$. The output at a position depends on the position only through the number $q$. At $q =
# 0$ all weights are equal, and the output is the mean of all values. A large positive $q$ gives the value at the
# largest key, a large negative one the value at the smallest. In between,
#
# $$\frac{d o}{d q} = \sum_j p_j (k_j - \bar k)\, v_j = \operatorname{Cov}_p(k, v),$$
#
# with $\bar k = \sum_j p_j k_j$. So a head is one function of one number. It can report, for example, how loud the
# clip is at its loudest place, or on average.

# %%
k, v = rng.standard_normal((2, 1, 50, 1))
v += 0.7 * k
asked = np.linspace(-4, 4, 161)[None, :, None]
answers = attention(asked, k, v)[0][0, :, 0]
weights = np.exp(asked[0] * k[0, :, 0])  # (161, 50)
weights /= weights.sum(axis=1, keepdims=True)
covariance = (weights * k[0, :, 0] * v[0, :, 0]).sum(axis=1) - (weights @ k[0, :, 0]) * (weights @ v[0, :, 0])
numeric = np.gradient(answers, asked[0, :, 0])
print(f"at q = 0: {answers[80]:.3f}, the mean of the values: {v.mean():.3f}")
assert np.isclose(answers[80], v.mean()) and np.abs(numeric - covariance)[1:-1].max() < 0.01

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3))
ax.plot(asked[0, :, 0], answers)
ax.axhline(v.mean(), color="#999999", linewidth=0.8)
ax.axhline(v[0, k.argmax(), 0], color="#999999", linestyle="--", linewidth=0.8)
ax.axhline(v[0, k.argmin(), 0], color="#999999", linestyle=":", linewidth=0.8)
ax.set(xlabel="query q", ylabel="answer o")
ax.set_title("a head of dimension 1; grey: mean (solid), value at largest (dashed)\nand smallest key (dotted)")
plt.show()

# %% [markdown]
# One parameter of a head has no effect: a bias added to all keys adds $q$ times a constant to all scores of a row,
# which the softmax ignores. Its gradient is zero in theory, and rounding noise in practice.

# %%
x, memory = rng.standard_normal((1, 5, 4, 128)), rng.standard_normal((1, 5, 4, 96))
params = tree.map(lambda leaf: leaf.astype(np.float64), params)
y, cache = multi_head_attention(x, memory, params, heads=4)
_, _, grads = multi_head_attention_backward(rng.standard_normal(y.shape), cache)
for name, grad in tree.flatten(grads).items():
    print(f"{name:10} {grad.shape!s:10} largest gradient {np.abs(grad).max():.0e}")
assert np.abs(grads["key"]["b"]).max() < 1e-12 < 1e-3 < np.abs(grads["key"]["w"]).max()

# %% [markdown]
# ## A matrix that is thin
#
# If a head is one function of $q$, it should not be necessary to visit every pair. The number $e^{q k}$ is a smooth
# function of $k$. The polynomial through its values at $r$ well-chosen points between the smallest and the largest key
# agrees with it everywhere between them, up to rounding. In Lagrange's form, with $l_n$ the polynomial that is 1 at
# point $n$ and 0 at the others,
#
# $$e^{q_i k_j} = \sum_{n=1}^{r} e^{q_i c_n}\; l_n(k_j), \qquad c_n = \text{centre} + \text{half the range} \cdot
# \cos\tfrac{\pi (n - 1/2)}{r}.$$
#
# So the matrix of all pairs is a product of two thin ones, $L \times r$ and $r \times M$. Its singular values show
# the same: only a few are larger than rounding noise.

# %%
positions = 512
q, k, v = rng.standard_normal((3, 1, positions, 1))
values = np.linalg.svd(np.exp(q[0] * k[0].T), compute_uv=False)
ranks = {name: int((values > np.finfo(name).eps * values[0]).sum()) for name in ("float32", "float64")}
print(f"{positions} x {positions} pairs, singular values above rounding: {ranks}")
assert ranks["float32"] < 20 and ranks["float64"] < 35

# %% [markdown]
# Attention needs only products with this matrix, and these can be computed with the thin ones: $P\,[v, 1] =
# E\,(l\,[v, 1])$, and backward with $l^T E^T$. The time is $r (L + M)$ instead of $L M$. The number of points
# follows from $\max |q|$ and the range of the keys; the package's text has the bound.

# %%
show_source(nodes.by_nodes)
q, k, v = rng.standard_normal((3, 4, 2048, 1)).astype(np.float32)
exact = attention(*(a.astype(np.float64) for a in (q, k, v)))[0]
seconds, errors = {}, {}
thin = partial(nodes.by_nodes, r=nodes.how_many(q, k))
for name, function in (("tiles", attention), ("thin", thin)):
    function(q, k, v)  # the first call is slower
    start = time.perf_counter()
    o = function(q, k, v)[0]
    seconds[name], errors[name] = time.perf_counter() - start, np.abs(o - exact).max()
for name, value in seconds.items():
    print(f"four heads, 2048 positions, {name}: {1000 * value:6.1f} ms, largest error {errors[name]:.0e}")
assert errors["thin"] < 1e-6

# %% [markdown]
# For keys of $D$ numbers the matrix has a low rank, too, but the rank grows quickly with $D$, and polynomials in $D$
# variables need many more points. The package uses polynomials for $D = 1$, which the network has, and tiles
# otherwise.

# %%
rank = {}
for D in (1, 2, 4, 8):
    q, k = rng.standard_normal((2, 1024, D))
    values = np.linalg.svd(np.exp(q @ k.T / np.sqrt(D)), compute_uv=False)
    rank[D] = int((values > np.finfo(np.float32).eps * values[0]).sum())
print("singular values above float32's rounding, of 1024:", rank)
assert rank[1] < 25 < rank[2] < 120 < rank[4] < rank[8] <= 1024

# %% [markdown]
# ## The embedding of the noise level
#
# The network is given the noise variance $v = 1 - \bar\alpha$ of each sample. Does it need it? Take Gaussian data of
# unit variance, whose values are independent. Then $x_t$ is unit Gaussian at every level, and says nothing about $v$.
# The best prediction of the noise is $\sqrt{v}\, x_t$ with an error of $1 - v$, which is 1/2 on average over uniform
# $v$. Without $v$ the best factor is the mean of $\sqrt{v}$, 2/3, and the error is $1 - (2/3)^2 = 0.556$.

# %%
generator = np.random.default_rng(0)
v, x, eps = generator.random(100_000), generator.standard_normal(100_000), generator.standard_normal(100_000)
x_t = np.sqrt(1 - v) * x + np.sqrt(v) * eps
told, untold = (np.mean((eps - factor * x_t) ** 2) for factor in (np.sqrt(v), 2 / 3))
print(f"mean squared error of the best prediction: {told:.3f} with the noise level, {untold:.3f} without")
assert abs(told - 1 / 2) < 0.01 and abs(untold - 5 / 9) < 0.01

# %% [markdown]
# A layer could respond to a single number only almost linearly. Instead $v$ is given as sines and cosines at 16
# frequencies. The slowest completes one period as $v$ goes from 0 to 1, the fastest a thousand:
#
# $$\big[\sin(2 \pi f_i v),\ \cos(2 \pi f_i v)\big], \qquad f_i = 1000^{i / 15},$$
#
# for $i = 0, \dots, 15$: sixteen sines, then sixteen cosines.

# %%
show_answer(sinusoidal_embedding)
levels = np.linspace(0, 1, 4000)
embedding = sinusoidal_embedding(levels)
frequencies = 1000 ** (np.arange(16) / 15)
angles = 2 * np.pi * frequencies * levels[:, None]
assert np.allclose(embedding, np.concatenate([np.sin(angles), np.cos(angles)], axis=1), atol=1e-9)
assert np.allclose((embedding**2).sum(axis=1), 16)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(6, 3.2))
for ax, channels, widest in zip(axes, (slice(0, 8), slice(8, 16)), (1, 0.02), strict=True):
    shown = sinusoidal_embedding(np.linspace(0, widest, 2000))[:, channels]
    extent = (0, widest, channels.start, channels.stop)
    image = ax.imshow(shown.T, extent=extent, cmap="cividis", interpolation="nearest", vmin=-1, vmax=1)
    ax.set(xlabel="noise variance v", title=f"sines {channels.start} to {channels.stop - 1}")
axes[0].set_ylabel("channel")
fig.colorbar(image, ax=axes, label="value")
plt.show()

# %% [markdown]
# Note the axes: the eight slow sines are shown for all $v$, the eight fast ones for a fiftieth of the range. How
# similar are the embeddings of two levels? Their cosine depends only on the difference of the levels. It is 1 at
# difference 0 and falls quickly, so the network can tell levels apart that differ by a thousandth:

# %%
apart = np.array([0, 0.0001, 0.001, 0.01, 0.1])
pairs = sinusoidal_embedding(np.concatenate([0.4 + apart, 0.7 + apart])).reshape(2, 5, 32)
similar = np.einsum("ani,ai->an", pairs, pairs[:, 0]) / 16  # all embeddings have the length 4
print("difference of the levels", *(f"{a:8g}" for a in apart))
print("cosine                  ", *(f"{s:8.2f}" for s in similar[0]))
assert np.allclose(similar[0], similar[1]) and np.isclose(similar[0, 0], 1)
assert similar[0, 1] > 0.9 and similar[0, 2] < 0.8 and similar[0, 4] < 0.3

# %% tags=["hide-input"]
few = sinusoidal_embedding(np.linspace(0, 1, 200))
fig, ax = plt.subplots(figsize=(6, 4.6))
image = ax.imshow(few @ few.T / 16, extent=(0, 1, 0, 1), cmap="cividis", aspect="equal", interpolation="nearest")
fig.colorbar(image, label="cosine")
ax.set(xlabel="noise variance v", ylabel="noise variance v", title="similarity of the embeddings of two levels")
plt.show()

# %% [markdown]
# The 32 numbers are repeated over the whole plane, as 32 more channels.
#
# They must be computed in float64. The fastest sine's angle reaches $2000 \pi \approx 6283$ radians. In float32,
# numbers of that size are $5 \cdot 10^{-4}$ apart, so every operation on the angle rounds it by up to half of that,
# and the sine is wrong by as much.

# %%
v = rng.random(10_000)
single = np.float32(2 * np.pi) * frequencies.astype(np.float32) * v.astype(np.float32)[:, None]
wrong = np.abs(np.sin(single) - np.sin(2 * np.pi * frequencies * v[:, None])).max(axis=0)
gap = np.spacing(np.float32(2000 * np.pi))
print(f"numbers near 6283 are {gap:.1e} apart in float32")
print(f"largest error of a sine: slowest {wrong[0]:.0e}, fastest {wrong[-1]:.0e}")
print(f"a sine in float32 could be right to {np.finfo(np.float32).eps / 2:.0e}")
assert 4e-4 < gap < 6e-4 and wrong[0] < 1e-6 and 3e3 < wrong[-1] / (np.finfo(np.float32).eps / 2) < 3e4

# %% [markdown]
# This error is about ten thousand times larger than rounding. Compute the angle in float64, take the sine, and round
# the result.
#
# ## Common mistakes
#
# | what you see | what it is |
# |---|---|
# | NaN soon after the start of the training | $e^s$ overflows: subtract the largest score of the row |
# | right for few keys, wrong for many | a later tile's larger $m$: rescale $\ell$ and $u$ by $e^{m - m'}$ |
# | weights add up to 1 along the wrong axis | the softmax runs over keys, the last axis of the scores |
# | attention is nearly one-hot from the start | the scores were not divided by $\sqrt{D}$ |
# | `dq` right, `dk` too small | the scale was applied twice |
# | out of memory in the backward pass | the weights were kept: compute them again from $\lambda$ |
# | the key's bias has a tiny, jumping gradient | it is 0: this is rounding |
# | samples differ between CPU and GPU by more than rounding | embedding angles in float32 |
#
# ## Exercises
#
# Write `sinusoidal_embedding`, `attention` and `attention_backward` in `lessons/06_attention/exercise.py`, and
# run `make check-06`. This is what right answers look like:

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(6, 2.8))
axes[0].plot(levels, sinusoidal_embedding(levels, 4)[:, [0, 2]])
axes[0].set(title="two of sinusoidal_embedding(v, 4)", xlabel="noise variance v", ylabel="value")
one = np.linspace(-3, 3, 40)[None, :, None]
axes[1].plot(one[0, :, 0], attention(3 * one, one, one)[0][0, :, 0], label="o")
axes[1].plot(
    one[0, :, 0], attention_backward(np.ones_like(one), attention(3 * one, one, one)[1])[0][0, :, 0], "--", label="dq"
)
axes[1].set(title="attention(3x, x, x)", xlabel="x")
axes[1].legend()
plt.show()

# %% [markdown]
# **Predict, then run.** (1) Shuffle all positions of $k$ and $v$ in the same way. What happens to $o$? (2) Double all
# queries: do the weights become more even, or less?

# %% tags=["answer"]
generator = np.random.default_rng(4)
q_one, k_one, v_one = generator.standard_normal((3, 1, 50, 4))
order = generator.permutation(50)
moved = np.abs(attention(q_one, k_one[:, order], v_one[:, order])[0] - attention(q_one, k_one, v_one)[0]).max()
print(f"(1) nothing: o changes by {moved:.0e}. Attention knows no positions; the convolutions around it do.")
assert moved < 1e-12


def entropy(scores):
    weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return -np.sum(weights * np.log(weights), axis=1).mean()


once, twice = (entropy(factor * q_one[0] @ k_one[0].T / 2) for factor in (1, 2))
print(f"(2) less even: their entropy falls from {once:.2f} to {twice:.2f} (equal weights have {np.log(50):.2f})")
assert twice < once - 0.3

# %% [markdown]
# ## Experiment
#
# Denoise the second phrase with only every tenth frame of the first as keys and values, and then with only every
# hundredth. How much does the error grow? Write the numbers and your conclusion into the form EXPERIMENT at the end
# of `exercise.py`.

# %% tags=["answer"]
generator = np.random.default_rng(0)
noised = a * second + b * generator.standard_normal(second.shape)
fewer = {}
for step in (1, 10, 100):
    kept = known[::step]
    scores = a / b**2 * noised @ kept.T - a**2 / b**2 / 2 * (kept**2).sum(axis=1)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    fewer[step] = np.mean((weights @ kept - second) ** 2)
    print(f"{len(kept):4} known frames: mean squared error {fewer[step]:.3f}")
assert 1.5 * fewer[1] < fewer[10] < 0.7 * fewer[100]

# %% [markdown] tags=["answer"]
# With a tenth of the frames the error grows by more than a half: a note lasts for many similar frames, and one of them
# is nearly always kept. With a hundredth, whole notes are missing, and the nearest other note takes their place. This
# denoiser is as good as its data: it can combine frames, but not generate one that it has not stored.

# %% [markdown]
# ## Sources
#
# - A. Vaswani and others (2017), [Attention is all you need](https://arxiv.org/abs/1706.03762).
# - M. Milakov, N. Gimelshein (2018), [Online normalizer calculation for softmax](https://arxiv.org/abs/1805.02867).
# - M. Rabe, C. Staats (2021), [Self-attention does not need O(n^2) memory](https://arxiv.org/abs/2112.05682).
# - T. Dao and others (2022), [FlashAttention](https://arxiv.org/abs/2205.14135).
# - J. Alman, Z. Song (2023), [Fast attention requires bounded entries](https://arxiv.org/abs/2302.13214): when the
#   matrix is thin.
