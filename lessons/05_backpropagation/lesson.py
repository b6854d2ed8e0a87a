# %% [markdown]
# # Backpropagation by hand
#
# A network learns by knowing, of each of its numbers, whether the loss would fall if it were a little larger.
# Here every layer's answer to that question is derived on paper, written in a few lines, and checked in front
# of you. You will also see a check that lets nonsense pass, and how small a step a check should take.
#
# You need derivatives, matrix products and NumPy; from lessons 01 and 02 only what a spectrogram is. The
# lesson runs in about 15 seconds.

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
from ddim_from_scratch.nn.fast.processor import winograd
from ddim_from_scratch.nn.gradcheck import gradient_error
from lessons import FAST, show_source, sound

rng = np.random.default_rng(0)

# %% [markdown]
# ## One rule
#
# A layer turns $x$ into $y$; what comes after turns $y$ into the loss $L$, one number. Write $dy$ for the
# array of all $\partial L / \partial y_i$: it has the shape of $y$. Someone hands us $dy$, and we are to
# find $dx$, which has the shape of $x$, and so on for each of the layer's weights.
#
# If $x$ moves by a small $\delta x$, then $y$ moves by some $\delta y$, and the loss by
#
# $$\delta L = \sum_i dy_i\, \delta y_i = \langle dy, \delta y \rangle
# \qquad \text{and also by} \qquad \delta L = \langle dx, \delta x \rangle.$$
#
# That is the whole method. **Write $\delta y$ in terms of $\delta x$, put it into $\langle dy, \delta y
# \rangle$, and shuffle until it reads $\langle \text{something}, \delta x \rangle$. The something is $dx$.**
# No matrix of derivatives is ever made: for a layer with a million inputs and outputs it would have $10^{12}$
# entries.
#
# Begin at the end, with the loss itself, the mean of squared differences between a prediction $p$ and a
# target:
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
# C^T, B \rangle = \langle B^T A, C \rangle$: what is taken to the other side is transposed. So
#
# $$dx = dy\, w^T, \qquad dw = x^T dy, \qquad db = \sum_{\text{rows}} dy.$$
#
# There is no need to remember which one is transposed where: only one order fits the shapes. A 1x1
# convolution is this very layer, applied at every pixel:

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
# cache holds what the backward pass needs to remember, here $x$ and $w$. The gradients of a layer's weights come in
# a dict that has the weights' names.
#
# ## Believe nothing: the gradient check
#
# To test a gradient, walk a little way in a random direction $v$ and see whether the loss changes as
# promised. With a random $dy$ standing in for everything that comes after the layer, the loss is $\langle
# dy, y \rangle$, and
#
# $$\langle dx, v \rangle \approx \frac{\ell(h) - \ell(-h)}{2h}, \qquad \ell(h) = \langle dy, y(x + h v) \rangle.$$
#
# One direction tests all numbers of $dx$ at once: if one of them is wrong, $\langle dx, v \rangle$ is wrong,
# unless $v$ happens to be perpendicular to the error, which a random direction never is.

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
# Too large, and the function bends between the two points. Too small, and the difference of two nearly equal
# numbers drowns in their rounding. By Taylor's formula the error of three ways to take a difference is
#
# $$\begin{align*}
# \frac{\ell(h) - \ell(0)}{h} &: \quad h \\
# \frac{\ell(h) - \ell(-h)}{2h} &: \quad h^2 \\
# \frac{8 \big(\ell(h) - \ell(-h)\big) - \big(\ell(2h) - \ell(-2h)\big)}{12 h} &: \quad h^4
# \end{align*}$$
#
# times a constant, and to each comes rounding, about $\varepsilon / h$, with $\varepsilon = 2 \cdot 10^{-16}$
# in float64 and $10^{-7}$ in float32. The sum of a rising and a falling line is a V. Here it is for the
# activation function that the next sections derive:


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
# Look at the four valleys. The fourth-order one is flat and deep: at $h = 10^{-4}$ a right gradient agrees to
# ten digits, so a limit of $10^{-6}$ leaves room for luck, and no mistake worth the name is that small. In
# float32 even the best step leaves an error that a real mistake could hide in. **Check in float64, run in
# float32.**
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
print(f"at 0 the slope is {slope[120]:.1f}; the curve turns at x = {grid[np.argmin(swish(grid)[0])]:.2f}")
print(f"gradient check: {gradient_error(lambda x: swish(x)[0], lambda dy: [swish_backward(dy, x)], [x], rng)[0]:.0e}")

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.8))
ax.plot(grid, swish(grid)[0], label="swish(x)")
ax.plot(grid, slope, "--", label="its slope")
ax.set(xlabel="x", ylabel="value", ylim=(-0.5, 4))
ax.legend()
plt.show()

# %% [markdown]
# The slope never is 0 over a whole half of the axis, as a ReLU's is: a swish that has been pushed to the left
# can still learn its way back.
#
# ## The 3x3 convolution: nine shifted products
#
# An output pixel sees the 3 x 3 input pixels around it. With $p$ for a pixel, $s$ for one of the nine shifts,
# $(-1, -1)$ to $(1, 1)$, and zeros outside the plane,
#
# $$y[p] = b + \sum_s x[p + s]\, w[s].$$
#
# Each $w[s]$ is a matrix from input to output channels: nine linear layers, on nine shifted copies of the
# input, added up. The rule again, for one shift: $\sum_p \langle dy[p],\, \delta x[p + s]\, w[s] \rangle$.
# Call the pixel that is read $q = p + s$, so that $p = q - s$:
#
# $$\begin{align*}
# dx[q] &= \sum_s dy[q - s]\, w[s]^T \\
# dw[s] &= \sum_p x[p + s]^T\, dy[p] \\
# db &= \sum_p dy[p]
# \end{align*}$$
#
# The input's gradient is a convolution, too: of $dy$, **with every shift reversed and every matrix
# transposed**. Forget either, and the network still learns something, only not well; that is why it must be
# checked.


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
# See the reversal with your eyes. The kernel below is the letter L. Forward, one bright pixel paints it turned
# by 180 degrees: the pixel above is the one that sees it below itself. Backward, a single $dy$ paints it upright:
# those are the inputs which that output has read, with the weights it gave them.

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
# Read off each matrix by feeding the layer one bright pixel after another:


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
# Every row adds up to 1: a grey plane stays grey. Every *column* adds up to 2, in two dimensions to 4. So the
# gradient grows on its way back through upsampling, and shrinks to a quarter through pooling. Somebody who
# writes the backward pass as "the mean of the four" is wrong by that factor, and at the border by more.
#
# For linear layers there is a test without any finite difference, and so without its error: $\langle A x, y
# \rangle = \langle x, A^T y \rangle$ must hold to the last digits.

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
# Now a change of one $x_i$ moves $\mu$ and $\sigma$, and through them every $y$. Patience. Write $m(a)$ for
# the mean of $a$ over the pixels. From the formula for $\sigma^2$,
#
# $$\begin{align*}
# 2 \sigma\, \delta\sigma &= 2\, m\big((x - \mu)(\delta x - \delta\mu)\big) = 2\, m\big((x - \mu)\, \delta x\big) \\
# \delta\sigma &= m(y\, \delta x)
# \end{align*}$$
#
# for $x - \mu$ has mean 0, and $\delta\mu$ is the same for all pixels. Then
#
# $$\begin{align*}
# \delta y &= \frac{\delta x - \delta \mu}{\sigma} - \frac{x - \mu}{\sigma}\, \frac{\delta\sigma}{\sigma} \\
# &= \frac{1}{\sigma} \big(\delta x - m(\delta x) - y\, m(y\, \delta x)\big)
# \end{align*}$$
#
# In $\langle dy, \delta y \rangle$ each of the three terms can be read from the other side: $\langle dy,
# m(\delta x) \rangle$ and $\langle m(dy), \delta x \rangle$ are both $n$ times the product of the two means,
# and likewise for the last. The matrix is symmetric:
#
# $$dx = \frac{1}{\sigma} \big(dy - m(dy) - y\, m(y\, dy)\big).$$
#
# In words: from $dy$ everything is taken away that would only shift or only scale the channel. Shifts and
# scales are what the layer removes; nothing before it can be to blame for them.

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
# takes the mean over other numbers: eight channels of *one* sample. Nothing in the derivation used which
# numbers $m$ averages, so the backward pass is the same line with another mean. It has one merit: a sample
# does not see the others of its batch, so that it is the same in training and in sampling, and with a batch
# of one.

# %%
wide = rng.standard_normal((3, 4, 5, 16))
others = np.concatenate([wide[:1], 5 * wide[1:]])  # the first sample in other company
for name, layer, backward in (
    ("batch norm", batch_norm, batch_norm_backward),
    ("group norm", group_norm, group_norm_backward),
):
    moved = np.abs(layer(others)[0][0] - layer(wide)[0][0]).max()
    norm_cache = layer(wide)[1]
    (error,) = gradient_error(lambda x: layer(x)[0], lambda dy: [backward(dy, norm_cache)], [wide], rng)  # noqa: B023
    print(f"{name}: gradient check {error:.0e}; in other company the first sample moves by {moved:.2f}")
    assert error < 1e-6 and (moved > 0.5 if layer is batch_norm else moved == 0)

# %% [markdown]
# ## A check that lies
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
# A backward pass that returns zeros passes the all-ones check; so do two others. The reason stands above: an
# all-ones $dy$ asks what would shift the outputs, and nothing can, so the right answer is 0. Layer
# normalisation and softmax have the same blind spot. **A check is only as good as its $dy$: draw it at random.**
#
# ## Half the multiplications
#
# The rule has one more use. Four outputs of a filter with three taps cost 12 multiplications:
#
# $$y_i = x_i w_0 + x_{i+1} w_1 + x_{i+2} w_2, \qquad i = 0, \dots, 3.$$
#
# First a different problem: multiply a polynomial of degree 2 by one of degree 3. The product has degree 5,
# and six values determine it. So evaluate both factors at six points, multiply the *values*, six
# multiplications, and interpolate: $c = E_6^{-1} \big[(E_3 a) * (E_4 b)\big]$, where $E_k$ takes $k$
# coefficients to values at $0, 1, -1, 2, -2$ and, as the sixth, the leading coefficient ("at infinity").
#
# And now the rule: keep $a = w$, let $b$ be the input, and ask for the *backward pass* of $c = T b$ towards
# $b$. Since $c_{i + k} = \sum w_k b_i$, it is $db_i = \sum_k w_k\, dc_{i + k}$: a sliding filter! Transposing
# the formula gives the filter with six multiplications,
#
# $$y = E_4^T \big[(E_3 w) * (E_6^{-T} x)\big].$$
#
# That is Winograd's $F(4, 3)$. Moving a factor from $x$'s matrix to $w$'s makes the former integers.

# %%
a = rng.standard_normal(6)
taps = rng.standard_normal(3)
fast = winograd.A_T @ ((winograd.G @ taps) * (winograd.B_T @ a))
assert np.allclose(fast, np.correlate(a, taps)) and len(winograd.G) == 6 and fast.size * taps.size == 12
assert np.allclose(winograd.B_T, np.round(winograd.B_T))
print("B transposed, from 6 inputs to 6 points:")
print(np.round(winograd.B_T).astype(int))

# %% [markdown]
# Here an "$x_i$" may be a whole row of pixels with all their channels, and "times" a matrix product. Then the
# three small matrices cost next to nothing, and half of the large products are gone. The price is rounding:

# %%
size = (1, 64, 32, 32)
big = [(c * rng.standard_normal(shape)) for shape, c in ((size, 1), ((3, 3, 32, 32), 1 / 17), ((32,), 1))]
exact = conv2d(*big)[0]
errors = {}
for name, function in (("nine taps", conv2d), ("Winograd", winograd.conv2d)):
    found = function(*(array.astype(np.float32) for array in big))[0]
    errors[name] = np.abs(found - exact).max() / np.abs(exact).max()
    print(f"{name:9} in float32: relative error {errors[name]:.0e}")
assert 2 < errors["Winograd"] / errors["nine taps"] < 50 and errors["Winograd"] < 1e-5

# %% [markdown]
# ## All together: a network that takes noise away
#
# The backward pass of a chain of layers is the chain of their backward passes, last layer first. With four
# layers that is already a denoiser. Its task is this course's: a log-mel spectrogram with noise added,
# $x_t = 0.8\, x_0 + 0.6\, \epsilon$, and the network is to say what the noise $\epsilon$ was.


# %%
def predict(params, x):
    """conv 3x3 - batch norm - swish - conv 3x3. Returns the prediction and the stack of caches."""
    h, cache1 = conv2d(x, params["w1"], params["b1"])
    h, cache2 = batch_norm(h)
    h, cache3 = swish(h)
    y, cache4 = conv2d(h, params["w2"], params["b2"])
    return y, [cache1, cache2, cache3, cache4]


def predict_backward(dy, caches):
    """The same, read from the bottom to the top."""
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
    assert error < 1e-6
assert np.abs(backward(rng.standard_normal((2, 6, 5, 1)))[2]).max() < 1e-12

# %% [markdown]
# The gradient of `b1` is 0, and so are both sides of its check: batch normalisation takes away what a bias
# adds. Now train, by the plainest of rules: from each weight subtract a little of its gradient.


# %%
def music(seconds):
    notes = synth.score(synth.TUNES["Ode to Joy (Beethoven)"], held=False)
    played = synth.play(notes, "plucked", 0, 100, np.random.default_rng(0))[: seconds * synth.SR]
    return log_mel(soxr.resample(played, synth.SR, 16_000))


picture = music(10)
centre, spread = picture.mean(), picture.std()
x0 = ((picture - centre) / spread)[None, :, :, None].astype(np.float32)
lesson, exam = x0[:, :320], x0[:, 320:]  # it is tested on music it has not seen


def noisy(x0, rng):
    eps = rng.standard_normal(x0.shape, dtype=np.float32)
    return np.float32(0.8) * x0 + np.float32(0.6) * eps, eps


steps, rate = (30 if FAST else 250), 0.05
losses = []
for _ in range(steps):
    x_t, eps = noisy(lesson, rng)
    prediction, caches = predict(params, x_t)
    loss, d_prediction = mean_squared_error(prediction, eps)
    _, grads = predict_backward(d_prediction, caches)
    for name, grad in grads.items():
        params[name] -= np.float32(rate) * grad
    losses.append(loss)

x_t, eps = noisy(exam, np.random.default_rng(1))
prediction = predict(params, x_t)[0]
cleaned = (x_t - 0.6 * prediction) / 0.8
final = mean_squared_error(prediction, eps)[0]
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f} after {steps} steps; on new music {final:.2f}")
assert abs(losses[0] - 1) < 0.05 and losses[-1] < (0.8 if FAST else 0.4) and final < (0.9 if FAST else 0.45)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.6))
ax.plot(losses)
ax.axhline(1, color="#999999", linewidth=0.8)
ax.set(xlabel="step", ylabel="mean squared error", ylim=(0, 1.1), title="grey: what predicting 0 costs")
plt.show()

# %% tags=["hide-input"]
fig, axes = plt.subplots(3, 1, figsize=(6, 6.6), sharex=True)
for ax, plane, name in zip(axes, (exam, x_t, cleaned), ("the music", "with noise", "cleaned"), strict=True):
    ax.imshow(plane[0, ..., 0].T, extent=(0, plane.shape[1] / 50, 0, 128), vmin=-2.5, vmax=2.5)
    ax.set(title=name, ylabel="mel bin")
axes[-1].set_xlabel("time (s)")
plt.show()

# %% [markdown]
# It has learnt that music is smooth along time and noise is not, from nothing but the numbers that our four
# backward passes handed down. Listen, through lesson 02's Griffin-Lim:

# %%
for plane, name in ((exam, "The music, from its spectrogram"), (x_t / 0.8, "With noise"), (cleaned, "Cleaned")):
    log_mels = np.minimum(plane[0, ..., 0] * spread + centre, picture.max())
    heard = griffin_lim(log_mels, 4 if FAST else 32)
    sound(0.05 * heard / np.sqrt(np.mean(heard**2)), name)

# %% [markdown]
# Each output pixel sees 5 x 5 inputs, a tenth of a second. That is enough to clean a little, and far too little
# to compose. Lesson 06 lets every pixel see every other; lesson 07 makes the network deep.
#
# ## Common mistakes
#
# | what you see | what it is |
# |---|---|
# | shapes fit, the loss falls slowly | a missing transpose where two widths are equal: check with unequal ones |
# | `dw` right, `dx` wrong | the kernel was not reversed for the input's gradient |
# | a check passes, training does nothing | $dy$ was all ones: draw it at random |
# | the error is 1e-3 whatever you do | the check runs in float32 |
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
# **Predict, then run.** (1) What does the gradient check of `conv2d_backward` report if one tap of nine is
# wrong by a thousandth? (2) Is the gradient of `b1` zero if group normalisation takes the place of batch
# normalisation? Write your answers down first.
#
# **Experiment.** Forget the reversal in the input's gradient of the *second* convolution and train. How much
# worse does the denoiser get? Write the two losses, and one sentence on why such a bug is hard to notice.
#
# ## Sources
#
# - D. Rumelhart, G. Hinton, R. Williams (1986), [Learning representations by back-propagating
#   errors](https://doi.org/10.1038/323533a0).
# - S. Ioffe, C. Szegedy (2015), [Batch normalization](https://arxiv.org/abs/1502.03167).
# - Y. Wu, K. He (2018), [Group normalization](https://arxiv.org/abs/1803.08494).
# - P. Ramachandran, B. Zoph, Q. Le (2017), [Searching for activation functions](https://arxiv.org/abs/1710.05941):
#   swish.
# - A. Lavin, S. Gray (2016), [Fast algorithms for convolutional neural networks](https://arxiv.org/abs/1509.09308).
