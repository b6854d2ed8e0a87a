# %% [markdown]
# # Tuning, and how to read the paper's table
#
# The paper tunes five numbers in six trials and reports nine scores. This lesson asks what these results can show: how
# much of the space six trials cover, what tuning reports for a setting that has no effect, what the learning rate does
# to a small network, and which of the nine scores differ by more than chance.
#
# You need lessons 03 (schedules), 08 (training) and 11 (the Fréchet distance).

# %%
import matplotlib.pyplot as plt
import numpy as np
import soxr

from ddim_from_scratch.audio import log_mel, synth
from ddim_from_scratch.diffusion import continuous_cosine_schedule
from ddim_from_scratch.diffusion.schedule import continuous_cosine_alpha_bar
from ddim_from_scratch.fad import frechet_distance, gaussian
from ddim_from_scratch.fad.reliability import floor
from ddim_from_scratch.fad.statistics import Set
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.backend import threads
from ddim_from_scratch.spectrogram.config import Config
from ddim_from_scratch.spectrogram.system import Batch, Training
from lessons import FAST, show_answer

# %% [markdown]
# ## What was tuned
#
# Optuna ([Akiba et al. 2019](https://arxiv.org/abs/1907.10902)) proposes values, a network is trained with them, and
# the result goes back to Optuna, which proposes the next ones. Each round is a *trial*. The paper ran six and found
# these values:

# %%
default = {
    "learning rate": 3e-4,
    "weight decay": 1e-4,
    "min_signal_rate": 0.02,
    "max_signal_rate": 0.95,
    "block depth": 2,
}
tuned = dict(zip(default, (3.310677931449062e-05, 0.0688, 0.1952, 0.9326, 4), strict=True))
print(f"{'':17}{'before':>8}{'tuned':>10}")
for name in default:
    print(f"{name:17}{default[name]:8g}{tuned[name]:10.4g}")
print(f"\nread as printed, 3.31^-5 is {3.31**-5:.4f}: {3.31**-5 / tuned['learning rate']:.0f} times 3.31e-5")
assert 70 < 3.31**-5 / tuned["learning rate"] < 80

# %% [markdown]
# (The paper prints the rate as $3.31^{-5}$. It means $3.31 \cdot 10^{-5}$.) The two signal rates are the ends of the
# schedule:

# %%
show_answer(continuous_cosine_alpha_bar)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.8))
for rates, name in ((default, "before"), (tuned, "tuned")):
    alpha_bar = continuous_cosine_schedule(1000, rates["min_signal_rate"], rates["max_signal_rate"])
    ax.plot(np.arange(1, 1001) / 1000, alpha_bar[1:] ** 0.5, "--" if name == "tuned" else "-", label=name)
ax.set(xlabel="time", ylabel="signal rate", ylim=(0, 1), title="how much of the music is left")
ax.legend()
plt.show()

# %%
for rates, name in ((default, "before"), (tuned, "tuned")):
    rate = rates["min_signal_rate"]
    print(f"{name:6}: at the noisiest time the signal has {100 * rate**2:.2f} % of the variance")
assert default["min_signal_rate"] ** 2 < 0.001 < 0.03 < tuned["min_signal_rate"] ** 2

# %% [markdown]
# After tuning, the network never sees pure noise in training, but the paper's sampling begins with pure noise. A
# twenty-fifth of the variance is a faint picture of real music, which is then missing when a sample begins. Lesson 09
# measures the damage. (This package draws a faint picture, too, and begins with it: `Model.start`.)
#
# ## Six trials
#
# Suppose that a tenth of all settings is good. The chance that one of $n$ random trials hits a good one is $1 - 0.9^n$.
# And if each of the five ranges is divided into two halves, the space has $2^5$ corners.
#
# **Predict.** How likely is it that six random trials contain a good one?

# %%
for n in (6, 22, 60):
    print(f"{n:3} trials: a good one among them with chance {1 - 0.9**n:.2f}; {min(n, 32)} of 32 corners seen, at most")
assert 1 - 0.9**6 < 0.5 and 1 - 0.9**22 > 0.9

# %% [markdown]
# Six trials are about as good as tossing a coin. Optuna's default sampler learns from its trials, but its first
# [ten trials](https://optuna.readthedocs.io/en/stable/reference/samplers/generated/optuna.samplers.TPESampler.html) are
# random, so in six it learns nothing. ([Bergstra and Bengio 2012](https://www.jmlr.org/papers/v13/bergstra12a.html)
# study how far random trials go.) Six trials are better than none, but they do not justify 16 digits.
#
# ## A setting without effect
#
# In the authors' notebook a trial draws a learning rate and a weight decay, and then trains with constants instead: the
# two have no effect. What does tuning report for such a setting? Let the score depend on the block depth and on chance,
# and take the best of six trials, a thousand times.
#
# **Predict.** How often does the best trial have the best depth, 4? And which learning rate does it report?

# %%
rng = np.random.default_rng(0)
rates = 10 ** rng.uniform(-5, -2, (1000, 6))  # drawn, and never used
depths = rng.integers(1, 5, (1000, 6))
scores = 8 - depths + rng.standard_normal((1000, 6))  # lower is better
best = scores.argmin(axis=1)
best_rate, best_depth = (np.take_along_axis(a, best[:, None], 1)[:, 0] for a in (rates, depths))
print(f"depth of the best trial: 4 in {100 * np.mean(best_depth == 4):.0f} % of the studies")
tenth, ninth = np.quantile(best_rate, [0.1, 0.9])
print(f"its learning rate: from {tenth:.1e} to {ninth:.1e} in the middle 80 %")
assert np.mean(best_depth == 4) > 0.5 and ninth / tenth > 100

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(6, 2.8))
axes[0].hist(best_depth, np.arange(0.5, 5), rwidth=0.8)
axes[0].set(xlabel="block depth", ylabel="studies", title="a setting that matters")
axes[1].hist(np.log10(best_rate), 15, rwidth=0.9)
axes[1].set(xlabel="log10 learning rate", ylabel="studies", title="a setting without effect")
plt.show()

# %% [markdown]
# Every study returns a "best" learning rate, with 16 digits. The right picture shows that all rates are equally likely.
# Before tuning, set each number once to a value that must fail, and check that it does.
#
# ## A learning rate that matters
#
# Now the learning rate is used. A network of two levels, with 8 and 16 channels, learns to predict the noise in pieces
# of Ode to Joy, 16 frames long. Only the learning rate and the random numbers change.

# %%
notes = synth.score(synth.TUNES["Ode to Joy (Beethoven)"], held=False)
track = synth.play(notes, "plucked", 0, 100, np.random.default_rng(0))
picture = log_mel(soxr.resample(track, synth.SR, 16_000).astype(np.float32))
picture = (picture - picture.mean(axis=0)) / picture.std(axis=0)
steps = 12 if FAST else 50


def loss_after(learning_rate, seed):
    """The mean loss of the last third of a short training, or infinity if it diverged."""
    options = {"widths": (8, 16), "block_depth": 1, "attention": "none"}
    config = Config(data="Ode to Joy", learning_rate=learning_rate, **options)
    rng = np.random.default_rng(seed)
    system, losses = Training(config), []
    state = tree.pack(system.init(rng))
    for step in range(1, steps + 1):
        starts = rng.integers(0, len(picture) - 16, 4)
        x0 = np.stack([picture[start : start + 16] for start in starts])[..., None]
        try:
            losses.append(system.step(state, system.noisy(Batch(x0), rng), step)["noise_loss"])
        except FloatingPointError:
            return np.inf
    return np.mean(losses[-steps // 3 :])


learning_rates = [3e-5, 1e-2, 1e-1] if FAST else [3e-5, 3e-4, 1e-3, 1e-2, 3e-2, 1e-1]
seeds = 1 if FAST else 2
with threads(1):  # the network is too small for more
    losses = np.array([[loss_after(rate, seed) for seed in range(seeds)] for rate in learning_rates])
print("learning rate   losses, one a seed")
for rate, row in zip(learning_rates, losses, strict=True):
    print(f"{rate:13.0e}   " + "  ".join(f"{loss:8.3f}" for loss in row))
assert losses[0].min() > 0.95 and losses.min() < 0.9 and losses[-1].min() > 2 * losses.min()

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.8))
ax.loglog(learning_rates, losses, "o", color="C0")
ax.loglog(learning_rates, losses.mean(axis=1), color="C0")
ax.axhline(1, color="#333333", linestyle=":")
ax.set(xlabel="learning rate", ylabel=f"loss after {steps} steps", ylim=(0.1, 10))
ax.set_title("dotted: a network that predicts zero")
plt.show()

# %% [markdown]
# The curve is a valley. With too small a rate the network has hardly learnt anything, and with too large a rate the
# loss explodes. The paper's tuned rate is at the left end. It may still be right: with enough steps a small rate
# catches up, and the best rate for 50 steps is not the best one for 50 000. But it follows that a rate is tuned *for
# a number of steps*. Trials that are shorter than the real training favour larger rates.
#
# ## The table

# %%
rows = [  # data and recordings, seconds, epochs, sampling steps S, batch, score
    ("GTZAN-100", 5.12, 100, 1000, 16, 6.129),
    ("GTZAN-100", 5.12, 200, 1000, 16, 7.875),
    ("GTZAN-10", 5.12, 200, 1000, 1, 5.00),
    ("GTZAN-10", 10.24, 200, 1000, 1, 5.011),
    ("GTZAN-50", 5.12, 200, 1000, 4, 2.992),
    ("GTZAN-50", 5.12, 200, 500, 4, 3.715),
    ("GTZAN-50", 5.12, 200, 100, 4, 3.905),
    ("Carnatic-159", 5.12, 100, 1000, 16, 7.030),
    ("Carnatic-50", 5.12, 200, 1000, 4, 7.342),
]
print("data          seconds  epochs     S  batch    FAD")
for data, seconds, epochs, S, batch, fad in rows:
    print(f"{data:13} {seconds:7} {epochs:7} {S:5} {batch:6} {fad:6.3f}")

# %% [markdown]
# Each row is one run, without an interval and without a floor. The number behind the name counts the recordings. How
# much would a row change in a second measurement? We can't repeat the paper's runs, but we can repeat the measuring.
# Take a *perfect* generator, whose clips have the same distribution as the real ones, and score it many times. A clip
# of 5.12 s has five embeddings, as in lesson 11, and a recording of 30 s has 31. They resemble each other, and have
# 128 dimensions of unequal variance. A second generator has a wrong mean, chosen so that it scores about
# as the paper's did. The rows of one size share their recordings, so each time two sets of clips are scored against
# the same recordings. The last column says how far apart these two scores are: 95 % of the pairs are closer.
#
# **Predict.** How much higher is the perfect generator's score with 10 recordings than with 50?


# %%
def clips(count, rng, patches=5, shift=0.0):
    """So many clips of `patches` embeddings, the first number off by `shift`: half of the variance is the clip's."""
    scale = (1 + np.arange(128)) ** -0.5  # standard deviations: 1, 0.71, 0.58, ...
    centre, within = rng.standard_normal((count, 1, 128)), rng.standard_normal((count, patches, 128))
    made = (centre + within) * scale / 2**0.5
    made[..., 0] += shift
    return list(made)


def two_rows(count, rng, shift=0.0):
    """The scores of two sets of clips from one generator, against the same recordings."""
    real = gaussian(np.concatenate(clips(count, rng, 31)))
    return [frechet_distance(*real, *gaussian(np.concatenate(clips(count, rng, shift=shift)))) for _ in range(2)]


def repeated(count, rng, shift=0.0):
    """The scores of many `two_rows`, and how far apart a pair is: the larger over the smaller, of 95 % of the pairs."""
    with threads(1):
        pairs = np.array([two_rows(count, rng, shift) for _ in range(repeats)])
    return pairs.ravel(), np.quantile(pairs.max(axis=1) / pairs.min(axis=1) - 1, 0.95)


rng = np.random.default_rng(0)
repeats = 20 if FAST else 100
means, chance = {}, {}
print("recordings, clips   generator   mean score   middle 95 %      two rows apart")
for count, wrong in ((10, 1.4), (50, 1.4), (100, 2.5)):
    for name, shift in (("perfect", 0.0), ("mean off", wrong)):
        again, chance[count, name] = repeated(count, rng, shift)
        low, high = np.quantile(again, [0.025, 0.975])
        means[count, name] = np.mean(again)
        apart = f"up to {100 * chance[count, name]:2.0f} %"
        print(f"{count:10} {name:>19} {np.mean(again):12.2f}   {low:5.2f} to {high:5.2f} {apart:>17}")
assert means[10, "perfect"] > 2.5 * means[50, "perfect"] > 1.5 * means[100, "perfect"]
assert 5 < means[10, "mean off"] < 6 and 2.9 < means[50, "mean off"] < 3.9 and 6.1 < means[100, "mean off"] < 7.9
assert chance[50, "mean off"] > 1.5 * chance[50, "perfect"] > 0.03

# %% [markdown]
# Two things follow for the table. *Between sizes*: the same perfect generator scores several times as much with 10
# clips as with 50. So the rows of GTZAN-10, -50 and -100 are not on one scale (unless equally many clips were scored,
# which the paper does not say), and they say nothing about the size of the data. *Within a size*: the score of a
# perfect generator varies little, because most of it is bias. The score of a generator with a wrong mean varies more.
# The paper's scores are above this perfect generator's, so they are more like the second kind. Here are the paper's
# comparisons beside what chance does to such scores:

# %%
comparisons = {  # two rows, and how many recordings they have
    "GTZAN-10: 5.12 against 10.24 s": (2, 3, 10),
    "GTZAN-50: S = 500 against 100": (5, 6, 50),
    "GTZAN-50: S = 1000 against 500": (4, 5, 50),
    "GTZAN-100: 100 against 200 epochs": (0, 1, 100),
}
of_chance = {}  # the paper's differences, as shares of what chance can do
for name, (a, b, count) in comparisons.items():
    apart = rows[b][-1] / rows[a][-1] - 1
    print(f"{name:34} {100 * apart:5.1f} % apart; by chance up to {100 * chance[count, 'mean off']:.0f} %")
    of_chance[name] = apart / chance[count, "mean off"]
first, second, third, fourth = of_chance.values()
assert first < 0.05 and second < 0.4 and (FAST or third < 1 < 1.3 < fourth)  # 0.7 to 0.8, and 1.7 to 2 with eight seeds

# %% [markdown]
# The first two differences are far smaller than chance can make them, and the third is smaller, too. The fourth is
# larger than the choice of clips can explain. But each row is one training, and another seed adds its own noise, as the
# two dots at each learning rate above show. A single run cannot say how much. "More steps are better" and "200 epochs
# overfit" may both be true. The table does not show it.
#
# What is missing costs little: the same number of clips in every row, the floor (real music against real music), an
# interval, and three seeds for rows that are to be compared. `python -m ddim_from_scratch.experiments ablation` works
# like this: it trains a base configuration with several seeds, and changes one option at a time.

# %%
show_answer(floor)

# %%
rng = np.random.default_rng(0)
for count in (10, 50):
    print(f"the floor of {count:2} clips, from their halves: {floor(Set.of(clips(count, rng)), rng):.2f}")

# %% [markdown]
# ## Common mistakes
#
# | what you see | what it is |
# |---|---|
# | a tuned number with 16 digits | it is one draw; keep the digits that a second study confirms |
# | the best value lies at the end of its range | widen the range; or the setting has no effect |
# | tuning prefers a large learning rate, the long training diverges | trials are shorter than the training |
# | two runs of the same settings differ as much as two settings | measure this spread before tuning |
# | the score of the best trial is not reached again | the best of many noisy scores is partly luck |
# | a bigger set scores lower | more clips have a smaller bias |
#
# ## Exercises
#
# Write `continuous_cosine_alpha_bar`, the schedule whose ends were tuned, and `floor`, the score of real music, in
# `lessons/12_tuning/exercise.py`, and run `make check-12`. Right answers look like this:

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(6, 2.8))
times = np.linspace(0, 1, 101)
axes[0].plot(times, continuous_cosine_alpha_bar(times, 0.02, 0.95))
axes[0].set(title="continuous_cosine_alpha_bar", xlabel="time", ylabel="alpha_bar")
counts = [6, 10, 20, 40]
rng = np.random.default_rng(0)
axes[1].plot(counts, [floor(Set.of(clips(count, rng)), rng) for count in counts], "o-")
axes[1].set(title="floor", xlabel="clips", ylabel="distance of the halves")
plt.show()

# %% [markdown]
# ## Experiment
#
# How many recordings would the paper have needed? Take the generator with the wrong mean, off by 1.4, and find how far
# two of its rows are apart with 25, 100 and 400 recordings. Then compute how many are needed to see a difference of 5 %
# between two rows. Fill in the form at the end of `exercise.py`.

# %% tags=["answer"]
rng, needed = np.random.default_rng(1), {}
print("recordings   mean score   two rows apart")
for count in (25, 100) if FAST else (25, 100, 400):
    again, apart = repeated(count, rng, 1.4)
    needed[count] = count * (apart / 0.05) ** 2
    print(f"{count:10}{np.mean(again):13.2f}{100 * apart:12.0f} %   needed for 5 %: {needed[count]:,.0f}")
assert FAST or 1000 < needed[400] < 12_000
assert FAST or 0.5 < needed[400] / needed[100] < 3  # 1 where four times the recordings halve it

# %% [markdown] tags=["answer"]
# From 100 to 400 recordings the distance of two rows is about halved: it falls like one over the root of their number.
# (With 25, much of the score is bias, which varies little.) To see 5 %, each row needs more than a thousand recordings;
# the paper has at most 159. Of the four differences above only the last is large enough to be seen.

# %% [markdown]
# ## Sources
#
# - T. Akiba, S. Sano, T. Yanase, T. Ohta, M. Koyama (2019), [Optuna](https://arxiv.org/abs/1907.10902), and its
#   [sampler](https://optuna.readthedocs.io/en/stable/reference/samplers/generated/optuna.samplers.TPESampler.html).
# - J. Bergstra, Y. Bengio (2012), [Random search for hyper-parameter
#   optimization](https://www.jmlr.org/papers/v13/bergstra12a.html).
# - S. Lin, B. Liu, J. Li, X. Yang (2023), [Common diffusion noise schedules and sample steps are
#   flawed](https://arxiv.org/abs/2305.08891): schedules that end before pure noise.
# - A. Gui, H. Gamper, S. Braun, D. Emmanouilidou (2024), [Adapting Fréchet audio distance for generative music
#   evaluation](https://arxiv.org/abs/2311.01616): how scores depend on the number of clips.
