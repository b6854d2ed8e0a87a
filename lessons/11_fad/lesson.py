# %% [markdown]
# # The Fréchet audio distance, and when it lies
#
# The Fréchet audio distance is one number that says how far generated music is from real music. This lesson derives it,
# computes it with a network that comes with the package, and then shows five ways in which it misleads: too few clips,
# too low a rank, an extrapolation that does not extrapolate, another resampler, and one ReLU too many.
#
# You need lessons 01 and 02, means and covariances, and eigenvalues.

# %%
import matplotlib.pyplot as plt
import numpy as np
import scipy.linalg
import scipy.optimize
import soxr

from ddim_from_scratch.audio import synth
from ddim_from_scratch.fad import (
    frechet_distance,
    gaussian,
    load_embedding,
    load_musicnn,
    log_mel_statistics,
    tag_probabilities,
    top_tags,
    vggish_at_hand,
)
from ddim_from_scratch.fad.reliability import distance, floor, infinity, interval
from ddim_from_scratch.fad.statistics import Set
from ddim_from_scratch.fad.weights import LAYERS
from lessons import FAST, show_answer, sound

sr = 16_000
tracks = 2 if FAST else 5  # of 30 seconds, an instrument


# %%
def play(genre, resample=lambda x: soxr.resample(x, synth.SR, sr)):
    """Clips of 5 s at 16 kHz, six a track: old tunes in many keys and tempi, on one instrument."""
    rng, clips = np.random.default_rng(0), []
    for tune in list(synth.TUNES.values())[:tracks]:
        key, tempo = int(rng.integers(-4, 5)), rng.uniform(80, 108)
        track = synth.play(synth.score(tune, held=genre == "organ"), genre, key, tempo, rng)
        clips += np.split(resample(track)[: 30 * sr].astype(np.float32), 6)
    return clips


music = {genre: play(genre) for genre in synth.GENRES}
for genre, clips in music.items():
    sound(clips[0][: 3 * sr], f"{genre}: the first of {len(clips)} clips")

# %% [markdown]
# ## A network that listens
#
# Comparing recordings sample by sample is useless: two performances of one tune are as far apart as two different
# tunes. So a network that was trained for another task turns each stretch of sound into a few numbers, its
# *embedding*. The embedding keeps what matters for that task and drops the rest. A network that tells a harp from a
# synthesiser must give them different embeddings.
#
# The network that comes with this package is the VGG baseline of the *musicnn* package
# ([Pons and Serra 2019](https://arxiv.org/abs/1909.06654)). It was trained to predict the tags that people gave to
# recordings. The layer before the tags has 256 numbers for three seconds of sound.

# %%
embedding = load_embedding("musicnn")
sets = {genre: Set.of(embedding.of_clips(clips)) for genre, clips in music.items()}
for genre, side in sets.items():
    probabilities = tag_probabilities(load_musicnn(), np.concatenate(side.clips))
    tags = ", ".join(f"{tag} {p:.2f}" for tag, p in top_tags(probabilities, 3))
    print(f"{genre:8} {len(side.clips)} clips, {side.n} embeddings of {len(side.mean)} numbers; hears {tags}")
    assert FAST or "guitar" in tags
    assert side.n == 3 * len(side.clips) and len(side.mean) == 256

# %% [markdown]
# The network was not trained on synthetic instruments, and its tags show it: it hears a guitar in bells and organ, too.
# But its embeddings may still tell the three apart. Here are their two directions of largest variance:

# %% tags=["hide-input"]
middle = {}
together = np.concatenate([np.concatenate(side.clips) for side in sets.values()])
plane = np.linalg.svd(together - together.mean(0), full_matrices=False)[2][:2]
fig, ax = plt.subplots(figsize=(6, 3.6))
for (genre, side), marker in zip(sets.items(), "os^", strict=True):
    points = (np.concatenate(side.clips) - together.mean(0)) @ plane.T
    (dots,) = ax.plot(*points.T, marker, markersize=4, alpha=0.6, label=genre)
    mean, covariance = gaussian(points)
    away = ((points - mean) @ np.linalg.inv(covariance) * (points - mean)).sum(axis=1) ** 0.5
    middle[genre] = np.mean(away < 0.5)
    circle = np.array([np.cos(a := np.linspace(0, 2 * np.pi, 100)), np.sin(a)])
    ax.plot(*(mean[:, None] + 2 * np.linalg.cholesky(covariance) @ circle), color=dots.get_color())
ax.set(xlabel="first direction", ylabel="second direction")
ax.set_title("each dot 3 s of music; each ellipse a Gaussian, 2 sigma wide")
ax.legend()
plt.show()

# %% [markdown]
# The three instruments form groups, but not Gaussians: the groups fall into smaller ones. Look at the middle of the
# organ's ellipse:

# %%
print(f"within half a sigma of the centre: a Gaussian has {100 * (1 - np.exp(-1 / 8)):.0f} % of its points")
print(*(f"{genre} {100 * share:.0f} %" for genre, share in middle.items()), sep=", ")
assert middle["organ"] < 0.06

# %% [markdown]
# A Gaussian is densest in its middle. There the organ has next to no points. The Fréchet audio distance ([Kilgour et
# al. 2019](https://arxiv.org/abs/1812.08466)) uses only the ellipses: the mean $\mu$ and the covariance $\Sigma$ of
# each cloud, computed with $n - 1$. It assumes that the clouds are Gaussian. For the organ this is false, so add it
# to the five problems below.

# %%
show_answer(gaussian)

# %% [markdown]
# ### The network of published scores: VGGish
#
# Published distances, such as the paper's, use *VGGish* ([Hershey et al. 2017](https://arxiv.org/abs/1609.09430)),
# which was trained to label videos. It turns 0.96 seconds of sound, 96 frames of 64 mel bins, into 128 numbers:

# %%
total = 0
for name, layer in LAYERS.items():
    count = int(np.prod(layer.shape)) + layer.shape[-1]
    total += count
    print(f"{name:8} {' x '.join(map(str, layer.shape)):20} {count:11,}")
print(f"{'':29} {total:11,} weights and biases")
assert abs(total - 72.1e6) < 0.1e6
print("Its weights are", "on this machine." if vggish_at_hand() else "not on this machine; what follows uses musicnn.")

# %% [markdown]
# It has convolutions of 3 by 3 pixels, ReLU and max-pooling, and then three dense layers, which hold nearly all of the
# weights. A score belongs to its embedding: never compare scores of two networks. `python -m ddim_from_scratch.fad
# BACKGROUND EVAL --embedding vggish` downloads the weights, or reads them from a file (`--weights`).
#
# ## The distance of two distributions
#
# Think of each distribution as a heap of sand. To turn one heap into the other, every grain must move. The squared
# *Wasserstein-2 distance* is the mean squared distance that grains move in the best pairing of places:
#
# $$W_2^2 = \min_{\text{pairings}} \mathbb{E}\, |x - y|^2.$$
#
# In one dimension the best pairing keeps the order, the lowest to the lowest; any exchange of two partners makes the
# sum larger. Between two Gaussians this pairing is the straight line $y = \mu_e + \frac{\sigma_e}{\sigma_b} (x -
# \mu_b)$, so
#
# $$W_2^2 = (\mu_b - \mu_e)^2 + (\sigma_b - \sigma_e)^2.$$

# %%
rng = np.random.default_rng(0)
x, y = rng.normal(1, 2, 200_000), rng.normal(3, 3, 200_000)
sorted_pairs = np.mean((np.sort(x) - np.sort(y)) ** 2)
formula = frechet_distance(*(np.array(a) for a in ([1.0], [[4.0]], [3.0], [[9.0]])))
print("From N(1, 2^2) to N(3, 3^2):")
print(f"  paired in order {sorted_pairs:.3f}, formula {formula:.3f}, paired at random {np.mean((x - y) ** 2):.1f}")
assert abs(formula - 5) < 1e-12 and abs(sorted_pairs - 5) < 0.1

# %% [markdown]
# In more dimensions there is no order. Expand the square, with $C$ the covariance of $x$ and its partner $y$:
#
# $$\mathbb{E}\, |x - y|^2 = |\mu_b - \mu_e|^2 + \operatorname{tr} \Sigma_b + \operatorname{tr} \Sigma_e
# - 2 \operatorname{tr} C.$$
#
# Only the last term depends on the pairing. Try a linear map $y = \mu_e + A (x - \mu_b)$ with a symmetric $A$ without
# negative eigenvalues, which stretches space and does not rotate it. Such a map is the gradient of a convex function,
# and these maps, like rising functions in one dimension, are optimal ([Brenier
# 1991](https://doi.org/10.1002/cpa.3160440402)). The map must turn one covariance into the other, $A \Sigma_b A =
# \Sigma_e$. With $R = \Sigma_b^{1/2}$ this is
#
# $$(R A R)^2 = R\, \Sigma_e R, \quad\text{so}\quad R A R = (R\, \Sigma_e R)^{1/2}$$
#
# and $\operatorname{tr} C = \operatorname{tr} A \Sigma_b = \operatorname{tr} R A R$. The result is the *Fréchet
# distance* ([Dowson and Landau 1982](https://doi.org/10.1016/0047-259X(82)90077-X)):
#
# $$\begin{align*}
# F =\ & |\mu_b - \mu_e|^2 + \operatorname{tr} \Sigma_b + \operatorname{tr} \Sigma_e \\
# & - 2 \operatorname{tr} (R\, \Sigma_e R)^{1/2}
# \end{align*}$$
#
# It is the square of a distance: it grows with the square of a shift. To check it in two dimensions, move each point
# of a cloud by the map, and let an algorithm search all pairings for a better one.


# %%
def root(matrix):
    """The symmetric square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


x = rng.standard_normal((120, 2)) @ np.array([[1.5, 0.4], [0.0, 0.5]])
mu_b, sigma_b = gaussian(x)
mu_e, sigma_e = mu_b + np.array([4.0, 1.5]), np.array([[0.4, -0.3], [-0.3, 1.5]])
R = root(sigma_b)
A = np.linalg.solve(R, np.linalg.solve(R, root(R @ sigma_e @ R)).T)  # R^-1 (R S_e R)^1/2 R^-1
y = mu_e + (x - mu_b) @ A
assert np.allclose(gaussian(y)[0], mu_e) and np.allclose(gaussian(y)[1], sigma_e)

lengths = ((x[:, None] - y) ** 2).sum(-1)  # (120, 120): from each to each
_, best = scipy.optimize.linear_sum_assignment(lengths)
shift = ((mu_b - mu_e) ** 2).sum()
transport = shift + (lengths.diagonal().mean() - shift) * 120 / 119  # n - 1, as in the covariances
F = frechet_distance(mu_b, sigma_b, mu_e, sigma_e)
print(f"mean squared distance along the map {transport:.6f}, Frechet distance {F:.6f}")
print("pairs that a better pairing would change:", np.sum(best != np.arange(120)))
assert np.isclose(transport, F) and np.all(best == np.arange(120))

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3.4))
ax.plot([x[:, 0], y[:, 0]], [x[:, 1], y[:, 1]], color="#999999", linewidth=0.5)
ax.plot(*x.T, "o", markersize=4, label="$x$, from the first Gaussian")
ax.plot(*y.T, "^", markersize=4, label="$y = \\mu_e + A(x - \\mu_b)$")
ax.set(xlabel="first dimension", ylabel="second dimension", title="the optimal map: stretched, never crossed over")
ax.legend(loc="upper left")
plt.show()

# %% [markdown]
# ## Two square roots
#
# Papers usually print the formula with $(\Sigma_b \Sigma_e)^{1/2}$. The trace is the same: $\Sigma_b \Sigma_e = R\,
# (R\, \Sigma_e)$ has the eigenvalues of $(R\, \Sigma_e)\, R$. But $\Sigma_b \Sigma_e$ is not symmetric, so this form
# needs the root of a general matrix.
#
# **Predict.** Take 50 embeddings of 128 dimensions. They lie in a space of 49 dimensions, so the other eigenvalues are
# 0, up to rounding. What does the root of a general matrix make of such a rounding error?

# %%
for n in (50, 200):
    (mu_b, sigma_b), (mu_e, sigma_e) = (gaussian(rng.standard_normal((n, 128))) for _ in "be")
    general = scipy.linalg.sqrtm(sigma_b @ sigma_e)
    F = ((mu_b - mu_e) ** 2).sum() + np.trace(sigma_b + sigma_e - 2 * general)
    ours = frechet_distance(mu_b, sigma_b, mu_e, sigma_e)
    print(f"n = {n:3}: sqrtm {F:.10g}  ({general.dtype})")
    print(f"         ours  {ours:.10g}")
    assert abs(F.real - ours) < (1e-3 if n == 50 else 1e-9)
    if n == 50:
        assert np.iscomplexobj(general) and general.imag.any()
    else:
        assert np.isrealobj(general)

# %% [markdown]
# Rounding makes some of the eigenvalues slightly negative, and the distance becomes complex. Some programs drop a small
# imaginary part and stop at a large one (lesson 14 names one). The symmetric form does not have this problem: a
# symmetric matrix has real eigenvalues, and those that rounding made negative are set to 0.

# %%
show_answer(frechet_distance)

# %% [markdown]
# ## The music
#
# Now compare each instrument with the others, and with itself: its clips are divided at random into two halves, and the
# halves are compared, ten times. The mean is the *floor*, the score of the same music.
#
# **Predict.** The distance between bells and organ will be about 65. How large is the floor of the bells?

# %%
floors = {genre: floor(side, np.random.default_rng(0)) for genre, side in sets.items()}
print(f"{'':8}" + "".join(f"{genre:>10}" for genre in sets) + f"{'own half':>10}")
for a in sets:
    scores = [distance(sets[a], sets[b]) for b in sets]
    print(f"{a:8}" + "".join(f"{score:10.1f}" for score in scores) + f"{floors[a]:10.1f}")
    assert distance(sets[a], sets[a]) < 1e-6 < floors[a] < min(score for score in scores if score > 1e-6)
assert distance(sets["plucked"], sets["bells"]) < min(distance(sets["organ"], sets[b]) for b in ("plucked", "bells"))

# %% [markdown]
# Plucked strings and bells are nearer to each other than to the organ: both have attacks and die away. Now read the
# last column. The instrument, the tunes and the network are the same, and the score is far from 0. A perfect generator
# would get about this score with as many clips as in a half, 15 on either side, and about two thirds of it with all 30.
# A score means nothing without its floor.
#
# ## Problem 1: too few clips
#
# Here two samples are drawn from *the same* Gaussian in 128 dimensions. The true distance is 0.

# %%
sizes = [50, 256, 1000, 4000] if FAST else [50, 256, 1000, 4000, 16_000]
expected = {50: 132, 256: 33.6, 1000: 8.5, 16_000: 0.54}
bias = {}
for n in sizes:
    rng = np.random.default_rng(0)
    bias[n] = frechet_distance(*gaussian(rng.standard_normal((n, 128))), *gaussian(rng.standard_normal((n, 128))))
    print(f"n = {n:6} each: F = {bias[n]:8.2f}    n F = {n * bias[n]:6.0f}")
    assert n not in expected or abs(bias[n] / expected[n] - 1) < 0.1

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3))
ax.loglog(sizes, list(bias.values()), "o-", label="two samples of one Gaussian")
ax.loglog(sizes, 8.5 * 1000 / np.array(sizes), ":", color="#333333", label="proportional to 1/n")
ax.set(xlabel="embeddings $n$ in each sample", ylabel="Fréchet distance", title="the true distance is 0")
ax.legend()
plt.show()

# %% [markdown]
# Once $n$ is well above the 128 dimensions, the bias falls as $1/n$. It is large:

# %%
per_clip = int(5.12 / 0.96)  # VGGish's patches in a clip of 5.12 s
needed = 1000 * bias[1000]  # embeddings for a bias of 1
print(f"50 clips of 5.12 s give {50 * per_clip} VGGish embeddings, and a bias of about {bias[256]:.0f};")
print(f"a bias of 1 takes {needed:.0f}: {needed * 0.96 / 3600:.1f} hours of music, on either side")
assert 50 * per_clip == 250 and needed * 0.96 > 2 * 3600

# %% [markdown]
# A set with more variety has a larger bias ([Chong and Forsyth 2020](https://arxiv.org/abs/1911.07023)), so equal
# numbers of clips do not remove it. Still, compare scores of *equally many* clips only, against the same background.
#
# ## Problem 2: rank
#
# With fewer than $D + 1$ embeddings the covariance has directions without any variance. There it says that the music
# does not vary at all, and the distance adds the whole variance of the other side:

# %%
rng = np.random.default_rng(0)
for n in (11, 51, 129):
    side = Set.of([rng.standard_normal((n, 128))])
    spread = frechet_distance(np.zeros(128), np.eye(128), np.zeros(128), side.covariance)
    print(f"n = {n:3}: rank {side.rank:3} of 128; the covariance alone is {spread:5.1f} from the true one")
    assert side.rank == n - 1 and spread > 128 - side.rank
for genre, side in sets.items():
    print(f"{genre:8} rank {side.rank} of {len(side.mean)}")
    assert side.rank < len(side.mean)

# %% [markdown]
# Our sets have too low a rank, too, which is one reason for the high floors. The command `fad` warns of it.
#
# ## How much of it is chance?
#
# How would the score change with other clips of the same kind? The *bootstrap* answers: draw as many clips as there
# are, with replacement, so that some come twice and some never, and score again. Draw clips, not embeddings: the
# three embeddings of one clip are similar, so they say less than three of different clips.

# %%
low, high = interval(sets["plucked"], sets["bells"], np.random.default_rng(0))
score = distance(sets["plucked"], sets["bells"])
print(f"plucked against bells: {score:.1f}, 95 % interval {low:.1f} to {high:.1f}")
print(f"half of its width is {100 * (high - low) / 2 / score:.0f} % of the score")
assert low < score < high and (high - low) / score > 0.1

# %% [markdown]
# Two scores that differ by less than half of this width may differ by chance alone. Lesson 12 reads the paper's
# results, which have no intervals.
#
# ## Problem 3: an extrapolation that does not extrapolate
#
# The bias is nearly a straight line in $1/n$. So score subsets of different sizes, fit a line to the scores, and take
# its value at $1/n = 0$. This is FAD-infinity ([Chong and Forsyth 2020](https://arxiv.org/abs/1911.07023);
# [Gui et al. 2024](https://arxiv.org/abs/2311.01616), whose program
# [fadtk](https://github.com/microsoft/fadtk) draws the subsets *with replacement*).
#
# **Predict.** Take 1000 embeddings of N(0, I) against N(0, I) itself; the true distance is 0. Where does the line lead
# if the subsets are drawn with replacement?

# %%
rng = np.random.default_rng(0)
truth = Set(np.zeros(128), np.eye(128))
side = Set.of([rng.standard_normal((1000, 128))])
plain = distance(truth, side)
without = infinity(truth, side, np.random.default_rng(0))

sizes = np.linspace(500, 1000, 25).astype(int)
repeated = [side.clips[0][rng.integers(1000, size=n)] for n in sizes]  # rows may come twice
scores = [distance(truth, Set.of([rows])) for rows in repeated]
slope, with_replacement = np.polyfit(1 / sizes, scores, 1)
print(f"plain score                     {plain:6.2f}")
print(f"extrapolated, with replacement  {with_replacement:6.2f}")
print(f"extrapolated, without           {without.score:6.2f}   (r^2 {without.r_squared:.3f})")
assert abs(with_replacement / plain - 1) < 0.15 and abs(without.score) < 0.15 * plain

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3.2))
line = np.array([0, 1 / 500])
ax.plot(1 / sizes, scores, "o", markersize=4, label="drawn with replacement")
ax.plot(line, with_replacement + slope * line, color="C0")
rng = np.random.default_rng(0)
once = [distance(truth, Set.of([side.clips[0][rng.permutation(1000)[:n]]])) for n in sizes]
ax.plot(1 / sizes, once, "^", markersize=4, label="drawn without")
ax.plot(line, without.score + without.slope * line, "--", color="C1")
ax.plot(0.001, plain, "D", color="#333333", label="all 1000")
ax.plot(0, 0, "*", markersize=12, color="C2", label="the truth", clip_on=False)
ax.set(xlabel="$1/n$", ylabel="Fréchet distance", ylim=(-1, None), xlim=(0, None), xticks=[0, 0.001, 0.002])
ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# The two lines have different limits. *With* replacement, the 1000 embeddings play the part of the whole population.
# More draws then lead to the distance of these 1000, bias included, which is the plain score. *Without* replacement,
# a subset of 500 is a sample of the population that the 1000 came from, and the line leads to its distance. (A small
# error remains: the bias is only nearly a straight line, and a background that is a sample has a bias of its own.)

# %%
show_answer(infinity)

# %% [markdown]
# ## Problem 4: the resampler
#
# Our music is made at 22 050 Hz, and the network takes 16 000 Hz. A program that resamples by straight lines between
# samples makes aliases of high frequencies (lesson 01), and weakens those that it should keep. The difference is hard
# to hear:


# %%
def straight_lines(x):
    """Resampling by linear interpolation, without a filter."""
    return np.interp(np.arange(len(x) * sr // synth.SR) * synth.SR / sr, np.arange(len(x)), x)


dull = play("bells", straight_lines)
sound(music["bells"][0][: 3 * sr], "bells, resampled by soxr")
sound(dull[0][: 3 * sr], "bells, resampled by straight lines")
dull = Set.of(embedding.of_clips(dull))
print(f"the same recordings, by the other resampler: {distance(sets['bells'], dull):.2f}, not 0")
change = distance(sets["plucked"], dull) - distance(sets["plucked"], sets["bells"])
print(f"plucked against bells moves by {change:+.2f}")
part = distance(sets["bells"], dull) / floors["bells"]
print(f"the resampler alone is {100 * part:.0f} % of what the bells' own halves are apart")
assert part > 0.01 and abs(change) > 0.05

# %% [markdown]
# Not a note has changed, and a set against itself should score 0. Both sides must be processed in the same way: with
# the same resampler, loudness and number of bits, and the same mp3 encoder or none.
#
# ## Problem 5: a ReLU too many
#
# VGGish's embedding is its last dense layer *before* any activation. A popular copy of it applies a ReLU, $\max(0, x)$,
# there ([torchvggish](https://github.com/harritaylor/torchvggish/issues/24)). It removes everything below 0. Two sets
# that differ only there become the same:

# %%
rng = np.random.default_rng(0)
a, b = rng.normal(-2, 0.5, (5000, 16)), rng.normal(-4, 0.5, (5000, 16))
before = frechet_distance(*gaussian(a), *gaussian(b))
after = frechet_distance(*gaussian(np.maximum(a, 0)), *gaussian(np.maximum(b, 0)))
print(f"16 numbers around -2 against -4: {before:.1f} before, {after:.1e} after the ReLU")
assert abs(before - 16 * 4) < 1 and after < 1e-3

# %% [markdown]
# Scores with and without the ReLU cannot be compared. Which of them is in a paper may depend on a default argument.
#
# ## Common mistakes
#
# | what you see | what it is |
# |---|---|
# | the distance is complex, or NaN | the root of a general, singular matrix: take the symmetric form |
# | real music against real music scores 30 | few embeddings: this is the bias; report it as the floor |
# | more samples "improve" the model | the bias again: compare equal numbers only |
# | a score of exactly 0 | both folders are the same, or all embeddings are the same |
# | two programs give different scores | ReLU, PCA, resampler, `ddof`, mono mixing: look in this order |
# | FAD-infinity equals FAD | subsets drawn with replacement |
# | a very small interval | embeddings were drawn, not clips |
# | a low score, and it sounds like the training set | it may *be* the training set: lesson 08 looks for copies |
#
# ## Exercises
#
# Write `gaussian`, `frechet_distance`, `infinity` and `log_mel_statistics`, an embedding without a network, in
# `lessons/11_fad/exercise.py`, and `test_frechet_distance`, a test that finds wrong distances. Run `make check-11`.
# Right answers look like this:

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 2, figsize=(6, 5))
rng = np.random.default_rng(1)
image = axes[0, 0].imshow(gaussian(rng.standard_normal((9, 6)) @ np.tri(6))[1], cmap="cividis")
axes[0, 0].set(title="gaussian: a covariance", xlabel="dimension", ylabel="dimension")
fig.colorbar(image)
shifts = np.linspace(-3, 3, 61)
one = np.ones((1, 1))
axes[0, 1].plot(shifts, [frechet_distance(np.zeros(1), one, np.array([d]), 4 * one) for d in shifts])
axes[0, 1].set(title="N(0, 1) to N(d, 4)", xlabel="shift d", ylabel="frechet_distance")
axes[1, 0].plot(1 / sizes, once, "^", markersize=4)
axes[1, 0].plot(line, without.score + without.slope * line, "--", color="C1")
axes[1, 0].set(title="infinity: the line at 0", xlabel="$1/n$", ylabel="distance", xlim=(0, None))
random_walk = np.cumsum(rng.standard_normal((1, 50, 128)), axis=1)
axes[1, 1].plot(log_mel_statistics(random_walk)[0])
axes[1, 1].set(title="log_mel_statistics", xlabel="feature", ylabel="value")
plt.show()

# %% [markdown]
# ## Experiment
#
# Does loudness count? Make the plucked strings softer by 1, 3, 6 and 12 dB, and compute the distance from the original
# clips. The music is the same, so a perfect measure would say 0. From which step on does loudness count more than the
# choice of clips, the floor? Fill in the form at the end of `exercise.py`.

# %% tags=["answer"]
softer = {0: 0.0}
print(f"softer by   distance   (the floor is {floors['plucked']:.1f})")
for decibels in (1, 3, 6, 12):
    quiet = [clip * 10 ** (-decibels / 20) for clip in music["plucked"]]
    softer[decibels] = distance(sets["plucked"], Set.of(embedding.of_clips(quiet)))
    print(f"{decibels:6} dB{softer[decibels]:11.2f}")
assert softer[1] < 0.2 * floors["plucked"]
assert all(2 < softer[2 * decibels] / softer[decibels] < 4.5 for decibels in (3, 6))
assert FAST or softer[6] < floors["plucked"] < softer[12]

# %% [markdown] tags=["answer"]
# The distance is a *squared* shift, so it rises fast: twice as many decibels make it about three times as large. One
# decibel is small beside the floor, and 12 dB count more than another choice of clips. So a generator gets a bad score
# for right notes that are played too softly. Bring both sides to the same loudness first, and say so beside the score.

# %% [markdown]
# ## Sources
#
# - K. Kilgour, M. Zuluaga, D. Roblek, M. Sharifi (2019), [Fréchet audio distance: a metric for evaluating music
#   enhancement algorithms](https://arxiv.org/abs/1812.08466).
# - D. Dowson, B. Landau (1982), [The Fréchet distance between multivariate normal
#   distributions](https://doi.org/10.1016/0047-259X(82)90077-X).
# - Y. Brenier (1991), [Polar factorization and monotone rearrangement of vector-valued
#   functions](https://doi.org/10.1002/cpa.3160440402): optimal maps.
# - M. Chong, D. Forsyth (2020), [Effectively unbiased FID and inception score and where to find
#   them](https://arxiv.org/abs/1911.07023): the bias of few samples, and the line to infinity.
# - A. Gui, H. Gamper, S. Braun, D. Emmanouilidou (2024), [Adapting Fréchet audio distance for generative music
#   evaluation](https://arxiv.org/abs/2311.01616): FAD-infinity; its program is
#   [fadtk](https://github.com/microsoft/fadtk).
# - S. Hershey and others (2017), [CNN architectures for large-scale audio
#   classification](https://arxiv.org/abs/1609.09430): VGGish.
# - J. Pons, X. Serra (2019), [musicnn: pre-trained convolutional neural networks for music audio
#   tagging](https://arxiv.org/abs/1909.06654).
