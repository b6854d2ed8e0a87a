# %% [markdown]
# # The bug museum
#
# This lesson shows nine bugs. The first is a slip that is easily made when DDIM is written from memory; most of the
# others come from public code, and their sections name the repository and the place. You see the wrong line, what it
# does to the music or to the score, and a test that finds it. Hardly any of them stops a program: it trains, samples
# and plays, and the music is worse.
#
# You need lessons 01, 03, 04, 08 and 11. The buggy code is retold here in a few lines of our own.

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
# Four of the exhibits are samplers. Two oracles (lesson 04) predict the noise exactly, so every error is the
# sampler's own. One oracle knows two clouds of points, 30 % around -1 and 70 % around +1. The other knows a "data set"
# of one tune, so that we can listen.


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
# A step of DDIM goes to $\sqrt{\bar\alpha_s}\, x_0 + \sqrt{1 - \bar\alpha_s}\, \epsilon$ ([Song et al.
# 2021](https://arxiv.org/abs/2010.02502), equation 12): the data, with less of the *same* noise. The wrong code has a
# minus before the second term, "since noise is removed".
#
# **Predict.** Of 4000 points, how many will end at +1? The right sampler puts 2800 there.


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
assert np.mean(signed(-1)(clouds, x_T, uniform_tau(1000, 50)) > 0) > 0.95

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 1, figsize=(6, 4), sharex=True)
for ax, sign, name in zip(axes, (1, -1), ("right: + direction", "the bug: - direction"), strict=True):
    ax.hist(signed(sign)(clouds, x_T, uniform_tau(1000, 50))[:, 0], np.linspace(-1.5, 1.5, 61))
    ax.set(title=name, ylabel="points")
axes[1].set_xlabel("x")
plt.show()

# %% [markdown]
# Nearly every point ends in the larger cloud: the generator makes the same piece again and again. The noise changes
# its sign at each step, so the steps cancel, and the starting point no longer matters. One sample alone looks perfect.
#
# **Moral.** Look at a hundred samples, and test that the *distribution* is right.
#
# ## `t - T // S`
#
# To walk from $T$ to 0 in $S$ steps, the code takes strides of `T // S`. Where $S$ does not divide $T$, that is rounded
# down. In [diffusers](https://github.com/huggingface/diffusers/issues/2585), `DDIMScheduler`, such walks ended at 0 and
# began below $T$; in [Stable Diffusion](https://github.com/CompVis/stable-diffusion/issues/686), too. A second version
# counts times from 0, so the last step goes to a [negative time](https://github.com/huggingface/diffusers/issues/5921).
# Diffusers notices this. Code that simply reads `alpha_bar[t - T // S]` gets the value from the *end* of the table.
#
# **Predict.** A walk of strides begins at 1000 and has $S$ steps. Where does it end for $S$ = 10, 30 and 600?


# %%
def strides(T, S):
    """The bug: S strides of T // S, which may end before 0."""
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
    """The second version: times counted from 0, table[t - stride] at the end."""
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
listen(wrapped, "The second version: 49 steps down, and the last one back up into noise")

# %% [markdown]
# With $S$ = 10 nothing is wrong, and 10, 50 and 100 are the numbers that people try. With 30 the picture is hardly
# worse than with 50 right steps. With 600 every pixel is off by a random factor and the sound is rough: it seems that
# more steps are worse. The second version takes 49 right steps, and the last one leads back into pure noise.
#
# **Moral.** Write the times as an array, $0 = \tau_0 < \dots < \tau_S = T$. Test both of its ends, with an $S$ that
# does not divide $T$.

# %%
show_answer(uniform_tau)

# %% [markdown]
# ## x0 is clipped, eps is not told
#
# Data lie in $[-1, 1]$, and a predicted $x_0$ may not, so it is clipped. Then the step combines the new $x_0$ with
# the old $\epsilon$. But $x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon$ must still hold.
# After a change of $x_0$, $\epsilon$ must be computed again. In diffusers, `DDIMScheduler.step`, keeping the old
# $\epsilon$ is the default, and the option `use_clipped_model_output` computes it again: only with that option [DDIM
# with eta 1 equals DDPM](https://github.com/huggingface/diffusers/pull/1069).


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
    """A network that predicts a fifth too much noise, as guidance can."""
    return 1.2 * clouds(x, t)


def test_x0_and_eps_add_up_to_x(clip):
    x0, eps = clip(confident, alpha_bar)(x_T, 800)
    error = np.abs(q_sample(x0, float(alpha_bar[800]), eps) - x_T).mean()
    assert np.abs(x0).max() < 1 + 1e-9 and error < 1e-9, f"x is off by {error:.2f} on average, after no step at all"


exhibit(test_x0_and_eps_add_up_to_x, clip_only, clip_both)

# %%
tau, widest = uniform_tau(1000, 50), {}
for name, clip in (("eps kept", clip_only), ("eps derived again", clip_both)):
    pair, x, most = clip(confident, alpha_bar), x_T, 0.0
    for t, s in zip(tau[:0:-1].tolist(), tau[-2::-1].tolist(), strict=True):
        x0, eps = pair(x, t)
        x = q_sample(x0, float(alpha_bar[s]), eps)
        most = max(most, x.std())
    widest[name] = most
    print(f"{name:18}: {100 * np.mean(x > 0):.0f} % at +1; largest standard deviation on the way {most:.2f}")
assert widest["eps kept"] > 1.5 > 1.1 > widest["eps derived again"]

# %% [markdown]
# On the way $x$ becomes far too wide. A network has never seen such values in training. Pictures get colours that are
# too strong, and sound gets too loud.
#
# **Moral.** Where an equation ties three numbers together, test the equation after every change of one.
#
# ## The beta of one step in a step of twenty
#
# DDPM's formulas have a $\beta_t$, the noise that is added between $t - 1$ and $t$. To sample faster, visit every
# twentieth time and leave the formulas unchanged: each step then removes about a twentieth of the noise that it should.
# Until early 2023 this was the `DDPMScheduler` of
# [diffusers](https://github.com/huggingface/diffusers/pull/2076), whose samples were noise.


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
# The paper of this course has a milder form in its text: $\sigma_t$ with the one-step $\beta_t$. Then its "eta 1" is
# not DDPM:

# %%
t, s = 501, 491
literal = ((1 - alpha_bar[s]) / (1 - alpha_bar[t]) * (1 - alpha_bar[t] / alpha_bar[t - 1])) ** 0.5
right = posterior(0.0, 0.0, alpha_bar[t], alpha_bar[s])[1] ** 0.5
print(f"sigma from t = {t} to {s}: literal {literal:.4f}, DDIM's equation 16 {right:.3f}")
assert abs(literal - 0.0999) < 1e-3 and abs(right - 0.307) < 1e-3

# %% [markdown]
# **Moral.** $\beta_t$ depends on two times, and its symbol shows one. Write both: $1 - \bar\alpha_t / \bar\alpha_s$.
#
# ## No signal at the end, and a network that predicts noise
#
# A schedule that ends at pure noise, $\bar\alpha_T = 0$, fits the start of sampling best
# ([Lin et al. 2023](https://arxiv.org/abs/2305.08891)). But then $x_T = \epsilon$ contains nothing of the data, and
# $x_0 = (x_t - \sqrt{1 - \bar\alpha_t}\, \epsilon) / \sqrt{\bar\alpha_t}$ divides by 0. Just above 0, an error of
# $\epsilon$ is multiplied by the large number $\sqrt{(1 - \bar\alpha_t) / \bar\alpha_t}$. That is why Lin's authors
# train with $v$; a checkpoint that predicts $\epsilon$ fails with their schedule.


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
# The first step already makes $x$ far too large, so clips are far too loud; where the schedule ends at exactly 0, they
# are NaN. The package's samplers refuse such a schedule.
#
# **Moral.** At every division, ask what happens at the end of the table. Or predict $v$.
#
# ## A complex distance
#
# The Fréchet distance is often computed with `scipy.linalg.sqrtm` of a product of covariances. Where those are
# singular (lesson 11), the result is complex:
# [TTUR, the first FID](https://github.com/bioinf-jku/TTUR/issues/4), and
# [pytorch-fid](https://github.com/mseitzer/pytorch-fid/issues/13), `calculate_frechet_distance`, which drops a small
# imaginary part without a word, and stops at a large one.


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
# `.real` removes the message, and hides its cause: 50 embeddings are too few for 128 dimensions.
#
# **Moral.** Test with less data than dimensions. Find the cause of a warning before you silence it.
#
# ## A ReLU after the embedding
#
# VGGish's last dense layer has no activation. A copy for PyTorch,
# [torchvggish](https://github.com/harritaylor/torchvggish/issues/3), `vggish.py`, had no ReLU at all at first; when
# they were added, the last layer [got one, too](https://github.com/harritaylor/torchvggish/issues/24). Scores that
# were computed with it belong to another embedding.


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
# **Moral.** A copy is right if it gives the original's numbers, to six digits, on the same input. Compare embeddings
# rather than labels: labels hide small errors.
#
# ## Integers that wrap
#
# Recordings are 16-bit integers. If two loud ones are added as integers, the sum does not clip: it changes its sign.
#
# **Predict.** What is 30 000 + 30 000 in 16-bit integers?


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
# Many programs copy the test values of the Fréchet audio distance, which come from
# [google-research](https://github.com/google-research/google-research/tree/master/frechet_audio_distance),
# `gen_test_files.py`. It writes sines at full scale plus a very small noise as 16-bit integers. Values above full scale
# can wrap. The noise has no seed, so nobody can reproduce the test values to the last digit.
#
# **Moral.** Use integers in files only. Write `x / 32768` on the first line after reading, and test at full loudness.
#
# ## A young moving average
#
# Samples are drawn with an exponential moving average of the weights, $a \leftarrow \gamma a + (1 - \gamma) w$. It
# starts as the random weights of step 0, whose share after $n$ steps is still $\gamma^n$. Users of
# [improved-diffusion](https://github.com/openai/improved-diffusion/issues/59) (decay 0.9999, 10 000 steps) and
# [DiffAE](https://github.com/konpatp/diffae/issues/16) got noise from the averaged weights; the second ones had good
# samples from the plain weights by then. To hear this, take the simplest possible "network": its weights *are* the
# picture, and AdamW moves them from noise to the tune.
#
# **Predict.** With $\gamma = 0.999$, how large is the share of the start after 200 steps?

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
# The loss falls, and the samples are noise. It is easy to blame the learning rate, to change it, and to believe that
# the change helped when the average has caught up. For a short training choose a small decay, as this package's `make
# demo` does, or let the decay grow.
#
# **Moral.** When samples are noise, draw some with the plain weights before you change anything.
#
# ## What they have in common

# %%
print(f"{len(caught)} exhibits, {len(caught)} tests:")
print(*(f"  {name}" for name in caught), sep="\n")
assert len(caught) == 9

# %% [markdown]
# Each test states something that must be *true*: the shares of the clouds, the ends of a walk, an equation, a sign, an
# order of magnitude. Such a test is short, needs no network, and stays valid when the code is rewritten. To see
# whether a test is any good, put the bug in and see it fail.
#
# ## Common mistakes
#
# | what you see or hear | case |
# |---|---|
# | all samples are alike, and each of them is good | the direction's sign |
# | some numbers of steps are worse than fewer steps | strides that do not reach 0 |
# | samples are too loud, colours too strong | $x_0$ is clipped, $\epsilon$ is not computed again |
# | few steps of DDPM give noise | the beta of a single step |
# | NaN, or a huge first step | no signal at the end of the schedule, and a network that predicts $\epsilon$ |
# | a complex score | the root of a general matrix |
# | scores that nobody can reproduce | another activation; integers that wrapped; no seed |
# | a crackle in loud moments | integers that wrapped |
# | the loss is good, the samples are noise | the moving average is still young |
#
# ## Exercises
#
# `lessons/14_bugs/exercise.py` describes four functions with their bug. Write them without it: `uniform_tau`,
# `clipped`, `eps_of_velocity` and `update_average`. Write `test_uniform_tau`, too, a test that finds the bugs of
# others. Then run `make check-14`. Right answers look like this:

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
# ## Experiment
#
# A test that uses random numbers fails now and then, although nothing is wrong. How many points does
# `test_two_clouds_keep_their_shares` need? Its tolerance is 0.03. Run the *right* sampler many times with 50, 200, 1000
# and 4000 points, and count how often the test fails. Fill in the form at the end of `exercise.py`.

# %% [markdown] tags=["answer"]
# Points are independent, so one large run can be cut into many small ones. The share of $n$ points at +1 has the
# standard deviation $\sqrt{0.7 \cdot 0.3 / n}$, and the test fails where a share is off by more than 0.03.

# %% tags=["answer"]
many = np.random.default_rng(7).standard_normal((400_000, 1))
at_plus = signed(+1)(clouds, many, uniform_tau(1000, 50))[:, 0] > 0
alarms = {}
print("points   false alarms   standard deviation of the share")
for n in (50, 200, 1000, 4000):
    shares = at_plus.reshape(-1, n).mean(axis=1)
    alarms[n] = np.mean(np.abs(shares - 0.7) >= 0.03)
    print(f"{n:6}{100 * alarms[n]:13.1f} %{shares.std():22.4f}   (expected {(0.7 * 0.3 / n) ** 0.5:.4f})")
    assert abs(shares.std() / (0.7 * 0.3 / n) ** 0.5 - 1) < 0.25
assert alarms[50] > 0.5 and alarms[200] > 0.2 and alarms[1000] < 0.1 and alarms[4000] <= 0.01

# %% [markdown] tags=["answer"]
# With 50 points the right sampler fails more than half of the time, with 1000 a few times in a hundred runs, with 4000
# hardly ever: there the tolerance is four standard deviations. A fixed seed makes the outcome repeatable, but it does
# not help if the tolerance is too narrow: then a right change of the code, which draws other numbers, fails. Choose $n$
# so that the tolerance is at least four standard deviations: $n \ge 16 \cdot 0.21 / 0.03^2 \approx 3700$.

# %% [markdown]
# ## Sources
#
# - J. Song, C. Meng, S. Ermon (2021), [Denoising diffusion implicit models](https://arxiv.org/abs/2010.02502).
# - A. Nichol, P. Dhariwal (2021), [Improved denoising diffusion probabilistic
#   models](https://arxiv.org/abs/2102.09672): the cosine schedule.
# - T. Salimans, J. Ho (2022), [Progressive distillation](https://arxiv.org/abs/2202.00512): predicting v.
# - S. Lin, B. Liu, J. Li, X. Yang (2023), [Common diffusion noise schedules and sample steps are
#   flawed](https://arxiv.org/abs/2305.08891): a schedule that ends without signal.
# - diffusers, `scheduling_ddim.py`: [strides](https://github.com/huggingface/diffusers/issues/2585), [a negative
#   time](https://github.com/huggingface/diffusers/issues/5921),
#   [clipping](https://github.com/huggingface/diffusers/pull/1069); `scheduling_ddpm.py`: [the beta of one
#   step](https://github.com/huggingface/diffusers/pull/2076).
# - Stable Diffusion, `ddim.py`: [strides](https://github.com/CompVis/stable-diffusion/issues/686).
# - TTUR and pytorch-fid, `fid_score.py`: [a complex distance](https://github.com/bioinf-jku/TTUR/issues/4), [its
#   cause](https://github.com/mseitzer/pytorch-fid/issues/13).
# - torchvggish, `vggish.py`: [activations](https://github.com/harritaylor/torchvggish/issues/3), [and one too
#   many](https://github.com/harritaylor/torchvggish/issues/24).
# - google-research,
#   [frechet_audio_distance](https://github.com/google-research/google-research/tree/master/frechet_audio_distance),
#   `gen_test_files.py`: the test sounds.
# - improved-diffusion: [noise from averaged weights](https://github.com/openai/improved-diffusion/issues/59); DiffAE:
#   [the same](https://github.com/konpatp/diffae/issues/16).
