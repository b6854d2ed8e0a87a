# %% [markdown]
# # The U-Net
#
# The network of this course takes a noisy spectrogram and predicts the noise in it. For this it needs every single
# pixel and several seconds of context. The U-Net computes on coarse planes for the context, and has bridges that keep
# the pixels. This lesson takes it apart, counts every parameter, measures how far a pixel sees, derives the backward
# pass, and trains the network on one batch of music.
#
# You need lessons 05 and 06.

# %%
from unittest.mock import patch

import matplotlib.pyplot as plt
import numpy as np
import soxr

from ddim_from_scratch import nn
from ddim_from_scratch.audio import griffin_lim, log_mel, synth
from ddim_from_scratch.diffusion import mean_squared_error, predict_x0, q_sample
from ddim_from_scratch.diffusion.schedule import continuous_cosine_alpha_bar
from ddim_from_scratch.networks.unet import (
    init_unet,
    join,
    join_backward,
    residual_blocks,
    residual_blocks_backward,
    unet,
    unet_backward,
    up_blocks,
    up_blocks_backward,
)
from ddim_from_scratch.nn.fast import processor
from ddim_from_scratch.nn.fast.processor import block as fast_block
from ddim_from_scratch.nn.gradcheck import gradient_error
from ddim_from_scratch.runtime import backend, tree
from ddim_from_scratch.training.optim import adamw
from lessons import FAST, show_answer, show_source, sound

rng = np.random.default_rng(0)

notes = synth.score(synth.TUNES["Ode to Joy (Beethoven)"], held=False)
played = synth.play(notes, "plucked", 0, 100, rng)[: 12 * synth.SR]
picture = log_mel(soxr.resample(played, synth.SR, 16_000))
centre, spread = picture.mean(axis=0), picture.std(axis=0)
music = ((picture - centre) / spread).astype(np.float32)  # (600, 128), each mel bin of mean 0 and variance 1

# %% [markdown]
# ## The residual block
#
# Lesson 05's layers, in the order that the paper's network has them: normalise, convolve, swish, convolve
# ([He et al. 2016](https://arxiv.org/abs/1512.03385)). The result is a *correction*, added to the input:
#
# $$y = x + F(x), \qquad dx = dy + F'(x)^T dy.$$
#
# Whatever the layers do to the gradient, the first term hands $dy$ itself to $dx$, unchanged. The backward pass has the
# layers of lesson 05 in reverse, each with the cache of the same name.


# %%
def five_lines(x, params):
    """The block, without the caches of its backward pass."""
    h, _ = nn.group_norm(x)
    h, _ = nn.conv2d(h, **params["conv1"])
    h, _ = nn.swish(h)
    h, _ = nn.conv2d(h, **params["conv2"])
    return x + h


def conv_params(inputs, outputs):
    w = rng.standard_normal((3, 3, inputs, outputs)) * (9 * inputs) ** -0.5
    return {"w": w.astype(np.float32), "b": np.zeros(outputs, np.float32)}


x = rng.standard_normal((2, 8, 8, 16))
block = {"conv1": conv_params(16, 16), "conv2": conv_params(16, 16)}
difference = np.abs(five_lines(x, block) - nn.residual_block(x, block)[0]).max()
print(f"five lines and the package differ by {difference:.0e}")
assert difference < 1e-12
show_answer(nn.residual_block, nn.residual_block_backward)

# %% [markdown]
# Where the number of channels changes, a 1x1 convolution of $x$ takes the place of $x$ in the sum.
#
# What does the sum achieve? A common demonstration compares thirty residual blocks with thirty plain layers, and shows
# that the gradient of the plain ones vanishes. It proves nothing about the sum, because three things differ at once:
# the sum, the normalisation, and the size of the weights. Here each is changed on its own, and a gradient is followed
# from the last of thirty layers to the first:

# %%
DEPTH, WIDTH = 30, 8


def left_of_the_gradient(norm, plus_x, gain, seed=0):
    """Sizes of the gradient after 0, 1, ... DEPTH layers of conv 3x3 and swish, relative to the first."""
    generator = np.random.default_rng(seed)
    h, caches = generator.standard_normal((2, 16, 16, WIDTH)), []
    for _ in range(DEPTH):
        x, cache = h, {}
        if norm:
            h, cache["norm"] = nn.batch_norm(h)
        w = gain * generator.standard_normal((3, 3, WIDTH, WIDTH)) / np.sqrt(9 * WIDTH)
        h, cache["conv"] = nn.conv2d(h, w, np.zeros(WIDTH))
        h, cache["swish"] = nn.swish(h)
        h = x + h if plus_x else h
        caches.append(cache)
    dh = generator.standard_normal(h.shape)
    sizes = [np.linalg.norm(dh)]
    for cache in reversed(caches):
        dy = dh
        dh, _ = nn.conv2d_backward(nn.swish_backward(dh, cache["swish"]), cache["conv"])
        dh = nn.batch_norm_backward(dh, cache["norm"]) if norm else dh
        dh = dh + dy if plus_x else dh
        sizes.append(np.linalg.norm(dh))
    return np.array(sizes) / sizes[0]


designs = {
    "plain": (False, False, 1),
    "plain, weights times 1.7": (False, False, 1.7),
    "plain, normalised": (True, False, 1),
    "x +, not normalised": (False, True, 1),
    "x +, normalised": (True, True, 1),
}
sizes = {name: left_of_the_gradient(*design) for name, design in designs.items()}
for name, curve in sizes.items():
    print(f"{name:25} left of the gradient after {DEPTH} layers: {curve[-1]:.1e}")
left = {name: curve[-1] for name, curve in sizes.items()}
assert left["plain"] < 1e-7 and left["plain, weights times 1.7"] > 3  # it is a matter of the weights' size ...
assert 3 < left["plain, normalised"] < 60 and left["x +, not normalised"] > 1000  # ... or of normalisation
assert 1 < left["x +, normalised"] < left["plain, normalised"]

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3.2))
for (name, curve), style in zip(sizes.items(), ("-", "--", "-.", ":", "-"), strict=True):
    ax.semilogy(curve, style, label=name)
ax.set(xlabel="layers from the end", ylabel="size of the gradient", ylim=(1e-11, 1e6))
ax.legend(fontsize=8)
plt.show()

# %% [markdown]
# In the plain stack the gradient vanishes because the weights are too small for swish; with weights 1.7 times as large
# it grows. With normalisation it stays within a factor of 60, with the sum or without. With the sum and no
# normalisation it grows more than a thousandfold. So the size of the gradient depends on *initialisation and
# normalisation*. What the sum is worth can only be seen in training.
#
# ## Down and up
#
# Three times the plane is halved, by averaging squares of 2 x 2 pixels; three times it is doubled again. On the
# coarsest plane, 32 x 16, a pixel covers 8 frames by 8 mel bins, and a 3x3 convolution covers half a second.
# How much is lost by halving and doubling alone?

# %%
plane = music[None, :256, :, None]
h = plane
for _ in range(3):
    h = nn.average_pool(h)
coarse = h
for _ in range(3):
    h = nn.upsample(h)
lost = np.mean((h - plane) ** 2) / np.mean(plane**2)
print(f"{plane.shape[1:3]} -> {coarse.shape[1:3]} -> {h.shape[1:3]}; lost: {100 * lost:.0f} % of the variance")
assert coarse.shape[1:3] == (32, 16) and lost > 0.5

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 1, figsize=(6, 4.4), sharex=True)
for ax, shown, name in zip(axes, (plane, h), ("music", "three times down, three times up"), strict=True):
    ax.imshow(shown[0, ..., 0].T, extent=(0, 5.12, 0, 128), vmin=-2.5, vmax=2.5)
    ax.set(title=name, ylabel="mel bin")
axes[1].set_xlabel("time (s)")
plt.show()

# %% [markdown]
# Every line is lost. So before each halving the features are stored, and on the way up they are concatenated with the
# features that come from the coarser plane. These are the **skip connections**, or bridges. The coarse path combines
# distant parts of the clip, and the skips keep the position of each line. Here is the whole network:

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 5.4))
ax.set(xlim=(0, 12), ylim=(0, 11))
ax.axis("off")


def box(x, y, width, text, colour):
    ax.add_patch(plt.Rectangle((x, y), width, 1.3, facecolor=colour, edgecolor="#333333", linewidth=0.8))
    ax.text(x + width / 2, y + 0.65, text, ha="center", va="center", color="#111111", fontsize=10)


def arrow(start, end, style="-"):
    ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "#808080", "linestyle": style, "lw": 1.2})


planes = ("256 × 128", "128 × 64", "64 × 32", "32 × 16")
for level, width in enumerate((32, 64, 96)):
    x, y = 0.3 + 1.1 * level, 8 - 2.2 * level
    box(x, y, 2.5, f"down {level}\n2 blocks, {width}", "#9ecae9")
    box(11.7 - 2.5 - 1.1 * level, y, 2.5, f"up {level}\n2 blocks, {width}", "#ffbf79")
    arrow((x + 2.5, y + 0.85), (11.7 - 2.5 - 1.1 * level, y + 0.85), "--")
    ax.text(6, y + 0.95, "2 skips" if level else "2 skips (bridges)", ha="center", color="#808080", fontsize=9)
    ax.text(6, y + 0.25, planes[level], ha="center", color="#808080", fontsize=9)
    inner = (x + 1.3 + (0.9 if level < 2 else 1.6), y - 0.9)
    arrow((x + 1.3, y), inner)
    arrow((12 - inner[0], y - 0.9), (12 - x - 1.3, y))
box(4.6, 1.4, 2.8, "bottom\n2 blocks, 128", "#88d27a")
ax.text(6, 0.9, planes[3], ha="center", color="#808080", fontsize=9)
for x, text in ((0.3, "x, noise level\n1 + 32"), (9.2, "1×1 conv\neps, 1")):
    box(x, 9.7, 2.5, text, "#dddddd")
arrow((1.55, 9.7), (1.55, 9.3))
arrow((10.45, 9.3), (10.45, 9.7))
ax.set_title("the U-Net: blocks, channels, and the size of the plane (time × mel)")
plt.show()

# %% [markdown]
# Down: average pooling after each part. Up: bilinear upsampling before each. A 1x1 convolution makes 32
# channels of the noisy picture; 32 more hold the noise level's embedding (lesson 06).
#
# Every part of the way down and up has two residual blocks. Each block on the way down stores a skip, and each block on
# the way up takes one. The code follows the drawing. The layers are an argument: `nn`, the ones that you have read, or
# faster ones (lesson 13).

# %%
show_source(unet, residual_blocks, up_blocks, join)

# %% [markdown]
# ## Counting parameters
#
# A $k \times k$ convolution from $C$ to $D$ channels has $k^2 C D + D$ parameters. A residual block has two 3x3
# convolutions and, where the width changes, a 1x1. A block on the way up gets three concatenated inputs: the features
# from below, the skip and, where there is attention, its output.


# %%
def conv_count(k, inputs, outputs):
    return k * k * inputs * outputs + outputs


def block_count(inputs, outputs):
    shortcut = conv_count(1, inputs, outputs) if inputs != outputs else 0
    return shortcut + conv_count(3, inputs, outputs) + conv_count(3, outputs, outputs)


def attention_count(channels, skip, heads=4):  # query, key, value, output
    return conv_count(1, channels, heads) + 2 * conv_count(1, skip, heads) + conv_count(1, heads, channels)


def count_by_hand(widths=(32, 64, 96, 128), depth=2, attention="lowest"):
    """Parameters of each part, and the moving statistics: a mean and a variance for each channel normalised."""
    parts, statistics = {"input": conv_count(1, 1, widths[0])}, 0
    channels, skips = widths[0] + 32, []  # 32 channels of embedding
    for level, width in [*enumerate(widths[:-1]), (-1, widths[-1])]:
        name = f"down{level}" if level >= 0 else "bottom"
        parts[name] = 0
        for _ in range(depth):
            parts[name] += block_count(channels, width)
            statistics += 2 * channels
            channels = width
            if level >= 0:
                skips.append(width)
    for level in range(len(widths) - 2, -1, -1):
        attends = attention == "all" or (attention == "lowest" and level == len(widths) - 2)
        parts[f"up{level}"] = 0
        for _ in range(depth):
            skip = skips.pop()
            inputs = channels + skip + (channels if attends else 0)
            attended = attention_count(channels, skip) if attends else 0
            parts[f"up{level}"] += attended + block_count(inputs, widths[level])
            statistics += 2 * inputs
            channels = widths[level]
    parts["output"] = conv_count(1, channels, 1)
    return parts, statistics


def size(leaves):
    return sum(leaf.size for leaf in tree.flatten(leaves).values())


KERAS = {  # total and trainable, as counted by Keras in the paper's network
    ("none", 2): (1_953_377, 1_950_497),
    ("none", 4): (3_896_033, 3_890_337),
    ("lowest", 2): (2_172_441, 2_169_113),
    ("lowest", 4): (4_303_089, 4_296_561),
    ("all", 2): (2_309_961, 2_306_121),
    ("all", 4): (4_546_705, 4_539_281),
}
print("attention  blocks  trainable by hand     package")
for (attention, depth), (total, trainable) in KERAS.items():
    parts, moving = count_by_hand(depth=depth, attention=attention)
    params, statistics = init_unet(rng, block_depth=depth, attention=attention)
    print(f"{attention:9} {depth:7} {sum(parts.values()):18_} {size(params):11_}")
    assert sum(parts.values()) == size(params) == trainable
    assert sum(parts.values()) + moving == size(params) + size(statistics) == total

# %% [markdown]
# All six agree with the package, and with Keras' count of the authors' network. Where are the parameters, and where is
# the work? A parameter of a convolution is used once for every pixel of its plane:

# %%
parts, _ = count_by_hand()
pixels = {"input": 0, "down0": 0, "down1": 1, "down2": 2, "bottom": 3, "up2": 2, "up1": 1, "up0": 0, "output": 0}
work = {name: count * 256 * 128 / 4 ** pixels[name] for name, count in parts.items()}
for name in ("bottom", "up0"):
    print(f"{name:7} {100 * parts[name] / sum(parts.values()):3.0f} % of the parameters,", end=" ")
    print(f"{100 * work[name] / sum(work.values()):3.0f} % of the multiplications")
print(f"in all {sum(work.values()) / 1e9:.0f} billion multiplications for 5.12 s of music")
at_full_size = sum(work.values()) / (256 * 128)
print(f"as much as {at_full_size:,.0f} parameters at full resolution")
assert parts["bottom"] > 5 * parts["up0"] and work["up0"] > 3 * work["bottom"] and 2.5e5 < at_full_size < 3.5e5
assert sum(parts[name] for name in ("down2", "bottom", "up2")) > 0.7 * sum(parts.values())
assert sum(work[name] for name in ("down0", "down1", "up1", "up0")) > 0.7 * sum(work.values())

# %% tags=["hide-input"]
names = list(parts)[1:-1]
fig, ax = plt.subplots(figsize=(6, 2.8))
place = np.arange(len(names))
for values, shift, label, hatch in ((parts, -0.2, "parameters", ""), (work, 0.2, "multiplications", "//")):
    share = [100 * values[name] / sum(values.values()) for name in names]
    ax.bar(place + shift, share, 0.4, label=label, hatch=hatch)
ax.set(xticks=place, ylabel="share (%)", title="shares of the parameters and of the multiplications")
ax.set_xticks(place, names)
ax.legend()
plt.show()

# %% [markdown]
# Most parameters are at the bottom and just above it, where planes are small. Most of the work is done on the two
# largest planes. This is the advantage of a U-Net: two million parameters cost as much as three hundred thousand at
# full resolution.
#
# ## How far does a pixel see?
#
# A 3x3 convolution reaches one pixel further to each side, of *its* plane, and a pixel of level $l$
# is $2^l$ wide. Four convolutions in each part give $4 \cdot (1 + 2 + 4)$ on the way down, $4 \cdot 8$ at the bottom,
# $4 \cdot (4 + 2 + 1)$ on the way up, together 88 pixels to each side, and interpolation adds a few.
#
# This can be measured: the gradient of *one* output pixel by the input is not 0 where the output depends on the input.
# Set $d\epsilon = 1$ at this pixel, 0 elsewhere, and run the backward pass. In training, batch normalisation makes
# every pixel depend a little on every other, through mean and variance. In sampling these are constants, and lesson
# 05's formula without its two mean terms is right.


# %%
FRAMES = 288 if FAST else 512


@backend.threads()
def seen(attention, constant_statistics=True):
    """|d eps[middle] / dx| of a fresh network whose output layer is not zero, (FRAMES, 128)."""
    generator = np.random.default_rng(3)
    params, statistics = init_unet(generator, attention=attention)
    params["output"]["w"] += 1
    x = generator.standard_normal((1, FRAMES, 128, 1), dtype=np.float32)
    _, cache = unet(params, statistics, x, np.array([0.5]), processor, training=True)
    d_eps = np.zeros_like(x)
    d_eps[0, FRAMES // 2, 64] = 1
    if constant_statistics:
        with patch.object(fast_block, "normalise_backward", lambda dy, cache: dy * cache["inverse_std"]):
            dx, _ = unet_backward(d_eps, cache, processor)
    else:
        dx, _ = unet_backward(d_eps, cache, processor)
    return np.abs(dx[0, ..., 0])


fields = {"no attention": seen("none"), "attention in the lowest up block": seen("lowest")}
fields["no attention, in training"] = seen("none", constant_statistics=False)
reach, cores = {}, {}
for name, field in fields.items():
    rows = np.flatnonzero(field.max(axis=1) > 1e-9 * field.max())  # rounding in Winograd's transforms lies below
    reach[name] = np.ptp(rows) + 1
    power = np.sort((field**2).ravel())[::-1].cumsum()
    cores[name] = np.searchsorted(power, 0.9 * power[-1]) + 1
    print(f"{name:32} {reach[name]:4} of {FRAMES} frames; 90 % of the power in {cores[name]} pixels")

# %% tags=["hide-input"]
fig, axes = plt.subplots(3, 1, figsize=(6, 6.6), sharex=True)
for ax, (name, field) in zip(axes, fields.items(), strict=True):
    image = ax.imshow(np.log10(field.T / field.max() + 1e-12), extent=(0, FRAMES / 50, 0, 128), vmin=-9, vmax=0)
    ax.set(title=name, ylabel="mel bin")
fig.colorbar(image, ax=axes, label="power of ten of the gradient")
axes[-1].set_xlabel("time (s)")
plt.show()

# %%
assert 2 * 88 < reach["no attention"] < 2 * 88 + 50
assert reach["attention in the lowest up block"] == reach["no attention, in training"] == FRAMES
assert cores["no attention"] < 0.1 * reach["no attention"] * 128

# %% [markdown]
# Without attention a pixel depends on about four seconds, but 90 % of the power comes from less than a tenth of these
# pixels: few paths through the network lead to the far parts of the receptive field, and many to the near ones ([Luo et
# al. 2016](https://arxiv.org/abs/1701.04128)). With attention it depends on the whole clip.
#
# ## The first loss is 1
#
# The last layer's weights start at zero. So a fresh network predicts $\epsilon = 0$ everywhere, and its loss is the
# mean of $\epsilon^2$: 1, at every noise level. **A network with a loss of 1.0 has learnt nothing**; if the loss is
# still 1.0 after some hundred steps, there is a bug.

# %%
params, statistics = init_unet(rng, (16, 32, 48), 1, "lowest")
x0 = np.stack([music[start : start + 64] for start in (0, 96, 192, 288)])[..., None]  # 4 clips of 1.28 s
eps = rng.standard_normal(x0.shape, dtype=np.float32)
for alpha_bar in (0.9, 0.5, 0.1):
    x_t = q_sample(x0, alpha_bar, eps)
    prediction, cache = unet(params, statistics, x_t, np.full(4, 1 - alpha_bar), processor, training=True)
    loss, d_eps = mean_squared_error(prediction, eps)
    print(f"alpha_bar {alpha_bar}: loss {loss:.3f}")
    assert abs(loss - 1) < 0.02 and not prediction.any()

_, grads = unet_backward(d_eps, cache, processor)
moving = [name for name, grad in tree.flatten(grads).items() if grad.any()]
print(f"parameters with a gradient: {', '.join(moving)}; without: {len(tree.flatten(grads)) - len(moving)}")
assert moving == ["output/w", "output/b"]

# %% [markdown]
# In the first step only the last layer changes, because its zero weights pass no gradient on. From the second step on
# all parameters change. A random last layer would add noise of its own to the prediction, and the first steps would
# only remove it.
#
# ## The backward pass
#
# The forward pass keeps a cache for every layer, under the name of the layer's parameters. The backward pass takes
# them, the last layer first. Where the forward pass uses an array twice, the backward pass *adds* two gradients: a
# skip goes on to the next layer and across the bridge. Where the forward pass *concatenates*, the backward pass
# *splits*.
#
# | forward | backward |
# |---|---|
# | $h$ is used twice | the two gradients are added |
# | concatenate $(a, b)$ | cut $dh$ into $(da, db)$ |
# | average pool, upsample | their transposes |
# | push a skip | add the skip's gradient |
# | layer $n$ last | layer $n$ first |
#
# Read it beside `unet` above:

# %%
show_answer(unet_backward)
show_source(residual_blocks_backward, up_blocks_backward, join_backward)

# %% [markdown]
# And the check, on all of a small network with attention everywhere, in float64:

# %%
small, small_statistics = init_unet(rng, (3, 4, 5), 2, "all")
shapes = {name: leaf.shape for name, leaf in tree.flatten(small).items()}
arguments = [rng.standard_normal(shape) * (0.3 if len(shape) > 1 else 1) for shape in [(2, 8, 4, 1), *shapes.values()]]


def whole(x, *leaves):
    params = tree.unflatten(dict(zip(shapes, leaves, strict=True)))
    return unet(params, small_statistics, x, np.array([0.2, 0.7]), nn, training=True)


def whole_backward(d_eps):
    _, cache = whole(*arguments)
    dx, grads = unet_backward(d_eps, cache, nn)
    flat = tree.flatten(grads)
    return [dx, *(flat[name] for name in shapes)]


names = ["x", *shapes]
errors = dict(zip(names, gradient_error(lambda *a: whole(*a)[0], whole_backward, arguments, rng), strict=True))
idle = [name for name in names if name.endswith("key/b")]  # whose gradients are 0: lesson 06
worst = max((name for name in names if name not in idle), key=errors.get)
print(f"{len(errors)} gradients; the worst is of {worst}: {errors[worst]:.0e}")
assert errors[worst] < 1e-6 and len(idle) == 4

# %% [markdown]
# ## It learns one batch
#
# A first test of a new network is whether it can learn *one* batch: four clips, fresh noise and noise levels in every
# step, AdamW (lesson 08 explains it). If the loss does not fall here, more data will not help.

# %%
steps = 4 if FAST else 60


def bridges_of(frames):
    """`join` and its backward pass, with zeros in the place of the skips whose planes have none of these sizes."""

    def some(h, skip, params, layers):
        return join(h, skip * (skip.shape[1] in frames), params, layers)

    def some_backward(dy, cache, layers):
        dh, d_skip, grads = join_backward(dy, cache, layers)
        return dh, d_skip * (d_skip.shape[1] in frames), grads

    return some, some_backward


@backend.threads()
def learn(params, statistics, bridges=(64, 32), seed=0):
    """Trains on the four clips. Returns the losses; params change. bridges: frames of the planes that have skips."""
    generator = np.random.default_rng(seed)
    moments = {name: np.zeros_like(params.flat) for name in ("m", "v")}
    ways, losses = bridges_of(bridges), []
    with patch(f"{unet.__module__}.join", ways[0]), patch(f"{unet.__module__}.join_backward", ways[1]):
        for step in range(1, steps + 1):
            alpha_bar = continuous_cosine_alpha_bar(generator.random(4), 0.02, 0.95)
            eps = generator.standard_normal(x0.shape, dtype=np.float32)
            x_t = q_sample(x0, alpha_bar, eps)
            prediction, cache = unet(params, statistics, x_t, 1 - alpha_bar, processor, training=True)
            loss, d_eps = mean_squared_error(prediction, eps)
            _, grads = unet_backward(d_eps, cache, processor)
            adamw(params.flat, tree.pack(grads, like=params).flat, moments, step, learning_rate=3e-3, weight_decay=0)
            losses.append(loss)
    return losses


params = tree.pack(params)  # its arrays are views of one vector, params.flat
losses = learn(params, statistics)
last = np.mean(losses[-10:])
print(f"loss {losses[0]:.2f} -> {last:.2f} (mean of the last 10) after {steps} steps")
assert abs(losses[0] - 1) < 0.02 and last < (1 if FAST else 0.4)

# %% [markdown]
# What are the bridges worth? Train the same network, from the same weights, with the same noise and the same number of
# steps, but with zeros in the place of each skip.

# %%
cut, cut_statistics = init_unet(np.random.default_rng(1), (16, 32, 48), 1, "none")
full, full_statistics = init_unet(np.random.default_rng(1), (16, 32, 48), 1, "none")
with_bridges = learn(tree.pack(full), full_statistics, seed=1)
without_bridges = learn(tree.pack(cut), cut_statistics, bridges=(), seed=1)
ends = [np.mean(values[-20:]) for values in (with_bridges, without_bridges)]
print(f"mean loss of the last 20 steps: with bridges {ends[0]:.2f}, without {ends[1]:.2f}")
assert FAST or (ends[0] < 0.35 and ends[1] > 0.8)  # 0.19 to 0.22 and 0.94 to 0.95 with four seeds

# %% [markdown]
# Without bridges the network predicts almost nothing of the noise. The way down averages pixels, and the way up
# interpolates them. What comes back from the coarse plane is smooth along time and mel, and noise is not.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.6))
ax.plot(np.arange(1, steps + 1), losses, ".-", linewidth=0.8, label="the U-Net")
ax.plot(np.arange(1, steps + 1), without_bridges, "x:", linewidth=0.8, markersize=4, label="without bridges")
ax.legend()
ax.axhline(1, color="#999999", linewidth=0.8)
ax.set(xlabel="step", ylabel="mean squared error", ylim=(0, 1.1), title="grey: the loss of predicting 0")
plt.show()

# %% [markdown]
# The curve is jagged because each step draws other noise levels, and a small amount of noise is harder to predict than
# a large one. Now use the network. Half of the variance of this picture is noise; subtract the predicted noise:

# %%
alpha_bar = 0.5
eps = rng.standard_normal(x0.shape, dtype=np.float32)
x_t = q_sample(x0, alpha_bar, eps)
prediction, _ = unet(params, statistics, x_t, np.full(4, 1 - alpha_bar), processor, training=True)
guess = predict_x0(x_t, alpha_bar, prediction)
noisy_error, clean_error = (np.mean((x - x0) ** 2) for x in (x_t / alpha_bar**0.5, guess))
print(f"mean squared error: noisy {noisy_error:.2f}, cleaned {clean_error:.2f}")
assert clean_error < noisy_error * (1 if FAST else 0.4)

# %% tags=["hide-input"]
fig, axes = plt.subplots(3, 1, figsize=(6, 6), sharex=True)
for ax, shown, name in zip(axes, (x0, x_t, guess), ("the four clips", "with noise", "cleaned"), strict=True):
    ax.imshow(shown[..., 0].reshape(256, 128).T, extent=(0, 5.12, 0, 128), vmin=-2.5, vmax=2.5)
    ax.set(title=name, ylabel="mel bin")
axes[-1].set_xlabel("time (s)")
plt.show()

# %%
for shown, name in ((x_t / alpha_bar**0.5, "The four clips with noise"), (guess, "Cleaned by the U-Net")):
    log_mels = shown[..., 0].reshape(256, 128) * spread + centre
    heard = griffin_lim(np.minimum(log_mels, picture.max()), 4 if FAST else 32)
    sound(0.05 * heard / np.sqrt(np.mean(heard**2)), name)

# %% [markdown]
# A network that removes noise at every level can generate music from noise alone: lesson 03 derives why, lesson 04
# shows how, and lesson 08 trains one for longer.
#
# ## Common mistakes
#
# | what you see | what it is |
# |---|---|
# | the loss stays at 1.0 | no gradient arrives: a zero weight before the last layer, or a learning rate of 0 |
# | the loss starts far above 1 | the last layer is not zero, or the target is not the noise |
# | shapes do not fit at the first up block | the plane can't be halved three times: take multiples of 8 |
# | the loss falls, but slower than in Keras | the gradient over a bridge is lost: add, do not overwrite |
# | the wrong skips are joined | a stack, not a queue: the last one pushed is the first to be popped |
# | good in training, bad at sampling | batch statistics there, moving averages here, and these not kept |
# | gradient checks fail for some blocks only | a block has read another block's cache |
#
# ## Exercises
#
# Write `split`, `residual_block`, `residual_block_backward` and, the largest, `unet_backward` in
# `lessons/07_unet/exercise.py`, and run `make check-07`. This is what right answers look like, each to one
# bright pixel:

# %% tags=["hide-input"]
dot = np.zeros((1, 16, 16, 2))
dot[0, 8, 8] = 1
generator = np.random.default_rng(5)
block = {name: {"w": generator.standard_normal((3, 3, 2, 2)), "b": np.zeros(2)} for name in ("conv1", "conv2")}
y, cache = nn.residual_block(dot, block, {}, training=True)
dx, _ = nn.residual_block_backward(dot, cache)
tiny, tiny_statistics = init_unet(generator, (4, 6, 8), 1, "none")
tiny["output"]["w"] += 1
x = generator.standard_normal((1, 32, 32, 1))
_, cache = unet(tiny, tiny_statistics, x, np.array([0.5]), nn, training=True)
d_eps = np.zeros((1, 32, 32, 1))
d_eps[0, 16, 16] = 1
d_tiny, _ = unet_backward(d_eps, cache, nn)
fig, axes = plt.subplots(1, 3, figsize=(6, 2.6))
titles = "residual_block", "its backward: dx", "unet_backward: log |dx|"
for ax, shown, title in zip(
    axes, (y[0, ..., 0], dx[0, ..., 0], np.log10(np.abs(d_tiny[0, ..., 0]))), titles, strict=True
):
    ax.imshow(shown.T, cmap="cividis", aspect="equal", interpolation="nearest")
    ax.set(title=title, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# **Predict, then run.** (1) How many parameters has the network with widths 32, 64, 96, 128 and three blocks
# in each part, without attention? Count, then ask `count_by_hand(depth=3, attention="none")`. (2) A frame lasts 20
# ms. How many seconds does a pixel see with one block in each part?

# %% tags=["answer"]
three, more = (sum(count_by_hand(depth=depth, attention="none")[0].values()) for depth in (3, 4))
print(f"(1) {three:_}: between two blocks (1_950_497) and four ({more:_})")
assert 1_950_497 < three < more
one_block = 2 * (2 * (1 + 2 + 4) * 2 + 2 * 8) + 1
print(f"(2) two convolutions in each part: {one_block} frames, {0.02 * one_block:.1f} s, and a few by interpolation")
assert one_block == 89

# %% [markdown]
# ## Experiment
#
# The small network has bridges at two levels, with planes of 64 and of 32 frames. Train it with the bridges of one
# level only, with `learn`. Which level is worth more, and why? Write the losses and your conclusion into the form
# EXPERIMENT at the end of `exercise.py`.

# %% tags=["answer"]
one_level = {}
for frames in (64, 32):
    start, start_statistics = init_unet(np.random.default_rng(1), (16, 32, 48), 1, "none")
    one_level[frames] = np.mean(learn(tree.pack(start), start_statistics, bridges=(frames,), seed=1)[-20:])
    print(f"bridges of the plane of {frames} frames only: mean loss of the last 20 steps {one_level[frames]:.2f}")
assert FAST or ends[0] - 0.03 < one_level[64] < one_level[32] - 0.2

# %% [markdown] tags=["answer"]
# The bridges at full resolution are worth nearly everything. Noise is independent from pixel to pixel, so its
# prediction needs every single pixel. What comes over the other bridges has been averaged once and is interpolated: it
# is smooth, and noise is not.

# %% [markdown]
# ## How it differs from DDPM's
#
# [DDPM](https://arxiv.org/abs/2006.11239)'s U-Net normalises before each of a block's two convolutions and
# adds the time's embedding, through layers of its own, inside every block; it has dropout, attention within a
# plane of 16 x 16, on the way down as well, and halves the plane by a convolution. Here, as in the Keras
# example, the noise level enters once, as 32 constant channels; the plane is halved by averaging and doubled
# by interpolation, and attention asks the skip.
#
# ## Sources
#
# - O. Ronneberger, P. Fischer, T. Brox (2015), [U-Net](https://arxiv.org/abs/1505.04597).
# - K. He, X. Zhang, S. Ren, J. Sun (2016), [Deep residual learning](https://arxiv.org/abs/1512.03385).
# - W. Luo, Y. Li, R. Urtasun, R. Zemel (2016), [Understanding the effective receptive
#   field](https://arxiv.org/abs/1701.04128).
# - A. Béres, [Denoising diffusion implicit models in Keras](https://keras.io/examples/generative/ddim/): the network
#   that the paper's is made from.
