# %% [markdown]
# # Sound from a picture
#
# The network generates log-mel spectrograms, which have no phases, so they are not sounds yet. This lesson is about the
# last step, inversion: what phases are, why other phases than the original ones will do, how a trained decoder finds
# better ones than Griffin-Lim, how to use any decoder without clicks, and how much of the final score depends on the
# inversion alone.
#
# You need the STFT and Griffin-Lim (lessons 01 and 02), and a rough idea of sampling (lesson 09).

# %%
import matplotlib.pyplot as plt
import numpy as np
import soxr

from ddim_from_scratch.audio import griffin_lim, istft, load_inverter, log_mel, plain_griffin_lim, stft, synth
from ddim_from_scratch.audio.distance import WINDOWS, spectral_distances
from ddim_from_scratch.audio.inverter import CHUNK, CONTEXT, FADE, GRIFFIN_LIM, SOUNDSTREAM, decode
from ddim_from_scratch.audio.mel import hz_to_mel, mel_to_hz
from ddim_from_scratch.audio.phase import gradient, integrate
from ddim_from_scratch.experiments.ceiling import ceiling
from ddim_from_scratch.experiments.compare import log_mel_error
from ddim_from_scratch.fad import load_embedding
from ddim_from_scratch.runtime import hub
from lessons import FAST, show_answer, show_source, sound
from lessons.tool.percent import ROOT

sr, H = 16_000, 320


def music(genre, seconds=4):
    """The embedded music at 16 kHz: "plucked", "organ" or "bells"."""
    notes = synth.score(synth.TUNES["Ode to Joy (Beethoven)"], held=genre == "organ")
    played = synth.play(notes, genre, 0, 100, np.random.default_rng(0))[: seconds * synth.SR]
    return soxr.resample(played, synth.SR, sr).astype(np.float32)


plucked, organ, bells = (music(genre) for genre in ("plucked", "organ", "bells"))

# %% [markdown]
# ## What a phase says
#
# A bin of the STFT is a complex number, $S[m, k] = A\, e^{j \varphi}$. Its size says how loud the sound is near the
# frequency $k f_s / N$ around the time $(m + 1) H / f_s$, the middle of frame $m$ (frames are $2 H$ long). Its angle,
# the phase, says *where in its cycle* the tone is. From one frame to the next, the phase of a tone of frequency $f$
# grows by
#
# $$\varphi[m + 1] - \varphi[m] = 2 \pi f H / f_s \quad \text{(up to whole turns)},$$
#
# so the phases contain the pitch, much more exactly than the bins, which are 15.6 Hz apart. Whole turns cannot be seen
# in the phases. A turn stands for $f_s / H = 50$ Hz, and the loudest bin says how many whole turns there were.

# %%
true_hz = 443.7
tone = 0.3 * np.sin(2 * np.pi * true_hz * np.arange(sr) / sr)
S = stft(tone)
k = np.abs(S[20]).argmax()
bin_hz = k * sr / 1024
turned = np.angle(S[21, k] / S[20, k]) / (2 * np.pi)  # of a turn
whole = np.round(bin_hz * H / sr - turned)
phase_hz = (whole + turned) * sr / H
print(f"a tone of {true_hz} Hz: the loudest bin is at {bin_hz:.2f} Hz, the phases say {phase_hz:.2f} Hz")
assert abs(phase_hz - true_hz) < 0.01 < 5 < abs(bin_hz - true_hz)

# %% [markdown]
# ## Phases that nobody hears
#
# Turn every phase by half a turn: the waveform becomes $-x$, and sounds the same. Play the sound 3 ms later: all phases
# change, each by another angle, and again it sounds the same. So very different waveforms sound alike, and **the
# distance between waveforms does not measure an inversion.** The distance between log-mels is a better measure.
#
# **Predict.** Four versions of a recording follow: upside down, 3 ms later, from Griffin-Lim, and with random phases.
# Which is furthest from the recording as a waveform, and which as a log-mel?

# %%
picture = log_mel(plucked)
back = griffin_lim(picture)
spectrum = stft(plucked)
random_phase = np.exp(2j * np.pi * np.random.default_rng(0).random(spectrum.shape))
shuffled = istft((np.abs(spectrum) * random_phase).astype(np.complex64), length=len(plucked), floor=0.1)
candidates = {
    "upside down": -plucked,
    "3 ms later": np.roll(plucked, 48),
    "Griffin-Lim": back,
    "random phases": shuffled,
}
print("                 waveform error     log-mel error")
off = {}
for name, x in candidates.items():
    waveform = np.linalg.norm(x[: len(plucked)] - plucked) / np.linalg.norm(plucked)
    off[name] = waveform, log_mel_error(x[None], picture[None])
    print(f"{name:15}{100 * waveform:14.0f} %{off[name][1]:17.3f}")
assert off["upside down"] == (2, 0) and off["3 ms later"][0] > 1 > 5 * off["3 ms later"][1]
assert off["Griffin-Lim"][0] > 1.41 and off["Griffin-Lim"][1] < off["3 ms later"][1]
assert off["random phases"][1] > 5 * off["Griffin-Lim"][1]
show_answer(log_mel_error)

# %%
sound(plucked, "The recording")
sound(back, "Griffin-Lim, from the log-mel spectrogram")
sound(shuffled, "The recording's magnitudes, random phases")

# %% [markdown]
# A log-mel is a natural logarithm: 0.1 is 0.9 dB, 0.69 is a factor of two. Two unrelated waveforms of equal power are
# 141 % apart, and Griffin-Lim's is even further from the recording. But its log-mel error is smaller than that of a
# delay of 3 ms. The random phases are audibly wrong, because they don't fit *each other*.
#
# **Predict.** Take the magnitudes of the strings and the phases of the organ. Which instrument will you hear?
# ([Oppenheim and Lim 1981](https://doi.org/10.1109/PROC.1981.12022) did this with pictures, and with the transform of
# the whole signal, where the phases won.)


# %%
def exchange(magnitudes, phases):
    """The sound whose STFT is nearest to one sound's magnitudes with another's phases."""
    S = np.abs(stft(magnitudes)) * np.exp(1j * np.angle(stft(phases)))
    return istft(S.astype(np.complex64), length=len(magnitudes), floor=0.1)


mixed = {
    "strings' magnitudes, organ's phases": exchange(plucked, organ),
    "organ's magnitudes, strings' phases": exchange(organ, plucked),
}
for label, x in mixed.items():
    to_strings, to_organ = (log_mel_error(x[None], log_mel(y)[None]) for y in (plucked, organ))
    print(f"{label}: {to_strings:.2f} from the strings, {to_organ:.2f} from the organ")
    assert (to_strings < to_organ) == label.startswith("strings")
    sound(x, label)

# %% [markdown]
# You hear the instrument of the *magnitudes*, with a rough edge. With frames of 40 ms the magnitudes carry the music.
# So a network may generate magnitudes only, as the paper's does, and leave the phases to a second stage.
#
# ## The ceiling of Griffin-Lim
#
# Griffin-Lim (lesson 02, [Griffin and Lim 1984](https://doi.org/10.1109/TASSP.1984.1164317)) knows nothing about music.
# It only looks for phases that agree from frame to frame. How large is its error, and where?

# %%
counts = (0, 4, 16, 64)
errors = {}
print("iterations" + "".join(f"{name:>10}" for name in ("plucked", "organ", "bells")))
for count in counts:
    for name, x in (("plucked", plucked), ("organ", organ), ("bells", bells)):
        L = log_mel(x)[None]
        errors[name, count] = log_mel_error(plain_griffin_lim(L, count), L)
    print(f"{count:10}" + "".join(f"{errors[name, count]:10.3f}" for name in ("plucked", "organ", "bells")))
assert all(errors[name, 64] < 0.4 * errors[name, 0] for name in ("plucked", "organ", "bells"))

plain, other = (plain_griffin_lim(picture, rng=seed) for seed in (0, 1))
apart = np.linalg.norm(other - plain) / np.linalg.norm(plain)
print(
    f"other initial phases: waveforms {100 * apart:.0f} % apart, error {log_mel_error(other[None], picture[None]):.3f}"
)
assert errors["organ", 64] < min(errors["plucked", 64], errors["bells", 64])
assert apart > 1 and abs(log_mel_error(other[None], picture[None]) - errors["plucked", 64]) < 0.02

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.8))
for name, x in (("plucked", plucked), ("organ", organ), ("bells", bells)):
    L = log_mel(x)
    by_bin = np.abs(log_mel(plain_griffin_lim(L)) - L).mean(axis=0)
    ax.plot(np.convolve(by_bin, np.full(5, 0.2), "same")[2:-2], label=name)
ax.set(xlabel="mel bin", ylabel="mean error of the log-mel", title="the error of Griffin-Lim")
ax.legend()
plt.show()

# %% [markdown]
# Other initial phases lead to another waveform with the same error: there are many solutions, and they are equally
# good. The organ, which is steady and has few partials, has the smallest error. Plucked strings and bells have
# attacks, where all phases must agree at one instant; they keep a shimmer.
#
# A generated spectrogram is harder to invert than that of a recording, because it is *not the spectrogram of any
# sound*. Here are the strings' log-mels with random errors in every pixel:

# %%
L = picture[None]
print("error of the log-mel    the sound's error: from that log-mel    from the true one")
own = []  # what Griffin-Lim adds
for error in (0.0, 0.2, 0.5):
    drawn = L + error * np.random.default_rng(0).standard_normal(L.shape, dtype=np.float32)
    drawn = np.maximum(drawn, np.log(1e-5, dtype=np.float32))
    x = griffin_lim(drawn)
    from_drawn, from_true = log_mel_error(x, drawn), log_mel_error(x, L)
    print(f"{np.abs(drawn - L).mean():20.3f}{from_drawn:37.3f}{from_true:20.3f}")
    own.append(from_drawn)
    assert from_true > np.abs(drawn - L).mean() + 0.9 * own[0] and (error == 0 or from_true > 1.2 * from_drawn)
assert own[1] > 2 * own[0] and own[2] > 1.5 * own[1]
sound(x[0], "Griffin-Lim of the strings, each pixel of the picture off by a random factor")

# %% [markdown]
# No sound has such a grainy spectrogram, so no phases reach it: Griffin-Lim's error rises with the error of its input,
# and the sound's error is larger than either of the two. A better network therefore helps twice. Its spectrograms are
# nearer to the music, and Griffin-Lim comes nearer to them.
#
# ## Phases from slopes
#
# Griffin-Lim need not begin with random phases, because the magnitudes say something about them. For a Gaussian window,
# $g(t) = e^{-\pi t^2 / \gamma}$, two lines of calculus (in `audio/phase.py`) give the slopes of the phase from those of
# the log magnitude:
#
# $$\frac{\partial \varphi}{\partial t} = \omega + \frac{2 \pi}{\gamma} \frac{\partial \ln |S|}{\partial \omega},
# \qquad
# \frac{\partial \varphi}{\partial \omega} = -\frac{\gamma}{2 \pi} \frac{\partial \ln |S|}{\partial t}.$$
#
# The first equation gives all bins of a partial the frequency of its peak, so that the partial turns as a whole. *Phase
# gradient heap integration* ([Průša, Balazs and Søndergaard 2017](https://doi.org/10.1109/TASLP.2017.2678166)) adds
# these slopes up, from the loudest bins to their neighbours, and reaches the quiet ones last.
#
# The method is exact for a Gaussian window and infinitely small steps. Here it is not, for three reasons. Our window is
# Hann's, which only resembles a Gaussian one ($\gamma = 0.25645\, L^2$). Where $|S|$ is zero, its logarithm has no
# slope and the phase has no value. And slopes are replaced by differences between frames.
#
# How close must frames be? In each bin, $S$ is a signal in time. Hann's main lobe is $4 / L$ wide, so this signal needs
# 4 values in every $L$ samples: a hop of $L / 4$, **75 % overlap**. A count of numbers leads to the same result. A hop
# of $H$ samples brings $L / 2$ magnitudes. At 75 % that is two magnitudes for each unknown sample, and two for each are
# enough, for nearly all linear transforms, to find a real signal up to its sign ([Balan, Casazza and Edidin
# 2006](https://doi.org/10.1016/j.acha.2005.07.001)). At 50 %, our hop, there is one, and the differences are coarse.


# %%
def from_true_magnitudes(x, hop, integrated):
    """The sound of a recording's magnitudes, with phases that are integrated, or random."""
    magnitude = np.abs(stft(x, hop_length=hop))
    phases = 2 * np.pi * np.random.default_rng(0).random(magnitude.shape)
    if integrated:  # `integrate` counts time from a frame's middle, stft from its start
        phases = integrate(magnitude, phases, hop_length=hop) - np.pi * 640 * np.arange(513) / 1024
    return istft((magnitude * np.exp(1j * phases)).astype(np.complex64), hop_length=hop, length=len(x), floor=0.1)


print("spectral convergence at 4096 samples, from the true magnitudes\noverlap    random phases    integrated")
sc, integrated_sounds = {}, {}
for hop in (320, 160, 80):
    random, integrated_sounds[hop] = (from_true_magnitudes(plucked, hop, integrated) for integrated in (False, True))
    sc[hop] = [spectral_distances(x, plucked, 4096)[0] for x in (random, integrated_sounds[hop])]
    print(f"{100 * (1 - hop / 640):6.1f} %{sc[hop][0]:15.3f}{sc[hop][1]:14.3f}")
for hop, x in integrated_sounds.items():
    sound(x, f"Integrated phases, {100 * (1 - hop / 640):g} % overlap")
assert all(integrated < 0.7 * random for random, integrated in sc.values()) and sc[160][1] < 0.8 * sc[320][1]
show_source(gradient)

# %% [markdown]
# Spectral convergence is $\lVert |S| - |R| \rVert / \lVert R \rVert$, with the STFTs $S$ of the sound and $R$ of
# the recording. With a long window it measures how steady a held pitch is, with a short one how sharp an attack is. The
# log-mel error measures little of either. Even at 50 % overlap, integrated phases are a better start than random ones:

# %%
print("64 iterations      log-mel error" + "".join(f"   SC {window:4}" for window in WINDOWS))
convergence = {}
for name, invert in (("random phases", plain_griffin_lim), ("integrated", griffin_lim)):
    x = invert(picture, 64)[: len(plucked)]
    convergence[name] = [spectral_distances(x, plucked, window)[0] for window in WINDOWS]
    cells = "".join(f"{value:10.3f}" for value in convergence[name])
    print(f"{name:15}{log_mel_error(x[None], picture[None]):17.3f}{cells}")
assert convergence["integrated"][2] < convergence["random phases"][2]

# %% [markdown]
# ## A decoder: one function
#
# For the rest of the system an inverter is a function from log-mels $(n, \text{frames}, 128)$ to samples $(n, 320\,
# \text{frames})$. Here is a very simple one that ignores phases: 128 sine waves, one in the middle of each mel bin,
# as loud as the bin says.

# %%
centres = mel_to_hz(np.linspace(0, hz_to_mel(8000.0), 130)[1:-1])


def oscillators(log_mels):
    """A decoder of 128 sines: (n, frames, 128) to (n, frames * 320). Each call begins with new phases."""
    n, frames, _ = log_mels.shape
    t = np.arange(frames * H)
    phases = 2 * np.pi * np.random.default_rng(0).random(128)
    sounds = np.zeros((n, frames * H), np.float32)
    for row, clip in zip(sounds, np.exp(log_mels) / 300, strict=True):
        for i in range(128):  # a frame is centred 320 samples behind its first
            size = np.interp(t, H * (np.arange(frames) + 1), clip[:, i])
            row += size * np.sin(2 * np.pi * centres[i] / sr * t + phases[i])
    return sounds


hum = oscillators(L)
hum_error = log_mel_error(hum, L)
print(f"error: {hum_error:.3f}, and {errors['plucked', 64]:.3f} for Griffin-Lim")
sound(hum[0], "The strings, by 128 sine waves")
assert 2 * errors["plucked", 64] < hum_error < errors["plucked", 0]

# %% [markdown]
# It sounds like a glass harmonica under water, because every pitch moves to the middle of the nearest mel bin. The
# paper's decoder has the same interface. It is a convolutional network with some millions of weights, **SoundStream's
# mel decoder** ([Zeghidour et al. 2021](https://arxiv.org/abs/2107.03312); published for Spectrogram Diffusion,
# [Hawthorne et al. 2022](https://arxiv.org/abs/2206.05408)). It was trained as a *generative adversarial network*
# $G$: discriminators $D_r$ get real sound $x$ and $\hat x = G(\text{log-mel}(x))$ at several resolutions $r$, and
# learn to tell them apart,
#
# $$L_D = \sum_r \operatorname{E} \max(0, 1 - D_r(x)) + \operatorname{E} \max(0, 1 + D_r(\hat x)),$$
#
# while $G$ learns to deceive them, and to have the right spectrogram:
#
# $$L_G = \sum_r \operatorname{E} \max(0, 1 - D_r(\hat x)) + \lambda \sum_i
# \big| \text{log-mel}_i(\hat x) - \text{log-mel}_i(x) \big| + \dots$$
#
# (the dots are mel spectrograms compared without the logarithm, and the difference of the discriminators' inner layers,
# as in [HiFi-GAN](https://arxiv.org/abs/2010.05646)). The second term compares log-mels, which contain no phase. With
# it alone, phases that do not fit each other would cost little. (A loss on the *waveform* would be worse: the mean over
# all possible phases is silence.) The first term makes $G$ choose phases as they are in music, with attacks of all
# partials at once. $G$ has been trained on music; Griffin-Lim has not.
#
# ## Ends and seams
#
# Such a decoder clicks in its first and last frames, where it lacks context, and a long clip does not fit into memory.
# `decode` solves both problems: it mirrors the clip at its ends, cuts away the sound of the mirror images, and fades
# from one chunk into the next.

# %%
print(f"context {CONTEXT} frames at either end, chunks of {CHUNK}, fades of {FADE} ({FADE * 20} ms)")
show_answer(decode)

# %% [markdown]
# Our sines begin each chunk with new phases, so they need this. A held organ chord of 12 seconds makes two chunks.
# Without a fade there is a jump where they meet:

# %%
frames = 600
chord = np.broadcast_to(log_mel(organ)[20:21], (1, frames, 128))
with_care = decode(oscillators, chord)[0]
cut = np.concatenate([oscillators(chord[:, :CHUNK]), oscillators(chord[:, CHUNK:])], axis=1)[0]


def high(x):
    """The energy above 6 kHz in each frame in dB. The chord has little of it."""
    return 10 * np.log10(np.sum(np.abs(stft(x)[:, 384:]) ** 2, axis=1) + 1e-9)


seam = slice(CHUNK - 4, CHUNK + FADE + 4)
click = {name: high(x)[seam].max() - np.median(high(x)) for name, x in (("cut", cut), ("faded", with_care))}
print(f"above 6 kHz, at the seam: {click['cut']:+.1f} dB cut hard, {click['faded']:+.1f} dB faded")
assert click["cut"] > 10 > 3 > click["faded"]
near_seam = slice((CHUNK - 50) * H, (CHUNK + 50) * H)
sound(cut[near_seam], "Cut hard: a click in the middle")
sound(with_care[near_seam], "Faded by decode")

# %% [markdown]
# ## The GAN and Griffin-Lim, to compare
#
# The GAN is a download of TensorFlow Hub. The next line says whether it was on the machine that made this page.

# %%
folder = hub.find(hub.SOUNDSTREAM)
if folder:
    print("SoundStream's mel decoder is on this machine: you hear it below.")
else:
    print("SoundStream's mel decoder is NOT on this machine, so this page does not let you hear it.")
    print("Below is Griffin-Lim alone. To hear both: pip install '.[hub]', then")
    print("python -m ddim_from_scratch.sample --run build/lessons/run --inverter soundstream")
inverters = {GRIFFIN_LIM: load_inverter(GRIFFIN_LIM)}
if folder:
    inverters[SOUNDSTREAM] = load_inverter(SOUNDSTREAM)
for name, x in (("plucked", plucked), ("organ", organ), ("bells", bells)):
    sound(x, f"{name}: the recording")
    for inverter, invert in inverters.items():
        sound(invert(log_mel(x)[None])[0], f"{name}: {inverter}")

# %% [markdown]
# ## What the score can reach
#
# Even the best spectrogram is heard through the inverter. To measure what that costs, send *real* log-mels through it,
# and compute the score that generated music gets: the Fréchet distance between two sets of clips (lesson 11), here of
# simple statistics of their log-mels.
#
# - **real**: recordings against other recordings. It is not 0, because the sets are small: the floor of any score.
# - **ceiling**: the same, but through the inverter. A *perfect* network would have this score.
# - **inverted**: recordings against the same recordings through the inverter. This is the inverter's own share.

# %%
data = ROOT / "build" / "lessons" / "music" / "genres" / "plucked"
if not (data / "plucked.00005.wav").exists():
    synth.write_corpus(data.parents[1], tracks_per_genre=6)
embedding = load_embedding("mel")
CLIPS = 4 if FAST else 15


def sines(log_mels, label=""):
    return decode(oscillators, log_mels)


scores = {
    name: ceiling(str(data), 5.12, CLIPS, invert, embedding)
    for name, invert in {**inverters, "128 sines": sines}.items()
}
print(f"Frechet distances from {CLIPS} clips of 5.12 s, and the error of the log-mels")
print("                  real   ceiling  inverted   log-mel error")
for name, found in scores.items():
    fad = found["fad"]
    numbers = "".join(f"{fad[kind]:10.1f}" for kind in ("real", "ceiling", "inverted"))
    print(f"{name:12}{numbers}{found['log_mel_error']:16.3f}")
low, high = scores[GRIFFIN_LIM]["interval"]["real"]
print(f"with other clips, real would lie between {low:.0f} and {high:.0f} (95 %)")
fad, worse = scores[GRIFFIN_LIM]["fad"], scores["128 sines"]["fad"]
assert fad["real"] == worse["real"] and fad["inverted"] < fad["real"]
assert fad["ceiling"] < worse["ceiling"] and fad["inverted"] < worse["inverted"]
assert FAST or (low < fad["ceiling"] < high and 10 * fad["inverted"] < worse["inverted"])

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.6))
kinds = ("real", "inverted", "ceiling")
for row, (name, found) in enumerate(scores.items()):
    ax.barh(np.arange(3) + 0.35 * row, [found["fad"][kind] for kind in kinds], 0.33, label=name)
ax.set_yticks(np.arange(3) + 0.35 * (len(scores) - 1) / 2, kinds)
ax.set(xlabel="Fréchet distance", title="what real music scores")
ax.legend()
plt.show()

# %% [markdown]
# With so few clips, chance alone moves *real* within the interval that is printed below the table. Griffin-Lim's
# ceiling lies inside this interval, so these two columns cannot show whether the inverter costs anything. *Inverted*
# has the same clips on both sides, so the choice of clips matters much less. It is small for Griffin-Lim, and more
# than ten times as large for the sines. A score near *real* is the best that is possible here. To see finer
# differences, take more clips. `python -m ddim_from_scratch.experiments ceiling --data FOLDER` measures this for your
# own music, with the embeddings of lesson 11.
#
# ## Common mistakes
#
# | what you see or hear | what it is |
# |---|---|
# | a decoder gives noise, or is very quiet | decibels or other mel filters: it needs natural logarithms of magnitudes |
# | a click every few seconds | chunks joined without a fade: use `decode` |
# | a click at both ends of each clip | no context: mirror the ends, and cut |
# | a dip or a swell at each seam | the fade's weights don't add up to 1: both sides agree, so fade linearly |
# | the sound is a third of a second late | the context was cut at the end only |
# | a buzz at 50 Hz | phases all zero, or frames inverted one by one |
# | a loss on waveforms gives silence | phases differ by chance, and the mean of all is 0 |
# | *real* scores worse than *ceiling* | too few clips: look at the interval |
#
# ## Exercises
#
# Write `log_mel_error`, `check_log_mels` and `decode` in `lessons/10_inversion/exercise.py`, and run `make check-10`.
# Below is a decoder that clicks at the ends of each chunk: chunk by chunk, and with the right `decode`, which removes
# the clicks.


# %% tags=["hide-input"]
def clicking(log_mels):
    """A decoder that repeats each frame's number, with clicks in the first and last five frames."""
    x = np.repeat(log_mels[:, :, 0], H, axis=1)
    x[:, : 5 * H] += 1
    x[:, -5 * H :] -= 1
    return x


ramp = np.broadcast_to(np.arange(700, dtype=np.float32)[:, None] / 700, (1, 700, 128))
hard = np.concatenate([clicking(ramp[:, :CHUNK]), clicking(ramp[:, CHUNK:])], axis=1)
fig, axes = plt.subplots(2, 1, figsize=(6, 3.6), sharex=True)
for ax, x, title in ((axes[0], hard, "chunk by chunk"), (axes[1], decode(clicking, ramp), "decode")):
    ax.plot(np.arange(0, x.shape[1], H) / sr, x[0, ::H])
    ax.set(ylabel="what was put out", title=title, ylim=(-1, 2))
axes[1].set_xlabel("time (s)")
plt.show()

# %% [markdown]
# ## Experiment
#
# How exact must the network be? Round the strings' log-mels to multiples of 0.1, 0.25, 0.5 and 1 (1 is 8.7 dB), invert
# them with Griffin-Lim, and measure the error of the sound against the *unrounded* log-mels. From which step on does
# rounding cost more than Griffin-Lim itself? Fill in the form at the end of `exercise.py`.

# %% tags=["answer"]
print("step   in dB   rounding alone   sound from the rounded log-mels")
rounded, alone = {}, {}
for step in (0.0, 0.1, 0.25, 0.5, 1.0):
    coarse = np.maximum(step * np.round(L / step) if step else L, np.log(1e-5, dtype=np.float32)).astype(np.float32)
    rounded[step], alone[step] = log_mel_error(griffin_lim(coarse), L), np.abs(coarse - L).mean()
    print(f"{step:4}{8.686 * step:8.1f}{alone[step]:17.3f}{rounded[step]:22.3f}")
assert abs(alone[0.5] - 0.5 / 4) < 0.02 and abs(alone[1.0] - 1 / 4) < 0.04
assert all(abs(rounded[step] - rounded[0.0] - 1.2 * alone[step]) < 0.04 for step in rounded)
assert rounded[0.25] < 2.2 * rounded[0.0] < rounded[0.5]

# %% [markdown] tags=["answer"]
# Rounding to a step $q$ makes errors between $-q/2$ and $q/2$, whose mean size is $q/4$. The two errors nearly add up:
# the sound's is Griffin-Lim's own plus about 1.2 times that of the rounding. The two are equal at a step of about 0.3,
# or 2.6 dB. So a network whose pixels are off by less than about 0.07 on average is limited by the inverter. With
# larger errors the network limits the result.

# %% [markdown]
# ## Sources
#
# - D. Griffin, J. Lim (1984), [Signal estimation from modified short-time Fourier
#   transform](https://doi.org/10.1109/TASSP.1984.1164317).
# - A. Oppenheim, J. Lim (1981), [The importance of phase in signals](https://doi.org/10.1109/PROC.1981.12022).
# - Z. Průša, P. Balazs, P. Søndergaard (2017), [A noniterative method for reconstruction of phase from STFT
#   magnitude](https://doi.org/10.1109/TASLP.2017.2678166).
# - R. Balan, P. Casazza, D. Edidin (2006), [On signal reconstruction without
#   phase](https://doi.org/10.1016/j.acha.2005.07.001): how many magnitudes are enough.
# - N. Zeghidour, A. Luebs, A. Omran, J. Skoglund, M. Tagliasacchi (2021),
#   [SoundStream](https://arxiv.org/abs/2107.03312): the decoder's network and its losses.
# - C. Hawthorne and others (2022), [Multi-instrument music synthesis with spectrogram
#   diffusion](https://arxiv.org/abs/2206.05408): the decoder for log-mels.
# - J. Kong, J. Kim, J. Bae (2020), [HiFi-GAN](https://arxiv.org/abs/2010.05646): a GAN that inverts mel spectrograms.
