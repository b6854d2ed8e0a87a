# %% [markdown]
# # Tuning, and how to read the paper's table
#
# The paper tunes five numbers in six trials and reports nine scores. This lesson asks what follows from
# them: how much of a space six trials see, what becomes of a knob that is connected to nothing, what a
# learning rate does to a tiny network, and which of nine scores differ by more than chance.
#
# You need lessons 03 (schedules), 08 (training) and 11 (the Fréchet distance). The lesson runs in about
# ten seconds on two cores.

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
# Optuna ([Akiba et al. 2019](https://arxiv.org/abs/1907.10902)) proposes a set of numbers, a network is
# trained with them, the result goes
# back to Optuna, and so on: a *trial* each. The paper ran six, and this is what it found:

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
# (The paper prints the rate as $3.31^{-5}$. It means $3.31 \cdot 10^{-5}$: a slip to remember when a
# copied number diverges.) What do the two signal rates change? They are the ends of the schedule:

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
# After tuning, training never shows the network pure noise; sampling, which begins with pure noise,
# does. A twenty-fifth of the variance is a faint picture of real music, and nobody draws it in when a
# sample begins. Whether that costs more than it gains, is for measurements to say.
#
# ## Six trials
#
# Suppose that a tenth of all settings is good. What is the chance that one of $n$ random trials hits it?
# $1 - 0.9^n$. And cut each of five ranges in two halves: that makes $2^5$ corners of the space.

# %%
for n in (6, 22, 60):
    print(f"{n:3} trials: a good one among them with chance {1 - 0.9**n:.2f}; {min(n, 32)} of 32 corners seen, at most")
assert 1 - 0.9**6 < 0.5 and 1 - 0.9**22 > 0.9

# %% [markdown]
# Six are a coin toss. Optuna's sampler, which learns from its trials, begins with ten random ones by
# default: in six it has learnt nothing yet. That is no reason not to try; it is one not to give 16
# digits.
#
# ## A knob connected to nothing
#
# In the authors' notebook a trial draws a learning rate and a weight decay, and then trains with
# constants instead: the two were never used. What does tuning answer about such a knob? Let the score
# depend on the block depth, and on luck, and ask a thousand times for the best of six trials:

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
axes[0].set(xlabel="block depth", ylabel="studies", title="a knob that works")
axes[1].hist(np.log10(best_rate), 15, rwidth=0.9)
axes[1].set(xlabel="log10 learning rate", ylabel="studies", title="a knob that does nothing")
plt.show()

# %% [markdown]
# Every study returns a "best" learning rate, to 16 digits. Only the right picture betrays it: all are
# equally likely. Before tuning, turn each knob to its ends once and see that something breaks.
#
# ## A learning rate that matters
#
# Here is such a knob, connected. A network of two levels, with 8 and 16 channels, learns the noise in
# pieces of Ode to Joy, 16 frames long, with nothing but the learning rate and the random numbers
# changing.

# %%
notes = synth.score(synth.TUNES["Ode to Joy (Beethoven)"], held=False)
track = synth.play(notes, "plucked", 0, 100, np.random.default_rng(0))
picture = log_mel(soxr.resample(track, synth.SR, 16_000).astype(np.float32))
picture = (picture - picture.mean(axis=0)) / picture.std(axis=0)
steps = 12 if FAST else 50


def loss_after(learning_rate, seed):
    """The mean loss of the last third of a short training; infinite where it diverged."""
    options = {"widths": (8, 16), "block_depth": 1, "attention": "none"}
    config = Config(data="Ode to Joy", learning_rate=learning_rate, **options)
    rng = np.random.default_rng(seed)
    system, losses = Training(config), []
    state = tree.pack(system.init(rng))
    for step in range(1, steps + 1):
        starts = rng.integers(0, len(picture) - 16, 4)
        x0 = np.stack([picture[start : start + 16] for start in starts])[..., None]
        try:
            losses.append(system.step(state, Batch(x0), step, rng)["noise_loss"])
        except FloatingPointError:
            return np.inf
    return np.mean(losses[-steps // 3 :])


learning_rates = [3e-5, 1e-2, 1e-1] if FAST else [3e-5, 3e-4, 1e-3, 1e-2, 3e-2, 1e-1]
seeds = 1 if FAST else 2
with threads(1):  # so small a network has nothing to share out
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
# A valley with a steep right wall: too small a rate has not begun to learn, too large a one explodes.
# The paper's tuned rate is at the left end. That need not be wrong: with enough steps a small rate
# catches up, and what is best after 50 steps is not what is best after 50 000. It does mean that a rate
# is tuned *for a number of steps*, and a trial that is shorter than the real training favours larger
# ones.
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
# One run each, no interval, no floor, and the number behind the name counts the recordings. How much
# would a row change if it were measured again? We can't run theirs, but we can ask about the measuring:
# take a *perfect* generator, whose clips come from the very distribution of the real ones, and score it
# again and again. Clips are modelled as in lesson 11: five embeddings a clip of 5.12 s and 31 a recording of 30 s,
# which resemble each other, in 128 dimensions of unequal variance. And take a second generator, whose mean is
# off so that it scores about what the paper's did.


# %%
def clips(count, rng, patches=5, shift=0.0):
    """So many clips of `patches` embeddings, the first number off by `shift`: half of the variance is the clip's."""
    scale = (1 + np.arange(128)) ** -0.5  # standard deviations: 1, 0.71, 0.58, ...
    centre, within = rng.standard_normal((count, 1, 128)), rng.standard_normal((count, patches, 128))
    made = (centre + within) * scale / 2**0.5
    made[..., 0] += shift
    return list(made)


def score(real, made):
    return frechet_distance(*gaussian(np.concatenate(real)), *gaussian(np.concatenate(made)))


rng = np.random.default_rng(0)
repeats = 20 if FAST else 60
spread = {}
print("recordings, clips   generator   mean score   middle 95 %       more or less")
for count in (10, 50, 100):
    for name, shift in (("perfect", 0.0), ("mean off", 1.4)):
        with threads(1):
            again = [score(clips(count, rng, 31), clips(count, rng, shift=shift)) for _ in range(repeats)]
        low, high = np.quantile(again, [0.025, 0.975])
        spread[count, name] = np.mean(again), (high - low) / 2 / np.mean(again)
        mean, half = spread[count, name]
        print(f"{count:10} {name:>19} {mean:12.2f}   {low:5.2f} to {high:5.2f} {100 * half:13.0f} %")
assert spread[10, "perfect"][0] > 1.5 * spread[50, "perfect"][0] > 1.5 * spread[100, "perfect"][0]
assert all(half > 0.02 for _, half in spread.values())
assert spread[50, "mean off"][1] > 1.5 * spread[50, "perfect"][1]

# %% [markdown]
# Two lessons for the table. *Down the column of set sizes*: the same perfect generator scores several
# times as much with 10 clips as with 50. The rows of GTZAN-10, -50 and -100 are not on one scale (unless
# equally many clips were scored, which the paper does not say), and no conclusion about data size
# follows. *Within a size*: chance moves the score of a perfect generator little, since most of it is bias, which is
# always there; the score of a generator whose mean is off varies much more. The paper's scores are of that
# kind. Here are its comparisons beside what chance alone does to such a score.

# %%
comparisons = {  # two rows, and how many recordings they have
    "GTZAN-10: 5.12 against 10.24 s": (2, 3, 10),
    "GTZAN-50: S = 500 against 100": (5, 6, 50),
    "GTZAN-50: S = 1000 against 500": (4, 5, 50),
    "GTZAN-100: 100 against 200 epochs": (0, 1, 100),
}
apart = {}
for name, (a, b, count) in comparisons.items():
    apart[name] = rows[b][-1] / rows[a][-1] - 1
    chance = 2**0.5 * spread[count, "mean off"][1]  # of a difference of two
    print(f"{name:34} {100 * apart[name]:5.1f} % apart; by chance up to {100 * chance:.0f} %")
least, second, *others = apart.values()
assert least < 0.01 < spread[10, "mean off"][1] and second < 0.06 and min(others) > 0.2
assert 2**0.5 * spread[50, "mean off"][1] > 0.12

# %% [markdown]
# The first is less than chance, and so is the second. The last two, about a quarter, are of the size of what the
# choice of clips alone can do. And a second training from another seed adds its own noise,
# as the two
# dots at each learning rate above did, and one run each cannot show how much. "More steps are better"
# and "200 epochs overfit" may both be true. The table is a reason to look, not yet a finding.
#
# What would make it one costs little: the same number of clips in every row, the floor (real music
# against real music), an interval, and three seeds for any two rows that are to be compared. That is what
# `python -m ddim_from_scratch.experiments ablation` does: a recipe, its seeds, and one change at a time.

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
# | a tuned number with 16 digits | one draw; round it to the digits that a second study confirms |
# | the best value lies at the end of its range | widen the range; or the knob is connected to nothing |
# | tuning prefers a large learning rate, the long training diverges | trials shorter than the training |
# | two runs of the same settings differ as much as two settings | no tuning yet: measure that first |
# | the score of the best trial is not reached again | the best of many noisy scores is a lucky one |
# | a bigger set scores lower | more clips have a smaller bias |
#
# ## Exercises
#
# Write `continuous_cosine_alpha_bar`, the schedule whose ends were tuned, and `floor`, what a score must
# be read against, in `lessons/12_tuning/exercise.py`, and run `make check-12`. What right answers look
# like:

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
# ## Sources
#
# - [Akiba et al. 2019, Optuna](https://arxiv.org/abs/1907.10902)
# - [Bergstra and Bengio 2012, random search](https://www.jmlr.org/papers/v13/bergstra12a.html)
# - [Lin et al. 2023, schedules that end before pure noise](https://arxiv.org/abs/2305.08891)
# - [Gui et al. 2024, how scores depend on the number of clips](https://arxiv.org/abs/2311.01616)
