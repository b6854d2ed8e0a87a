# %% [markdown]
# # Noise: the equations of diffusion, one by one
#
# A diffusion model learns to remove a little noise from music. Generating reverses a thousand such steps: it starts
# from pure noise and removes a little at each one. This lesson derives the forward process, its closed form, the
# noise schedules, the reverse step, why a network's guess may stand for the data in it, the loss, and the DDPM-DDIM
# family controlled by eta. Each equation is followed by code that evaluates it. Then it measures where in the noise
# a piece of music is decided, and what a schedule costs that stops too early. Errors in a paper come on the way.
#
# You need lessons 01 and 02, and of probability: the Gaussian, mean and variance, Bayes' rule. No network is
# trained here.

# %%
import matplotlib.pyplot as plt
import numpy as np
import soxr

from ddim_from_scratch.audio import griffin_lim, log_mel, synth
from ddim_from_scratch.diffusion import (
    continuous_cosine_schedule,
    cosine_schedule,
    ddim,
    ddpm,
    eps_of_velocity,
    gaussian_eps_model,
    linear_schedule,
    log_snr,
    log_snr_schedule,
    mixture_eps_model,
    posterior,
    predict_x0,
    q_sample,
    uniform_tau,
    velocity,
)
from ddim_from_scratch.spectrogram.data import Scaler
from lessons import FAST, film, show_answer, show_source, sound

rng = np.random.default_rng(0)

# %% [markdown]
# ## Music as numbers of unit size
#
# Our data are log-mel spectrograms, lesson 02's pictures: here are three, of five seconds each.


# %%
def music(tune, genre, seconds=5):
    """The log-mel spectrogram (250, 128) of a tune of the embedded music."""
    notes = synth.score(synth.TUNES[tune], held=genre == "organ")
    played = synth.play(notes, genre, 0, 100, np.random.default_rng(0))[: seconds * synth.SR]
    return log_mel(soxr.resample(played, synth.SR, 16_000).astype(np.float32))


names = ["Ode to Joy (Beethoven)", "Greensleeves", "Frere Jacques"]
genres = ["plucked", "organ", "bells"]
log_mels = np.stack([music(name, genre) for name, genre in zip(names, genres, strict=True)])
print("three log-mel spectrograms:", log_mels.shape)
print(f"mean {log_mels.mean():.2f}, standard deviation {log_mels.std():.2f}")

# %% [markdown]
# The noise has mean 0 and variance 1. The data are brought to the same size first: from each mel bin its mean over the
# training set is subtracted, and the result is divided by its standard deviation. Then the factors of signal and noise
# say how large each of them is. Without this step the loudest mel bins would dominate the loss.

# %%
scaler = Scaler(mean=log_mels.mean(axis=(0, 1)), std=log_mels.std(axis=(0, 1)))
data = scaler.standardise(log_mels)
x_0 = data[0]  # the piece that we shall follow
print(f"now: mean {abs(data.mean()):.2f}, variance {data.var():.2f};", end=" ")
print(f"the first piece's {x_0.var():.2f}")
assert abs(data.mean()) < 1e-4 and abs(data.var() - 1) < 1e-4
show_source(Scaler.standardise, Scaler.restore)

# %% [markdown]
# ## One step into the noise
#
# A step scales the data down a little and adds a little noise
# ([Ho, Jain and Abbeel 2020](https://arxiv.org/abs/2006.11239), "DDPM", equation 2):
#
# $$x_t = \sqrt{1 - \beta_t}\; x_{t-1} + \sqrt{\beta_t}\; z_t, \qquad z_t \sim \mathcal{N}(0, 1).$$
#
# $\beta_t$ is the *share of the variance* that is exchanged at step $t$. Why the square roots? Variances of
# independent variables add, and scaling a variable by $a$ scales its variance by $a^2$:
#
# $$\operatorname{var}(x_t) = (1 - \beta_t) \operatorname{var}(x_{t-1}) + \beta_t.$$
#
# Subtract both sides from 1:
#
# $$1 - \operatorname{var}(x_t) = (1 - \beta_t)\, \big(1 - \operatorname{var}(x_{t-1})\big).$$
#
# Unit variance is preserved; any other variance decays towards 1. Without the first root the variance would grow
# with every step. DDPM takes $T = 1000$ steps, with $\beta$ on a straight line:

# %%
T = 1000
beta = np.append(np.nan, np.linspace(1e-4, 0.02, T))  # beta[t], t = 1 .. T; there is no beta[0]

variances = {start: [start] for start in (0.0, 0.25, 1.0, 2.0)}
for t in range(1, T + 1):
    for path in variances.values():
        path.append((1 - beta[t]) * path[-1] + beta[t])
print("variance at t = 0    t = 500    t = 1000")
for start, path in variances.items():
    print(f"{start:17}{path[500]:11.3f}{path[1000]:12.5f}")
    assert abs(path[1000] - 1) < 1e-4
print(f"without the first root it would have grown by {np.nansum(beta):.2f}")

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.6))
for start, path in variances.items():
    ax.plot(path, label=f"{start:g} at first")
ax.set(xlabel="time t (steps)", ylabel="variance of $x_t$", title="every variance moves towards 1")
ax.legend(ncols=2)
plt.show()

# %% [markdown]
# ## All steps in one
#
# Computing $x_{500}$ should not need 500 steps. Write $\alpha_t = 1 - \beta_t$ and substitute one step into
# the next:
#
# $$x_t = \sqrt{\alpha_t}\, \big(\sqrt{\alpha_{t-1}}\, x_{t-2} + \sqrt{\beta_{t-1}}\, z_{t-1}\big)
# + \sqrt{\beta_t}\, z_t$$
#
# $$= \sqrt{\alpha_t \alpha_{t-1}}\; x_{t-2} + \sqrt{\alpha_t \beta_{t-1}}\, z_{t-1}
# + \sqrt{\beta_t}\, z_t.$$
#
# The last two terms are independent Gaussians. Their sum is one Gaussian, with the sum of their variances:
#
# $$\alpha_t \beta_{t-1} + \beta_t = \alpha_t (1 - \alpha_{t-1}) + 1 - \alpha_t = 1 - \alpha_t \alpha_{t-1}.$$
#
# So two steps equal one step whose $\alpha$ is the product, and the same holds for a thousand steps. With
#
# $$\bar{\alpha}_t = \alpha_1 \alpha_2 \cdots \alpha_t$$
#
# $x_t$ at any time follows from the data directly (DDPM, equation 4):
#
# $$x_t = \sqrt{\bar{\alpha}_t}\; x_0 + \sqrt{1 - \bar{\alpha}_t}\; \epsilon, \qquad \epsilon \sim \mathcal{N}(0, 1).$$
#
# $\bar{\alpha}_t$ is the share of the variance that is still signal. Its root is the *signal rate*, the other
# root the *noise rate*; their squares add up to 1. At $t = 0$ nothing has happened: $\bar{\alpha}_0 = 1$.

# %%
alpha_bar = np.concatenate([[1.0], np.cumprod(1 - beta[1:])])  # alpha_bar[t] for t = 0 .. T
assert np.allclose(alpha_bar, linear_schedule(T), rtol=1e-12)
show_answer(linear_schedule, q_sample)

# %% [markdown]
# To check the derivation, take the thousand steps, but instead of drawing numbers, compute the factors of $x_0$ and of
# each $z_i$ in $x_t$:

# %%
of_x_0, of_z = 1.0, np.zeros(T + 1)
for t in range(1, T + 1):
    of_x_0 *= np.sqrt(1 - beta[t])
    of_z *= np.sqrt(1 - beta[t])
    of_z[t] = np.sqrt(beta[t])
    assert np.isclose(of_x_0**2, alpha_bar[t]) and np.isclose(np.sum(of_z**2), 1 - alpha_bar[t])
print(f"x_0 in x_1000: {of_x_0:.5f}; the root of alpha_bar: {np.sqrt(alpha_bar[T]):.5f}")
print(f"all z in x_1000, squared: {np.sum(of_z**2):.6f}; 1 - alpha_bar: {1 - alpha_bar[T]:.6f}")

# %% [markdown]
# The same with random numbers: ten thousand paths, step by step, all from $x_0 = 2$. A few of them are shown in grey.
# Below are the histograms of all paths at three times, with the density of the closed form.

# %%
walks = np.full((T + 1, 10_000), 2.0)
for t in range(1, T + 1):
    fresh = rng.standard_normal(10_000)
    walks[t] = np.sqrt(1 - beta[t]) * walks[t - 1] + np.sqrt(beta[t]) * fresh
print("time    mean    promised    standard deviation    promised")
for t in (50, 250, 1000):
    mean, std = alpha_bar[t] ** 0.5 * 2, (1 - alpha_bar[t]) ** 0.5
    print(f"{t:4}{walks[t].mean():8.3f}{mean:12.3f}{walks[t].std():22.3f}{std:12.3f}")
    assert abs(walks[t].mean() - mean) < 0.04 and abs(walks[t].std() - std) < 0.03

# %% tags=["hide-input"]
fig, (above, below) = plt.subplots(2, 1, figsize=(6, 5))
above.plot(walks[:, :8], color="#999999", linewidth=0.5)
above.plot(2 * np.sqrt(alpha_bar), label="signal rate times 2")
spread = 2 * np.sqrt(1 - alpha_bar)
low, high = 2 * np.sqrt(alpha_bar) - spread, 2 * np.sqrt(alpha_bar) + spread
above.fill_between(np.arange(T + 1), low, high, alpha=0.15, label="± 2 noise rates")
above.set(xlabel="time t (steps)", ylabel="$x_t$", title="eight walks into the noise", ylim=(-3, 6))
above.legend(ncols=2, loc="upper right")
x = np.linspace(-4, 4, 400)
for t, style in ((50, "-"), (250, "--"), (1000, ":")):
    mean, std = alpha_bar[t] ** 0.5 * 2, (1 - alpha_bar[t]) ** 0.5
    below.hist(walks[t], 80, density=True, color="#cccccc")
    promised = np.exp(-((x - mean) ** 2) / (2 * std**2)) / (std * np.sqrt(2 * np.pi))
    below.plot(x, promised, style, label=f"t = {t}")
below.set(xlabel="$x_t$", ylabel="density", title="ten thousand walks (grey), and what is promised")
below.legend()
plt.show()

# %% [markdown]
# ## Look and listen
#
# Now the music. All times have the same $\epsilon$, so that only its level changes:

# %%
eps = rng.standard_normal(x_0.shape, dtype=np.float32)


def noisy(t):
    """x_t of the piece."""
    return q_sample(x_0, alpha_bar[t], eps)


# %% tags=["hide-input"]
times = np.round(np.linspace(0, 1, 27) ** 2 * 1000).astype(int)
fig, ax = plt.subplots(figsize=(6, 3))
image = ax.imshow(x_0.T, extent=(0, 5, 0, 128), vmin=-2.5, vmax=2.5)
ax.set(xlabel="time (s)", ylabel="mel bin")


def drown(i):
    t = times[i]
    image.set_data(noisy(t).T)
    signal_rate, noise_rate = alpha_bar[t] ** 0.5, (1 - alpha_bar[t]) ** 0.5
    ax.set_title(f"t = {t}: signal rate {signal_rate:.3f}, noise rate {noise_rate:.3f}")


film(fig, drown, len(times), "noise is added to the log-mel spectrogram of Ode to Joy", 6)

# %% [markdown]
# The *signal-to-noise ratio* says how much music is left: $\bar{\alpha}_t / (1 - \bar{\alpha}_t)$, in
# decibels $10 \log_{10}$ of this ratio. For data of unit size the correlation of $x_t$ with $x_0$ should be the
# signal rate. To hear $x_t$, undo the standardisation and compute phases with Griffin-Lim:


# %%
def heard(x, label):
    """A player for a standardised log-mel spectrogram; all are made equally loud."""
    samples = griffin_lim(scaler.restore(x.astype(np.float32)), iterations=16 if FAST else 64)
    sound(0.1 * samples / np.sqrt(np.mean(samples**2)), label)


def decibels(alpha_bar):
    return 10 / np.log(10) * log_snr(alpha_bar)


print("   t    signal rate    correlation with x_0    signal to noise")
for t in (20, 100, 250, 400, 600, 1000):
    correlation = np.corrcoef(noisy(t).ravel(), x_0.ravel())[0, 1]
    print(f"{t:4}{alpha_bar[t] ** 0.5:15.3f}{correlation:24.3f}{decibels(alpha_bar[t]):16.1f} dB")
    assert abs(correlation - alpha_bar[t] ** 0.5) < 0.06  # this piece's variance is not quite 1

# %%
for t in (0, 20, 100, 250, 400, 1000):
    heard(noisy(t), f"t = {t}: signal rate {alpha_bar[t] ** 0.5:.2f}")

# %% [markdown]
# At which time can you no longer follow the tune? At $t = 20$ the picture looks clean, but the noise in each pixel
# multiplies a loudness by a random factor, and the strings crackle. At $t = 250$ signal and noise are equally strong.
# At $t = 1000$ the signal is 44 dB below the noise. Every piece of music ends like this, and such noise can be drawn
# without a model. The rest of the course is about the way back.

# %%
assert abs(decibels(alpha_bar[250])) < 0.5 and round(decibels(alpha_bar[1000])) == -44

# %% [markdown]
# ## Schedules
#
# Signal rate and noise rate are the cosine and sine of one angle, from 0 (data) to 90 degrees (noise). A schedule says
# which angle belongs to which time. Three are used here:
#
# - **linear** (DDPM): $\beta_t$ from 0.0001 to 0.02 on a straight line;
# - **cosine** ([Nichol and Dhariwal 2021](https://arxiv.org/abs/2102.09672)):
#   $\bar{\alpha}_t \propto \cos^2 \varphi_t$ with an angle linear in time, and $\beta_t \le 0.999$;
# - **continuous cosine** (the [Keras DDIM example](https://keras.io/examples/generative/ddim/), and the paper of
#   this course): the angle is linear between $\arccos 0.95$ and $\arccos 0.02$, and time is a real number in
#   $[0, 1]$, of which we take $T$ values.
#
# A fourth one, **log-SNR**, has equal steps in the logarithm of the signal-to-noise ratio; the last section needs it.

# %%
show_source(cosine_schedule, continuous_cosine_schedule)
schedules = {
    "linear": linear_schedule(),
    "cosine": cosine_schedule(),
    "continuous cosine": continuous_cosine_schedule(),
}
print("schedule               alpha_bar_T    first step       last    even at")
for name, ab in schedules.items():
    even = np.argmin(np.abs(log_snr(ab[1:]))) + 1
    first, final = decibels(ab[1]), decibels(ab[-1])
    print(f"{name:20}{ab[-1]:14.2e}{first:11.1f} dB{final:8.1f} dB    t = {even}")
ends = [ab[-1] for ab in schedules.values()]
assert np.allclose(ends, [4.04e-5, 2.43e-9, 0.02**2], rtol=5e-3)

# %% tags=["hide-input"]
fig, (ax, road) = plt.subplots(2, 1, figsize=(6, 6.6), height_ratios=(3, 4))
for (name, ab), style in zip(schedules.items(), ("-", "--", ":"), strict=True):
    ax.plot(np.arange(1, 1001) / 1000, decibels(ab[1:]), style, label=name, linewidth=2)
ax.axhline(0, color="#999999", linewidth=0.8)
ax.set(xlabel="time t / T", ylabel="signal to noise (dB)", ylim=(-60, 45), title="signal to noise over time")
ax.legend()
circle = np.linspace(0, np.pi / 2, 200)
for (name, ab), radius in zip(schedules.items(), (1.0, 0.9, 0.8), strict=True):
    (line,) = road.plot(radius * np.cos(circle), radius * np.sin(circle), linewidth=0.8)
    signal, noise = radius * np.sqrt(ab[::100]), radius * np.sqrt(1 - ab[::100])
    road.plot(signal, noise, "o", color=line.get_color(), label=name)
road.set(xlabel="signal rate", ylabel="noise rate", aspect="equal", xlim=(0, 1.05), ylim=(0, 1.05))
road.set_title("where each is at t / T = 0, 0.1, ..., 1 (radii differ to keep them apart)")
road.legend(loc="lower left")
plt.show()

# %% [markdown]
# The dots show that the linear schedule adds noise quickly. After a quarter of its time signal and noise are equal. For
# a third of its time it is below -20 dB, where a single pixel says almost nothing about the data. (A whole piece still
# does: see the end of this lesson.) The cosine schedule has equal steps of the angle, down to -86 dB at its end.
# Continuous cosine is the same with both ends cut off: at $t = 1$ the noise is only 10 dB below the signal, and one
# large step leads from there to the data.
#
# **Why cut off the end?** To guess $x_0$, a sampler divides by the signal rate, as the next section shows. Where
# $\bar{\alpha}_T$ is nearly 0, this enlarges every error; where it is 0, it fails. **Why not cut off more?** The
# paper's sampling begins with pure noise, as if $\bar{\alpha}_T$ were 0, and its tuned schedule ends with a signal rate
# of 0.195. So in training the network always sees this much music at $t = T$, and in sampling it sees none. The last
# section computes what this costs, and lets you hear it. (Lesson 09 shows with what this package begins.)

# %%
below_20 = {name: np.mean(decibels(ab[1:]) < -20) for name, ab in schedules.items()}
for name, share in below_20.items():
    print(f"{name:17} is below -20 dB for {100 * share:.0f} % of its time")
assert abs(below_20["linear"] - 1 / 3) < 0.01 and max(list(below_20.values())[1:]) < 0.075
tuned = continuous_cosine_schedule(1000, 0.1952300530, 0.9326085839)
print(f"the tuned schedule ends at {decibels(tuned[-1]):.1f} dB, Keras' at {decibels(ends[2]):.1f} dB")
assert round(decibels(tuned[-1])) == -14 and round(decibels(ends[1])) == -86
assert abs(decibels(schedules["continuous cosine"][1]) - 9.6) < 0.1

# %% [markdown]
# ## Predicting noise, data or velocity
#
# A network gets $x_t$ and $t$. It can predict the noise $\epsilon$ or the data $x_0$: since $x_t =
# \sqrt{\bar{\alpha}_t}\, x_0 + \sqrt{1 - \bar{\alpha}_t}\, \epsilon$, one answer gives the other ([Song, Meng and
# Ermon 2021](https://arxiv.org/abs/2010.02502), "DDIM", equation 9):
#
# $$\hat{x}_0 = \frac{x_t - \sqrt{1 - \bar{\alpha}_t}\; \hat{\epsilon}}{\sqrt{\bar{\alpha}_t}}.$$
#
# But their errors differ. An error of $\delta$ in $\hat{\epsilon}$ becomes an error of
# $\delta\, \sqrt{1 - \bar{\alpha}_t} / \sqrt{\bar{\alpha}_t}$ in $\hat{x}_0$:

# %%
show_answer(predict_x0)
print("   t    noise rate / signal rate    error of x_0, if that of eps is 0.01")
for t in (1, 250, 500, 1000):
    factor = ((1 - alpha_bar[t]) / alpha_bar[t]) ** 0.5
    error = predict_x0(noisy(t), alpha_bar[t], eps + 0.01) - x_0
    print(f"{t:4}{factor:28.3f}{np.abs(error).mean():40.4f}")
    assert np.isclose(np.abs(error).mean(), 0.01 * factor, rtol=0.02, atol=1e-6)

# %% [markdown]
# Near the data a small error in $\hat\epsilon$ hardly changes $\hat x_0$. Near the noise an error of a hundredth
# becomes an error of 1.6 standard deviations. A third target, the *velocity*, has no such factor at either end. Write
# the rates as $\cos \varphi$ and $\sin \varphi$. Then $v$ is the derivative of $x_t$ with respect to the angle
# ([Salimans and Ho 2022](https://arxiv.org/abs/2202.00512)):
#
# $$\begin{align*}
# x &= \cos \varphi\; x_0 + \sin \varphi\; \epsilon \\
# v &= \frac{dx}{d\varphi} = \cos \varphi\; \epsilon - \sin \varphi\; x_0
# \end{align*}$$
#
# The pair $(x, v)$ is the pair $(x_0, \epsilon)$, rotated by $-\varphi$. Rotating it back gives $\epsilon = \cos
# \varphi\; v + \sin \varphi\; x$, without any division.

# %%
show_source(velocity, eps_of_velocity)
turn, step = np.arccos(np.sqrt(alpha_bar[400])), 1e-3
ahead, behind = (q_sample(x_0, np.cos(turn + d) ** 2, eps) for d in (step, -step))
v = velocity(x_0, alpha_bar[400], eps)
difference = np.abs((ahead - behind) / (2 * step) - v).max()
print(f"largest difference to the derivative, taken numerically: {difference:.1e}")
assert difference < 1e-3  # as 32 bits allow
assert np.allclose(eps_of_velocity(noisy(400), alpha_bar[400], v), eps, atol=1e-5)

# %% [markdown]
# The paper's network predicts the noise. A training step draws a piece $x_0$, a time $t$ and a noise $\epsilon$, and
# computes $x_t$. The network predicts $\hat\epsilon$, and its loss is the mean of $(\epsilon - \hat{\epsilon})^2$. (A
# later section derives this loss.) A network that always predicts 0 has a loss of 1, the variance of $\epsilon$. So the
# loss must fall below 1 in the first steps of a training.
#
# ## One step back, if the data are known
#
# Which $x_{t-1}$ may have led to this $x_t$? If $x_0$ is known, Bayes' rule gives the distribution of $x_{t-1}$. The
# same derivation holds for any earlier time $s$ in the place of $t - 1$. Let
#
# $$\alpha = \bar{\alpha}_t / \bar{\alpha}_s, \qquad \beta = 1 - \alpha,$$
#
# so that $x_t$ is $\sqrt{\alpha}\, x_s$ plus noise of variance $\beta$. Then
#
# $$q(x_s \mid x_t, x_0) \;\propto\; q(x_t \mid x_s)\; q(x_s \mid x_0),$$
#
# a product of two Gaussians as functions of $x_s$. Add their exponents, and leave out all terms that do not depend on
# $x_s$:
#
# $$\begin{align*}
# & -\frac{1}{2} \left( \frac{(x_t - \sqrt{\alpha}\, x_s)^2}{\beta}
# + \frac{(x_s - \sqrt{\bar{\alpha}_s}\, x_0)^2}{1 - \bar{\alpha}_s} \right) \\
# = & -\frac{1}{2} \left( A\, x_s^2 - 2 B\, x_s + \dots \right)
# \end{align*}$$
#
# $$A = \frac{\alpha}{\beta} + \frac{1}{1 - \bar{\alpha}_s}, \qquad
# B = \frac{\sqrt{\alpha}\; x_t}{\beta} + \frac{\sqrt{\bar{\alpha}_s}\; x_0}{1 - \bar{\alpha}_s}.$$
#
# This is the exponent of a Gaussian of variance $1 / A$ and mean $B / A$. Over a common denominator the numerator of
# $A$ is $\alpha (1 - \bar{\alpha}_s) + \beta = 1 - \alpha \bar{\alpha}_s = 1 - \bar{\alpha}_t$. So (DDPM, equations 6
# and 7)
#
# $$\begin{align*}
# \tilde{\beta} &= \frac{1}{A} = \frac{1 - \bar{\alpha}_s}{1 - \bar{\alpha}_t}\, \beta \\
# \tilde{\mu} &= \frac{B}{A} = \frac{\sqrt{\bar{\alpha}_s}\; \beta}{1 - \bar{\alpha}_t}\; x_0
# + \frac{\sqrt{\alpha}\, (1 - \bar{\alpha}_s)}{1 - \bar{\alpha}_t}\; x_t
# \end{align*}$$

# %%
show_answer(posterior)

# %% [markdown]
# To check this without algebra, compute both Gaussians on a grid of $x_s$ and multiply them. The example is a long
# step, from $t = 300$ to $s = 200$, with $x_0 = 1$ and $x_t = -0.5$.


# %%
def bell(x, mean, variance):
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


t, s, known, seen = 300, 200, 1.0, -0.5
grid = np.linspace(-4, 4, 8001)
alpha = alpha_bar[t] / alpha_bar[s]
forward = bell(grid, alpha_bar[s] ** 0.5 * known, 1 - alpha_bar[s])  # q(x_s | x_0)
likelihood = bell(seen, alpha**0.5 * grid, 1 - alpha)  # q(x_t | x_s)
product = forward * likelihood / np.sum(forward * likelihood)  # Bayes' rule
mean = np.sum(product * grid)
variance = np.sum(product * (grid - mean) ** 2)

formula = posterior(known, seen, alpha_bar[t], alpha_bar[s])
print(f"on the grid: mean {mean:.6f}, variance {variance:.6f}")
print(f"formula:     mean {formula[0]:.6f}, variance {formula[1]:.6f}")
assert np.allclose(formula, (mean, variance), atol=1e-9)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3))
ax.plot(grid, forward, label="from the data: $q(x_s | x_0)$")
ax.plot(grid, likelihood, "--", label="from what is seen: $q(x_t | x_s)$")
ax.plot(grid, bell(grid, *formula), "-.", linewidth=2.5, label="both: $q(x_s | x_t, x_0)$")
ax.plot([known, seen], [-0.1, -0.1], "o", color="#333333")
for x, name in ((known, "$x_0$"), (seen, "$x_t$")):
    ax.annotate(name, (x, -0.1), (8, -4), textcoords="offset points")
ax.set(xlabel="$x_s$", ylabel="density", xlim=(-3.5, 3.5), ylim=(-0.2, 1.35), title="t = 300, s = 200")
ax.legend(loc="upper right")
plt.show()

# %% [markdown]
# The product lies between the two and is narrower than either. For single steps, $s = t - 1$, the variance
# $\tilde{\beta}_1$ is exactly 0, because the last step ends at $x_0$ itself. With growing $t$, $\tilde{\beta}_t$ soon
# comes close to $\beta_t$:

# %%
ratios = {}
for t in (1, 2, 5, 10, 50, 100):
    _, beta_tilde = posterior(0.0, 0.0, alpha_bar[t], alpha_bar[t - 1])
    ratios[t] = beta_tilde / beta[t]
    print(f"t = {t:3}: beta_tilde is {ratios[t]:.3f} of beta")
assert ratios[1] == 0 and ratios[2] < 0.5 and ratios[50] > 0.95

# %% [markdown]
# ## When the data are not known: the mean
#
# In sampling $x_t$ is known and $x_0$ is not. Many pieces could have led to this $x_t$, each with the probability
# $q(x_0 \mid x_t)$. The true step back averages over all of them:
#
# $$q(x_s \mid x_t) = \int q(x_s \mid x_t, x_0)\; q(x_0 \mid x_t)\; dx_0.$$
#
# Each of these Gaussians has the mean $\tilde\mu = a\, x_0 + b\, x_t$, with the two factors $a$ and $b$ of the formula
# above, and the variance $\tilde\beta$. So the mixture has
#
# $$\begin{align*}
# \text{mean} &= a\; \mathbb{E}[x_0 \mid x_t] + b\, x_t \\
# \text{variance} &= \tilde\beta + a^2 \operatorname{var}(x_0 \mid x_t).
# \end{align*}$$
#
# The first line holds for every step, long or short: **for the mean, $\mathbb{E}[x_0 \mid x_t]$ may take the place of
# $x_0$.** A network that is trained with squared errors learns this conditional mean (lesson 04 has the proof in one
# line). The second line has an extra term, which a sampler ignores if it takes the variance $\tilde\beta$. For a short
# step $a$ is proportional to $\beta$. The extra term then shrinks like $\beta^2$, and $\tilde\beta$ shrinks like
# $\beta$. So many short steps make the error small. This is why DDPM takes a thousand steps and not ten.
#
# Check both lines with simple data: $x_0$ is $-1$ or $1$, with equal probability. At $x_t = 0.1$ and $t = 300$ both are
# still likely. Here is Bayes' rule on a grid, for steps of three lengths:

# %%
noticed, t = 0.1, 300
of_data = np.array([-1.0, 1.0])
likely = bell(noticed, alpha_bar[t] ** 0.5 * of_data, 1 - alpha_bar[t])
likely = likely / likely.sum()  # q(x_0 | x_t)
expected = likely @ of_data  # E[x_0 | x_t]
spread = likely @ (of_data - expected) ** 2
print(f"E[x_0 | x_t] = {expected:.3f}, var(x_0 | x_t) = {spread:.3f}")
print("  s    mean on a grid    formula    variance    formula    share of beta_tilde    not Gaussian")
shares, bent = {}, {}
for s in (299, 250, 100):
    alpha = alpha_bar[t] / alpha_bar[s]
    earlier = bell(grid[:, None], alpha_bar[s] ** 0.5 * of_data, 1 - alpha_bar[s]).mean(axis=1)  # q(x_s)
    product = earlier * bell(noticed, alpha**0.5 * grid, 1 - alpha)
    product = product / product.sum()
    mean = product @ grid
    variance = product @ (grid - mean) ** 2
    mean_formula, beta_tilde = posterior(expected, noticed, alpha_bar[t], alpha_bar[s])
    a = alpha_bar[s] ** 0.5 * (1 - alpha) / (1 - alpha_bar[t])
    total = beta_tilde + a**2 * spread
    gaussian = bell(grid, mean, variance)
    bent[s] = np.abs(product - gaussian / gaussian.sum()).sum() / 2  # share of the probability that is misplaced
    shares[s] = beta_tilde / total
    print(f"{s:3}{mean:18.4f}{mean_formula:11.4f}{variance:12.4f}{total:11.4f}{shares[s]:23.3f}{100 * bent[s]:13.2f} %")
    assert np.allclose((mean, variance), (mean_formula, total), atol=1e-6)
assert shares[299] > 0.98 and bent[299] < 0.005 and shares[100] < 0.7 and bent[100] > 0.05

# %% [markdown]
# The single step differs from a Gaussian of variance $\tilde\beta$ by less than two percent. The distribution of the
# long step has two peaks, because $x_0$ may be $-1$ or $1$. A sampler that replaces it by one Gaussian makes an
# error. This is the price of fewer steps.
#
# One step of DDPM's sampler has three parts: predict $\epsilon$, compute $\hat{x}_0$ from it, and draw from the
# Gaussian above with $\hat{x}_0$ in the place of $x_0$.

# %%
show_source(ddpm)
ask = gaussian_eps_model(1.5, 0.25, alpha_bar)  # the best answer, for data of mean 1.5 and variance 0.25
*_, drawn = ddpm(ask, rng.standard_normal(20_000), alpha_bar, rng)
print(f"data of mean 1.5 and variance 0.25; drawn: {drawn.mean():.3f} and {drawn.var():.4f}")
assert abs(drawn.mean() - 1.5) < 0.02 and abs(drawn.var() - 0.25) < 0.015

# %% [markdown]
# ## Where the loss comes from
#
# The model should give the data a large probability, so $-\log\, p(x_0)$ should be small. It can't be computed:
# $p(x_0)$ is an integral over all paths that end at $x_0$. But it has an upper bound that can be computed (DDPM,
# equation 5). The bound is the *evidence lower bound*, ELBO, with its sign changed. It follows from Jensen's
# inequality, as for every model with hidden variables:
#
# $$\begin{align*}
# -\log\, p(x_0) &\le \mathbb{E}\Big[ L_T + \sum_{t > 1} L_{t-1} + L_0 \Big] \\
# L_{t-1} &= D\big(q(x_s \mid x_t, x_0)\ \|\ p(x_s \mid x_t)\big)
# \end{align*}$$
#
# with $s = t - 1$. $L_T$ contains nothing to learn, and $L_0$ belongs to a single step. Each term of the sum compares
# two Gaussians: the step back if $x_0$ is known, and the model's step, with $\hat{x}_0$ in its place. Both have the
# variance $\tilde\beta$. Then their Kullback-Leibler divergence $D$ is the squared distance of the means, divided by
# $2 \tilde\beta$. The means differ by $a\, (x_0 - \hat{x}_0)$, and $x_0 - \hat{x}_0 = (\hat\epsilon - \epsilon)
# \sqrt{1 - \bar\alpha_t} / \sqrt{\bar\alpha_t}$. Insert $a = \sqrt{\bar\alpha_s}\, \beta / (1 - \bar\alpha_t)$ and
# $\tilde\beta$:
#
# $$\begin{align*}
# D &= \frac{a^2 (x_0 - \hat{x}_0)^2}{2 \tilde\beta} = w_t\, (\epsilon - \hat\epsilon)^2 \\
# w_t &= \frac{\beta_t}{2\, \alpha_t\, (1 - \bar\alpha_{t-1})}
# \end{align*}$$
#
# So the bound is a sum of squared errors of the noise, with a weight $w_t$ for each time. DDPM's training loss,
# $L_{\text{simple}}$ (equation 14), omits the weights: all times count the same.

# %%
x0_guess, weights = 0.7, {}
for t in (2, 10, 100, 500, 1000):
    true_mean, beta_tilde = posterior(known, seen, alpha_bar[t], alpha_bar[t - 1])
    model_mean, _ = posterior(x0_guess, seen, alpha_bar[t], alpha_bar[t - 1])
    divergence = (true_mean - model_mean) ** 2 / (2 * beta_tilde)
    eps_error = (known - x0_guess) * (alpha_bar[t] / (1 - alpha_bar[t])) ** 0.5
    weights[t] = beta[t] / (2 * (1 - beta[t]) * (1 - alpha_bar[t - 1]))
    weighted = weights[t] * eps_error**2
    print(f"t = {t:4}: divergence {divergence:.2e}, weighted squared error {weighted:.2e}, weight {weights[t]:.4f}")
    assert np.isclose(divergence, weighted)
assert weights[2] > 30 * weights[500] and weights[2] > 30 * weights[1000]

# %% [markdown]
# The weights are large in the first few steps only, where there is little noise. With these weights a network would
# learn mostly to remove very weak noise. $L_{\text{simple}}$ gives more weight to the noisier times, where larger
# structures must be predicted. It is no longer a bound on the probability. DDPM reports better pictures with it (their
# table 2). For a perfect network the weights make no difference: at each time the best prediction is
# $\mathbb{E}[\epsilon \mid x_t]$. For a real network they say which errors count most.

# %% [markdown]
# ## From DDPM to DDIM: eta
#
# DDPM samples from this posterior. DDIM shows that other steps are equally right. A step back must give $x_s$ the right
# distribution, with mean $\sqrt{\bar{\alpha}_s}\, x_0$ and variance $1 - \bar{\alpha}_s$. How $x_s$ depends on $x_t$
# does not matter, because the training loss contains one of them at a time. So write $x_s$ as a sum of three terms: the
# data, the noise that is already in $x_t$, and fresh noise $z$:
#
# $$x_s = \sqrt{\bar{\alpha}_s}\; x_0 + c\; \epsilon + \sigma\, z, \qquad
# \epsilon = \frac{x_t - \sqrt{\bar{\alpha}_t}\; x_0}{\sqrt{1 - \bar{\alpha}_t}}.$$
#
# The mean is right. $\epsilon$ and $z$ have variance 1 and are independent, so the variance is $c^2 +
# \sigma^2$, and it is right if
#
# $$c = \sqrt{1 - \bar{\alpha}_s - \sigma^2}.$$
#
# **This is DDIM** (equation 12): every $\sigma$ from 0 to $\sqrt{1 - \bar{\alpha}_s}$ is allowed. With $\sigma = 0$ the
# step is deterministic. With $\sigma^2 = \tilde{\beta}$ it is DDPM's step, because then
#
# $$\begin{align*}
# c^2 &= (1 - \bar{\alpha}_s) \left(1 - \frac{\beta}{1 - \bar{\alpha}_t}\right) \\
# &= (1 - \bar{\alpha}_s)\, \frac{\alpha - \bar{\alpha}_t}{1 - \bar{\alpha}_t}
# = \frac{\alpha\, (1 - \bar{\alpha}_s)^2}{1 - \bar{\alpha}_t}
# \end{align*}$$
#
# where $\bar{\alpha}_t = \alpha \bar{\alpha}_s$ was used. So the factor of $x_t$, $c / \sqrt{1 - \bar{\alpha}_t}$, is
# the same as in $\tilde{\mu}$ above. One number, $\eta$, leads from DDIM (0) to DDPM (1) (equation 16):
#
# $$\sigma = \eta\, \frac{\sqrt{1 - \bar{\alpha}_s}}{\sqrt{1 - \bar{\alpha}_t}}\;
# \sqrt{1 - \bar{\alpha}_t / \bar{\alpha}_s}.$$


# %%
def step_back(x_t, x_0, ab_t, ab_s, sigma):
    """The mean of the step from x_t to x_s whose fresh noise has the standard deviation sigma."""
    eps = (x_t - ab_t**0.5 * x_0) / (1 - ab_t) ** 0.5
    return ab_s**0.5 * x_0 + (1 - ab_s - sigma**2) ** 0.5 * eps


def sigma_of(eta, t, s):
    ab_t, ab_s = alpha_bar[t], alpha_bar[s]
    return eta * ((1 - ab_s) / (1 - ab_t)) ** 0.5 * (1 - ab_t / ab_s) ** 0.5


t, s = 300, 200
mean = step_back(seen, known, alpha_bar[t], alpha_bar[s], sigma_of(1, t, s))
print(f"eta = 1:   mean {mean:.6f}, variance {sigma_of(1, t, s) ** 2:.6f}")
print(f"posterior: mean {formula[0]:.6f}, variance {formula[1]:.6f}")
assert np.allclose((mean, sigma_of(1, t, s) ** 2), formula)

x_t = q_sample(np.full(200_000, known), alpha_bar[t], rng.standard_normal(200_000))
wanted = alpha_bar[s] ** 0.5, (1 - alpha_bar[s]) ** 0.5
print(f"\nx_s should have: mean {wanted[0]:.3f}, deviation {wanted[1]:.3f}")
for eta in (0, 0.5, 1, 1.2):
    sigma = sigma_of(eta, t, s)
    x_s = step_back(x_t, known, alpha_bar[t], alpha_bar[s], sigma)
    x_s = x_s + sigma * rng.standard_normal(200_000)
    print(f"eta = {eta:3}: mean {x_s.mean():.3f}, deviation {x_s.std():.3f}, ", end="")
    print(f"correlation with x_t {np.corrcoef(x_t, x_s)[0, 1]:.3f}")
    assert np.allclose((x_s.mean(), x_s.std()), wanted, atol=5e-3)

# %% [markdown]
# Mean and deviation are the same for every $\eta$, even for 1.2. Only the correlation of $x_s$ with $x_t$ differs. So
# whole paths look different, and at every time they have the same distribution. Here is the package's sampler with
# known data ($x_0 = 1$), in a hundred steps:

# %%
tau = uniform_tau(T, 100)  # the times to visit: 0, 10, 20, ..., 1000
known_eps = gaussian_eps_model(mean=1.0, variance=0.0, alpha_bar=alpha_bar)  # the eps above
start = rng.standard_normal(2000)
signal_rate, noise_rate = np.sqrt(alpha_bar[tau[::-1]]), np.sqrt(1 - alpha_bar[tau[::-1]])
back = {}
for eta in (0.0, 0.5, 1.0):
    back[eta] = paths = np.array(list(ddim(known_eps, start, alpha_bar, tau, eta, rng)))
    worst = np.abs(paths.std(axis=1) - noise_rate).max()
    inside = np.mean(np.abs(paths[:-1].T - signal_rate[:-1]) < 2 * noise_rate[:-1])
    print(f"eta = {eta}: the deviation is never more than {worst:.3f} off;", end=" ")
    print(f"{100 * inside:.0f} % within 2 noise rates")
    assert worst < 0.06 and abs(inside - 0.954) < 0.02 and np.allclose(paths[-1], 1)

# %% tags=["hide-input"]
fig, axes = plt.subplots(3, 1, figsize=(6, 6.6), sharex=True, sharey=True)
middle, spread = np.sqrt(alpha_bar), 2 * np.sqrt(1 - alpha_bar)
for ax, (eta, paths) in zip(axes, back.items(), strict=True):
    ax.fill_between(np.arange(T + 1), middle - spread, middle + spread, color="#dddddd")
    ax.plot(tau[::-1], paths[:, :6], linewidth=1.2)
    ax.set(ylabel="$x_t$", title=f"eta = {eta:g}", xlim=(T, 0), ylim=(-3.2, 3))
axes[-1].set_xlabel("time t (steps), running back")
plt.show()

# %% [markdown]
# In all three panels about 95 of 100 paths are in the grey area at each time, as they should be, and all end at 1, the
# data. With $\eta = 0$ the start determines the whole path. With $\eta = 1$ a path depends less and less on its start.
# Here is the sampler. The equation numbers in it are those of the equations above.

# %%
show_answer(ddim)

# %% [markdown]
# ## Errors in the paper
#
# The paper that this course rebuilds ("Diffusion Model for Music Synthesis") has three errors in these equations, and
# two numbers that mislead. None of them stops a program; a computation shows each of them.
#
# **1. Variance or standard deviation?** The paper sets $\sigma^2 = \eta\, \tilde{\beta}$. DDIM has $\sigma = \eta
# \sqrt{\tilde{\beta}}$, so $\sigma^2 = \eta^2 \tilde{\beta}$. The two agree only for $\eta = 0$ and $\eta = 1$.
#
# **2. Which beta?** If a sampler visits only $S$ of the $T$ times, its steps are long. The $\beta$ in $\sigma$ must be
# that of the whole step, $1 - \bar{\alpha}_t / \bar{\alpha}_s$. The paper has $\beta_t$, that of a single step from $t$
# to $t - 1$. Here is a step in the middle of a walk with $S = 100$:


# %%
def paper_sigma(eta, t, s):
    """As in the paper, the variance is eta beta_tilde, and its beta that of one step; but s is right (see 3)."""
    return (eta * (1 - alpha_bar[s]) / (1 - alpha_bar[t]) * beta[t]) ** 0.5


print("from    to     eta    DDIM's sigma    the paper's    which is DDIM's eta")
for t, s in ((500, 499), (500, 490)):
    for eta in (0.25, 0.5, 1.0):
        ours, theirs = sigma_of(eta, t, s), paper_sigma(eta, t, s)
        print(f"{t:4}{s:6}{eta:8}{ours:16.4f}{theirs:15.4f}{theirs / sigma_of(1, t, s):23.2f}")
        assert s == 490 or np.isclose(theirs / ours, eta**-0.5)  # error 1 alone: too much noise
        assert s == 499 or theirs < ours  # both: in long steps error 2 is larger, and there is too little
assert (round(ours, 3), round(theirs, 4)) == (0.307, 0.0997)  # error 2, at eta = 1

# %% [markdown]
# The samples still have the right distribution, because $c$ corrects for every $\sigma$. But the $\eta$ is not the one
# that is reported: at this step it is a third in place of 1, and it changes with $S$. So a comparison of "$\eta = 1$"
# at 100 and at 1000 steps compares two different samplers.
#
# **3. $\tau_i - 1$ or $\tau_{i-1}$?** The step from $\tau_i$ goes to the previous time *in the list*, $\tau_{i-1}$, for
# example from 500 to 490. The paper's index $\tau_i - 1$ goes from 500 to 499. The next step then treats $x_{499}$ as
# if it were $x_{490}$. You can hear this error. Take a perfect model, whose $\hat{x}_0$ is always $x_0$, and a walk of
# $S = 100$ steps.

# %%
by_heart = gaussian_eps_model(x_0, 0.0, alpha_bar)
x_T = rng.standard_normal(x_0.shape, dtype=np.float32)

*_, right = ddim(by_heart, x_T, alpha_bar, tau)
literal = x_T
for t in tau[:0:-1]:
    guess = by_heart(literal, t)
    literal = q_sample(predict_x0(literal, alpha_bar[t], guess), alpha_bar[t - 1], guess)
for name, x in (("tau_{i-1}", right), ("tau_i - 1", literal)):
    correlation, error = np.corrcoef(x.ravel(), x_0.ravel())[0, 1], np.abs(x - x_0).mean()
    print(f"{name}: correlation with the piece {correlation:.3f}, mean error {error:.3f}")
assert np.allclose(right, x_0, atol=1e-3)
assert np.corrcoef(literal.ravel(), x_0.ravel())[0, 1] < 0.5
heard(right, "a hundred steps, each to the time before it in the list")
heard(literal, "a hundred steps, each to t - 1: most of the noise is still there")

# %% [markdown]
# **4. $S < T$.** The text asks for $S < T$. The table has $S = 1000$ and no $T$. Both can be right, because the
# schedule is continuous: $T$ is the number of points at which it is tabulated, and a walk of $S$ steps can use $T =
# S$.
#
# **5. $3.31^{-5}$.** The tuned learning rate is printed as a power. $3.31^{-5}$ is not $3.31 \cdot 10^{-5}$:

# %%
printed, meant = 3.310677931449062**-5, 3.310677931449062e-5
print(f"3.31^-5 = {printed:.5f}; 3.31e-5 = {meant:.7f} is {printed / meant:.0f} times smaller")
assert round(printed / meant) == 76
hundred, thousand = continuous_cosine_schedule(T=100), continuous_cosine_schedule(T=1000)
assert np.allclose(hundred[1:], thousand[10::10])  # number 4: the same curve, tabulated at fewer points

# %% [markdown]
# ## From noise to music
#
# All equations are ready; only the network is missing. If the data are a *finite list* of equally likely pieces, the
# best possible prediction is known without a network. By Bayes' rule the probability that $x_t$ came from piece $k$ is
#
# $$p_k \;\propto\;
# \exp\left(-\frac{\lVert x_t - \sqrt{\bar{\alpha}_t}\; m_k \rVert^2}{2\, (1 - \bar{\alpha}_t)}\right),$$
#
# The best prediction is $\hat{x}_0 = \mathbb{E}[x_0 \mid x_t] = \sum_k p_k m_k$, and $\hat{\epsilon}$ follows from
# it. A network that has memorised a training set of three pieces would predict this.

# %%
pieces = data.reshape(3, -1).astype(float)  # (3, 32000): points in a space of 32 000 dimensions
memory = mixture_eps_model(pieces, np.zeros(3), np.full(3, 1 / 3), alpha_bar)


def chances(x, t):
    """p_k of a point x (32000,) at time t."""
    ab = alpha_bar[t]
    exponents = -np.sum((x - ab**0.5 * pieces) ** 2, axis=1) / (2 * (1 - ab))
    p = np.exp(exponents - exponents.max())
    return p / p.sum()


x_T = np.random.default_rng(5).standard_normal((12, pieces.shape[1]))  # twelve noises
way = np.array(list(ddim(memory, x_T, alpha_bar, tau)))  # (101, 12, 32000)
distance = np.abs(way[-1][:, None] - pieces).max(axis=-1)  # (12, 3)
became = distance.argmin(axis=1)
for k in range(3):
    print(f"{np.sum(became == k)} of the twelve became {names[k]}")
print(f"largest difference of any to its piece: {distance.min(axis=1).max():.1e}")
assert distance.min(axis=1).max() < 1e-6 and set(became) == {0, 1, 2}

# %% [markdown]
# Each noise becomes one of the pieces, exactly. At which time is it decided which one? Here are the three probabilities
# on the path of the first noise:

# %%
first = way[:, 0]
course = np.array([chances(x, t) for x, t in zip(first[:-1], tau[:0:-1], strict=True)])
decided = tau[:0:-1][np.argmax(course.max(axis=1) > 0.99)]
level = decibels(alpha_bar[decided])
print(f"it is 99 % sure from t = {decided} on, where signal to noise is {level:.0f} dB")
assert level < -20

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.6))
for k, style in enumerate(("-", "--", ":")):
    ax.plot(tau[:0:-1], course[:, k], style, label=names[k].split(" (")[0], linewidth=2)
ax.set(xlabel="time t (steps), running back", ylabel="probability", xlim=(1000, 500), title="which piece is it?")
ax.legend()
plt.show()

# %% tags=["hide-input"]
film_steps = [*range(0, 60, 10), *range(60, 100, 2), *[100] * 5]
fig, ax = plt.subplots(figsize=(6, 3))
image = ax.imshow(first[0].reshape(250, 128).T, extent=(0, 5, 0, 128), vmin=-2.5, vmax=2.5)
ax.set(xlabel="time (s)", ylabel="mel bin")


def rise(i):
    image.set_data(first[film_steps[i]].reshape(250, 128).T)
    ax.set_title(f"t = {tau[::-1][film_steps[i]]}")


film(fig, rise, len(film_steps), "a piece rises from noise in a hundred steps", 6)

# %%
for i in (0, 70, 85, 92, 100):
    heard(first[i].reshape(250, 128), f"t = {tau[::-1][i]}")

# %% [markdown]
# The piece is decided long before you can hear it. Why so early? The probabilities compare squared distances, which are
# sums over all numbers. Two pieces that differ by $\Delta$ can be told apart once $\lVert \Delta \rVert
# \sqrt{\bar\alpha}$, their distance in $x_t$, exceeds a few noise rates. $\lVert \Delta \rVert^2$ is proportional to
# the number of values, so ten times as many values are decided 10 dB earlier. To measure this, cut the pieces shorter:


# %%
def decided_at(frames):
    """The signal-to-noise ratio (dB) at which the mean probability of the true piece exceeds 90 %."""
    cut = data[:, :frames].reshape(3, -1).astype(float)
    products = cut @ cut.T
    projected = np.random.default_rng(1).standard_normal((400, cut.shape[1])) @ cut.T  # (400, 3): noise times piece
    for level in np.arange(-60, 30, 0.5):
        ab = 1 / (1 + 10 ** (-level / 10))
        x_m = ab**0.5 * products[0] + (1 - ab) ** 0.5 * projected  # x_t times each piece, x_t from the first
        logits = (ab**0.5 * x_m - ab / 2 * np.diag(products)) / (1 - ab)
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        if np.mean(p[:, 0] / p.sum(axis=1)) > 0.9:
            return level


print("frames    numbers    decided at    time of the linear schedule    of the tuned one")
levels = {}
for frames in (1, 10, 50, 250):
    level = levels[frames] = decided_at(frames)
    shown = []
    for ab in (schedules["linear"], tuned):
        later = np.flatnonzero(decibels(ab[1:]) < level)
        shown.append(f"t = {later[0]}" if len(later) else "never reached")
    print(f"{frames:6}{128 * frames:11}{level:11.1f} dB{shown[0]:>31}{shown[1]:>20}")
assert levels[250] < -30 and levels[1] - levels[250] > 15
assert levels[250] < decibels(tuned[-1]) - 10

# %% [markdown]
# **A whole piece is decided at a much lower signal-to-noise ratio than its parts.** A single frame is decided near -10
# dB, and 32 000 numbers together below -30 dB. The tuned schedule stops at -14 dB. So everything that concerns the
# whole piece, such as which piece it is and how loud it is, should be decided before the first step of this schedule.
#
# What does this cost? Take the simplest property of a whole piece, its level. Let the data be one piece at different
# loudness: $x_0 = m + \ell$, with one number $\ell \sim \mathcal{N}(0, s^2)$ added to all $n$ values. The mean of $x_t$
# over its values then has the variance $\bar\alpha s^2 + (1 - \bar\alpha) / n$. Pure noise has only $1 / n$. So at $t =
# T$ the network expects means that differ much, and sampling begins with means that are nearly equal. The deterministic
# sampler keeps the ratio (lesson 04 shows why), so the standard deviation of the levels that come out is
#
# $$\frac{s}{\sqrt{n\, \bar\alpha_T\, s^2 + 1 - \bar\alpha_T}}\quad \text{instead of}\quad s.$$

# %%
n, s = 32_000, 0.46  # the spread of the levels of five-second clips of recordings, after standardisation


def spread_of(ab, steps=T, *noise):
    """The standard deviation of the levels that DDIM generates. noise: its eta and rng, if any."""
    level_model = gaussian_eps_model(0.0, n * s**2, ab)  # of the mean times the root of n: unit noise
    *_, out = ddim(level_model, np.random.default_rng(2).standard_normal(4000), ab, uniform_tau(T, steps), *noise)
    return out.std() / n**0.5


ends = schedules | {"tuned": tuned, "log-SNR": log_snr_schedule(T)}
spreads = {}
for name, ab in ends.items():
    spreads[name] = spread_of(ab)
    promised = s / (n * ab[-1] * s**2 + 1 - ab[-1]) ** 0.5
    print(f"{name:17} ends at {decibels(ab[-1]):5.1f} dB: spread {spreads[name]:.3f} of {s}, formula {promised:.3f}")
    assert abs(spreads[name] / promised - 1) < 0.1
assert (
    min(spreads["cosine"], spreads["log-SNR"]) > 0.43
    and 0.2 < spreads["continuous cosine"] < 0.28
    and spreads["tuned"] < 0.04
)

# %% [markdown]
# With the Keras example's schedule half of the difference between loud and quiet is lost, and with the tuned one nearly
# all of it, *even with a perfect network*. Listen to five clips in a row, with both ends. Each row starts from the same
# five noises. Their means are chosen so that five clips cover the range of nine in ten random ones.


# %%
def levels_of(ab, steps):
    """Five draws of the piece with its level, by the exact prediction and DDIM. (5, 250, 128)."""
    along = gaussian_eps_model(0.0, n * s**2, ab)

    def model(x, t):
        rest = x - ab[t] ** 0.5 * x_0.ravel()
        mean = rest.mean(axis=1, keepdims=True)
        return (rest - mean) / (1 - ab[t]) ** 0.5 + along(n**0.5 * mean, t) / n**0.5

    noises = np.random.default_rng(11).standard_normal((5, n))
    noises += (np.array([[-1.5], [1.2], [-0.6], [0.5], [1.6]]) - noises.sum(axis=1, keepdims=True) / n**0.5) / n**0.5
    *_, drawn = ddim(model, noises, ab, uniform_tau(T, steps))
    return drawn.reshape(5, 250, 128)


def hear_levels(name, steps):
    """Plays the five clips in a row. Returns how far apart the loudest and the softest are (dB)."""
    five = levels_of(ends[name], steps)
    row = [griffin_lim(scaler.restore(x[:75].astype(np.float32)), 8 if FAST else 32) for x in five]
    apart = np.ptp([20 * np.log10(np.sqrt(np.mean(x**2))) for x in row])
    sound(np.concatenate(row), f"{name}, {steps} steps: five clips, {apart:.1f} dB between loudest and softest")
    return apart


heard_range = {name: hear_levels(name, 200) for name in ("tuned", "log-SNR")}
assert heard_range["tuned"] < 3 and heard_range["log-SNR"] > 10

# %% [markdown]
# The same happens with pictures, which come out in medium grey ([Lin et al. 2023](https://arxiv.org/abs/2305.08891)).
# The remedy is to end the schedule where no signal is left, and to use more noise for larger pictures ([Chen
# 2023](https://arxiv.org/abs/2301.10972); [Hoogeboom et al. 2023](https://arxiv.org/abs/2301.11093)). The package's
# `log_snr_schedule` does both. It has equal steps of the log-SNR, down to a signal rate of 0.003.
#
# ## Cosine against log-SNR, to hear
#
# Cosine and log-SNR both end where the level is lost in the noise. With a thousand steps both keep nearly all of the
# spread. But samplers take fewer steps, equally spaced in time.
#
# **Predict.** Which of the two keeps more of the spread in 20 steps?

# %%
pair = ("cosine", "log-SNR")
few = {(name, steps): spread_of(ends[name], steps) for name in pair for steps in (10, 20, 50, T)}
print(f"spread of the levels, of {s}")
for steps in (10, 20, 50, T):
    print(f"{steps:5} steps: cosine {few['cosine', steps]:.3f}, log-SNR {few['log-SNR', steps]:.3f}")
assert few["cosine", 20] < 0.25 * s and few["log-SNR", 20] > 0.8 * s
faint = {name: np.mean((ends[name][1:] < 0.1**2) & (ends[name][1:] > 0.003**2)) for name in pair}
print("share of the time between signal rates of 0.1 and 0.003:", *(f"{name} {x:.0%}" for name, x in faint.items()))
assert faint["cosine"] < 0.08 and faint["log-SNR"] > 0.45
heard_range = {name: hear_levels(name, 20) for name in pair}
assert heard_range["cosine"] < 5 and heard_range["log-SNR"] > 10

# %% [markdown]
# The level is decided between signal rates of 0.1 and 0.003. Cosine crosses this range in its last 6 % of the time, so
# 20 equal steps take it in one or two; log-SNR spends half of its time there. In training it is the same: the times are
# drawn evenly, so a network that is trained with cosine rarely sees this range.
#
# Every choice has a price. Details of small variance are decided near the data, and there the package's log-SNR
# schedule begins late, at a signal rate of 0.95. The exact sampler in one dimension shows both ends:

# %%
print("share of the standard deviation that 20 steps keep")
print("variance " + "".join(f"{v:>8g}" for v in (0.01, 1, 100)))
kept = {}
for name in pair:
    for v in (0.01, 1, 100):
        *_, out = ddim(gaussian_eps_model(0.0, v, ends[name]), np.ones(1), ends[name], uniform_tau(T, 20))
        kept[name, v] = out.item() / v**0.5
    print(f"{name:9}" + "".join(f"{kept[name, v]:8.2f}" for v in (0.01, 1, 100)))
assert kept["cosine", 0.01] > 2 * kept["log-SNR", 0.01] and kept["log-SNR", 100] > kept["cosine", 100] + 0.1

# %% [markdown]
# The perfect model of the three pieces makes nothing new. A network that is trained on many pieces can't store all of
# them, so it must learn what they have in common. Lesson 08 shows both cases. First, lesson 04 asks how few steps are
# enough.
#
# ## Common mistakes
#
# | what you see or hear | what it is |
# |---|---|
# | values grow and grow on the way into the noise | the factor $\sqrt{1 - \beta_t}$ on $x_{t-1}$ is missing |
# | the noise is too weak for most of the time | $\bar{\alpha}$ and $1 - \bar{\alpha}$ without their roots |
# | one batch, one noise level | $\bar{\alpha}$ is broadcast over the wrong axis: give it shape (N, 1, 1, 1) |
# | samples are one shade of grey, or a hum | the data were not standardised, or not restored |
# | everything is off by one step | a library that counts $t$ from 0, where $\bar{\alpha}$ at 0 is not 1 |
# | NaN at the first step of sampling | $\bar{\alpha}_T = 0$: $x_0$ can't be computed from $\epsilon$ there |
# | noise remains at the end | a step to $t - 1$ in a list with gaps, or fresh noise added in the last step |
# | with few steps $\eta$ has less effect than it should | $\sigma$ has the $\beta$ of a single step |
# | $\eta = 0.25$ has the effect of 0.5 elsewhere | $\eta$ multiplies $\sigma^2$ |
# | all samples are equally loud, and quiet parts are missing | the schedule stops before the signal is gone |
# | float32 data become float64 and slow | a NumPy scalar from the table: make it a Python float |
#
# ## Exercises
#
# Write `linear_schedule`, `q_sample`, `predict_x0` and `posterior` in `lessons/03_noise/exercise.py`, and a test,
# `test_posterior`, that finds wrong posteriors. Run `make check-03`. This is what right answers look like:

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 2, figsize=(6, 5))
axes[0, 0].plot(linear_schedule(1000))
axes[0, 0].set(title="linear_schedule()", xlabel="t", ylabel=r"$\bar{\alpha}_t$")
line = np.linspace(-1, 1, 50)[None]
levels = np.array([1.0, 0.9, 0.5, 0.01])
shaken = q_sample(np.tile(line, (4, 1)), levels, rng.standard_normal((4, 50)))
for level, row in zip(levels, shaken, strict=True):
    axes[0, 1].plot(row, linewidth=1, label=f"{level:g}")
axes[0, 1].set(title="q_sample of a straight line", xlabel="i", ylabel="$x_t$")
axes[0, 1].set_ylim(-2.6, 5.5)
axes[0, 1].legend(title=r"$\bar{\alpha}_t$", ncols=2, fontsize=9, title_fontsize=9, loc="upper center")
ab = linear_schedule(1000)[1:]
for error in (0.01, 0.02):
    axes[1, 0].plot(predict_x0(np.sqrt(ab), ab, np.full(1000, error)), label=f"eps = {error}")
axes[1, 0].set(title="predict_x0 with signal 1, no noise", xlabel="t", ylabel="$x_0$", ylim=(-3, 1.1))
axes[1, 0].legend()
deviations = [posterior(0.0, 0.0, alpha_bar[300], alpha_bar[s])[1] ** 0.5 for s in range(301)]
axes[1, 1].plot(deviations)
axes[1, 1].set(title="posterior from t = 300 to s", xlabel="s", ylabel="standard deviation")
plt.show()

# %% [markdown]
# **Predict, then run.** (1) At which time of the *cosine* schedule are 250 frames decided? Use the table above, then
# compute it. (2) Does $\eta = 1$ restore the lost levels of the tuned schedule? Predict, then run
# `spread_of(tuned, T, 1.0, np.random.default_rng(3))`.

# %% tags=["answer"]
sure = decided_at(250)
when = 1 + np.flatnonzero(decibels(schedules["cosine"][1:]) < sure)[0]
print(f"(1) at t = {when}, where the cosine schedule is at {sure:.1f} dB")
assert 900 < when < 1000
noisy_spread = spread_of(tuned, T, 1.0, np.random.default_rng(3))
print(f"(2) no: with eta = 1 the levels spread by {noisy_spread:.3f}, with 0 by {spreads['tuned']:.3f}")
assert noisy_spread < 0.1

# %% [markdown]
# ## Experiment
#
# Shift the tuned schedule, that is, add a constant to its log-SNR, so that the levels spread by 0.4. Which signal rate
# does it end with? With which signal rate does it begin then, at $t = 1$? Write the numbers and your conclusion into
# the form EXPERIMENT at the end of `exercise.py`.

# %% tags=["answer"]
end = (s**2 / 0.4**2 - 1) / (n * s**2 - 1)  # the formula above, solved for alpha_bar_T
shift = np.log(end / (1 - end)) - log_snr(tuned[-1])
moved = np.append(1.0, 1 / (1 + np.exp(-log_snr(tuned[1:]) - shift)))
print(f"ends with a signal rate of {end**0.5:.4f}, spread {spread_of(moved):.3f}")
print(f"begins with a signal rate of {moved[1] ** 0.5:.3f}: {decibels(moved[1]):.0f} dB, not {decibels(tuned[1]):.0f}")
assert abs(spread_of(moved) - 0.4) < 0.02 and decibels(moved[1]) < -15

# %% [markdown] tags=["answer"]
# The shifted schedule ends where the level of a clip is lost in the noise. But it also begins with too much noise: at
# $t = 1$ most of the picture is noise, and the last step must remove all of it at once. The range must be made wider.

# %% [markdown]
# ## Sources
#
# - J. Ho, A. Jain, P. Abbeel (2020), [Denoising diffusion probabilistic models](https://arxiv.org/abs/2006.11239).
# - J. Song, C. Meng, S. Ermon (2021), [Denoising diffusion implicit models](https://arxiv.org/abs/2010.02502).
# - A. Nichol, P. Dhariwal (2021), [Improved denoising diffusion probabilistic
#   models](https://arxiv.org/abs/2102.09672): the cosine schedule.
# - D. Kingma, T. Salimans, B. Poole, J. Ho (2021), [Variational diffusion models](https://arxiv.org/abs/2107.00630):
#   the bound as an integral over the signal-to-noise ratio.
# - T. Salimans, J. Ho (2022), [Progressive distillation](https://arxiv.org/abs/2202.00512): the velocity.
# - S. Lin, B. Liu, J. Li, X. Yang (2023), [Common diffusion noise schedules and sample steps are
#   flawed](https://arxiv.org/abs/2305.08891): what a schedule that stops early costs.
# - T. Chen (2023), [On the importance of noise scheduling](https://arxiv.org/abs/2301.10972); E. Hoogeboom, J. Heek,
#   T. Salimans (2023), [simple diffusion](https://arxiv.org/abs/2301.11093): schedules for large pictures.
# - A. Béres, [Denoising diffusion implicit models in Keras](https://keras.io/examples/generative/ddim/): the base of
#   the paper that this course rebuilds.
