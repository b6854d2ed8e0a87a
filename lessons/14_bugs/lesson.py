# %% [markdown]
# # The bug museum
#
# Nine bugs that have lived in public code, each in its glass case: what the code said, what one hears or
# measures, the test that catches it, and the moral. Hardly one of them crashes: they train, sample and
# play, and one wonders why the music is no good.
#
# You need lessons 01, 03, 04, 08 and 11. The lesson runs in about two seconds on two cores. The buggy code is
# retold here in a few lines of our own.

# %%
import matplotlib.pyplot as plt
import numpy as np
import scipy.linalg
import soxr

from ddim_from_scratch.audio import griffin_lim, log_mel, synth
from ddim_from_scratch.diffusion import (
    clipped,
    cosine_schedule,
    ddim,
    eps_of_velocity,
    gaussian_eps_model,
    linear_schedule,
    mixture_eps_model,
    posterior,
    predict_x0,
    q_sample,
    uniform_tau,
    velocity,
)
from ddim_from_scratch.fad import frechet_distance, gaussian
from ddim_from_scratch.training.optim import adamw, update_average
from lessons import FAST, show_answer, sound

sr = 16_000
caught = []


def exhibit(test, bug, fix):
    """A test is worth something if it passes on the fix and fails on the bug. Both are tried."""
    test(fix)
    try:
        test(bug)
    except AssertionError as error:
        caught.append(test.__name__)
        print(f"{test.__name__}\n  on the fix: passes\n  on the bug: {error}")
    else:
        raise RuntimeError(f"{test.__name__} lets the bug through")


# %% [markdown]
# Four of the exhibits are samplers. To see a sampler's faults and no network's, the noise is predicted
# exactly, by oracles (lesson 04): for two clouds of points, 30 % around -1 and 70 % around +1, and for a
# "data set" of one tune, so that one can listen.


# %%
def music(genre, seconds=2.56):
    """A tune at 16 kHz."""
    notes = synth.score(synth.TUNES["Ode to Joy (Beethoven)"], held=genre == "organ")
    track = synth.play(notes, genre, 0, 100, np.random.default_rng(0))
    return soxr.resample(track, synth.SR, sr)[: int(seconds * sr)].astype(np.float32)


def listen(x, label):
    """A standardised log-mel picture as sound."""
    log_mels = np.clip(x * scale + centre, np.log(1e-5), 4).astype(np.float32)
    samples = griffin_lim(log_mels, 8 if FAST else 32)
    sound(0.1 * samples / np.sqrt(np.mean(samples**2)), label)


plucked, organ = music("plucked"), music("organ")
picture = log_mel(plucked)
centre, scale = picture.mean(), picture.std()
tune = (picture - centre) / scale  # (128, 128)

alpha_bar = linear_schedule(1000)
clouds = mixture_eps_model(np.array([[-1.0], [1.0]]), np.array([0.01, 0.01]), np.array([0.3, 0.7]), alpha_bar)
one_tune = gaussian_eps_model(tune, 0.01, alpha_bar)
x_T = np.random.default_rng(0).standard_normal((4000, 1))
noise = np.random.default_rng(0).standard_normal(tune.shape)


def last(xs):
    """The last of what a sampler yields."""
    *_, x = xs
    return x


listen(last(ddim(one_tune, noise, alpha_bar, uniform_tau(1000, 50))), "How it should sound: 50 steps of DDIM")

# %% [markdown]
# ## The sign of the direction
#
# A step of DDIM goes to $\sqrt{\bar\alpha_s}\, x_0 + \sqrt{1 - \bar\alpha_s}\, \epsilon$: the data, with
# less of the *same* noise. The code had a minus before the second term, "since noise is removed".


# %%
def signed(sign):
    """A sampler with this sign before the direction."""

    def sample(eps_model, x, tau):
        for t, s in zip(tau[:0:-1].tolist(), tau[-2::-1].tolist(), strict=True):
            eps = eps_model(x, t)
            x0 = predict_x0(x, float(alpha_bar[t]), eps)
            x = alpha_bar[s] ** 0.5 * x0 + sign * (1 - alpha_bar[s]) ** 0.5 * eps
        return x

    return sample


def test_two_clouds_keep_their_shares(sample):
    x = sample(clouds, x_T, uniform_tau(1000, 50))
    share = np.mean(x > 0)
    assert abs(share - 0.7) < 0.03, f"{100 * share:.0f} % of the points are at +1, not 70 %"


exhibit(test_two_clouds_keep_their_shares, signed(-1), signed(+1))

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 1, figsize=(6, 4), sharex=True)
for ax, sign, name in zip(axes, (1, -1), ("right: + direction", "the bug: - direction"), strict=True):
    ax.hist(signed(sign)(clouds, x_T, uniform_tau(1000, 50))[:, 0], np.linspace(-1.5, 1.5, 61))
    ax.set(title=name, ylabel="points")
axes[1].set_xlabel("x")
plt.show()

# %% [markdown]
# What one hears: always the same piece. The noise is turned over at each step, the turns cancel, and
# wherever one begins one ends at the same clean, plausible, average sample. One sample alone looks
# perfect.
#
# **Moral.** Look at a hundred samples, and test that the *distribution* comes out, not that a sample
# looks good.
#
# ## `t - T // S`
#
# To walk from $T$ to 0 in $S$ steps the code took strides of `T // S`. Where $S$ does not divide $T$
# that is rounded down. Its cousin counts from 0, and its last step asks for `alpha_bar[t - T // S]` with
# a negative index. Python answers: from the *end* of the table.


# %%
def strides(T, S):
    """The bug: S strides of T // S, however far they get."""
    return T - np.arange(S + 1)[::-1] * (T // S)


def test_a_walk_goes_all_the_way(walk):
    for S in (10, 30, 600):
        tau = walk(1000, S)
        left = 1 - alpha_bar[tau[0]]
        assert tau[-1] == 1000 and len(tau) == S + 1 and tau[0] == 0, (
            f"S = {S} ends at t = {tau[0]}, where {100 * left:.1g} % of the variance is noise"
        )


exhibit(test_a_walk_goes_all_the_way, strides, uniform_tau)


def wrapped_walk(eps_model, x, S):
    """Its cousin: times counted from 0, table[t - stride] at the end."""
    table, stride = alpha_bar[1:], 1000 // S
    for t in range(999, -1, -stride):
        eps = eps_model(x, t + 1)
        ab_s = float(table[t - stride])
        x = q_sample(predict_x0(x, float(table[t]), eps), ab_s, eps)
    return x


unfinished = signed(+1)(one_tune, noise, strides(1000, 600))
wrapped = wrapped_walk(one_tune, noise, 50)
thirty = signed(+1)(one_tune, noise, strides(1000, 30))
right = last(ddim(one_tune, noise, alpha_bar, uniform_tau(1000, 50)))
off = {name: scale * np.abs(x - tune).mean() for name, x in (("50", right), ("30", thirty), ("600", unfinished))}
print(f"log-mel off by: 50 right steps {off['50']:.2f}, 30 strides {off['30']:.2f}, 600 strides {off['600']:.2f}")
assert off["30"] < 1.5 * off["50"] and off["600"] > 4 * off["50"]
print(f"correlation with the tune: wrapped {np.corrcoef(wrapped.ravel(), tune.ravel())[0, 1]:+.2f}")
assert abs(np.corrcoef(wrapped.ravel(), tune.ravel())[0, 1]) < 0.2
listen(unfinished, "600 strides of 1000 // 600: stopped at t = 400")
listen(wrapped, "The cousin: 50 steps down, and the last one back up into noise")

# %% [markdown]
# With $S$ = 10 nothing is wrong, and 10, 50 and 100 are what everyone tries. At 30 the picture is hardly worse than
# with 50 right steps, so nobody notices; at 600 every pixel is off by a random factor, the sound is rough, and people
# concluded that more steps are worse. The cousin does 49 steps
# well and the last one into pure noise.
#
# **Moral.** Write the times down as an array, $0 = \tau_0 < \dots < \tau_S = T$, and test both ends of
# it, with numbers that do not divide.

# %%
show_answer(uniform_tau)

# %% [markdown]
# ## x0 is clipped, eps is not told
#
# Data lie in $[-1, 1]$, a network's idea of $x_0$ may not, so it is clipped. Then the step combines the
# new $x_0$ with the old $\epsilon$. But $x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\,
# \epsilon$ ties them together: who changes one must change the other. (In
# [diffusers](https://github.com/huggingface/diffusers), `DDIMScheduler`, this is the default, and the option
# `use_clipped_model_output` derives $\epsilon$ again.)


# %%
def clip_only(eps_model, alpha_bar):
    """The bug, as a pair of x0 and eps."""

    def pair(x, t):
        eps = eps_model(x, t)
        return predict_x0(x, float(alpha_bar[t]), eps).clip(-1, 1), eps

    return pair


def clip_both(eps_model, alpha_bar):
    """The fix: `clipped` returns an eps that goes with the clipped x0."""
    wrapped = clipped(eps_model, alpha_bar)

    def pair(x, t):
        eps = wrapped(x, t)
        return predict_x0(x, float(alpha_bar[t]), eps), eps

    return pair


def confident(x, t):
    """A network that overstates the noise by a fifth, as guidance does."""
    return 1.2 * clouds(x, t)


def test_x0_and_eps_add_up_to_x(clip):
    x0, eps = clip(confident, alpha_bar)(x_T, 800)
    error = np.abs(q_sample(x0, float(alpha_bar[800]), eps) - x_T).mean()
    assert np.abs(x0).max() < 1 + 1e-9 and error < 1e-9, f"x is off by {error:.2f} on average, after no step at all"


exhibit(test_x0_and_eps_add_up_to_x, clip_only, clip_both)

# %%
tau = uniform_tau(1000, 50)
for name, clip in (("eps kept", clip_only), ("eps derived again", clip_both)):
    pair, x, most = clip(confident, alpha_bar), x_T, 0.0
    for t, s in zip(tau[:0:-1].tolist(), tau[-2::-1].tolist(), strict=True):
        x0, eps = pair(x, t)
        x = q_sample(x0, float(alpha_bar[s]), eps)
        most = max(most, x.std())
    print(f"{name:18}: {100 * np.mean(x > 0):.0f} % at +1; largest standard deviation on the way {most:.2f}")

# %% [markdown]
# On the way $x$ becomes far too wide: levels of noise that a network was never trained on. What one sees
# are colours too strong, what one hears is too loud.
#
# **Moral.** Three numbers tied by an equation: test the equation after every change of one.
#
# ## The beta of one step in a step of twenty
#
# DDPM's formulas have a $\beta_t$, the noise added between $t - 1$ and $t$. Someone shortens sampling by
# visiting every twentieth time, with the formulas unchanged: each step then removes a twentieth of the
# noise that it should.


# %%
def ancestral(beta_of):
    """DDPM's sampler over tau; beta_of(t, s) is the noise between two times."""

    def sample(eps_model, x, tau, rng):
        for t, s in zip(tau[:0:-1].tolist(), tau[-2::-1].tolist(), strict=True):
            beta = float(beta_of(t, s))
            x = (x - beta / float(1 - alpha_bar[t]) ** 0.5 * eps_model(x, t)) / (1 - beta) ** 0.5
            if s > 0:
                x = x + beta**0.5 * rng.standard_normal(x.shape)
        return x

    return sample


one_step = ancestral(lambda t, s: 1 - alpha_bar[t] / alpha_bar[t - 1])
whole_step = ancestral(lambda t, s: 1 - alpha_bar[t] / alpha_bar[s])


def test_two_clouds_come_out_with_fifty_steps(sample):
    x = sample(clouds, x_T, uniform_tau(1000, 50), np.random.default_rng(1))
    near = np.mean(np.abs(np.abs(x) - 1) < 0.4)
    assert near > 0.95, f"{100 * near:.0f} % of the points are near a cloud"


exhibit(test_two_clouds_come_out_with_fifty_steps, one_step, whole_step)
for name, sampler in (("one step's beta", one_step), ("the whole step's", whole_step)):
    x = sampler(one_tune, noise, uniform_tau(1000, 50), np.random.default_rng(1))
    listen(x, f"Every twentieth time, {name}")

# %% [markdown]
# The paper's text has a milder form: $\sigma_t$ with the one-step $\beta_t$. Then its "eta 1" is not
# DDPM:

# %%
t, s = 501, 491
literal = ((1 - alpha_bar[s]) / (1 - alpha_bar[t]) * (1 - alpha_bar[t] / alpha_bar[t - 1])) ** 0.5
right = posterior(0.0, 0.0, alpha_bar[t], alpha_bar[s])[1] ** 0.5
print(f"sigma from t = {t} to {s}: literal {literal:.4f}, DDIM's equation 16 {right:.3f}")
assert abs(literal - 0.0999) < 1e-3 and abs(right - 0.307) < 1e-3

# %% [markdown]
# **Moral.** A symbol with one index hides a second. Write $\beta$ as a function of both times: $1 -
# \bar\alpha_t / \bar\alpha_s$.
#
# ## No signal at the end, and a network that predicts noise
#
# It is tidy to let the schedule end at pure noise, $\bar\alpha_T = 0$. But then $x_T = \epsilon$ says
# nothing of the data, and $x_0 = (x_t - \sqrt{1 - \bar\alpha_t}\, \epsilon) / \sqrt{\bar\alpha_t}$
# divides by 0. Just above 0 it divides by next to nothing: whatever is wrong with $\epsilon$ is
# multiplied by $\sqrt{(1 - \bar\alpha_t) / \bar\alpha_t}$.


# %%
def x0_from_eps(x, ab, x0, eps, error):
    """A network that predicts eps, with an error, read as x0."""
    return predict_x0(x, ab, eps + error)


def x0_from_v(x, ab, x0, eps, error):
    """A network that predicts v, with the same error: x0 = signal_rate x - noise_rate v."""
    return ab**0.5 * x - (1 - ab) ** 0.5 * (velocity(x0, ab, eps) + error)


def test_a_small_error_stays_small(reading):
    rng = np.random.default_rng(0)
    x0, eps = rng.standard_normal((2, 1000))
    ab = float(cosine_schedule(1000)[-1])
    off = np.abs(reading(q_sample(x0, ab, eps), ab, x0, eps, 1e-3) - x0).max()
    assert off < 0.01, f"an error of 0.001 in the output is {off:.0f} in x0"


exhibit(test_a_small_error_stays_small, x0_from_eps, x0_from_v)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.8))
levels = cosine_schedule(1000)[1:]
ax.semilogy(
    np.arange(1, 1001), ((1 - levels) / levels) ** 0.5, label="eps: $\\sqrt{(1 - \\bar\\alpha) / \\bar\\alpha}$"
)
ax.semilogy(np.arange(1, 1001), (1 - levels) ** 0.5, "--", label="v: $\\sqrt{1 - \\bar\\alpha}$")
ax.set(xlabel="time $t$", ylabel="error of $x_0$ for 1 of the output", title="Nichol and Dhariwal's cosine schedule")
ax.legend()
plt.show()

# %% [markdown]
# What one hears: clips that are far too loud, or silence, since the first step already threw $x$ out of
# the world; and a NaN where the schedule really ends at 0. The package's samplers refuse a schedule that
# does.
#
# **Moral.** Ask of every division what happens at the end of the table. Or predict $v$.
#
# ## A complex distance
#
# The Fréchet distance, with `scipy.linalg.sqrtm` of a product of singular covariances (lesson 11).


# %%
def with_sqrtm(mu_b, sigma_b, mu_e, sigma_e):
    """The formula as it is printed."""
    return ((mu_b - mu_e) ** 2).sum() + np.trace(sigma_b + sigma_e - 2 * scipy.linalg.sqrtm(sigma_b @ sigma_e))


def test_the_distance_of_few_clips_is_a_number(distance):
    rng = np.random.default_rng(0)
    result = distance(*gaussian(rng.standard_normal((50, 128))), *gaussian(rng.standard_normal((50, 128))))
    assert np.isrealobj(result) and result >= 0, f"it is {result:.4f}"


exhibit(test_the_distance_of_few_clips_is_a_number, with_sqrtm, frechet_distance)

# %% [markdown]
# `.real` makes the message go away, and the question with it: 50 embeddings in 128 dimensions are too
# few.
#
# **Moral.** Test on less data than dimensions. And when a program complains, find out why before it is
# silenced.
#
# ## A ReLU after the embedding
#
# VGGish's last dense layer has no activation. A copy in another framework,
# [torchvggish](https://github.com/harritaylor/torchvggish), ended like all its layers, with one. Every score
# of its users is that of another embedding.


# %%
def dense(x, w):
    return x @ w


def dense_and_relu(x, w):
    return np.maximum(x @ w, 0)


def test_what_lies_below_zero_is_seen(layer):
    rng = np.random.default_rng(0)
    w = np.eye(8)
    quiet, loud = rng.normal(-3, 0.5, (500, 8)), rng.normal(-5, 0.5, (500, 8))
    apart = frechet_distance(*gaussian(layer(quiet, w)), *gaussian(layer(loud, w)))
    assert apart > 20, f"two sets that are 32 apart are at {apart:.2g}"


exhibit(test_what_lies_below_zero_is_seen, dense_and_relu, dense)

# %% [markdown]
# **Moral.** A port is right when its numbers are, on the same input, to six digits. Compare the
# embeddings, not the labels that come after: labels hide small errors.
#
# ## Integers that wrap
#
# Recordings come as 16-bit integers. Mixed as they come, the sum of two loud moments does not clip, it
# changes sign.


# %%
def to_16_bits(x):
    return np.round(np.clip(x, -1, 1) * 32767).astype(np.int16)


def mix_integers(a, b):
    return a + b


def mix_floats(a, b):
    return np.clip(a.astype(np.float32) + b.astype(np.float32), -32768, 32767).astype(np.int16)


def test_loud_and_loud_is_loud(mix):
    result = mix(np.array([30_000], np.int16), np.array([30_000], np.int16))[0]
    assert result > 30_000, f"30000 + 30000 = {result}"


exhibit(test_loud_and_loud_is_loud, mix_integers, mix_floats)
loud = [to_16_bits(0.8 * x / np.abs(x).max()) for x in (plucked, organ)]
sound(0.3 * mix_floats(*loud) / 32768, "Strings and organ, mixed as floats")
sound(0.3 * mix_integers(*loud) / 32768, "... as 16-bit integers")

# %% [markdown]
# The much copied test values of the Fréchet audio distance come from
# [gen_test_files.py](https://github.com/google-research/google-research/tree/master/frechet_audio_distance): sines at
# full scale plus a very small noise, written as 16-bit integers. What passes full scale can wrap; and the
# noise is not
# seeded, so nobody can reproduce the values to the last digit.
#
# **Moral.** Integers are for files. `x / 32768` on the first line after reading, and a test at full
# loudness.
#
# ## The average that remembers the beginning
#
# Samples are drawn with an exponential moving average of the weights, $a \leftarrow \gamma a + (1 -
# \gamma) w$. It began at the random weights of step 0, and after $n$ steps those still have the share
# $\gamma^n$. To hear it, take the simplest "network" there is: its weights *are* the picture, and AdamW
# pulls them from noise to the tune.

# %%
steps, start = 200, np.random.default_rng(0).standard_normal(tune.shape)


def train(decay):
    """Weights and their average after `steps` steps; decay(n) is that of step n."""
    weights, average = start.copy(), start.copy()
    moments = {"m": np.zeros_like(start), "v": np.zeros_like(start)}
    for n in range(1, steps + 1):
        adamw(weights, weights - tune, moments, n, 0.05, 0.0)
        update_average(average, weights, decay(n))
    return weights, average


def constant(n):
    return 0.999


def warmed_up(n):
    """Short memory first: the average of the last tenth or so of all steps, up to a thousand."""
    return min(0.999, (1 + n) / (10 + n))


def test_the_average_has_left_the_start(decay):
    _, average = train(decay)
    share = np.mean((average - tune) * (start - tune)) / np.mean((start - tune) ** 2)
    assert share < 0.1, f"{100 * share:.0f} % of the start is left after {steps} steps"


exhibit(test_the_average_has_left_the_start, constant, warmed_up)
weights, average = train(constant)
print(f"0.999^{steps} = {0.999**steps:.2f}; half is forgotten after {np.log(0.5) / np.log(0.999):.0f} steps")
assert 0.999**steps > 0.8 and 690 < np.log(0.5) / np.log(0.999) < 695
listen(weights, f"The weights after {steps} steps")
listen(average, "Their average, with a decay of 0.999 from the first step on")
listen(train(warmed_up)[1], "Their average, with a short memory first")

# %% [markdown]
# The loss falls, and the samples are noise: the training is declared broken, the learning rate changed,
# and by the time the average has caught up the change gets the credit. For a short training choose a
# decay with a short memory, as this package's `make demo` does, or let it grow.
#
# **Moral.** When the samples are noise, draw some with the plain weights, too, before you touch
# anything.
#
# ## What they have in common

# %%
print(f"{len(caught)} exhibits, {len(caught)} tests:")
print(*(f"  {name}" for name in caught), sep="\n")
assert len(caught) == 9

# %% [markdown]
# No test above looks at code. Each states something that must be *true*: shares that come out, ends that
# are reached, an equation that holds, a sign, an order of magnitude. Such a test is short, needs no
# network, and outlives every rewriting. To find out whether it is any good, put a bug in and see it
# fail.
#
# ## Common mistakes
#
# | what you see or hear | case |
# |---|---|
# | all samples alike, each of them fine | the direction's sign |
# | more steps are worse, or some numbers of steps are | strides that do not reach 0 |
# | loud, garish samples | clipped, eps not derived again |
# | few steps of DDPM give noise | the beta of a single step |
# | NaN, or a huge first step | no signal at the end of the schedule |
# | a complex score | a general matrix root |
# | scores that nobody reproduces | another activation; integers that wrapped |
# | a crackle where it is loud | integers that wrapped |
# | the loss is good, the samples are noise | the average is still young |
#
# ## Exercises
#
# In `lessons/14_bugs/exercise.py` four functions are shown with their bug; write them without:
# `uniform_tau`, `clipped`, `eps_of_velocity` and `update_average`. Then run `make check-14`. What right
# answers look like:

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 2, figsize=(6, 5))
axes[0, 0].plot(uniform_tau(10, 4), "o-", markersize=4)
axes[0, 0].plot(strides(10, 4), "x:", color="#999999")
axes[0, 0].set(title="uniform_tau(10, 4); x: the bug", xlabel="i", ylabel="time")
x = np.linspace(-3, 3, 121)
x0 = predict_x0(x, 0.5, clipped(lambda x, t: 0 * x, np.array([1.0, 0.5]))(x, 1))
axes[0, 1].plot(x, x0)
axes[0, 1].set(title="x0 of clipped", xlabel="$x_t$", ylabel="$x_0$")
angle = np.linspace(0, np.pi / 2, 50)
axes[1, 0].plot(np.cos(angle) ** 2, [eps_of_velocity(1.0, float(c), 0.5) for c in np.cos(angle) ** 2])
axes[1, 0].set(title="eps_of_velocity(1, alpha_bar, 0.5)", xlabel="alpha_bar", ylabel="eps")
a, values = np.zeros(1), []
for _ in range(40):
    update_average(a, np.ones(1), 0.9)
    values.append(a[0])
axes[1, 1].plot(1 + np.arange(40), values)
axes[1, 1].set(title="update_average, decay 0.9", xlabel="step", ylabel="average of ones", ylim=(0, 1))
plt.show()

# %% [markdown]
# ## Sources
#
# - [diffusers, `DDIMScheduler`: clipping, and its option](https://github.com/huggingface/diffusers)
# - [Nichol and Dhariwal 2021, the cosine schedule](https://arxiv.org/abs/2102.09672)
# - [Salimans and Ho 2022, predicting v](https://arxiv.org/abs/2202.00512)
# - [pytorch-fid: a general matrix root, and what is done about its imaginary part](https://github.com/mseitzer/pytorch-fid)
# - [torchvggish: the last activation](https://github.com/harritaylor/torchvggish)
# - [google-research, frechet_audio_distance: the test sounds](https://github.com/google-research/google-research/tree/master/frechet_audio_distance)
