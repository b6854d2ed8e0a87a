# %% [markdown]
# # Sampling, and listening
#
# A trained network predicts noise. A sampler turns that into music: it begins with pure noise and asks the network at
# each step what to remove. You choose the number of steps, the rule, and how much fresh noise each step adds, without
# training again. This lesson changes one of these choices at a time, with one network, and listens. At its end the
# network plays a piece from your own seed.
#
# You need the samplers (lesson 04) and a trained network: the run of lesson 08, if it is in `build/lessons/run`.
# Without it this lesson trains for about 400 steps first. The samplers are DDIM ([Song et al.
# 2021](https://arxiv.org/abs/2010.02502)), Heun's ([Karras et al. 2022](https://arxiv.org/abs/2206.00364)) and
# DPM-Solver++(2M) ([Lu et al. 2022](https://arxiv.org/abs/2211.01095)).

# %%
import matplotlib.pyplot as plt
import numpy as np

from ddim_from_scratch.audio import griffin_lim, synth
from ddim_from_scratch.diffusion import (
    T,
    ddim,
    ddim_inversion,
    ddpm,
    dpm_solver_pp_2m,
    gaussian_eps_model,
    heun,
    log_snr_tau,
    predict_x0,
    q_sample,
    quadratic_tau,
    uniform_tau,
)
from ddim_from_scratch.runtime.backend import parallel, threads
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.data import load_windows
from ddim_from_scratch.spectrogram.model import Model, read_run
from ddim_from_scratch.spectrogram.system import training
from ddim_from_scratch.training.checkpoint import checkpoint_path
from ddim_from_scratch.training.loop import train
from lessons import FAST, film, show_answer, show_source, sound
from lessons.tool.percent import ROOT

BUILD = ROOT / "build" / "lessons"
MUSIC = BUILD / "music" / "genres" / "plucked"
RUN = BUILD / ("run-fast" if FAST else "run")

# %% [markdown]
# ## The network
#
# Log-mels of plucked strings, windows of 1.28 s, v-prediction: lesson 08 has the details.

# %%
if not checkpoint_path(RUN).exists():
    if not (MUSIC / "plucked.00005.wav").exists():
        synth.write_corpus(BUILD / "music", tracks_per_genre=6)
    config = Config(
        data=str(MUSIC),
        limit=5,
        window_seconds=1.28,
        window_hop_seconds=0.64,
        windows_per_track=4 if FAST else 45,
        widths=(4, 4) if FAST else (16, 32, 64, 96),
        block_depth=1,
        attention="none",
        prediction="v",
        min_signal_rate=0.195,
        max_signal_rate=0.933,
        learning_rate=2e-3,
        ema=0.99,
        epochs=1 if FAST else 7,
    )
    with threads():
        train(training(config), RUN)

saved = read_run(RUN)
model = saved.model()  # not of the last weights, but of their average: see lesson 08
config, scaler = model.config, model.scaler
print(f"trained for {saved.step} steps on {saved.windows} windows")

# %% [markdown]
# For a sampler, the network is a function `eps_model(x, t)` that returns the noise in $x$ at time $t$. This network's
# output is $v$, which is converted to noise first. The schedule is a table $\bar\alpha_0 = 1 > \bar\alpha_1 > \dots >
# \bar\alpha_T$:

# %%
show_source(Model.eps_model)
alpha_bar = model.alpha_bar
plain_eps_model = model.eps_model()
evaluations = 0


def eps_model(x, t):
    """The network, with a count of its evaluations, one for each clip."""
    global evaluations
    evaluations += len(x)
    return plain_eps_model(x, t)


print(f"signal rate: {alpha_bar[1] ** 0.5:.3f} at t = 1, {alpha_bar[T] ** 0.5:.3f} at t = {T}")

# %% [markdown]
# ## From noise to music
#
# First the deterministic DDIM in $S = 40$ steps. `ddim` is a generator that yields $x$ at every step, so we can watch.

# %%
FRAMES = 64 if FAST else 256  # 5.12 s: four times what the network was trained on
CLIPS = 2 if FAST else 4


def noise(clips=CLIPS, frames=FRAMES, seed=0):
    """x_T: standard normal, float32 (clips, frames, 128, 1)."""
    return np.random.default_rng(seed).standard_normal((clips, frames, 128, 1), dtype=np.float32)


def walk(xs):
    """Every x of a sampler, (steps + 1, clips, frames, 128, 1)."""
    with threads():
        return np.stack(list(xs))


def log_mels(x):
    """Log-mels (..., frames, 128) of standardised x (..., frames, 128, 1)."""
    return scaler.restore(x[..., 0])


tau = uniform_tau(T, 5 if FAST else 40)
path = walk(ddim(eps_model, noise(), alpha_bar, tau))
music = log_mels(path[-1])
print("the walk down:", *tau[:-6:-1], "...", *tau[3::-1])
print("path (steps + 1, clips, frames, mel bins, 1):", path.shape)
assert len(path) == len(tau) and np.isfinite(path).all()

# %%
RANGE = {"vmin": -9, "vmax": 3}


def draw(ax, picture, **options):
    """A log-mel spectrogram: time to the right, mel bins up."""
    return ax.imshow(picture.T, extent=(0, len(picture) / 50, 0, 128), interpolation="nearest", **RANGE, **options)


# %% tags=["hide-input"]
shown = [*range(len(path)), *[len(path) - 1] * 12]
fig, axes = plt.subplots(2, 1, figsize=(6, 5), sharex=True)
upper = draw(axes[0], log_mels(path[0, 0]))
lower = draw(axes[1], log_mels(path[0, 0]))
axes[0].set(ylabel="mel bin")
axes[1].set(xlabel="time (s)", ylabel="mel bin")
times = tau[::-1]
with threads():
    guesses = [
        predict_x0(x[:1], alpha_bar[t], plain_eps_model(x[:1], t)) for x, t in zip(path, times[:-1], strict=False)
    ]
guesses.append(path[-1, :1])


def frame(i):
    step = shown[i]
    upper.set_data(log_mels(path[step, 0]).T)
    lower.set_data(log_mels(guesses[step][0]).T)
    axes[0].set_title(f"x at t = {times[step]}")
    axes[1].set_title("the predicted x0")


film(fig, frame, len(shown), "from noise to music: x above, and the predicted x0 below, step after step", 8)

# %% [markdown]
# Above is $x_t$, which loses its noise. Below is the predicted $\hat x_0$. At first it is paler and smoother than the
# finished clip, with notes as blurred bars; the fine lines come last. **Large forms are decided while there is much
# noise, details when there is little.** To measure this, split each picture into means over 8 x 8 pixels and the
# rest, and correlate both with the finished clip:


# %%
def to_sound(pictures):
    """Griffin-Lim, a clip a thread."""
    return parallel(griffin_lim, list(pictures))


stages = [len(guesses) * i // 8 for i in (0, 2, 4)] + [len(guesses) - 1]
for step, x in zip(stages, to_sound([log_mels(guesses[step][0]) for step in stages]), strict=True):
    sound(x, f"The predicted x0 at t = {times[step]}" if times[step] else "The finished clip")


def form_and_detail(x):
    """Means over 8 x 8 pixels of x (..., frames, 128), and what they leave."""
    form = x.reshape(-1, 8, 16, 8).mean(axis=(1, 3)).repeat(8, axis=0).repeat(8, axis=1).reshape(x.shape)
    return form, x - form


finished = form_and_detail(path[-1, ..., 0])
print("   t   correlation of the form   of the detail   (with the finished clips, all of them)")
kept, detail = {}, {}
for step in stages:
    x, t = path[step], times[step]
    with threads():
        parts = form_and_detail((predict_x0(x, alpha_bar[t], plain_eps_model(x, t)) if t else x)[..., 0])
    detail[step] = parts[1].std()
    kept[step] = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(parts, finished, strict=True)]
    print(f"{times[step]:4}{kept[step][0]:26.2f}{kept[step][1]:16.2f}")
assert FAST or (kept[0][0] > kept[0][1] + 0.03 and detail[stages[-1]] > 1.1 * detail[0])

for i, x in enumerate(to_sound(music[1:3]), start=2):
    sound(x, f"Clip {i}")

# %% [markdown]
# The clips are four times as long as the training windows. That is possible because every layer of this network takes
# a plane of any length. It has heard 1.28 s at a time and knows no tune, so it plays single notes without a plan.
#
# ## The same noise, the same music
#
# With $\eta = 0$ the sampler draws no random numbers: the music is a *function of the noise*. The same seed gives the
# same clip, to the last bit, and a clip does not depend on the others in its batch.
#
# **Predict.** Add 5 % of other noise to $x_T$. How far is the new clip from the old one, as a share of the distance
# between two clips from unrelated noises?

# %%
few = uniform_tau(T, 5 if FAST else 20)


def clip_error(a, b):
    """The mean distance of log-mels, over all clips: 0.69 is a factor of two in every pixel."""
    return float(np.abs(log_mels(a) - log_mels(b)).mean())


small = noise(2, 64 if FAST else 128)  # two clips, to try things on
a = walk(ddim(eps_model, small, alpha_bar, few))[-1]
b = walk(ddim(eps_model, noise(*small.shape[:2]), alpha_bar, few))[-1]
alone = walk(ddim(eps_model, small[1:], alpha_bar, few))[-1]
nudged = small + 0.05 * noise(*small.shape[:2], seed=1)
near = walk(ddim(eps_model, nudged, alpha_bar, few))[-1]
other = walk(ddim(eps_model, noise(*small.shape[:2], seed=2), alpha_bar, few))[-1]
print(f"the same noise again: {clip_error(a, b):.3f}; clip 2 alone: {clip_error(a[1:], alone):.3f}")
print(f"5 % of other noise added: {clip_error(a, near):.3f}; other noise: {clip_error(a, other):.3f}")
assert np.array_equal(a, b) and clip_error(a[1:], alone) < 1e-3
assert FAST or clip_error(a, near) < 0.2 * clip_error(a, other)

# %% [markdown]
# This function can be inverted. `ddim_inversion` goes from a clip up to the noise from which `ddim` makes it. A step
# down from $t$ to $s$ uses $\epsilon(x_t, t)$. On the way up $x_t$ is unknown, so the step first uses $\epsilon(x_s,
# t)$. This gives an estimate of $x_t$, at which the network can be evaluated again. Here is a piece of the *training
# music*, turned into noise and back:

# %%
if not (MUSIC / "plucked.00005.wav").exists():
    synth.write_corpus(BUILD / "music", tracks_per_genre=6)
windows = load_windows(config)
real = scaler.standardise(windows.take([3]))[..., None]
climb = uniform_tau(T, 5 if FAST else 50)
print("evaluations a step   there and back: log-mel error   variance of the noise")
back = {}
variances = {}
for asked in (1, 3) if FAST else (1, 3, 12):
    found = walk(ddim_inversion(eps_model, real, alpha_bar, climb, asked))[-1]
    again = walk(ddim(eps_model, found, alpha_bar, climb))[-1]
    back[asked], variances[asked] = clip_error(real, again), found.var()
    print(f"{asked:10}{back[asked]:26.3f}{found.var():26.2f}")
assert FAST or (back[3] < 0.7 * back[1] and back[1] < 0.3)
assert FAST or variances[12] > variances[3] > variances[1]
show_answer(ddim_inversion)

# %%
for label, x in (("A training clip", real), ("... from the noise that was found", again)):
    sound(griffin_lim(log_mels(x)[0]), label)

# %% [markdown]
# The two sound nearly the same: there is a noise from which the network makes this music. But the variance of that
# noise rises with the number of evaluations. Each step up must solve a fixed-point equation, $x_t = \text{step}(x_s,
# \epsilon(x_t, t))$. One or three evaluations do not reach the solution, although they are enough to come back to the
# clip. So do not read these variances as a property of the music: the iteration has not converged.
#
# ## How many steps?
#
# DDIM with $\eta = 0$ solves a differential equation, and with more steps it comes closer to the exact solution. We
# compute that solution with hundreds of steps, and measure how far from it a sampler with few steps is. The cost is the
# number of network evaluations: `heun` needs two for each step but the last.
#
# **Predict.** With 20 evaluations, which of `ddim`, `heun` and `dpm++2m` is closest to the exact solution? (In lesson
# 04 the second-order rules, the last two, won by far.)


# %%
def cost_and_clip(sampler, tau, *options):
    """Evaluations of the network for one clip, and the clips."""
    global evaluations
    evaluations = 0
    x = walk(sampler(eps_model, small, alpha_bar, tau, *options))[-1]
    return evaluations // len(small), x


def log_snr_walk(T, steps):
    return log_snr_tau(alpha_bar, steps)


def with_one(T, steps):
    """Equal steps, but the last one goes from t = 1 to 0."""
    return np.insert(uniform_tau(T, steps - 1), 1, 1)


_, exact = cost_and_clip(dpm_solver_pp_2m, uniform_tau(T, 10 if FAST else 300))
ladder = (2, 4, 8) if FAST else (3, 5, 10, 20, 40)
runs = (
    ("ddim", ddim, uniform_tau),
    ("heun", heun, uniform_tau),
    ("dpm++2m", dpm_solver_pp_2m, uniform_tau),
    ("ddim, with t = 1", ddim, with_one),
    ("ddim, log-SNR", ddim, log_snr_walk),
    ("dpm++2m, log-SNR", dpm_solver_pp_2m, log_snr_walk),
)
curves, drawn = {}, {}
for name, sampler, spaced in runs:
    curves[name] = []
    for steps in ladder:
        cost, drawn[name, steps] = cost_and_clip(sampler, spaced(T, steps))
        curves[name].append((cost, clip_error(drawn[name, steps], exact)))
print("evaluations: log-mel error")
for name, rows in curves.items():
    print(f"{name:17}" + "".join(f"{cost:4}: {error:.3f}" for cost, error in rows))
off = {name: [error for _, error in rows] for name, rows in curves.items()}
if not FAST:
    assert off["ddim"][-1] < 0.4 * off["ddim"][0] and off["heun"][-1] > 0.3 * off["ddim"][-1]
    assert max(errors[-1] for errors in off.values()) < 0.2  # 0.69 is a factor of two
    at_20 = off["ddim"][3], off["heun"][2], off["dpm++2m"][3]
    assert max(at_20) < 1.6 * min(at_20)
    assert all(off[f"{name}, log-SNR"][4] < 0.9 * off[name][4] for name in ("ddim", "dpm++2m"))
    assert np.mean(off["ddim, with t = 1"][2:]) < 0.95 * np.mean(off["ddim"][2:])

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3.6))
for (name, rows), marker in zip(curves.items(), "os^vDP", strict=True):
    ax.loglog(*np.transpose(rows), marker + "-", markersize=5, linewidth=1, label=name)
ax.set(xlabel="evaluations of the network", ylabel="log-mel error", title="distance from the exact solution")
ax.minorticks_off()
ax.set_xticks([3, 5, 10, 20, 40, 80], ["3", "5", "10", "20", "40", "80"])
ax.set_yticks([0.03, 0.1, 0.3], ["0.03", "0.1", "0.3"])
ax.legend(fontsize=9)
plt.show()

# %% [markdown]
# Every sampler comes to nearly the same music. In lesson 04 the second-order rules won by far. Here, with 20
# evaluations, none of the three is far ahead. *Where* the steps are matters more. With 40 evaluations the log-SNR steps
# come closer than equal steps in time; with 20, one of the clips may still turn into other music. One reason is that
# they include $t = 1$. There this schedule jumps from a signal rate of 0.933 to 1: a large step in log-SNR, and a
# single step in time. Equal steps in time, with $t = 1$ added, come closer than without it, on average over 10, 20 and
# 40 steps. An exact oracle on the same schedule shows that this is not the network's fault:

# %%
oracle = gaussian_eps_model(0.0, 0.25, alpha_bar)
points = np.random.default_rng(0).standard_normal(1000)
finest = walk(dpm_solver_pp_2m(oracle, points, alpha_bar, uniform_tau(T, T)))[-1]
of_oracle = {}
print("an oracle, 20 evaluations: mean error")
for name, sampler, tau in (
    ("ddim", ddim, uniform_tau(T, 20)),
    ("heun", heun, uniform_tau(T, 10)),
    ("dpm++2m", dpm_solver_pp_2m, uniform_tau(T, 20)),
    ("dpm++2m, log-SNR", dpm_solver_pp_2m, log_snr_tau(alpha_bar, 20)),
):
    of_oracle[name] = np.abs(walk(sampler(oracle, points, alpha_bar, tau))[-1] - finest).mean()
    print(f"{name:17}{of_oracle[name]:.4f}")
*equal_steps, spaced_by_snr = of_oracle.values()
assert max(equal_steps) < 2.5 * min(equal_steps) and min(equal_steps) > 20 * spaced_by_snr

# %% [markdown]
# With equal steps a second-order rule wins little here, and with log-SNR steps it wins by far. Below are the times;
# `quadratic_tau`, with small steps near 0, is a third rule.

# %%
for name, spaced in (("uniform", uniform_tau), ("quadratic", quadratic_tau), ("log-SNR", log_snr_walk)):
    print(f"5 steps, {name:9}:", *(f"{t:5}" for t in spaced(T, 5)))
show_answer(uniform_tau, quadratic_tau)

# %% tags=["hide-input"]
pictured = [ladder[0], ladder[2], ladder[-1]]
fig, axes = plt.subplots(4, 1, figsize=(6, 8), sharex=True)
for ax, steps in zip(axes, pictured, strict=False):
    draw(ax, log_mels(drawn["ddim", steps])[0])
    ax.set(ylabel="mel bin", title=f"ddim, {steps} steps")
draw(axes[3], log_mels(exact)[0])
axes[3].set(xlabel="time (s)", ylabel="mel bin", title="the exact solution (hundreds of steps)")
plt.show()

# %%
for steps in pictured:
    sound(griffin_lim(log_mels(drawn["ddim", steps])[0]), f"ddim, {steps} steps")
sound(griffin_lim(log_mels(exact)[0]), "The exact solution")
print("steps   correlation of the form   of the detail   (with the exact solution)")
near = {}
for steps in pictured:
    pairs = zip(form_and_detail(drawn["ddim", steps][0, ..., 0]), form_and_detail(exact[0, ..., 0]), strict=True)
    near[steps] = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]
    print(f"{steps:5}{near[steps][0]:26.3f}{near[steps][1]:16.3f}")
assert FAST or (near[3][0] > near[3][1] and near[3][1] < near[40][1] - 0.02 and near[3][0] > 0.9)

# %% [markdown]
# All of them have the same notes. With few steps the form of the picture is nearly right; its details, such as attacks
# and overtones, differ more.
#
# ## Fresh noise: eta
#
# With $\eta > 0$ each step keeps a little less of the old noise and adds fresh noise. $\eta = 1$ is DDPM's sampler,
# with any choice of steps. Then the first noise no longer decides everything. The table shows how far apart two clips
# are that begin with the same noise:

# %%
print("steps   eta   two clips apart   variance of x")
spread, variance, by_eta = {}, {}, {}
for steps in (ladder[1], ladder[-1]):
    tau = uniform_tau(T, steps)
    for eta in (0.0, 0.5, 1.0):
        one, two = (
            walk(ddim(eps_model, small, alpha_bar, tau, eta, np.random.default_rng(seed)))[-1] for seed in (3, 4)
        )
        key = steps, eta
        by_eta[key], spread[key], variance[key] = one, clip_error(one, two), one.var()
        print(f"{steps:5}{eta:6.1f}{spread[key]:14.2f}{variance[key]:17.2f}")
ancestral = walk(ddpm(eps_model, small, alpha_bar, np.random.default_rng(3), tau=tau))[-1]
print(f"ddpm on the same steps, beside eta = 1: {clip_error(ancestral, by_eta[key]):.4f}")
assert clip_error(ancestral, by_eta[key]) < 1e-2
assert 0 == spread[steps, 0.0] < spread[steps, 0.5] < spread[steps, 1.0]
assert FAST or max(variance.values()) < 0.9

# %%
for eta in (0.0, 0.5, 1.0):
    sound(griffin_lim(log_mels(by_eta[steps, eta])[0]), f"eta = {eta}, {steps} steps")

# %% [markdown]
# The training music has variance 1 in these units, and the clips have less. Is the short training the cause? Perhaps
# not: this schedule ends at a signal rate of 0.195, so the network has never seen pure noise. In training there was
# always a faint picture of the music. Sampling begins without it. Now give the sampler what training gave the network,
# real music at that rate, under the noise.
#
# **Predict.** Will the variance of the clips now be right, or will it still be too small?

# %%
clips = scaler.standardise(windows.take(np.arange(0, len(windows), 28)[:8]))[..., None]
begin = noise(*clips.shape[:2], seed=5)
ends = {}
for name, x in (("pure noise", begin), ("signal and noise", q_sample(clips, float(alpha_bar[T]), begin))):
    ends[name] = walk(ddim(eps_model, x, alpha_bar, uniform_tau(T, 5 if FAST else 40)))[-1].var()
    print(f"from {name:17}: variance {ends[name]:.2f}")
print(f"the real clips        : variance {clips.var():.2f}")
assert FAST or (ends["signal and noise"] > 1.3 * ends["pure noise"] and ends["signal and noise"] > 0.8 * clips.var())

# %% [markdown]
# With the faint picture the variance is right, without it much is missing. So the cause is the end of the schedule and
# not the short training. [Lin et al. 2023](https://arxiv.org/abs/2305.08891) found this in image models. They end the
# schedule without signal, for which the network must predict $v$ or $x_0$. This package leaves the schedule as it is,
# and draws a faint picture to begin with, an *outline*: the mean of the training windows, and their main directions
# with random weights (`Model.start`; `docs/results.md` measures how much of the variance that brings back). A run keeps
# what is needed for it.
#
# Fresh noise corrects some of the errors of earlier steps ([Karras et al. 2022](https://arxiv.org/abs/2206.00364)),
# but many steps are needed to remove it again. With few steps, or where the same noise should give the same music,
# take $\eta = 0$. With many, listen to both.
#
# ## Your own piece
#
# Change the number below, run the cell, and the network plays a piece that nobody has heard before. This is the whole
# system of the course in three lines: noise from your seed, a sampler that asks the network of lesson 08, and sound
# from Griffin-Lim (lesson 02). `python -m ddim_from_scratch.sample --run build/lessons/run` writes pieces as files, and
# begins each with an outline.

# %%
YOUR_SEED = 2026
x_T = noise(1, 64 if FAST else 512, YOUR_SEED)  # 512 frames are 10.24 s
mine = log_mels(walk(dpm_solver_pp_2m(eps_model, x_T, alpha_bar, log_snr_tau(alpha_bar, 4 if FAST else 25)))[-1])[0]
sound(griffin_lim(mine), f"Your own piece, from seed {YOUR_SEED}")

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.4))
draw(ax, mine)
ax.set(xlabel="time (s)", ylabel="mel bin", title=f"your own piece, from seed {YOUR_SEED}")
plt.show()

# %%
assert mine.shape == (x_T.shape[1], 128) and np.isfinite(mine).all()
assert FAST or 0.3 < scaler.standardise(mine).var() < 1.2

# %% [markdown]
# ## Common mistakes
#
# | what you see or hear | what it is |
# |---|---|
# | a grainy picture, a rough sound | the last step doesn't reach $\bar\alpha_0 = 1$: tau must begin with 0 |
# | a grey, smeared picture | $\bar\alpha$ of another schedule than the training's |
# | noise, though the loss is good | v was read as $\epsilon$; or the moving average is young |
# | another clip for the same seed | $\eta$ isn't 0, or the generator had been used before |
# | good with 50 steps, rough with 600 | steps `t - T // S`: they miss 0 where S doesn't divide T |
# | a clip depends on the others in its batch | batch normalisation with the batch's statistics: use the running ones |
# | everything is far too loud or too soft | the standardisation was not undone: `scaler.restore` |
# | `heun` seems twice as good as it is | count evaluations, not steps |
#
# ## Exercises
#
# Write `uniform_tau`, `quadratic_tau` and `ddim_inversion` in `lessons/09_sampling/exercise.py`, and run `make
# check-09`. Right answers look like this:

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 1, figsize=(6, 5))
walks = (("uniform_tau(1000, 12)", uniform_tau(T, 12)), ("quadratic_tau(1000, 12)", quadratic_tau(T, 12)))
for height, (name, tau) in enumerate(walks):
    axes[0].plot(tau, np.full(13, height), "os"[height], label=name)
axes[0].set(xlabel="t", yticks=[], ylim=(-0.7, 2.2), title="two walks")
axes[0].legend(ncols=2, loc="upper center", fontsize=9)
points = np.linspace(-2, 2, 9)[:, None]
cosine = np.cos(np.linspace(0.35, 1.5, T + 1)) ** 2
cosine[0] = 1
road = np.concatenate([*ddim_inversion(lambda x, t: np.tanh(2 * x), points, cosine, uniform_tau(T, 100))], axis=1)
axes[1].plot(uniform_tau(T, 100), road.T, color="#0072B2", linewidth=1)
axes[1].set(xlabel="t", ylabel="x", title="ddim_inversion of nine points, for eps = tanh(2 x)")
plt.show()

# %% [markdown]
# ## Experiment
#
# At which noise level is a piece decided? Take two training clips, add noise up to time $t$ with `q_sample`, and remove
# it again with `ddim`, in 20 steps, `uniform_tau(t, 20)`. Do it for $t$ = 100, 300, 500, 700, 900 and 1000, each time
# with two different noises, and measure how far the result is from the clip, and how far the two results are from each
# other. Fill in the form at the end of `exercise.py`.

# %% tags=["answer"]
from_clip, from_each_other = {}, {}
two = scaler.standardise(windows.take([3, min(40, len(windows) - 1)]))[..., None]
print("   t   signal rate   from the clip   two results from each other")
for t in (100, 300, 500, 700, 900, 1000):
    results = []
    for seed in (0, 1):
        x_t = q_sample(two, float(alpha_bar[t]), noise(2, two.shape[1], seed))
        results.append(walk(ddim(eps_model, x_t, alpha_bar, uniform_tau(t, 4 if FAST else 20)))[-1])
    from_clip[t] = np.mean([clip_error(x, two) for x in results])
    from_each_other[t] = clip_error(*results)
    print(f"{t:4}{alpha_bar[t] ** 0.5:12.2f}{from_clip[t]:15.2f}{from_each_other[t]:18.2f}")
if not FAST:
    assert from_clip[100] < from_clip[500] < from_clip[1000]
    assert from_each_other[100] < 0.75 * from_each_other[1000]
    assert from_clip[1000] < 0.9 * clip_error(two[:1], two[1:])

# %% [markdown] tags=["answer"]
# Both distances rise with $t$. After little noise the result is the clip with other details. Even at $t = 1000$ it is
# nearer to the clip than another training clip is: this schedule never removes all of the signal, and lesson 03
# computes that 4 % of the variance, spread over thousands of numbers, decide a whole piece. To vary a piece, noise it
# half-way. To replace it, begin with pure noise.

# %% [markdown]
# ## Sources
#
# - J. Song, C. Meng, S. Ermon (2021), [Denoising diffusion implicit models](https://arxiv.org/abs/2010.02502): DDIM,
#   eta, and the way back.
# - T. Karras, M. Aittala, T. Aila, S. Laine (2022), [Elucidating the design space of diffusion-based generative
#   models](https://arxiv.org/abs/2206.00364): Heun's rule, and where to put the steps.
# - C. Lu and others (2022), [DPM-Solver++](https://arxiv.org/abs/2211.01095).
# - S. Lin, B. Liu, J. Li, X. Yang (2023), [Common diffusion noise schedules and sample steps are
#   flawed](https://arxiv.org/abs/2305.08891): schedules that end before pure noise.
# - C. Meng and others (2022), [SDEdit](https://arxiv.org/abs/2108.01073): the experiment, with pictures.
