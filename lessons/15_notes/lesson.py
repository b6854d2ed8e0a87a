# %% [markdown]
# # Told what to play
#
# The networks so far draw music of their own. This lesson gives one a score. It shows how notes become numbers,
# why a condition changes nothing in a sampler, why it is hidden from the network in a tenth of the training,
# what guidance is and costs, where the network looks while it plays, and how far the number that judges it,
# the F1 of the notes, can be trusted. The model is that of
# [Hawthorne et al. 2022](https://arxiv.org/abs/2206.05408), small enough to be trained here.
#
# You need samplers (lesson 04), attention (lesson 06) and training (lesson 08). The lesson runs in about two
# minutes on two cores.

# %%
import matplotlib.pyplot as plt
import numpy as np

from ddim_from_scratch import nn
from ddim_from_scratch.audio.midi import Notes
from ddim_from_scratch.diffusion import (
    PREDICTIONS,
    Schedule,
    T,
    ddim,
    gaussian_eps_model,
    linear_schedule,
    losses,
    noisy,
    uniform_tau,
)
from ddim_from_scratch.diffusion.guidance import guided
from ddim_from_scratch.networks import transformer as networks
from ddim_from_scratch.networks.decoder import Sizes, decode
from ddim_from_scratch.networks.transformer import PAD, Condition, init_transformer, transformer, transformer_backward
from ddim_from_scratch.nn.fast import processor
from ddim_from_scratch.notes.tokens import FIRST, KINDS, VOCABULARY, encode
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.backend import threads
from ddim_from_scratch.training.optim import adamw, clip_gradient, norm, update_average, warmup_cosine, warmup_decay
from lessons import FAST, show_answer, show_source, sound

# %% [markdown]
# ## A toy band
#
# Real music takes a band minutes to learn. A toy is learnt in one, and its truth is known: its spectrogram has 24 bins,
# one a semitone from middle C (MIDI pitch 60). A note sounds in its own bin and, as loud as the instrument is
# *bright*, an octave above. Its loudness falls by half in a third of a second, and quickly once it stops. The
# notes don't tell the brightness: each piece has its own. A frame is 20 ms; the network plays segments of 32.

# %%
LOW, PITCHES, FRAMES, RATE = 60, 12, 32, 50
SECONDS, BEAT = FRAMES / RATE, 4 / RATE  # of a segment, and of a beat


def piece(rng, segments):
    """Notes, one after the other, for so many segments; and how bright they sound."""
    rows, now = [], 0.0
    while now < segments * SECONDS:
        lasts = BEAT * rng.integers(2, 6)
        rows.append((now, now + lasts - BEAT * rng.integers(2), LOW + int(rng.integers(PITCHES)), 80, 0))
        now += lasts
    return Notes.of(rows), rng.uniform(0.2, 1)


def draw(notes, brightness, first, frames=FRAMES):
    """The standardised spectrogram of some frames, (frames, 24)."""
    x, t = np.zeros((frames, 2 * PITCHES), np.float32), (first + np.arange(frames) + 0.5) / RATE
    for start, stop, pitch, _, _ in zip(*notes, strict=True):
        loudness = (t >= start) * np.exp(-(t - start) / 0.5) * np.where(t < stop, 1, np.exp(-(t - stop) / 0.04))
        x[:, pitch - LOW] += loudness
        x[:, pitch - LOW + PITCHES] += brightness * loudness
    return 6 * x - 0.6  # a variance near 1


def played(x):
    """The toy's inverter: a sine a bin."""
    t = np.arange(len(x) * 320) / 16_000
    hz = 440 * 2 ** ((LOW + np.arange(x.shape[1]) - 69) / 12)
    loudness = np.maximum(x + 0.6, 0) / 60
    return sum(
        np.interp(t * RATE, np.arange(len(x)), loudness[:, i]) * np.sin(2 * np.pi * hz[i] * t) for i in range(len(hz))
    )


def picture(ax, x, title=""):
    ax.imshow(x.T, origin="lower", aspect="auto", cmap="magma", vmin=-1, vmax=5, extent=(0, len(x) / RATE, 60, 84))
    ax.set(ylabel="pitch", title=title)


SEGMENTS = 6
tune, brightness = piece(np.random.default_rng(3), SEGMENTS)
truth = draw(tune, brightness, 0, SEGMENTS * FRAMES)
print(f"{len(tune.start)} notes in {SEGMENTS * SECONDS:.2f} s, brightness {brightness:.2f}")
sound(played(truth), "The tune, as it should sound")

# %% [markdown]
# ## Notes as a sentence
#
# A network reads arrays. Hawthorne et al. write a segment as words from a list of 1391: times in hundredths of a
# second from the segment's start, pitches, *on* and *off*, programs (instruments). Words that repeat are left
# out. A note that began in an earlier segment has no *on* in this one, so it is named first, before the word *tie*.

# %%
segment = tune.between(SECONDS, 2 * SECONDS)
tokens = encode(segment, SECONDS)


def word(token):
    """A token for people."""
    if token < 3:
        return ("pad", "END", "unknown")[token]
    kind = next(kind for kind in reversed(KINDS) if token >= FIRST[kind])
    value = token - FIRST[kind]
    return {"tie": "tie", "velocity": ("off", "on")[value % 2]}.get(kind, f"{kind} {value}")


print(" | ".join(word(token) for token in tokens))
tied = int((segment.start < 0).sum())
print(f"{tied} note sounds from the segment before; {len(tokens)} tokens of {VOCABULARY}")
assert tokens[2 * tied if tied < 2 else 0] in (FIRST["tie"], tokens[0]) and tokens[-1] == 1
show_answer(encode)

# %% [markdown]
# (The other way is a *roll*: beside each frame the notes that sound, a number a pitch.)
#
# ## A condition is a closure
#
# The network learns to predict noise *given* the notes $c$ and the segment before: it estimates the score of
# $p(x_t \mid c)$, where the unconditional network estimates that of $p(x_t)$,
#
# $$\epsilon(x_t, t, c) \approx -\sigma_t \nabla_{x_t} \log p(x_t \mid c).$$
#
# Nothing else changes. Every derivation of lessons 03 and 04 holds for $p(x_0 \mid c)$ as it did for $p(x_0)$,
# since $c$ is the same at every step. A sampler asks for `eps_model(x, t)`; so the condition is put into that
# function once, and no sampler ever hears of it:

# %%
SCHEDULE = Schedule("continuous-cosine", 0.02, 0.95)
ALPHA_BAR = SCHEDULE.alpha_bar
to_eps = PREDICTIONS["v"].eps


def eps_model_of(params, condition, layers=processor):
    """The function eps_model(x, t) that plays the condition."""
    seen, _ = networks.encode(params, condition, layers)  # notes and past are read once, not at every step

    def eps_model(x, t):
        told = SCHEDULE.told(np.full(len(x), ALPHA_BAR[t]))
        output, _ = decode(params["decoder"], x, told, seen, None, layers)
        return to_eps(x, float(ALPHA_BAR[t]), output)

    return eps_model


show_source(networks.encode)

# %% [markdown]
# The network has three stacks. One reads the tokens, one the frames of the segment before; the third, over the
# frames of $x_t$, looks at both by *cross-attention*: its queries are frames, its keys and values tokens and past
# frames. Segments have different numbers of tokens, so short ones are padded, and a **mask** says which keys
# may be looked at. Where none may, the result is 0:

# %%
show_answer(nn.attention)


# %%
def condition_of(pieces, first=FRAMES, keep=None):
    """Notes and past of a segment of each piece, hidden where keep is False."""
    keep = np.ones(len(pieces), bool) if keep is None else keep
    sentences = [encode(notes.between(first / RATE, (first + FRAMES) / RATE), SECONDS) for notes, _ in pieces]
    padded = np.full((len(pieces), max(map(len, sentences))), PAD)
    for row, sentence, kept in zip(padded, sentences, keep, strict=True):
        row[: len(sentence)] = sentence if kept else PAD
    past = np.stack([draw(*one, first - FRAMES)[::-1] for one in pieces])  # backwards: the seam comes first
    return Condition(past, np.broadcast_to(keep[:, None], past.shape[:2]), padded)


def hidden(condition):
    """The same with nothing to look at."""
    return condition._replace(context_mask=condition.context_mask & False, tokens=0 * condition.tokens)


# %% [markdown]
# ## Training, and what hiding buys
#
# A step is that of lesson 08, with the condition as a further input. In a tenth of the examples both conditions
# are hidden. So **one** network learns $p(x)$ and $p(x \mid c)$, and any segment can be the first of a piece.

# %%
STEPS, BATCH, WIDTH, DROPPED = (20 if FAST else 1000), 16, 32, 0.1
rng = np.random.default_rng(0)
params = tree.pack(init_transformer(rng, Sizes(WIDTH, 2, 2 * PITCHES, VOCABULARY, context=True)))
average, moments = tree.pack(params), {name: np.zeros_like(params.flat) for name in ("m", "v")}
curve = []
with threads(1):  # arrays so small are faster on one
    for step in range(1, STEPS + 1):
        pieces = [piece(rng, 2) for _ in range(BATCH)]
        condition = condition_of(pieces, keep=rng.random(BATCH) >= DROPPED)
        example = noisy(np.stack([draw(*one, FRAMES) for one in pieces]), SCHEDULE, rng)
        told = SCHEDULE.told(example.alpha_bar)
        output, cache = transformer(params, example.x_t, told, condition, processor)
        loss, _, d_output = losses(output, example, "v")
        _, grads = transformer_backward(d_output, cache, processor)
        grads = tree.pack(grads, like=params)
        clip_gradient(grads.flat, norm(grads.flat), 1.0)
        adamw(params.flat, grads.flat, moments, step, 3e-3 * warmup_cosine(step, STEPS), 0.0)
        update_average(average.flat, params.flat, warmup_decay(0.99, step))
        curve.append(float(loss))
print(f"{params.flat.size} weights, {STEPS} steps, noise loss {np.mean(curve[:10]):.2f} -> {np.mean(curve[-10:]):.2f}")

# %% [markdown]
# Does it listen? The loss on new pieces with their own notes, with none, and with those of another piece:

# %%
test_rng = np.random.default_rng(9)
pieces = [piece(test_rng, 2) for _ in range(8 if FAST else 64)]
example = noisy(np.stack([draw(*one, FRAMES) for one in pieces]), SCHEDULE, test_rng)
right = condition_of(pieces)


def error(condition):
    """The mean squared error of the velocity."""
    output, _ = transformer(average, example.x_t, SCHEDULE.told(example.alpha_bar), condition, processor)
    return float(np.mean((output - PREDICTIONS["v"].target(example.x0, example.alpha_bar, example.eps)) ** 2))


of = {
    "its own": error(right),
    "hidden": error(hidden(right)),
    "another's": error(right._replace(tokens=np.roll(right.tokens, 1, axis=0))),
}
for name, value in of.items():
    print(f"notes {name:10} v loss {value:.3f}")
assert FAST or of["its own"] < 0.75 * of["hidden"] < 0.75 * of["another's"]

# %% [markdown]
# Wrong notes are worse than none: the network believes them. And a hidden condition must say **nothing**. Two
# conditions, both hidden, give the same answer to the last bit:

# %%
other = hidden(right._replace(context=right.context + 1))
answers = [
    transformer(average, example.x_t, SCHEDULE.told(example.alpha_bar), c, processor)[0] for c in (hidden(right), other)
]
print("largest difference of two hidden conditions:", abs(answers[0] - answers[1]).max())
assert np.array_equal(*answers)

# %% [markdown]
# Had attention returned the softmax's mean of hidden keys in place of 0, the two would differ: the network could
# hear through the mask, and what it says of "nothing" would depend on what it was not to know.
#
# ## Guidance
#
# By Bayes' rule $p(c \mid x) \propto p(x \mid c) / p(x)$. Suppose that we want pieces which fit the notes *even
# better* than $p(x \mid c)$'s: raise the fit to a power $w$,
#
# $$p_w(x) \propto p(x)\, \left( \frac{p(x \mid c)}{p(x)} \right)^w.$$
#
# The gradient of its logarithm, times $-\sigma_t$, is
#
# $$\epsilon_w = \epsilon(x_t, t) + w\, \big( \epsilon(x_t, t, c) - \epsilon(x_t, t) \big),$$
#
# two calls of one network, one of them with the condition hidden: *classifier-free guidance*
# ([Ho and Salimans 2022](https://arxiv.org/abs/2207.12598), whose $w$ is this one minus 1). At $w = 1$ the first
# term cancels and $p_1 = p(x \mid c)$; $w = 0$ ignores the notes.

# %%
show_answer(guided)

# %% [markdown]
# What does it cost? Where everything is Gaussian we can see it exactly. Let $p(x) = N(0, 1)$ and $p(x \mid c) =
# N(1, 0.5)$. Then $p_w$ is Gaussian, too, with the precision $(1 - w) + 2 w = 1 + w$ and the mean $2 w / (1 + w)$.
#
# **Predict.** Is the mean at $w = 5$ below 1, at 1, or above? Is the variance smaller or larger than 0.5?

# %%
linear = linear_schedule(T)
x_T = np.random.default_rng(0).standard_normal(200 if FAST else 4000)
drawn = {}
print("     w    mean  (p_w)    variance  (p_w)")
for w in (0, 1, 2, 5):
    model = guided(gaussian_eps_model(1.0, 0.5, linear), gaussian_eps_model(0.0, 1.0, linear), w)
    *_, drawn[w] = ddim(model, x_T, linear, uniform_tau(T, 200))
    mean, variance = 2 * w / (1 + w), 1 / (1 + w)
    print(f"{w:6}{drawn[w].mean():8.2f}  ({mean:.2f}){drawn[w].var():10.2f}  ({variance:.2f})")
assert FAST or (1 < drawn[2].mean() < drawn[5].mean() and drawn[5].var() < drawn[1].var() / 2)

# %% [markdown]
# The mean moves *past* the condition's, and the variety shrinks. (It is not quite $p_w$ that comes out: noise and
# power don't commute. The guided score is that of $p_w$ only at the end of the walk, where there is no noise left.)
#
# ## Heard
#
# Now the band plays the tune, segment after segment. Each is told its notes and hears what was just played.


# %%
def play(notes, w, seed=0, past=True, steps=4 if FAST else 30, segments=SEGMENTS):
    """A performance, (frames, 24). past: whether each segment hears the one before."""
    rng, music = np.random.default_rng(seed), []
    for i in range(segments):
        sentence = encode(notes.between(i * SECONDS, (i + 1) * SECONDS), SECONDS)[None]
        before = music[-1][::-1] if music else np.zeros((FRAMES, 2 * PITCHES), np.float32)
        condition = Condition(before[None], np.full((1, FRAMES), bool(music) and past), sentence)
        model = guided(eps_model_of(average, condition), eps_model_of(average, hidden(condition)), w)
        *_, x = ddim(model, rng.standard_normal((1, FRAMES, 2 * PITCHES), np.float32), ALPHA_BAR, uniform_tau(T, steps))
        music.append(x[0])
    return np.concatenate(music)


WEIGHTS = (0, 1, 2, 5)
with threads(1):
    performances = {w: play(tune, w) for w in WEIGHTS}
for w in WEIGHTS:
    sound(played(performances[w]), f"The tune at w = {w}")

# %% tags=["hide-input"]
fig, axes = plt.subplots(5, 1, figsize=(6, 8), sharex=True)
picture(axes[0], truth, "the tune as it should sound")
for ax, w in zip(axes[1:], WEIGHTS, strict=True):
    picture(ax, performances[w], f"w = {w}")
axes[-1].set_xlabel("time (s)")
plt.show()

# %% [markdown]
# At $w = 0$ it improvises. At 1 the tune shows, as far as a minute of training goes. With more guidance notes are more
# certain and louder, until they are louder than any in the training data.
#
# ## A judge
#
# A transcriber writes down the notes that it hears; the **F1** compares them with the notes that were asked for. A
# heard note counts if its pitch is right and its start within 50 ms, and no note counts twice. *Precision* is the
# share of heard notes that are right, *recall* the share of asked notes that were heard, and
#
# $$F_1 = \frac{2 P R}{P + R}.$$
#
# Our judge hears a note where a bin of the lower octave rises.


# %%
def onsets(x):
    """(frame, pitch) of each note that the judge hears."""
    rise = np.diff(x[:, :PITCHES], axis=0, prepend=x[:1, :PITCHES])
    return [
        (m, p)
        for p in range(PITCHES)
        for m in range(1, len(x))
        if rise[m, p] > 1.5 and rise[m, p] >= rise[max(m - 2, 0) : m + 3, p].max()
    ]


def f1(heard, asked):
    """Of (frame, pitch) pairs; starts may be 2.5 frames apart."""
    left, right = list(asked), 0
    for frame, pitch in heard:
        near = [one for one in left if one[1] == pitch and abs(one[0] - frame) <= 2.5]
        if near:
            left.remove(min(near, key=lambda one: abs(one[0] - frame)))
            right += 1
    return 2 * right / max(len(heard) + len(asked), 1)


def asked(notes, frames):
    return [(s * RATE, p - LOW) for s, p in zip(notes.start, notes.pitch, strict=True) if 1 < s * RATE < frames - 1]


SONGS = 2 if FAST else 6
rng = np.random.default_rng(7)
songs = [piece(rng, SEGMENTS) for _ in range(SONGS)]
LENGTH = SEGMENTS * FRAMES
with threads(1):
    plays = {
        w: [[play(notes, w, seed=2 * i + j) for j in range(2)] for i, (notes, _) in enumerate(songs)] for w in WEIGHTS
    }
real = [draw(*song, 0, LENGTH) for song in songs]


def mean_f1(musics, shift=0):
    """The judge's mean. shift: 1 compares with the notes of another song."""
    return float(np.mean([f1(onsets(x), asked(songs[(i + shift) % SONGS][0], LENGTH)) for i, x in enumerate(musics)]))


score = {w: mean_f1([two[0] for two in plays[w]]) for w in WEIGHTS}
size = {w: np.var([two[0] for two in plays[w]]) / np.var(real) for w in WEIGHTS}
apart = {w: np.sqrt(np.mean([(two[0] - two[1]) ** 2 for two in plays[w]])) for w in WEIGHTS}
print(f"the recordings themselves {mean_f1(real):.2f}, against another song's notes {mean_f1(real, 1):.2f}")
print("     w      F1    variance / data's    two draws apart")
for w in WEIGHTS:
    print(f"{w:6}{score[w]:8.2f}{size[w]:15.2f}{apart[w]:20.2f}")
assert mean_f1(real) > 0.9
assert FAST or (mean_f1(real, 1) < 0.2 and score[1] > score[0] + 0.1)
assert FAST or (size[5] > size[0] and apart[5] < apart[0])

# %% [markdown]
# Read the first line before the table. What the judge gives to real recordings is the **ceiling**: a real
# transcriber, basic-pitch, gives 0.83 to the strings of lesson 08, and 0.78 once they went through Griffin-Lim. What
# it gives to another song's notes is the **floor**, luck. Only between the two does an F1 mean something: ours has
# come part of the way. A few more minutes of training bring it closer; try `STEPS`.
#
# ## How to fool it
#
# The F1 asks for starts and pitches. It does not hear timbre, loudness, how notes end, or whether this sounds like
# music at all. A "band" that clicks for one frame at each note is perfect:

# %%
clicks = []
for notes, _ in songs:
    x = np.full((LENGTH, 2 * PITCHES), -0.6, np.float32)
    for frame, pitch in asked(notes, LENGTH):
        x[round(frame + 0.5), pitch] = 4
    clicks.append(x)
distance = {"clicks": clicks, "the band, w = 1": [two[0] for two in plays[1]]}
print("                     F1    distance from the recording")
for name, musics in distance.items():
    print(f"{name:17}{mean_f1(musics):6.2f}{np.sqrt(np.mean((np.stack(musics) - real) ** 2)):14.2f}")
assert mean_f1(clicks) > 0.9
sound(played(clicks[0]), "A perfect F1")

# %% [markdown]
# So a report has the F1 *and* a distance of sounds (lesson 11), each beside its ceiling. The Fréchet distance alone is
# fooled the other way round: a band that plays beautiful wrong notes scores well. And both are fooled by a judge
# that was trained on the same music, or by choosing the best of many runs.
#
# ## Where it looks
#
# Cross-attention is a matrix, frames over tokens, and can be drawn. Here is the last block of the decoder, half way
# through the noise, the mean of its four heads. Columns are the words of a segment.

# %%
show = 1
notes, bright = songs[0]
sentence = encode(notes.between(show * SECONDS, (show + 1) * SECONDS), SECONDS)
one = Condition(draw(notes, bright, 0)[None, ::-1], np.ones((1, FRAMES), bool), sentence[None])
seen, _ = networks.encode(average, one, nn)
x0 = draw(notes, bright, show * FRAMES)[None]
x_t = np.sqrt(ALPHA_BAR[500]) * x0 + np.sqrt(1 - ALPHA_BAR[500]) * np.random.default_rng(0).standard_normal(x0.shape)
_, cache = decode(average["decoder"], x_t, SCHEDULE.told(ALPHA_BAR[500:501]), seen, None, nn)
*_, p = cache["stack"]["block1"]["cross"]["layer"]["attention"]  # of (q, k, v, p); (heads, frames, keys)
to_tokens, to_past = p[:, :, : len(sentence)], p[:, :, len(sentence) :]
print(f"of each frame's attention {to_tokens.sum(axis=2).mean():.2f} goes to the notes, the rest to the past")

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 4))
ax.imshow(to_tokens.mean(axis=0), origin="lower", aspect="auto", cmap="viridis")
ax.set_xticks(range(len(sentence)), [word(token) for token in sentence], rotation=90, fontsize=7)
ax.set(ylabel="frame", title="attention from frames to words")
plt.show()

# %% [markdown]
# Look for staircases: later frames look at later words. Nobody told the network that a word and a frame can belong
# together; it is all learnt from the loss, and after a minute only begun. A number for it: the weight of the events
# (words of pitch, *on* or *off*) that are near a frame in time, and of those that are far.

# %%
when = np.full(len(sentence), np.nan)
now = 0.0
for i, token in enumerate(sentence):
    kind = word(token).split()
    now = float(kind[1]) if kind[0] == "time" else now
    if kind[0] == "pitch" and FIRST["tie"] in sentence[:i]:
        when[i] = now / 2  # in frames
events = np.flatnonzero(~np.isnan(when))
gap = abs(np.arange(FRAMES)[:, None] - when[events])
weights = to_tokens.mean(axis=0)[:, events]
near, far = weights[gap <= 4].mean(), weights[gap > 12].mean()
print(f"weight of an event within 4 frames {near:.3f}, of one farther than 12 {far:.3f}")

# %% [markdown]
# ## What the notes do not tell
#
# A piece's brightness is in no token, nor is what still sounds from the segment before. Whoever hears that segment
# knows both. The loss on the same pieces, with their own notes and another past:

# %%
of_past = {
    "its own": of["its own"],
    "hidden": error(right._replace(context_mask=right.context_mask & False)),
    "another's": error(right._replace(context=np.roll(right.context, 1, axis=0))),
}
for name, value in of_past.items():
    print(f"past {name:10} v loss {value:.3f}")

# %% [markdown]
# The past helps a little: most of a segment is in its notes. In a real band it also tells the room, the microphone and
# the player. This is why the past is shown to the network, and why the *wrong* past (another song's, or the segment
# after) is a mistake that you hear at every seam.
#
# ## Common mistakes
#
# | what you see or hear | what it is |
# |---|---|
# | every segment plays the same notes | the condition was built once, outside the loop over segments |
# | guidance makes everything worse, even at w = 1.5 | the sign, or the unconditional answer listens through the mask |
# | w = 1 costs twice the time | `untold` is asked for nothing |
# | long notes stop at each seam | ties were forgotten |
# | long notes start again at each seam | a tied note was said as *on* |
# | a jump of timbre at each seam | no past, or the wrong segment's |
# | shouting, and every draw the same | w is too large |
# | a perfect F1, and no music | the judge hears onsets only: listen |
# | F1 stuck near 0.1 | that is the floor: notes and recordings don't belong together, or are shifted |
#
# ## Exercises
#
# Write `encode`, `attention`, `context_channel` and `guided` in `lessons/15_notes/exercise.py`, and run
# `make check-15`. A right `guided` moves a Gaussian's mean along this line:

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.6))
ws = np.linspace(-1, 5, 25)
at = [guided(gaussian_eps_model(0.7, 0.5, linear), gaussian_eps_model(-0.2, 0.5, linear), w)(0.0, 500) for w in ws]
ax.plot(ws, at)
for w, label in ((0, "untold"), (1, "told")):
    ax.plot(w, np.interp(w, ws, at), "o", label=label)
ax.set(xlabel="w", ylabel="eps at x = 0", title="guidance is a straight line through two models")
ax.legend()
plt.show()

# %% [markdown]
# ## Experiment
#
# Fill in the form at the end of `exercise.py`: what does guidance cost this band? Copy the cells of *A judge* into a
# file of your own, play more pieces, and look at all three columns before you choose a weight.

# %% [markdown] tags=["answer"]
# The table above is the form, for six songs. F1 rises little beyond $w = 1$; the variance rises until notes are
# louder than the data's, and two draws of the same notes become more and more alike. The F1 hears neither, nor the
# timbre: a weight between 1 and 2 is enough.

# %% tags=["answer"]
for w in WEIGHTS:
    print(f"w = {w}: F1 {score[w]:.2f}, variance {size[w]:.2f} of the data's, two draws {apart[w]:.2f} apart")

# %% [markdown]
# ## Sources
#
# - [Hawthorne et al. 2022, multi-instrument music synthesis with spectrogram diffusion](https://arxiv.org/abs/2206.05408)
# - [Ho and Salimans 2022, classifier-free diffusion guidance](https://arxiv.org/abs/2207.12598)
# - [Gardner et al. 2022, MT3: the tokens](https://arxiv.org/abs/2111.03017)
# - [Bittner et al. 2022, basic-pitch](https://arxiv.org/abs/2203.09893)
