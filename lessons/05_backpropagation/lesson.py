# %% [markdown]
# # Backpropagation by hand
#
# Training needs the derivative of the loss by every weight of the network. This lesson derives the backward pass of
# each layer on paper, writes it in a few lines, and checks it by finite differences. It also shows a gradient check
# that accepts wrong answers, and measures which step such a check should take.
#
# You need derivatives, matrix products and NumPy; from lessons 01 and 02 only what a spectrogram is.

# %%
import matplotlib.pyplot as plt
import numpy as np
import soxr

from ddim_from_scratch.audio import griffin_lim, log_mel, synth
from ddim_from_scratch.diffusion import mean_squared_error
from ddim_from_scratch.nn import (
    average_pool,
    average_pool_backward,
    batch_norm,
    batch_norm_backward,
    conv2d,
    conv2d_backward,
    group_norm,
    group_norm_backward,
    swish,
    swish_backward,
    upsample,
    upsample_backward,
)
from ddim_from_scratch.nn.dense import glorot_uniform
from ddim_from_scratch.nn.gradcheck import gradient_error
from lessons import FAST, show_source, sound

rng = np.random.default_rng(0)

# %% [markdown]
# ## One rule
#
# A layer turns $x$ into $y$; what comes after turns $y$ into the loss $L$, one number. Write $dy$ for the
# array of all $\partial L / \partial y_i$: it has the shape of $y$. Given $dy$, we need $dx$, which has the shape
# of $x$, and the same for each of the layer's weights.
#
# If $x$ moves by a small $\delta x$, then $y$ moves by some $\delta y$, and the loss by
#
# $$\delta L = \sum_i dy_i\, \delta y_i = \langle dy, \delta y \rangle
# \qquad \text{and also by} \qquad \delta L = \langle dx, \delta x \rangle.$$
#
# This gives the method for every layer. **Write $\delta y$ in terms of $\delta x$, insert it into $\langle dy,
# \delta y \rangle$, and rearrange until it reads $\langle a, \delta x \rangle$ for some array $a$. Then $dx =
# a$.** The matrix of all derivatives is never computed: for a layer with a million inputs and a million outputs it
# would have $10^{12}$ entries.
#
# We begin with the loss itself, the mean squared difference between a prediction $p$ and a target $t$:
#
# $$L = \frac{1}{n} \sum_i (p_i - t_i)^2, \qquad \delta L = \sum_i \frac{2}{n} (p_i - t_i)\, \delta p_i,
# \qquad dp = \frac{2}{n} (p - t).$$

# %%
p, t = rng.standard_normal((2, 3, 4))
loss, dp = mean_squared_error(p, t)
assert np.allclose(dp, 2 / 12 * (p - t))

step = np.zeros_like(p)
step[1, 2] = 1e-6  # move one number a little
moved = mean_squared_error(p + step, t)[0]
print(f"the loss changes by {(moved - loss) / 1e-6:.6f} a unit of p[1, 2];  dp[1, 2] = {dp[1, 2]:.6f}")
assert abs((moved - loss) / 1e-6 - dp[1, 2]) < 1e-5

# %% [markdown]
# ## Linear layers, and the 1x1 convolution
#
# $y = x w + b$, with a sample in each row of $x$. The product rule gives
# $\delta y = \delta x\, w + x\, \delta w + \delta b$, and for matrices $\langle A, B C \rangle = \langle A
# C^T, B \rangle = \langle B^T A, C \rangle$: a factor that moves to the other side is transposed. So
#
# $$dx = dy\, w^T, \qquad dw = x^T dy, \qquad db = \sum_{\text{rows}} dy.$$
#
# You need not remember which factor is transposed: if all sizes differ, only one order fits the shapes. A 1x1
# convolution is this layer, applied at every pixel:

# %%
x = rng.standard_normal((2, 5, 4, 3))  # samples, time, mel, channels
w, b = rng.standard_normal((3, 6)), rng.standard_normal(6)
dy = rng.standard_normal((2, 5, 4, 6))

rows, d_rows = x.reshape(-1, 3), dy.reshape(-1, 6)  # (40, 3) and (40, 6): a pixel in each row
by_hand = d_rows @ w.T, rows.T @ d_rows, d_rows.sum(axis=0)

y, cache = conv2d(x, w[None, None], b)
dx, grads = conv2d_backward(dy, cache)
for name, ours, theirs in zip(("dx", "dw", "db"), by_hand, (dx, grads["w"], grads["b"]), strict=True):
    print(f"{name}: {theirs.shape}, largest difference {np.abs(ours.reshape(theirs.shape) - theirs).max():.0e}")
    assert np.allclose(ours.reshape(theirs.shape), theirs)

# %% [markdown]
# Every layer of the package is such a pair: `y, cache = layer(...)`, and `layer_backward(dy, cache)`. The
# cache holds what the backward pass needs from the forward pass, here $x$ and $w$. The gradients of a layer's weights
# are returned in a dict with the weights' names.
#
# ## The gradient check
#
# To test a gradient, move $x$ a little in a random direction $v$ and see whether the loss changes as the gradient
# predicts. A random $dy$ stands for everything that comes after the layer. The loss is then $\langle dy, y
# \rangle$, and
#
# $$\langle dx, v \rangle \approx \frac{\ell(h) - \ell(-h)}{2h}, \qquad \ell(h) = \langle dy, y(x + h v) \rangle.$$
#
# One direction tests all numbers of $dx$ at once: if one of them is wrong, $\langle dx, v \rangle$ is wrong,
# unless $v$ is exactly perpendicular to the error. For a random direction this has probability 0.

# %%
dx, _ = conv2d_backward(dy, cache)
v, h = rng.standard_normal(x.shape), 1e-4
up, down = (np.sum(dy * conv2d(x + s * v, w[None, None], b)[0]) for s in (h, -h))
print(f"<dx, v> = {np.sum(dx * v):.9f}    by differences: {(up - down) / (2 * h):.9f}")
assert np.isclose(np.sum(dx * v), (up - down) / (2 * h))

# %% [markdown]
# The package's own check does this for every argument of a layer, with one refinement that follows.

# %%
show_source(gradient_error)

# %% [markdown]
# ## How small a step?
#
# If the step $h$ is too large, the function is not straight between the two points. If it is too small, the rounding
# of two nearly equal numbers is larger than their difference. By Taylor's formula, three ways to take the difference
# have errors proportional to these powers of $h$:
#
# $$\begin{align*}
# \frac{\ell(h) - \ell(0)}{h} &: \quad h \\
# \frac{\ell(h) - \ell(-h)}{2h} &: \quad h^2 \\
# \frac{8 \big(\ell(h) - \ell(-h)\big) - \big(\ell(2h) - \ell(-2h)\big)}{12 h} &: \quad h^4
# \end{align*}$$
#
# Rounding adds an error of about $\varepsilon / h$, with $\varepsilon = 2 \cdot 10^{-16}$ in float64 and $10^{-7}$
# in float32. The first error grows with $h$, the second falls: on logarithmic axes their sum has the shape of a V.
# Here it is for the activation function of the next section:


# %%
def differences(dtype):
    """Relative errors of the three differences, for each of STEPS."""
    rng = np.random.default_rng(1)
    x, v, dy = (rng.standard_normal(1000).astype(dtype) for _ in range(3))
    exact = np.sum(swish_backward(dy, swish(x)[1]).astype(float) * v)

    def loss(h):
        return np.sum(dy * swish(x + dtype(h) * v)[0], dtype=dtype)

    found = []
    for h in STEPS:
        a, c, aa, cc = (float(loss(s * h)) for s in (1, -1, 2, -2))
        found.append([(a - float(loss(0))) / h, (a - c) / (2 * h), (8 * (a - c) - (aa - cc)) / (12 * h)])
    return np.abs(np.array(found) / exact - 1)


STEPS = 10.0 ** np.arange(-8, 0.1, 0.25)
one_sided, central, fourth = differences(np.float64).T
single = differences(np.float32)[:, 1]
for name, error in {
    "one-sided": one_sided,
    "central": central,
    "fourth order": fourth,
    "central, float32": single,
}.items():
    print(f"{name:17} smallest error {error.min():.0e}, at the step {STEPS[error.argmin()]:.0e}")

left, right = np.searchsorted(STEPS, [0.9e-2, 0.9e-1])  # a factor of ten in the step
slopes = [np.log10(e[right] / e[left]) for e in (one_sided, central, fourth)]
print("ten times the step, powers of ten in the error:", *np.round(slopes, 1))
assert np.allclose(slopes, [1, 2, 4], atol=0.4)
assert fourth.min() < 1e-11 < 1e-6 < single.min() and fourth[np.searchsorted(STEPS, 0.9e-4)] < 1e-10

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3.8))
for error, name, style in (
    (single, "central, float32", ":"),
    (one_sided, "one-sided", "-"),
    (central, "central", "--"),
    (fourth, "fourth order", "-."),
):
    ax.loglog(STEPS, np.maximum(error, 1e-16), style, label=name)
ax.axvline(1e-4, color="#999999", linewidth=0.8)
ax.set(xlabel="step h", ylabel="relative error", ylim=(1e-14, 1e4))
ax.set_title("a gradient check's error; grey: the package's step")
ax.legend(loc="upper center", ncols=2)
plt.show()

# %% [markdown]
# The fourth-order difference has the lowest minimum: at $h = 10^{-4}$ a right gradient agrees to ten digits. A limit
# of $10^{-6}$ is then far above rounding, and far below the error that a mistake in a formula makes. In float32 even
# the best step leaves an error above this limit. **Check in float64, run in float32.**
#
# ## Swish: one number at a time
#
# The network's activation function is $y = x\, s(x)$ with the sigmoid $s(x) = 1 / (1 + e^{-x})$, whose
# derivative is $s' = s (1 - s)$. Each $y_i$ depends on its own $x_i$ only, so
#
# $$dx = dy\, (s + x s') = dy\; s\, \big(1 + x (1 - s)\big).$$

# %%
grid = np.linspace(-6, 6, 241)
s = 1 / (1 + np.exp(-grid))
slope = swish_backward(np.ones_like(grid), grid)
assert np.allclose(swish(grid)[0], grid * s) and np.allclose(slope, s * (1 + grid * (1 - s)))
assert np.sum(np.diff(np.sign(slope)) != 0) == 1
print(f"at 0 the slope is {slope[120]:.1f}; the curve turns at x = {grid[np.argmin(swish(grid)[0])]:.1f}")
print(f"gradient check: {gradient_error(lambda x: swish(x)[0], lambda dy: [swish_backward(dy, x)], [x], rng)[0]:.0e}")

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.8))
ax.plot(grid, swish(grid)[0], label="swish(x)")
ax.plot(grid, slope, "--", label="its slope")
ax.set(xlabel="x", ylabel="value", ylim=(-0.5, 4))
ax.legend()
plt.show()

# %% [markdown]
# A ReLU has slope 0 for all negative $x$, so a unit whose inputs are all negative stops learning. The slope of swish
# is 0 at one point only.
#
# ## The 3x3 convolution: nine shifted products
#
# An output pixel sees the 3 x 3 input pixels around it. With $p$ for a pixel, $s$ for one of the nine shifts,
# $(-1, -1)$ to $(1, 1)$, and zeros outside the plane,
#
# $$y[p] = b + \sum_s x[p + s]\, w[s].$$
#
# Each $w[s]$ is a matrix from input to output channels: the layer is the sum of nine linear layers, each on a shifted
# copy of the input. By the rule above, one shift contributes $\sum_p \langle dy[p],\, \delta x[p + s]\, w[s]
# \rangle$. Call the pixel that is read $q = p + s$, so that $p = q - s$:
#
# $$\begin{align*}
# dx[q] &= \sum_s dy[q - s]\, w[s]^T \\
# dw[s] &= \sum_p x[p + s]^T\, dy[p] \\
# db &= \sum_p dy[p]
# \end{align*}$$
#
# The input's gradient is a convolution, too: of $dy$, **with every shift reversed and every matrix transposed**.
# Without the reversal the network still learns, but worse; the experiment at the end of this lesson measures how
# much. A missing transpose raises an error only where the two widths differ. So only a gradient check finds such
# mistakes reliably.


# %%
def shifted(a, sy, sx):
    """a[p + s] for every pixel p, zeros outside. a: (N, H, W, C)."""
    _, height, width, _ = a.shape
    return np.pad(a, ((0, 0), (1, 1), (1, 1), (0, 0)))[:, 1 + sy : 1 + sy + height, 1 + sx : 1 + sx + width]


def forward_by_hand(x, w, b):
    return b + sum(shifted(x, ky - 1, kx - 1) @ w[ky, kx] for ky in range(3) for kx in range(3))


def backward_by_hand(dy, x, w):
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for ky in range(3):
        for kx in range(3):
            dx += shifted(dy, 1 - ky, 1 - kx) @ w[ky, kx].T
            dw[ky, kx] = np.einsum("nijc,nijd->cd", shifted(x, ky - 1, kx - 1), dy)
    return dx, dw, dy.sum(axis=(0, 1, 2))


w3 = rng.standard_normal((3, 3, 3, 6))
y, cache = conv2d(x, w3, b)
assert np.allclose(forward_by_hand(x, w3, b), y)


def in_a_row(dy):
    dx, grads = conv2d_backward(dy, cache)
    return dx, grads["w"], grads["b"]


for ours, theirs in zip(backward_by_hand(dy, x, w3), in_a_row(dy), strict=True):
    assert np.allclose(ours, theirs)
errors = gradient_error(lambda *a: conv2d(*a)[0], in_a_row, [x, w3, b], rng)
print("by hand and package agree; gradient checks of x, w, b:", *(f"{e:.0e}" for e in errors))
assert max(errors) < 1e-6

# %% [markdown]
# The pictures show the reversal. The kernel is the letter L. Forward, a single bright pixel $x$ gives an L turned by
# 180 degrees, because the output above it is the one that reads it with the lower weights. Backward, a single $dy$
# gives the upright L: the inputs that this output has read, with the weights it gave them.

# %% tags=["hide-input"]
letter = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0.5]])[:, :, None, None]
dot = np.zeros((1, 7, 7, 1))
dot[0, 3, 3] = 1
painted, letter_cache = conv2d(dot, letter, np.zeros(1))
upright = conv2d_backward(dot, letter_cache)[0]
assert np.array_equal(upright[0, 2:5, 2:5, 0], letter[..., 0, 0])
assert np.array_equal(painted[0, 2:5, 2:5, 0], letter[::-1, ::-1, 0, 0])
fig, axes = plt.subplots(1, 3, figsize=(6, 2.3))
names = ("the kernel w", "y, of one bright x", "dx, of one bright dy")
for ax, plane, name in zip(
    axes, (np.pad(letter[..., 0, 0], 2), painted[0, ..., 0], upright[0, ..., 0]), names, strict=True
):
    ax.imshow(plane, origin="upper", aspect="equal", cmap="cividis")
    ax.set(title=name, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## Pooling and upsampling: transposes
#
# On the way down the U-Net averages squares of 2 x 2 pixels; on the way up it doubles the plane by linear
# interpolation, $y_{2i} = \frac{3}{4} x_i + \frac{1}{4} x_{i-1}$ and $y_{2i+1} = \frac{3}{4} x_i +
# \frac{1}{4} x_{i+1}$, where beyond the border the border's pixel is repeated. Both are linear, $y = A x$,
# so $\langle dy, A\, \delta x \rangle = \langle A^T dy, \delta x \rangle$: the backward pass is the transpose.
# The columns of each matrix are the layer's answers to single bright pixels:


# %%
def matrix_of(layer, n):
    """The matrix of a layer along the time axis: columns are its answers to unit inputs of n pixels."""
    answers = [layer(column[None, :, None, None].repeat(2, axis=2)) for column in np.eye(n)]
    return np.stack([a[0, :, 0, 0] for a in answers], axis=1)


up, pool = matrix_of(upsample, 4), matrix_of(average_pool, 8)
print("upsampling, 4 pixels to 8, times 4:")
print((4 * up).astype(int))
d_up = matrix_of(upsample_backward, 8) / 2  # the other axis is summed over
assert np.allclose(d_up, up.T)
assert np.allclose(matrix_of(average_pool_backward, 4) * 2, pool.T)

# %% [markdown]
# Every row adds up to 1, so a constant plane stays constant. Every *column* adds up to 2, in two dimensions to 4. So
# the backward pass of upsampling is a weighted sum over the outputs that have read a pixel, 4 x 4 of them inside the
# plane, with weights that add up to 4. That of pooling hands a quarter to each of four. Writing the first as "the mean
# of the four pixels" makes a constant $dy$ four times too small.
#
# Linear layers can be tested without finite differences, and so without their error: $\langle A x, y
# \rangle = \langle x, A^T y \rangle$ must hold to rounding.

# %%
assert np.allclose(up.sum(axis=1), 1) and np.allclose(up.sum(axis=0), 2) and np.allclose(pool.sum(axis=0), 0.5)
for name, layer, backward, wrong in (
    ("average pooling", average_pool, average_pool_backward, lambda dy: 4 * average_pool_backward(dy)),
    ("upsampling", upsample, upsample_backward, average_pool),
):
    a = rng.standard_normal((2, 8, 6, 3))
    c = rng.standard_normal(layer(a).shape)
    error, other = (abs(np.sum(layer(a) * c) / np.sum(a * back(c)) - 1) for back in (backward, wrong))
    print(f"{name:16} <Ax, y> / <x, A'y> - 1 = {error:.0e};  with a wrong A': {other:.2f}")
    assert error < 1e-12 < 0.1 < other

# %% [markdown]
# ## Batch normalisation: everything depends on everything
#
# Each channel is shifted and scaled to mean 0 and variance 1 over all pixels of the batch,
#
# $$\begin{align*}
# y &= (x - \mu) / \sigma \\
# \mu &= \frac{1}{n} \sum_i x_i \\
# \sigma^2 &= \frac{1}{n} \sum_i (x_i - \mu)^2 + \varepsilon
# \end{align*}$$
#
# A change of one $x_i$ changes $\mu$ and $\sigma$, and through them every $y$. Write $m(a)$ for the mean of $a$
# over the pixels. From the formula for $\sigma^2$,
#
# $$\begin{align*}
# 2 \sigma\, \delta\sigma &= 2\, m\big((x - \mu)(\delta x - \delta\mu)\big) = 2\, m\big((x - \mu)\, \delta x\big) \\
# \delta\sigma &= m(y\, \delta x)
# \end{align*}$$
#
# because $x - \mu$ has mean 0 and $\delta\mu$ is the same for all pixels. Then
#
# $$\begin{align*}
# \delta y &= \frac{\delta x - \delta \mu}{\sigma} - \frac{x - \mu}{\sigma}\, \frac{\delta\sigma}{\sigma} \\
# &= \frac{1}{\sigma} \big(\delta x - m(\delta x) - y\, m(y\, \delta x)\big)
# \end{align*}$$
#
# In $\langle dy, \delta y \rangle$ the roles of $dy$ and $\delta x$ can be exchanged in each of the three terms:
# $\langle dy, m(\delta x) \rangle$ and $\langle m(dy), \delta x \rangle$ are both $n$ times the product of the two
# means, and the last term works the same way. The matrix of derivatives is symmetric:
#
# $$dx = \frac{1}{\sigma} \big(dy - m(dy) - y\, m(y\, dy)\big).$$
#
# In words: the parts of $dy$ that would shift or scale the whole channel are removed. The layer removes every shift
# from $x$ and, but for $\varepsilon$, every scale, so no change of $x$ can cause them.

# %%
x = 3 * rng.standard_normal((3, 4, 5, 2)) + 1
dy = rng.standard_normal(x.shape)
y, cache = batch_norm(x)
sigma = np.sqrt(x.var(axis=(0, 1, 2)) + 1e-3)


def mean(a):
    return a.mean(axis=(0, 1, 2))


by_hand = (dy - mean(dy) - y * mean(y * dy)) / sigma
dx = batch_norm_backward(dy, cache)
print("largest difference, by hand and package:", f"{np.abs(by_hand - dx).max():.0e}")
(error,) = gradient_error(lambda x: batch_norm(x)[0], lambda dy: [batch_norm_backward(dy, cache)], [x], rng)
print(f"gradient check: {error:.0e}")
print("what is left of dx along a shift:", *np.round(mean(dx), 12) + 0.0)
assert np.allclose(by_hand, dx) and np.abs(mean(dx)).max() < 1e-12

# %% [markdown]
# **Group normalisation** ([Wu and He 2018](https://arxiv.org/abs/1803.08494)), which the package also has,
# takes the mean over other numbers: eight channels of *one* sample. The derivation did not use which numbers $m$
# averages, so the backward pass is the same line with another mean. Its advantage: the result for a sample does not
# depend on the other samples of the batch, so it is the same in training and in sampling, and with a batch of one.

# %%
wide = rng.standard_normal((3, 4, 5, 16))
others = np.concatenate([wide[:1], 5 * wide[1:]])  # the first sample, with other samples in its batch
for name, layer, backward in (
    ("batch norm", batch_norm, batch_norm_backward),
    ("group norm", group_norm, group_norm_backward),
):
    moved = np.abs(layer(others)[0][0] - layer(wide)[0][0]).max()
    norm_cache = layer(wide)[1]
    (error,) = gradient_error(lambda x: layer(x)[0], lambda dy: [backward(dy, norm_cache)], [wide], rng)  # noqa: B023
    print(f"{name}: gradient check {error:.0e}; in another batch the first sample changes by {moved:.2f}")
    assert error < 1e-6 and (moved > 0.5 if layer is batch_norm else moved == 0)

# %% [markdown]
# ## A check that accepts wrong answers
#
# Many gradient checks take the sum of all outputs as the loss: $dy$ is all ones. Run that check on the right
# backward pass and on four wrong ones, and beside it the one with a random $dy$. A cross means that the check
# finds an error above $10^{-6}$.

# %%
BACKWARDS = {
    "the right one": lambda dy: batch_norm_backward(dy, cache),
    "returns zeros": lambda dy: np.zeros_like(dy),
    "wrong sign": lambda dy: -batch_norm_backward(dy, cache),
    "no variance term": lambda dy: (dy - mean(dy)) / sigma,
    "no mean term": lambda dy: (dy - y * mean(y * dy)) / sigma,
}
v = rng.standard_normal(x.shape)
verdicts = {}
print("backward pass       dy all ones     dy random")
for name, backward in BACKWARDS.items():
    errors = []
    for upstream in (np.ones_like(x), dy):
        up, down = (np.sum(upstream * batch_norm(x + s * v)[0]) for s in (1e-4, -1e-4))
        scale = np.linalg.norm(upstream / sigma)  # how large a gradient would be without the layer's two mean terms
        errors.append(abs((up - down) / 2e-4 - np.sum(backward(upstream) * v)) / scale)
    verdicts[name] = [error > 1e-6 for error in errors]
    print(
        f"{name:17}",
        *(f"{error:10.0e} {'x' if found else ' '} " for error, found in zip(errors, verdicts[name], strict=True)),
    )
assert verdicts["the right one"] == [False, False] and verdicts["no mean term"] == [True, True]
assert all(verdicts[name] == [False, True] for name in ("returns zeros", "wrong sign", "no variance term"))

# %% [markdown]
# A backward pass that returns zeros passes the all-ones check, and so do two other wrong ones. The reason was derived
# above: $\langle 1, y \rangle$ is the sum of the outputs, which is always 0, so its gradient is 0. Layer
# normalisation and softmax have the same property. **Draw $dy$ at random.**

# %% [markdown]
# ## All together: a network that removes noise
#
# The backward pass of a chain of layers is the chain of their backward passes, the last layer first. Four layers are
# enough for a denoiser. Its input is a log-mel spectrogram with added noise, $x_t = 0.8\, x_0 + 0.6\, \epsilon$, and
# it predicts the noise $\epsilon$. In the picture, the forward pass runs down on the left, and the backward pass up on
# the right. Each layer hands its cache across, and its backward pass also returns the gradients of its weights.

# %% tags=["hide-input"]
layers = [
    ("conv2d", "x, w1", "dw1, db1"),
    ("batch_norm", "y, std", ""),
    ("swish", "x", ""),
    ("conv2d", "x, w2", "dw2, db2"),
]
fig, ax = plt.subplots(figsize=(6, 4.9))
ax.set(xlim=(0, 6), ylim=(-5.6, 0.9))
ax.axis("off")
forward_arrow = {"arrowprops": {"arrowstyle": "-|>", "color": "#0072B2", "linewidth": 1.6}}
backward_arrow = {"arrowprops": {"arrowstyle": "-|>", "color": "#D55E00", "linewidth": 1.6}}
across = {"arrowprops": {"arrowstyle": "-|>", "color": "#666666", "linestyle": "--"}}
box = {
    "ha": "center",
    "va": "center",
    "bbox": {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": "#333333"},
}
for row, (name, kept, gradients) in enumerate(layers):
    ax.text(1, -row - 0.3, name, **box)
    ax.text(3.9, -row - 0.3, f"{name}_backward", **box)
    ax.annotate("", (2.75, -row - 0.3), (1.75, -row - 0.3), **across)
    ax.text(2.2, -row - 0.15, kept, ha="center", fontsize=9, color="#333333")
    ax.annotate("", (1, -row - 1.05), (1, -row - 0.55), **forward_arrow)
    ax.annotate("", (3.9, -row - 0.55), (3.9, -row - 1.05), **backward_arrow)
    if gradients:
        ax.annotate("", (5.25, -row - 0.3), (4.95, -row - 0.3), **backward_arrow)
        ax.text(5.3, -row - 0.3, gradients, va="center", fontsize=9.5)
ax.annotate("", (1, -0.05), (1, 0.5), **forward_arrow)
ax.annotate("", (3.9, 0.5), (3.9, -0.05), **backward_arrow)
for at, text in (((1, 0.65), "x_t"), ((3.9, 0.65), "dx")):
    ax.text(*at, text, ha="center", va="center")
for row, text in enumerate(("h", "h", "h", "prediction")):
    ax.text(0.9, -row - 0.8, text, ha="right", va="center", fontsize=9)
    ax.text(4.0, -row - 0.8, "d_prediction" if row == 3 else "dh", ha="left", va="center", fontsize=9)
ax.text(2.45, -4.3, "mean_squared_error", **(box | {"fontsize": 10}))
ax.annotate("", (1.5, -4.3), (1, -4.05), **forward_arrow)
ax.annotate("", (3.9, -4.05), (3.4, -4.3), **backward_arrow)
ax.annotate("", (2.45, -5.1), (2.45, -4.55), **forward_arrow)
ax.text(2.45, -5.3, "loss", ha="center", va="center")
ax.set_title("forward pass (down), caches (dashed), backward pass (up)")
plt.show()


# %%
def predict(params, x):
    """conv 3x3 - batch norm - swish - conv 3x3. Returns the prediction and the stack of caches."""
    h, cache1 = conv2d(x, params["w1"], params["b1"])
    h, cache2 = batch_norm(h)
    h, cache3 = swish(h)
    y, cache4 = conv2d(h, params["w2"], params["b2"])
    return y, [cache1, cache2, cache3, cache4]


def predict_backward(dy, caches):
    """The backward passes of the same layers, in reverse order."""
    dh, last = conv2d_backward(dy, caches.pop())
    dh = swish_backward(dh, caches.pop())
    dh = batch_norm_backward(dh, caches.pop())
    dx, first = conv2d_backward(dh, caches.pop())
    return dx, {"w1": first["w"], "b1": first["b"], "w2": last["w"], "b2": last["b"]}


CHANNELS = 16
params = {
    "w1": glorot_uniform(rng, (3, 3, 1, CHANNELS)),
    "b1": np.zeros(CHANNELS, np.float32),
    "w2": np.zeros((3, 3, CHANNELS, 1), np.float32),  # begins by predicting 0
    "b2": np.zeros(1, np.float32),
}

# %% [markdown]
# First the check, of all arguments, in float64, at random weights:

# %%
shapes = {name: value.shape for name, value in params.items()}
arguments = [rng.standard_normal((2, 6, 5, 1)), *(rng.standard_normal(shape) for shape in shapes.values())]


def forward(x, *leaves):
    return predict(dict(zip(shapes, leaves, strict=True)), x)[0]


def backward(dy):
    dx, grads = predict_backward(dy, predict(dict(zip(shapes, arguments[1:], strict=True)), arguments[0])[1])
    return [dx, *(grads[name] for name in shapes)]


for name, error in zip(("x", *shapes), gradient_error(forward, backward, arguments, rng), strict=True):
    print(f"{name:3} {error:.0e}")
    assert error < 1e-6 or name == "b1"
assert np.abs(backward(rng.standard_normal((2, 6, 5, 1)))[2]).max() < 1e-12

# %% [markdown]
# The gradient of `b1` is 0, because batch normalisation removes what a bias adds. Both sides of its check are rounding,
# and so is its error. Now train with gradient descent: subtract from each weight a small multiple of its gradient.


# %%
def music(seconds):
    notes = synth.score(synth.TUNES["Ode to Joy (Beethoven)"], held=False)
    played = synth.play(notes, "plucked", 0, 100, np.random.default_rng(0))[: seconds * synth.SR]
    return log_mel(soxr.resample(played, synth.SR, 16_000))


picture = music(10)
centre, spread = picture.mean(), picture.std()
x0 = ((picture - centre) / spread)[None, :, :, None].astype(np.float32)
train, test = x0[:, :320], x0[:, 320:]  # of the same tune: the last 3.6 s are not trained on


def noisy(x0, rng):
    eps = rng.standard_normal(x0.shape, dtype=np.float32)
    return np.float32(0.8) * x0 + np.float32(0.6) * eps, eps


steps, rate = (30 if FAST else 250), 0.05


def trained(params, predict_backward, rng):
    """Gradient descent. Returns the trained parameters and the loss of each step."""
    params, losses = {name: value.copy() for name, value in params.items()}, []
    for _ in range(steps):
        x_t, eps = noisy(train, rng)
        prediction, caches = predict(params, x_t)
        loss, d_prediction = mean_squared_error(prediction, eps)
        _, grads = predict_backward(d_prediction, caches)
        for name, grad in grads.items():
            params[name] -= np.float32(rate) * grad
        losses.append(loss)
    return params, losses


start = params
params, losses = trained(start, predict_backward, np.random.default_rng(0))
x_t, eps = noisy(test, np.random.default_rng(1))
prediction = predict(params, x_t)[0]
cleaned = (x_t - 0.6 * prediction) / 0.8
final = mean_squared_error(prediction, eps)[0]
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f} after {steps} steps; on the rest of the tune {final:.2f}")
assert abs(losses[0] - 1) < 0.05 and losses[-1] < (0.8 if FAST else 0.2) and final < (0.9 if FAST else 0.2)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.6))
ax.plot(losses)
ax.axhline(1, color="#999999", linewidth=0.8)
ax.set(xlabel="step", ylabel="mean squared error", ylim=(0, 1.1), title="grey: the loss of predicting 0")
plt.show()

# %% tags=["hide-input"]
fig, axes = plt.subplots(3, 1, figsize=(6, 6.6), sharex=True)
for ax, plane, name in zip(axes, (test, x_t, cleaned), ("the music", "with noise", "cleaned"), strict=True):
    ax.imshow(plane[0, ..., 0].T, extent=(0, plane.shape[1] / 50, 0, 128), vmin=-2.5, vmax=2.5)
    ax.set(title=name, ylabel="mel bin")
axes[-1].set_xlabel("time (s)")
plt.show()

# %% [markdown]
# The network has learnt that music changes slowly along time and noise does not. Listen, through lesson 02's
# Griffin-Lim:

# %%
for plane, name in ((test, "The music, from its spectrogram"), (x_t / 0.8, "With noise"), (cleaned, "Cleaned")):
    log_mels = np.minimum(plane[0, ..., 0] * spread + centre, picture.max())
    heard = griffin_lim(log_mels, 4 if FAST else 32)
    sound(0.05 * heard / np.sqrt(np.mean(heard**2)), name)

# %% [markdown]
# Each output pixel sees 5 x 5 inputs, a tenth of a second. That is enough to remove some noise, and far too little
# to generate a melody. Lesson 06 lets every pixel see every other; lesson 07 makes the network deep.
#
# ## Common mistakes
#
# | what you see | what it is |
# |---|---|
# | shapes fit, the loss falls slowly | a missing transpose where two widths are equal: check with unequal ones |
# | `dw` right, `dx` wrong | the kernel was not reversed for the input's gradient |
# | a check passes, training does nothing | $dy$ was all ones: draw it at random |
# | the error stays near 1e-3 | the check runs in float32 |
# | the error grows as the step shrinks | rounding: take a larger step, or a higher order |
# | the error is a round number, 0.75 or 3 | a factor of 4: a mean in the place of a sum, or the reverse |
# | fine with one sample, wrong with two | a mean or a sum over the wrong axes |
# | gradients of a bias before a normalisation are 1e-9 | they are 0, and this is rounding |
#
# ## Exercises
#
# Write `swish_backward`, `conv2d_backward`, `batch_norm_backward` and `upsample_backward` in
# `lessons/05_backpropagation/exercise.py`, and run `make check-05`. This is what right answers look like, each
# to a $dy$ with one bright pixel:

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 2, figsize=(6, 5))
axes[0, 0].plot(grid, slope)
axes[0, 0].set(title="swish_backward of ones", xlabel="x", ylabel="dx")
line = np.linspace(-1, 1, 9)[None, :, None, None]
pixel = np.zeros((1, 9, 1, 1))
pixel[0, 2] = 1
axes[1, 0].stem(batch_norm_backward(pixel, batch_norm(line)[1])[0, :, 0, 0])
axes[1, 0].set(title="batch_norm_backward (x a ramp)", xlabel="pixel", ylabel="dx")
small = np.zeros((1, 10, 10, 1))
small[0, 4, 5] = 1
planes = (upright, "conv2d_backward: dx"), (upsample_backward(small), "upsample_backward")
for ax, (plane, title) in zip((axes[0, 1], axes[1, 1]), planes, strict=True):
    ax.imshow(plane[0, ..., 0], origin="upper", aspect="equal", cmap="cividis")
    ax.set(title=title, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# Then write a test, `test_batch_norm_backward`. The check runs it on twelve wrong backward passes and says how many it
# finds.
#
# **Predict, then run.** (1) What does the gradient check of `conv2d_backward` report if one tap of nine is
# wrong by a thousandth? (2) Is the gradient of `b1` zero if group normalisation takes the place of batch
# normalisation? Write your answers down first.

# %% tags=["answer"]
generator = np.random.default_rng(2)
w_wrong = w3.copy()
w_wrong[0, 1] *= 1.001
image = generator.standard_normal((2, 5, 4, 3))
(small,) = gradient_error(
    lambda image: conv2d(image, w3, b)[0], lambda dy: [conv2d_backward(dy, (image, w_wrong))[0]], [image], generator
)
print(f"(1) one tap wrong by a thousandth: error {small:.0e}, far above 1e-6")
assert 1e-5 < small < 1e-2
h, first = conv2d(generator.standard_normal((2, 6, 5, 1)), generator.standard_normal((3, 3, 1, 16)), np.zeros(16))
h, second = group_norm(h)
dh = group_norm_backward(generator.standard_normal(h.shape), second)
largest = np.abs(conv2d_backward(dh, first)[1]["b"]).max()
print(
    f"(2) with group normalisation the largest gradient of b1 is {largest:.2f}: it removes the mean of eight channels,"
)
print("    and so not what one channel's bias adds")
assert largest > 0.1

# %% [markdown]
# ## Experiment
#
# Forget the reversal in the input's gradient of the *second* convolution, and train with `trained`, from the same
# start and with the same noise. How much worse is the denoiser? Write the losses and your conclusion into the form
# EXPERIMENT at the end of `exercise.py`.


# %% tags=["answer"]
def not_reversed(dy, caches):
    dh, last = conv2d_backward(dy, caches[3])
    h, w = caches[3]
    dh = conv2d_backward(dy, (h, w[::-1, ::-1]))[0]
    dh = batch_norm_backward(swish_backward(dh, caches[2]), caches[1])
    dx, first = conv2d_backward(dh, caches[0])
    return dx, {"w1": first["w"], "b1": first["b"], "w2": last["w"], "b2": last["b"]}


wrongly, _ = trained(start, not_reversed, np.random.default_rng(0))
worse = mean_squared_error(predict(wrongly, x_t)[0], eps)[0]
print(f"loss on the rest of the tune: right {final:.3f}, not reversed {worse:.3f}")
assert FAST or 1.01 * final < worse < 1.17 * final  # 1.06 to 1.11 with five seeds

# %% [markdown] tags=["answer"]
# The loss rises by about a tenth or less. Without a right version to compare with, nobody would notice: the loss falls
# smoothly, and the pictures look cleaned. The second layer has its right gradient, and the first learns from one that
# is right in the kernel's middle. Only the gradient check shows the mistake, at once and without training.

# %% [markdown]
# ## Sources
#
# - D. Rumelhart, G. Hinton, R. Williams (1986), [Learning representations by back-propagating
#   errors](https://doi.org/10.1038/323533a0).
# - S. Ioffe, C. Szegedy (2015), [Batch normalization](https://arxiv.org/abs/1502.03167).
# - Y. Wu, K. He (2018), [Group normalization](https://arxiv.org/abs/1803.08494).
# - P. Ramachandran, B. Zoph, Q. Le (2017), [Searching for activation functions](https://arxiv.org/abs/1710.05941):
#   swish.
