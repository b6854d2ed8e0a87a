# %% [markdown]
# # Training, and how to tell that it works
#
# A training run prints its loss at every step, and the loss alone does not say whether the network will make music.
# This lesson trains a network on five tunes and shows how to read the numbers: the loss of a network that has learnt
# nothing, what the mean loss hides, why the weights are averaged, and how to tell a network that composes from one that
# memorises.
#
# You need the forward process (lesson 03), the network (lesson 07) and backpropagation (lesson 05). Nearly all of the
# lesson's time is training. The run is kept in `build/lessons/run`, and lesson 09 generates music with it.

# %%
import dataclasses

import matplotlib.pyplot as plt
import numpy as np

from ddim_from_scratch.audio import griffin_lim, synth
from ddim_from_scratch.diffusion import (
    PREDICTIONS,
    Sampling,
    Schedule,
    ddim,
    eps_of_velocity,
    mean_squared_error,
    mixture_eps_model,
    q_sample,
    uniform_tau,
    velocity,
)
from ddim_from_scratch.networks.unet import unet
from ddim_from_scratch.nn.fast import layers_for
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.backend import parallel, threads
from ddim_from_scratch.spectrogram.compose import Composer
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.data import load_windows
from ddim_from_scratch.spectrogram.model import Model
from ddim_from_scratch.spectrogram.system import Batch, Training, training
from ddim_from_scratch.training.checkpoint import Log, checkpoint_path, save_checkpoint
from ddim_from_scratch.training.loop import checkpoint
from ddim_from_scratch.training.optim import BETA_1, BETA_2, adamw, update_average, warmup_decay
from lessons import FAST, show_answer, show_source, sound
from lessons.tool.percent import ROOT

BUILD = ROOT / "build" / "lessons"
RUN = BUILD / ("run-fast" if FAST else "run")

# %% [markdown]
# ## The music, and the run
#
# There are six tracks of half a minute on plucked strings. The network is trained on five of them, five old tunes. The
# sixth is held out: a second performance of the Ode to Joy, in another key and at another tempo. It tests whether the
# network has learnt more than five recordings. It does not test unknown tunes. The log-mels are cut into windows of
# 1.28 s and standardised: every mel bin has mean 0 and variance 1 over the training windows.

# %%
music = BUILD / "music" / "genres" / "plucked"
if not (music / "plucked.00005.wav").exists():
    synth.write_corpus(BUILD / "music", tracks_per_genre=6)

config = Config(
    data=str(music),
    window_seconds=1.28,
    window_hop_seconds=0.64,
    windows_per_track=45,
    widths=(4, 4) if FAST else (16, 32, 64, 96),  # a fifth of the paper's weights
    block_depth=1,
    attention="none",
    prediction="v",
    min_signal_rate=0.195,  # the paper's tuned rates
    max_signal_rate=0.933,
    learning_rate=2e-3,
    ema=0.99,
    ema_schedule="constant",  # as in the paper
)
every = load_windows(config)
is_apart = every.starts[:, 0] == 5
windows = load_windows(dataclasses.replace(config, limit=5))
scaler = windows.scaler()
clips = scaler.standardise(windows.take(np.arange(len(windows))))[..., None]
apart = scaler.standardise(every.take(np.flatnonzero(is_apart)))[..., None]
print("training windows (windows, frames, mel bins, 1):", clips.shape)
print("held out:                                       ", apart.shape)
assert abs(clips.mean()) < 1e-3 and abs(clips.var() - 1) < 1e-3 and len(clips) == 225

# %% [markdown]
# ## The loss of a network that has learnt nothing
#
# One step of training draws a few windows, a noise level for each, and noise. The network gets the noisy windows, and
# its weights move a little in the direction that lowers the loss. With $\bar\alpha$ the share of signal that is left,
#
# $$x_t = \sqrt{\bar\alpha}\, x_0 + \sqrt{1 - \bar\alpha}\, \epsilon, \qquad
# L = \operatorname{mean} (\hat\epsilon - \epsilon)^2.$$
#
# The noise $\epsilon$ has variance 1. So a network that predicts zero for every input has $L = 1$. The
# [Keras example](https://keras.io/examples/generative/ddim/) trains on absolute errors; there it has
# $\operatorname{E} |\epsilon| = \sqrt{2/\pi}$:

# %%
rng = np.random.default_rng(0)
eps = rng.standard_normal((64, 64, 128, 1), dtype=np.float32)
squared, _ = mean_squared_error(np.zeros_like(eps), eps)
absolute = np.abs(eps).mean()
print(f"predicting zero: {squared:.3f} mean squared, {absolute:.4f} mean absolute (sqrt(2/pi) = 0.7979)")
assert abs(squared - 1) < 0.01 and abs(absolute - np.sqrt(2 / np.pi)) < 0.003

# %% [markdown]
# A fresh network *does* predict zero, since its last layer begins with zeros. **So the loss of the first step is 1, and
# as long as it stays at 1 the network learns nothing.** Our run trains on
#
# $$v = \sqrt{\bar\alpha}\, \epsilon - \sqrt{1 - \bar\alpha}\, x_0$$
#
# instead of $\epsilon$ ([Salimans and Ho 2022](https://arxiv.org/abs/2202.00512); a section below shows why). Data and
# noise have variance 1, so $v$ has variance 1, too, and predicting $v = 0$ has the loss 1. But the log holds the error
# of the *noise*, $\hat\epsilon = \sqrt{\bar\alpha}\, \hat v + \sqrt{1 - \bar\alpha}\, x_t$.
#
# **Predict.** Put $\hat v = 0$ into this formula. What is the mean square of $\hat\epsilon - \epsilon$?

# %%
levels = config.noise_schedule.draw(100_000, rng)
x0 = clips[rng.integers(0, len(clips), 512)]
ab = config.noise_schedule.draw(len(x0), rng)
eps = rng.standard_normal(x0.shape, dtype=np.float32)
v = velocity(x0, ab, eps)
guess = eps_of_velocity(q_sample(x0, ab, eps), ab, np.zeros_like(v))
start, _ = mean_squared_error(guess, eps)
print(f"loss of v = 0: as v {np.mean(v**2):.3f}, read as noise {start:.3f}; mean alpha_bar {levels.mean():.3f}")
assert abs(np.mean(v**2) - 1) < 0.03 and abs(start - levels.mean()) < 0.03
show_source(Schedule.draw)
show_answer(eps_of_velocity)

# %% [markdown]
# The error is $\bar\alpha$: $\hat\epsilon - \epsilon = \sqrt{1 - \bar\alpha}\, \sqrt{\bar\alpha}\, x_0 -
# \bar\alpha\, \epsilon$, and its variance is $(1 - \bar\alpha) \bar\alpha + \bar\alpha^2$.
#
# ## A step
#
# This is one step of training. Lessons 05 to 07 explain the network and its gradient. The last lines are new: `adamw`
# and two moving averages. All weights lie in one vector, `params.flat`, and so does their gradient.

# %%
show_source(Training.step)

# %% [markdown]
# **AdamW** ([Loshchilov and Hutter 2019](https://arxiv.org/abs/1711.05101), after [Kingma and Ba
# 2015](https://arxiv.org/abs/1412.6980)) keeps two averages for each weight, of its gradient $g$ and of $g^2$, and
# divides one by the root of the other:
#
# $$m \leftarrow \beta_1 m + (1 - \beta_1) g,$$
#
# $$v \leftarrow \beta_2 v + (1 - \beta_2) g^2,$$
#
# $$\theta \leftarrow (1 - \eta \lambda)\, \theta - \eta\, \frac{\hat m}{\sqrt{\hat v}}, \quad
# \hat m = \frac{m}{1 - \beta_1^n}, \ \hat v = \frac{v}{1 - \beta_2^n}$$
#
# in step $n$.
#
# **Predict.** (1) The gradient is a thousand times as large. How much longer is the first step? (2) Leave out the two
# divisions that turn $m$ into $\hat m$ and $v$ into $\hat v$. How long is the first step now?

# %%
first_steps = {}
for scale in (1e-3, 1, 1e3):
    params, grads = np.zeros(3), scale * np.array([1.0, -2.0, 0.5])
    moments = {"m": np.zeros(3), "v": np.zeros(3)}
    adamw(params, grads, moments, step=1, learning_rate=0.01, weight_decay=0)
    first_steps[scale] = params
    print(f"gradient {grads}: the weights move by {np.round(params, 4)}")
assert all(np.allclose(moved, [-0.01, 0.01, -0.01], rtol=1e-2) for moved in first_steps.values())
uncorrected = (1 - BETA_1) / np.sqrt(1 - BETA_2)
print(f"without the correction: {uncorrected:.2f} times as far")
assert 3.1 < uncorrected < 3.2
show_answer(adamw)

# %% [markdown]
# A gradient that is a thousand times as large gives the *same* step: weights move by about the learning rate $\eta$.
# Both averages begin at 0, and the two divisions correct that. Without them the first step is three times as long. The
# decay $\lambda$ (the W in AdamW) shrinks the weight directly. If it were added to $g$, it would be divided by
# $\sqrt{\hat v}$ like everything else.
#
# ## Train
#
# The loop is short. It keeps copies of the state at some steps, to look at later.


# %%
def fit(config, clips, steps, keep=()):
    """Train a fresh network. Returns its state, each step's losses (steps, 2), and copies of the state."""
    rng = np.random.default_rng(0)
    system, losses, kept = Training(config), [], {}
    state = tree.pack(system.init(rng))
    with threads():
        for step in range(1, steps + 1):
            batch = clips[rng.permutation(len(clips))[: config.batch_size]]
            losses.append([*system.step(state, system.noisy(Batch(batch), rng), step).values()])
            if step in keep:
                kept[step] = tree.map(np.copy, state)
    return state, np.array(losses), kept


STEPS, SHORT = (24, 12) if FAST else (1000, 300)
moments_to_keep = (1, 3, 6, 12, 24) if FAST else (10, 30, 100, 300, 800, 900, 1000)
state, losses, kept = fit(config, clips, STEPS, moments_to_keep)

# %% [markdown]
# The run is saved as `python -m ddim_from_scratch.train` saves its runs, so all commands work with it.

# %%
RUN.mkdir(parents=True, exist_ok=True)
five_tracks = dataclasses.replace(config, limit=5)
save_checkpoint(checkpoint_path(RUN), checkpoint(training(five_tracks, windows=windows), state, STEPS))
log = Log(RUN / "log.csv", 0)
for step, (noise_loss, reconstruction_loss) in enumerate(losses, start=1):
    log.add(step=step, epoch=1, noise_loss=noise_loss, reconstruction_loss=reconstruction_loss, seconds=0.0)
log.write()

# %% [markdown]
# ## A healthy curve
#
# Each dot is a step. The line is the mean of 50 steps.


# %%
def smooth(values, width=50):
    """Running means, and the steps that they end at."""
    width = min(width, len(values))
    return np.arange(width, len(values) + 1), np.convolve(values, np.full(width, 1 / width), "valid")


# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3.4))
ax.plot(1 + np.arange(STEPS), losses[:, 0], ".", markersize=2, color="#999999", label="a step")
ax.plot(*smooth(losses[:, 0]), label="mean of 50")
ax.axhline(levels.mean(), linestyle="--", color="#D55E00", linewidth=1, label="predicting v = 0")
ax.axhline(1, linestyle=":", color="#333333", linewidth=1, label="predicting no noise")
ax.set(xlabel="step", ylabel="noise loss", yscale="log", ylim=(None, 5), title="a healthy run")
ax.legend(fontsize=9, ncols=2)
plt.show()

# %%
tail = losses[-200:, 0]
print(f"step 1: {losses[0, 0]:.3f}; mean of the first 5: {losses[:5, 0].mean():.3f}")
print(f"the last 200: mean {tail.mean():.3f}, from {tail.min():.3f} to {tail.max():.3f}")
if not FAST:
    print(f"of these, the first 100: {tail[:100].mean():.3f}; the last 100: {tail[100:].mean():.3f}")
    assert tail.mean() < 0.12 and tail.max() > 4 * tail.min() and losses[50:100, 0].mean() < 0.6 * levels.mean()
    assert abs(tail[:100].mean() / tail[100:].mean() - 1) < 0.25
    assert abs(losses[:5, 0].mean() - levels.mean()) < 0.2

# %% [markdown]
# This is a healthy curve. It *begins* at the loss of a network that has learnt nothing, falls within the first 50
# steps, and then goes down slowly. Single steps differ by more than a factor of 4. That is normal: each step draws
# other noise levels, and four windows with much noise are easier than four with little. So compare means, not steps.
# Even the means of 100 steps differ by a few percent.
#
# ## The loss at each noise level
#
# Take one noise level at a time: the same windows, the same noise, and the averaged weights. A network that predicts
# $\hat v = 0$ has the loss $\bar\alpha$.


# %%
def eps_loss(network, config, x0, alpha_bar):
    """The noise loss of a network {params, statistics} on clips x0, all at one noise level or each at its own."""
    rng = np.random.default_rng(1)
    eps = rng.standard_normal(x0.shape, dtype=np.float32)
    alpha_bar = np.broadcast_to(alpha_bar, len(x0))
    x_t = q_sample(x0, alpha_bar, eps)
    with threads():
        output, _ = unet(network["params"], network["statistics"], x_t, 1 - alpha_bar, layers_for(x_t))
    eps_pred = PREDICTIONS[config.prediction].eps(x_t, alpha_bar, output)
    return mean_squared_error(eps_pred, eps)[0]


some, others = clips[::15], apart[::3]  # 15 windows each
grid = np.linspace(0.195, 0.933, 4 if FAST else 9) ** 2
by_level = {
    "training windows": [eps_loss(state["average"], config, some, ab) for ab in grid],
    "held out": [eps_loss(state["average"], config, others, ab) for ab in grid],
}
print("alpha_bar         " + " ".join(f"{ab:6.2f}" for ab in grid))
for name, row in by_level.items():
    print(f"{name:18}" + " ".join(f"{loss:6.3f}" for loss in row))
ratio = np.array(by_level["held out"]) / by_level["training windows"]
if not FAST:
    assert np.all(np.array(by_level["training windows"]) < 0.5 * grid)
    assert np.all(np.diff(by_level["training windows"]) > 0) and np.all(np.abs(ratio - 1) < 0.2)
    assert by_level["training windows"][0] < 0.02

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3))
for (name, row), marker in zip(by_level.items(), "os", strict=True):
    ax.plot(grid, row, marker + "-", markersize=4, label=name)
ax.plot(grid, grid, "--", color="#333333", linewidth=1, label=r"predicting $v = 0$: $\bar\alpha$")
ax.set(
    xlabel=r"share of signal $\bar\alpha$",
    ylabel="noise loss",
    yscale="log",
    title="easy at the left, hard at the right",
)
ax.legend(fontsize=9)
plt.show()

# %% [markdown]
# Where little signal is left, most of the input *is* the noise, and a loss of 0.02 is easy to reach. Compare the
# curve with the dashed line, not with 0: our network is below half of the line everywhere. A mean loss therefore
# depends on the noise levels as much as on the network. **Losses of two runs can be compared only if their schedules
# are the same.**
#
# The second curve: on the held-out tune the loss is nearly the same as on the training windows. The network has not
# memorised the windows, it has learnt how strings sound. (A section below shows a network that has memorised: its loss
# on other music is more than twice as large.) Always hold out some music; without it you cannot see the difference.
#
# ## Why the weights are averaged
#
# Each step estimates the gradient from four windows, so the weights jitter. Sampling uses their moving average,
#
# $$\bar\theta \leftarrow d\, \bar\theta + (1 - d)\, \theta, \qquad d = 0.99,$$
#
# which remembers about $1 / (1 - d) = 100$ steps. The jitter cancels in it. Compare the two on the same windows, noise
# and noise levels:

# %%
show_answer(update_average)
some_levels = config.noise_schedule.draw(len(some), np.random.default_rng(2))
raw, averaged = (
    [eps_loss(kept[step][which], config, some, some_levels) for step in moments_to_keep]
    for which in ("network", "average")
)
print("step            " + " ".join(f"{step:6}" for step in moments_to_keep))
print("last weights    " + " ".join(f"{loss:6.3f}" for loss in raw))
print("moving average  " + " ".join(f"{loss:6.3f}" for loss in averaged))
if not FAST:
    assert sum(averaged[-3:]) < 1.02 * sum(raw[-3:]) and averaged[2] > 1.2 * raw[2]

# %% [markdown]
# At the end of the run the average is as good as the last weights or up to a tenth better (take the last three columns
# together), and it costs almost nothing. But at the beginning it is worse: it starts as the *untrained* network, and
# after 100 steps a third of it is still untrained, $0.99^{100} = 0.37$. Samples that are drawn early with a decay of
# 0.999 are noise, although the training works. So the package begins with a short memory by default: after step $n$ the
# decay is
#
# $$d_n = \min\left(d, \frac{1 + n}{10 + n}\right).$$

# %%
show_source(warmup_decay)
held = {f"decay {d}": d**100 for d in (0.99, 0.999)}
held["warm-up to 0.999"] = np.prod([warmup_decay(0.999, n) for n in range(1, 101)])
for name, share in held.items():
    print(f"{name:17}: of the average after 100 steps {share:.2g} is untrained")
assert 0.36 < held["decay 0.99"] < 0.37 and held["warm-up to 0.999"] < 1e-10

# %% [markdown]
# ## v or eps?
#
# The paper's network predicts $\epsilon$. The same network, steps and windows, with that:

# %%
eps_config = dataclasses.replace(config, prediction="eps")
eps_state, eps_losses, _ = fit(eps_config, clips, SHORT)
v_network, eps_network = kept[SHORT]["average"], eps_state["average"]
v_by_level = np.array([eps_loss(v_network, config, some, ab) for ab in grid])
eps_by_level = np.array([eps_loss(eps_network, eps_config, some, ab) for ab in grid])
print(f"noise loss of the first step: eps {eps_losses[0, 0]:.3f}")
assert abs(eps_losses[0, 0] - 1) < 0.02
recent = slice(SHORT * 2 // 3, SHORT)
v_mean, eps_mean = losses[recent, 0].mean(), eps_losses[recent, 0].mean()
print(f"steps {recent.start} to {SHORT}, mean noise loss: v {v_mean:.3f}, eps {eps_mean:.3f}")
print("alpha_bar  " + " ".join(f"{ab:6.2f}" for ab in grid))
print("v          " + " ".join(f"{loss:6.3f}" for loss in v_by_level))
print("eps        " + " ".join(f"{loss:6.3f}" for loss in eps_by_level))
if not FAST:
    assert 0.7 < v_mean / eps_mean < 1.4
    assert 1.5 < eps_by_level[0] / v_by_level[0] < 5 and eps_by_level[-1] < 1.1 * v_by_level[-1]

# %% [markdown]
# Averaged over all levels the two losses are nearly equal. **Yet one of the two networks is far ahead.** Where
# noise is strong the loss of the $\epsilon$-network is much larger: there its target is almost its input, and it must
# first learn to copy that, pixel by pixel. An error in $\epsilon$ matters most there. It becomes an
# error in
#
# $$\hat x_0 = \frac{x_t - \sqrt{1 - \bar\alpha}\, \hat\epsilon}{\sqrt{\bar\alpha}}$$
#
# that is larger by $(1 - \bar\alpha) / \bar\alpha$ (as mean squares), at the time when the form of a clip is decided.
# There $v$ is almost $-x_0$, so a network that predicts $v$ need not copy its input. At the other end, where little
# noise is left, the two targets are nearly the same, and the $\epsilon$-network is no worse.

# %%
enlarged = (1 - grid[0]) / grid[0]
print(f"at alpha_bar = {grid[0]:.3f} an error of eps counts {enlarged:.0f} times in x0")
print(f"error of x0 there: v {enlarged * v_by_level[0]:.2f}, eps {enlarged * eps_by_level[0]:.2f} (predicting 0: 1)")
assert FAST or enlarged * v_by_level[0] < 0.8 < enlarged * eps_by_level[0]


def sample(network, config, clips, frames, steps=30, seed=0):
    """Log-mels (clips, frames, 128), by the deterministic DDIM."""
    with threads():
        return Composer(Model(network, config, scaler), Sampling(steps=4 if FAST else steps), seed).draw(clips, frames)


LONG = 64 if FAST else 256  # frames: 5.12 s, longer than the network was trained on
by_network = {
    f"v, {SHORT} steps": sample(v_network, config, 1, LONG),
    f"eps, {SHORT} steps": sample(eps_network, eps_config, 1, LONG),
    f"v, {STEPS} steps": sample(state["average"], config, 2, LONG),
}


def draw(ax, picture, **options):
    """A log-mel spectrogram: time to the right, mel bins up."""
    extent = (0, len(picture) / 50, 0, 128)
    ax.imshow(picture.T, extent=extent, vmin=-9, vmax=3, interpolation="nearest")
    ax.set(**options)


# %% tags=["hide-input"]
fig, axes = plt.subplots(4, 1, figsize=(6, 8.5), sharex=True)
for ax, (name, pictures) in zip(axes, by_network.items(), strict=False):
    draw(ax, pictures[0], ylabel="mel bin", title=name)
draw(axes[3], windows.tracks[0][:LONG], ylabel="mel bin", xlabel="time (s)", title="a training track")
plt.show()

# %%
heard = [picture for pictures in by_network.values() for picture in pictures]
labels = [f"{name}, clip {i + 1}" for name, pictures in by_network.items() for i in range(len(pictures))]
for label, x in zip(labels, parallel(griffin_lim, heard), strict=True):
    sound(x, f"Generated: {label}")

# %% [markdown]
# ## Curves that mean trouble
#
# The same music in short windows, with three learning rates.
#
# **Predict.** The right rate here is 0.002. What does the curve look like with a hundredth of it, and what with ten
# times as much?

# %%
short = dataclasses.replace(config, window_seconds=0.32)  # 16 frames
short_windows = load_windows(dataclasses.replace(short, limit=5))
short_clips = scaler.standardise(short_windows.take(np.arange(len(short_windows))))[..., None]
rates = {}
for rate in (2e-5, 2e-3, 2e-2):
    at_rate = dataclasses.replace(short, learning_rate=rate)
    rates[rate] = fit(at_rate, short_clips, 12 if FAST else 120)[1][:, 0]
    highest, last = smooth(rates[rate], 20)[1].max(), rates[rate][-20:].mean()
    print(f"learning rate {rate:g}: means of 20 steps up to {highest:.3g}, at last {last:.3g}")
if not FAST:
    assert rates[2e-3][-20:].mean() < 0.7 * rates[2e-5][-20:].mean()
    assert rates[2e-5][-20:].mean() > 0.8 * levels.mean() and highest > 2 * levels.mean()

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3))
for rate, curve in rates.items():
    at, mean = smooth(curve, 20)
    ax.plot(at, np.minimum(mean, 9), label=f"learning rate {rate:g}")
ax.axhline(levels.mean(), linestyle="--", color="#333333", linewidth=1, label="predicting v = 0")
ax.set(xlabel="step", ylabel="noise loss, mean of 20", yscale="log", ylim=(0.1, 10))
ax.set_title("too low, right, too high (cut off at 9)")
ax.legend(fontsize=9, loc="upper left")
plt.show()

# %% [markdown]
# With a hundredth of the rate the curve stays near the dashed line. With ten times the rate the loss rises far *above*
# the line: predicting $v = 0$ would be better. How far it rises, and whether it comes down again, differs between
# processors, because they round differently.
#
# ## Ten clips, memorised
#
# Do this with every new network: overfit on purpose. Take ten clips of 0.32 s, and use all of them in every step. A
# network that *can't* memorise these has a bug.

# %%
ten = np.linspace(5, len(short_clips) - 5, 10).astype(int)
fresh = np.delete(short_clips, ten, axis=0)[7::20]
MANY = 16 if FAST else 400
looks = (4, 8, 16) if FAST else (50, 100, 200, 300, 400)
by_heart = dataclasses.replace(short, batch_size=10, learning_rate=4e-3, ema=0.98)
_, ten_losses, ten_kept = fit(by_heart, short_clips[ten], MANY, looks)
ab = 0.4
gap = {
    step: [eps_loss(kept["average"], by_heart, x, ab) for x in (short_clips[ten], fresh)]
    for step, kept in ten_kept.items()
}
print("step   the ten clips   other clips   (noise loss at alpha_bar = 0.4)")
for step, (on_ten, on_others) in gap.items():
    print(f"{step:4}{on_ten:16.3f}{on_others:14.3f}")
if not FAST:
    assert gap[400][1] > 2 * gap[400][0] and gap[400][1] > min(row[1] for row in gap.values())

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.8))
ax.plot(looks, [row[0] for row in gap.values()], "o-", label="the ten clips")
ax.plot(looks, [row[1] for row in gap.values()], "s-", label="other clips")
ax.set(xlabel="step", ylabel=r"noise loss at $\bar\alpha = 0.4$", yscale="log", title="overfitting")
ax.legend()
plt.show()

# %% [markdown]
# The loss on the ten clips keeps falling. On other clips it stops falling, and then *rises*. Where the curves separate,
# the network begins to memorise. In the run above they do not separate. But there each window was seen far less often:

# %%
passes = {"all windows": STEPS * config.batch_size / len(clips), "ten clips": MANY}
print("passes over the data: " + ", ".join(f"{name} {count:.0f}" for name, count in passes.items()))
assert FAST or (17 < passes["all windows"] < 19 and passes["ten clips"] == 400)

# %% [markdown]
# What would the network with the *lowest possible* loss on ten clips do? It is known: lesson 04's oracle for a
# mixture of clouds, here ten clouds of no width. It computes which of the ten clips (here of 1.28 s) the noisy one
# most probably comes from, and answers with that clip. Call it the memoriser.
#
# **Predict.** What is the memoriser's loss on its ten clips? And on the held-out music: better or worse than
# $\bar\alpha$, the loss of predicting $v = 0$?

# %%
ten_clips = clips[windows.apart()[:: 2 if FAST else 11][:10]]
flat = ten_clips.reshape(10, -1)
alpha_bar = config.noise_schedule.alpha_bar
memoriser = mixture_eps_model(flat, np.full(10, 1e-6, np.float32), np.full(10, 0.1, np.float32), alpha_bar)

rng = np.random.default_rng(0)
for name, x0 in (("its ten clips", flat), ("held-out music", others.reshape(len(others), -1))):
    found = []
    for t in range(50, 1000, 100):
        eps = rng.standard_normal(x0.shape, dtype=np.float32)
        found.append(mean_squared_error(memoriser(q_sample(x0, float(alpha_bar[t]), eps), t), eps)[0])
    print(f"the memoriser's noise loss on {name}: {np.mean(found):.4f}")
    assert name != "its ten clips" or np.mean(found) < 1e-3
zero = alpha_bar[50:1000:100].mean()
print(f"the mean alpha_bar of these noise levels: {zero:.4f}")
assert np.mean(found) > 0.4 and np.mean(found) > 1.2 * zero

x_T = rng.standard_normal((8, flat.shape[1]), dtype=np.float32)
*_, copies = ddim(memoriser, x_T, alpha_bar, uniform_tau(1000, 30))
copies = scaler.restore(copies.reshape(8, 64, 128))

# %% [markdown]
# The memoriser is perfect on its clips, and on other music it is worse than predicting $v = 0$. **The network with the
# lowest possible training loss only copies.** Real networks compose because they cannot reach that loss: with
# convolutions, few weights and a training that ends in time, they can only learn what clips have in common. Large
# networks do copy single training pictures ([Carlini et al. 2023](https://arxiv.org/abs/2301.13188)).
#
# ## Does it copy?
#
# For each generated clip, find the nearest and the second nearest training clip. The distance alone says little, since
# all of this music is similar. The *ratio* of the two says more: a copy is near one clip and far from all others.


# %%
def nearest(pictures, training):
    """For log-mels (n, frames, 128): distances to the nearest two of `training`, and the nearest's index."""
    d = np.array([[np.abs(a - b).mean() for b in training] for a in pictures])
    order = np.argsort(d, axis=1)
    return np.take_along_axis(d, order[:, :2], axis=1), order[:, 0]


training = windows.take(np.arange(len(windows)))
new = sample(state["average"], config, 8, 64)
candidates = {
    "the memoriser": (copies, scaler.restore(ten_clips[..., 0])),
    "our network": (new, training),
    "held-out music": (every.take(np.flatnonzero(is_apart)[::6]), training),
}
found = {name: nearest(pictures, those) for name, (pictures, those) in candidates.items()}
print("                   nearest   second   ratio   (mean distance of log-mels)")
ratios = {}
for name, (distances, _) in found.items():
    ratios[name] = np.mean(distances[:, 0] / distances[:, 1])
    print(f"{name:18}{distances[:, 0].mean():8.2f}{distances[:, 1].mean():9.2f}{ratios[name]:8.2f}")
assert ratios["the memoriser"] < 0.1 and ratios["our network"] > 0.9
assert found["our network"][0][:, 0].mean() > found["held-out music"][0][:, 0].mean()

# %% tags=["hide-input"]
fig, axes = plt.subplots(4, 3, figsize=(6, 8.5), sharex=True, sharey=True)
for rows, name in ((axes[:2], "the memoriser"), (axes[2:], "our network")):
    pictures, those = candidates[name]
    indices = found[name][1]
    for column in range(3):
        draw(rows[0, column], pictures[column], title=name if column == 1 else "")
        draw(rows[1, column], those[indices[column]], title="the nearest training clips" if column == 1 else "")
for ax in axes[:, 0]:
    ax.set_ylabel("mel bin")
for ax in axes[-1]:
    ax.set_xlabel("time (s)")
plt.show()

# %% [markdown]
# The memoriser's clips are copies of training clips. Our network's clips resemble no single training clip, and they are
# further from all of them than the held-out music is. So the network has not memorised. It has not learnt *enough*,
# which is usual after so short a training.
#
# ## Common mistakes
#
# | what you see or hear | what it is |
# |---|---|
# | the loss stays at 1.0 | it learns nothing: the target is not the noise that was added, or gradients are zero |
# | the loss stays at $\bar\alpha$'s mean, with v | the same |
# | the first loss is far above 1 | the last layer doesn't begin at zero, or the data aren't standardised |
# | the loss jumps by a factor of 4 from step to step | no mistake: noise levels differ; look at means |
# | it falls, then is `nan` | the learning rate is too high; or a division by a variance of 0 |
# | the loss is good, and samples are noise | the moving average is young; or decay and 1 - decay are exchanged |
# | the loss is good, and samples are blurred | $\epsilon$ is wrong where noise is strong: train longer, or predict v |
# | the training loss falls, the loss on other music rises | it memorises: more music, a smaller network, or stop |
# | generated music sounds perfect after a short training | look at the nearest training clip |
#
# ## Exercises
#
# Write `eps_of_velocity`, `update_average` and `adamw` in `lessons/08_training/exercise.py`, and `test_adamw`, a test
# that finds wrong optimizers. Run `make check-08`. Right answers look like this:

# %% tags=["hide-input"]
fig, axes = plt.subplots(3, 1, figsize=(6, 6))
angle = np.linspace(0, np.pi / 2, 50)
x_t, v = np.cos(angle) * 1.0 + np.sin(angle) * 0.5, np.cos(angle) * 0.5 - np.sin(angle) * 1.0  # x0 = 1, eps = 0.5
axes[0].plot(np.cos(angle) ** 2, x_t, label="$x_t$")
axes[0].plot(np.cos(angle) ** 2, v, label="v")
axes[0].plot(np.cos(angle) ** 2, eps_of_velocity(x_t, np.cos(angle) ** 2, v), "--", label="eps_of_velocity")
axes[0].set(xlabel=r"$\bar\alpha$", ylim=(-1.9, 1.4), title="of x0 = 1 and eps = 0.5")
wobble = 1 + 0.5 * np.random.default_rng(0).standard_normal(300)
average, line = np.zeros(1), []
for value in wobble:
    update_average(average, np.array([value]), 0.95)
    line.append(average.item())
axes[1].plot(wobble, color="#999999", linewidth=0.7, label="weights")
axes[1].plot(line, label="update_average, decay 0.95")
axes[1].set(xlabel="step", ylim=(-1.6, 2.5), title="an average that begins at 0")
params, moments, line = np.array([1.0]), {"m": np.zeros(1), "v": np.zeros(1)}, []
for step in range(1, 121):
    adamw(params, params * 100, moments, step, learning_rate=0.03, weight_decay=0)
    line.append(params.item())
axes[2].plot(line, label="adamw, learning rate 0.03")
axes[2].set(xlabel="step", title=r"down the parabola $50 w^2$, from w = 1")
for ax, place in zip(axes, ("lower center", "lower right", "upper right"), strict=True):
    ax.legend(fontsize=9, loc=place, ncols=3)
plt.show()

# %% [markdown]
# ## Experiment
#
# How long should the memory of the average be? Train once on the short clips, 120 steps with a learning rate of
# 0.002, and keep *all* weights on the way. Then average them with decays of 0.9, 0.97, 0.99 and 0.999, beginning at
# the untrained weights, and compare the losses of the averages with that of the last weights. Fill in the form at the
# end of `exercise.py`.

# %% tags=["answer"]
count = 12 if FAST else 120
_, _, on_the_way = fit(short, short_clips, count, range(1, count + 1))
pieces, at = short_clips[::40], np.full(len(short_clips[::40]), 0.4)


def averaged_loss(decay):
    """The noise loss of the moving average after the last step."""
    average = tree.pack(Training(short).init(np.random.default_rng(0)))["network"]
    for step in range(1, count + 1):
        tree.map(lambda a, b: update_average(a, b, decay), average["params"], on_the_way[step]["network"]["params"])
    return eps_loss(average, short, pieces, at)


by_decay = {decay: averaged_loss(decay) for decay in (0.0, 0.9, 0.97, 0.99, 0.999)}
print("decay   remembers (steps)   noise loss at alpha_bar = 0.4")
for decay, loss in by_decay.items():
    print(f"{decay:5}{1 / (1 - decay):16.0f}{loss:22.3f}")
if not FAST:
    assert by_decay[0.999] > 1.5 * by_decay[0.9] and by_decay[0.99] > by_decay[0.9]
    assert by_decay[0.9] < 1.15 * by_decay[0.0]

# %% [markdown] tags=["answer"]
# A decay of 0 gives the last weights. A memory of ten steps, a twelfth of the run, costs nothing and removes jitter.
# With a memory of a hundred steps the untrained start still has $0.99^{120} = 30\,\%$ of the average, and with a
# thousand it has 89 %: such a network is hardly trained at all. The memory should be a small part of the run, a tenth
# or less. A longer run can use a longer memory, and the warm-up chooses it by itself: its decay $(1 + n) / (10 + n)$
# remembers about a ninth of the steps so far.

# %% [markdown]
# ## Sources
#
# - D. Kingma, J. Ba (2015), [Adam: a method for stochastic optimization](https://arxiv.org/abs/1412.6980).
# - I. Loshchilov, F. Hutter (2019), [Decoupled weight decay regularization](https://arxiv.org/abs/1711.05101): AdamW.
# - T. Salimans, J. Ho (2022), [Progressive distillation for fast sampling of diffusion
#   models](https://arxiv.org/abs/2202.00512): predicting v.
# - J. Ho, A. Jain, P. Abbeel (2020), [Denoising diffusion probabilistic models](https://arxiv.org/abs/2006.11239): the
#   loss, and averaged weights.
# - N. Carlini and others (2023), [Extracting training data from diffusion models](https://arxiv.org/abs/2301.13188).
# - A. Béres, [Denoising diffusion implicit models in Keras](https://keras.io/examples/generative/ddim/).
