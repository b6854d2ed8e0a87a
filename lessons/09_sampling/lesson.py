# %% [markdown]
# # Sampling, and listening
#
# A trained network is not yet music. Somebody has to begin with noise and ask the network, step after step,
# what to take away; how many steps, which rule, and how much fresh noise is the listener's choice, and no
# training is needed to change it. This lesson turns each of these knobs on one and the same network, and
# listens.
#
# You need the samplers (lesson 04) and a trained network: the run of lesson 08, if it is in
# `build/lessons/run`; without it this lesson trains for 400 steps first. It runs in about a minute, with
# training in about two. The samplers are DDIM ([Song et al. 2021](https://arxiv.org/abs/2010.02502)), Heun's
# ([Karras et al. 2022](https://arxiv.org/abs/2206.00364)) and DPM-Solver++(2M)
# ([Lu et al. 2022](https://arxiv.org/abs/2211.01095)).

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
# To a sampler, the network is a function `eps_model(x, t)`: the noise that it sees in $x$ at time $t$. The
# output is $v$, so it is read as noise first. And the schedule is a table $\bar\alpha_0 = 1 > \bar\alpha_1 >
# \dots > \bar\alpha_T$:

# %%
show_source(Model.eps_model)
alpha_bar = model.alpha_bar
plain_eps_model = model.eps_model()
evaluations = 0


def eps_model(x, t):
    """The network, counting how often it is asked."""
    global evaluations
    evaluations += len(x)
    return plain_eps_model(x, t)


print(f"signal rate: {alpha_bar[1] ** 0.5:.3f} at t = 1, {alpha_bar[T] ** 0.5:.3f} at t = {T}")

# %% [markdown]
# ## From noise to music
#
# The deterministic DDIM in $S = 40$ steps. `ddim` is a generator that yields $x$ at every step; so we can watch.

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
    axes[1].set_title("the network's idea of the music in it")


film(fig, frame, len(shown), "from noise to music: x, and the network's idea of x0, step after step", 8)

# %% [markdown]
# Above is $x_t$, noise that clears. Below is what the network would say if it had to answer at once,
# $\hat x_0$: at first the *average* of all music, smooth and grey; then bars where notes might be; the fine
# lines last. **Large forms are decided while there is much noise, details when there is little.** It sounds
# like that, too:


# %%
def to_sound(pictures):
    """Griffin-Lim, a clip a thread."""
    return parallel(griffin_lim, list(pictures))


stages = [len(guesses) * i // 8 for i in (0, 2, 4)] + [len(guesses) - 1]
for step, x in zip(stages, to_sound([log_mels(guesses[step][0]) for step in stages]), strict=True):
    sound(x, f"The network's idea at t = {times[step]}" if times[step] else "The finished clip")
for i, x in enumerate(to_sound(music[1:3]), start=2):
    sound(x, f"Clip {i}")

# %% [markdown]
# The clips are four times as long as the windows of the training, since the network is all convolutions.
# It has heard 1.28 s at a time and knows no tune; expect a string that improvises.
#
# ## The same noise, the same music
#
# With $\eta = 0$ no random numbers are drawn on the way: the music is a *function of the noise*. The same seed
# gives the same clip, to the last bit, and a clip does not depend on the others that are made with it.

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
# A function can be followed backwards. `ddim_inversion` climbs from a clip to the noise that `ddim` makes it
# from. A step down from $t$ to $s$ uses $\epsilon(x_t, t)$; on the way up $x_t$ is what we look for, so the
# step takes $\epsilon(x_s, t)$ instead, and, to do better, asks again at the $x_t$ so found. Here is a piece of the
# *training music*, as noise, and back:

# %%
if not (MUSIC / "plucked.00005.wav").exists():
    synth.write_corpus(BUILD / "music", tracks_per_genre=6)
windows = load_windows(config)
real = scaler.standardise(windows.take([3]))[..., None]
climb = uniform_tau(T, 5 if FAST else 50)
print("asked per step   there and back: log-mel off by   variance of the noise")
back = {}
variances = {}
for asked in (1, 3) if FAST else (1, 3, 12):
    found = walk(ddim_inversion(eps_model, real, alpha_bar, climb, asked))[-1]
    again = walk(ddim(eps_model, found, alpha_bar, climb))[-1]
    back[asked], variances[asked] = clip_error(real, again), found.var()
    print(f"{asked:8}{back[asked]:26.3f}{found.var():26.2f}")
assert FAST or (back[3] < 0.7 * back[1] and back[1] < 0.3)
assert FAST or variances[12] > 1.3 * variances[3] > 1.3 * variances[1]
show_answer(ddim_inversion)

# %%
for label, x in (("A training clip", real), ("... from the noise that was found", again)):
    sound(griffin_lim(log_mels(x)[0]), label)

# %% [markdown]
# Hardly a difference can be heard: there is a noise from which the network makes this music. But look at the
# noise's variance, which rises with the number of evaluations. Each step up looks for a fixed point,
# $x_t = \text{step}(x_s, \epsilon(x_t, t))$, and one or three evaluations do not reach it, though they suffice to
# come back to the clip. So neither variance is a property of the music; both are unfinished sums.
#
# ## How many steps?
#
# DDIM with $\eta = 0$ follows a differential equation, and with ever more steps it comes to the equation's
# own answer. We make that answer with hundreds of steps, and measure how far from it a cheap sampler is. What
# counts is how often the network is asked: `heun` asks twice a step.


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
print("evaluations: log-mel off by")
for name, rows in curves.items():
    print(f"{name:17}" + "".join(f"{cost:4}: {error:.3f}" for cost, error in rows))
off = {name: [error for _, error in rows] for name, rows in curves.items()}
if not FAST:
    assert off["ddim"][-1] < 0.4 * off["ddim"][0] and off["heun"][-1] > 0.3 * off["ddim"][-1]
    assert off["ddim, log-SNR"][3] < 0.85 * off["ddim"][3] and off["ddim, with t = 1"][3] < 0.85 * off["ddim"][3]

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3.6))
for (name, rows), marker in zip(curves.items(), "os^vDP", strict=True):
    ax.loglog(*np.transpose(rows), marker + "-", markersize=5, linewidth=1, label=name)
ax.set(xlabel="evaluations of the network", ylabel="log-mel off by", title="towards the many-steps result")
ax.minorticks_off()
ax.set_xticks([3, 5, 10, 20, 40, 80], ["3", "5", "10", "20", "40", "80"])
ax.set_yticks([0.03, 0.1, 0.3], ["0.03", "0.1", "0.3"])
ax.legend(fontsize=9)
plt.show()

# %% [markdown]
# Every sampler comes to nearly the same music. But compare with lesson 04, where the second-order rules won by
# far: a trained network is not a smooth formula, and their advantage is much smaller here. It matters more
# *where* the steps are. The log-SNR walk comes closer with the same number of steps. Why? It visits $t = 1$. This
# schedule jumps there, from a signal rate of 0.933 to 1, which is a large step in log-SNR and no step at all in
# time. Equal steps in time with $t = 1$ added gain nearly as much: that one visit is most of the difference. See the
# times below; `quadratic_tau`, with small steps near 0, is a third rule.

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
axes[3].set(xlabel="time (s)", ylabel="mel bin", title="hundreds of steps")
plt.show()

# %%
for steps in pictured:
    sound(griffin_lim(log_mels(drawn["ddim", steps])[0]), f"ddim, {steps} steps")
sound(griffin_lim(log_mels(exact)[0]), "The many-steps result")

# %% [markdown]
# The same notes in all of them. With few steps the picture is smoother and paler, since each step answers
# with something like an average; with more, attacks and overtones stand out.
#
# ## Fresh noise: eta
#
# With $\eta > 0$ each step puts a little less of the old noise back, and fresh noise in its place; $\eta = 1$
# is DDPM's sampler, along whatever steps one takes. Then the first noise no longer decides everything: here
# is how far apart two clips are that begin with the same noise.

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
# The training music has variance 1 in these units, and the clips have less. One might blame the short training.
# But this schedule ends at a signal rate of 0.195, so the network has never seen pure noise: in training, a
# faint picture of the music was always there, and the network relies on it. Sampling begins without it. Give
# the sampler what training gave the network, real music at that rate under the noise:

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
# With the faint picture the variance is right; without it about half is missing. So the end of the schedule costs
# this, and not the short training ([Lin et al. 2023](https://arxiv.org/abs/2305.08891) found it in image models and
# let the schedule end at no signal, for which the network must predict $v$ or $x_0$).
#
# Fresh noise corrects some of the errors of earlier steps, but many steps are needed to remove it again. With few
# steps, or where the same noise should give the same music, take $\eta = 0$; with many, listen to both.
#
# ## Common mistakes
#
# | what you see or hear | what it is |
# |---|---|
# | a grainy picture, a rough sound | the last step doesn't reach $\bar\alpha_0 = 1$: tau must begin with 0 |
# | grey, then a smear | $\bar\alpha$ of another schedule than the training's |
# | noise, though the loss is good | v read as eps; or the last weights in place of the average |
# | another clip for the same seed | $\eta$ isn't 0, or another number of clips drew before this one |
# | good with 50 steps, noise with 30 | steps `t - T // S`: they miss 0 where S doesn't divide T |
# | a clip changes with its company | batch normalisation by the batch's own statistics: use the moving ones |
# | everything far too loud or too soft | the standardisation was not undone: `scaler.restore` |
# | `heun` isn't better than `ddim` | count evaluations, not steps |
#
# ## Exercises
#
# Write `uniform_tau`, `quadratic_tau` and `ddim_inversion` in `lessons/09_sampling/exercise.py`, and run `make
# check-09`. This is what right answers look like:

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
# ## Sources
#
# - [Song et al. 2021, DDIM: the deterministic walk, eta, and the way back](https://arxiv.org/abs/2010.02502)
# - [Karras et al. 2022, Heun's rule and where to put the steps](https://arxiv.org/abs/2206.00364)
# - [Lu et al. 2022, DPM-Solver++](https://arxiv.org/abs/2211.01095)
# - [Lin et al. 2023, schedules that end before pure noise](https://arxiv.org/abs/2305.08891)
