# %% [markdown]
# # Training, and how to tell that it works
#
# A training run prints one number again and again, and the number hardly says whether there will be music.
# This lesson trains a network on five tunes while you watch, and learns to read what it prints: what a
# network scores that knows nothing, what the loss hides, why the weights are averaged, and how to tell a
# network that composes from one that recites.
#
# You need the forward process (lesson 03), the network (lesson 07), and what backpropagation is for (lesson
# 05). The lesson runs for about four minutes on two quiet cores; nearly all of it is training. The run is
# kept in `build/lessons/run`: lesson 09 listens to it.

# %%
import dataclasses

import matplotlib.pyplot as plt
import numpy as np

from ddim_from_scratch import tree
from ddim_from_scratch.audio import griffin_lim, synth
from ddim_from_scratch.backend import parallel, threads
from ddim_from_scratch.checkpoint import Log, checkpoint_path, save_checkpoint
from ddim_from_scratch.config import Config
from ddim_from_scratch.data import load_windows
from ddim_from_scratch.diffusion import PREDICTIONS, eps_of_velocity, q_sample, velocity
from ddim_from_scratch.model import draw_alpha_bar, init_state, sample_log_mels
from ddim_from_scratch.nn.loss import mean_squared_error
from ddim_from_scratch.optim import BETA_1, BETA_2, adamw, init_moments, update_average
from ddim_from_scratch.train import train_step
from ddim_from_scratch.unet import unet
from lessons import FAST, show_source, sound
from lessons.tool.percent import ROOT

BUILD = ROOT / "build" / "lessons"
RUN = BUILD / ("run-fast" if FAST else "run")

# %% [markdown]
# ## The music, and the run
#
# Six tracks of half a minute on plucked strings. Five are trained on, each of them another old tune; the
# sixth, the Ode to Joy once more, in another key and at another tempo, is kept apart to see what the
# network makes of music that it was not trained on. Cut into windows of 1.28 s, the log-mels are
# standardised: every mel bin has mean 0 and variance 1 over the training windows.

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
)
every = load_windows(config)
is_apart = every.starts[:, 0] == 5
windows = load_windows(dataclasses.replace(config, limit=5))
scaler = windows.scaler()
clips = scaler.standardise(windows.take(np.arange(len(windows))))[..., None]
apart = scaler.standardise(every.take(np.flatnonzero(is_apart)))[..., None]
print("training windows (windows, frames, mel bins, 1):", clips.shape)
print("kept apart:                                     ", apart.shape)
assert abs(clips.mean()) < 1e-3 and abs(clips.var() - 1) < 1e-3 and len(clips) == 225

# %% [markdown]
# ## What knowing nothing scores
#
# One step of training draws a few windows, a noise level for each, and noise; shows the network the noisy
# windows; and moves its weights a little so that it would have done better. With $\bar\alpha$ the share of
# signal that is left,
#
# $$x_t = \sqrt{\bar\alpha}\, x_0 + \sqrt{1 - \bar\alpha}\, \epsilon, \qquad
# L = \operatorname{mean} (\hat\epsilon - \epsilon)^2.$$
#
# The noise $\epsilon$ has variance 1. So a network that says zero, whatever it is shown, has $L = 1$; in
# absolute errors, which the Keras example trains on, it has $\operatorname{E} |\epsilon| = \sqrt{2/\pi}$:

# %%
rng = np.random.default_rng(0)
eps = rng.standard_normal((64, 64, 128, 1), dtype=np.float32)
squared, _ = mean_squared_error(np.zeros_like(eps), eps)
absolute = np.abs(eps).mean()
print(f"predicting zero: {squared:.3f} mean squared, {absolute:.4f} mean absolute (sqrt(2/pi) = 0.7979)")
assert abs(squared - 1) < 0.01 and abs(absolute - np.sqrt(2 / np.pi)) < 0.003

# %% [markdown]
# A fresh network *does* say zero, since its last layer begins with zeros. **The loss of the first step is
# therefore 1, and a loss that stays at 1 has learnt nothing.** Our run trains on
#
# $$v = \sqrt{\bar\alpha}\, \epsilon - \sqrt{1 - \bar\alpha}\, x_0$$
#
# instead of $\epsilon$ (why, we shall see). Data and noise have variance 1, so $v$ has, too, and the rule is
# the same. But what is logged is the error of the *noise*, $\hat\epsilon = \sqrt{\bar\alpha}\, \hat v +
# \sqrt{1 - \bar\alpha}\, x_t$, and for that $\hat v = 0$ is no bad guess: its error is $\bar\alpha$ (put it
# in). On average over the noise levels of training that is

# %%
levels = draw_alpha_bar(config, 100_000, rng)
x0 = clips[rng.integers(0, len(clips), 512)]
ab = draw_alpha_bar(config, len(x0), rng)
eps = rng.standard_normal(x0.shape, dtype=np.float32)
v = velocity(x0, ab, eps)
guess = eps_of_velocity(q_sample(x0, ab, eps), ab, np.zeros_like(v))
start, _ = mean_squared_error(guess, eps)
print(f"loss of v = 0: as v {np.mean(v**2):.3f}, read as noise {start:.3f}; mean alpha_bar {levels.mean():.3f}")
assert abs(np.mean(v**2) - 1) < 0.03 and abs(start - levels.mean()) < 0.03
show_source(draw_alpha_bar, eps_of_velocity)

# %% [markdown]
# ## A step
#
# Here is the whole of it. The network and its gradient are lessons 05 to 07; what is new are the last three
# lines, `adamw` and two moving averages.

# %%
show_source(train_step)

# %% [markdown]
# **AdamW** keeps two averages of each weight's gradient $g$, of $g$ and of $g^2$, and divides one by the root
# of the other:
#
# $$m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) g^2,$$
# $$\hat m = \frac{m}{1 - \beta_1^n}, \qquad \hat v = \frac{v}{1 - \beta_2^n}, \qquad
# \theta \leftarrow (1 - \eta \lambda)\, \theta - \eta\, \frac{\hat m}{\sqrt{\hat v}}.$$
#
# Three things to see. A gradient a thousand times as large gives the *same* step: with a learning rate
# $\eta$, weights move by about $\eta$ a step. Both averages begin at 0, and the divisions in the second line
# correct that (leave them out, and the first step is three times as long). And the decay $\lambda$, the W,
# pulls at the weight itself and not through $g$, where it would be divided by $\sqrt{\hat v}$ with the rest.

# %%
first_steps = {}
for scale in (1e-3, 1, 1e3):
    params, grads = {"w": np.zeros(3)}, {"w": scale * np.array([1.0, -2.0, 0.5])}
    adamw(params, grads, init_moments(params), step=1, learning_rate=0.01, weight_decay=0)
    first_steps[scale] = params["w"]
    print(f"gradient {grads['w']}: the weights move by {np.round(params['w'], 4)}")
assert all(np.allclose(moved, [-0.01, 0.01, -0.01], rtol=1e-2) for moved in first_steps.values())
uncorrected = (1 - BETA_1) / np.sqrt(1 - BETA_2)
print(f"without the correction: {uncorrected:.2f} times as far")
assert 3.1 < uncorrected < 3.2
show_source(adamw)

# %% [markdown]
# ## Train
#
# The loop around it could not be simpler. We keep copies of the state from along the way, to look at later.


# %%
def fit(config, clips, steps, keep=()):
    """Train a fresh network. Returns its state, each step's losses (steps, 2), and copies of the state."""
    rng = np.random.default_rng(0)
    state, losses, kept = init_state(config, rng), [], {}
    with threads():
        for step in range(1, steps + 1):
            batch = clips[rng.integers(0, len(clips), config.batch_size)]
            losses.append(train_step(state, batch, config, step, rng))
            if step in keep:
                kept[step] = tree.map(np.copy, state)
    return state, np.array(losses), kept


STEPS, SHORT = (24, 12) if FAST else (1000, 300)
moments_to_keep = (1, 3, 6, 12, 24) if FAST else (10, 30, 100, 300, 1000)
state, losses, kept = fit(config, clips, STEPS, moments_to_keep)

# %% [markdown]
# And keep it, as `python -m ddim_from_scratch.train` would, so that all its commands work with this run.

# %%
RUN.mkdir(parents=True, exist_ok=True)
save_checkpoint(
    checkpoint_path(RUN), config, state, scaler, np.random.default_rng(0), STEPS, len(windows)
)
log = Log(RUN / "log.csv", 0)
for step, (noise_loss, reconstruction_loss) in enumerate(losses, start=1):
    log.add(step, 1, noise_loss, reconstruction_loss, 0.0)
log.write()

# %% [markdown]
# ## A healthy curve
#
# Each dot is a step, the line their mean over 50.

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
ax.set(xlabel="step", ylabel="noise loss", yscale="log", title="a healthy run")
ax.legend(fontsize=9)
plt.show()

# %%
tail = losses[-200:, 0]
print(f"first 5 steps {losses[:5, 0].mean():.3f}, last 200 {tail.mean():.3f}")
print(f"of these 200 the lowest is {tail.min():.3f}, the highest {tail.max():.3f}")
print(f"the 100 before the last 100: {losses[-200:-100, 0].mean():.3f}; the last 100: {losses[-100:, 0].mean():.3f}")
