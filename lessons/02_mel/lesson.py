# %% [markdown]
# # The mel spectrogram, and what it loses
#
# A network that generates sound should not spend its capacity on details that nobody hears. The log-mel spectrogram
# has an eighth as many numbers as lesson 01's STFT, and keeps nearly all of the music. This lesson builds it and
# measures what is lost. Then it computes a sound from it, with phases, by alternating between two projections.
#
# You need lesson 01.

# %%
import matplotlib.pyplot as plt
import numpy as np
import soxr

from ddim_from_scratch.audio import istft, log_mel, mel_matrix, plain_griffin_lim, stft, synth
from ddim_from_scratch.audio.griffin_lim import corrected, refine
from ddim_from_scratch.audio.mel import hz_to_mel, mel_to_hz
from lessons import FAST, film, show_answer, show_source, sound

sr = 16_000
hz = np.linspace(0, sr / 2, 513)  # of the FFT's bins


def music(genre, seconds=5):
    """The embedded music at 16 kHz: "plucked", "organ" or "bells"."""
    notes = synth.score(synth.TUNES["Ode to Joy (Beethoven)"], held=genre == "organ")
    played = synth.play(notes, genre, 0, 100, np.random.default_rng(0))[: seconds * synth.SR]
    return soxr.resample(played, synth.SR, sr).astype(np.float32)


# %% [markdown]
# ## Equal steps for the ear
#
# Here are eight tones that are 200 Hz apart, and then eight tones that *sound* about equally far apart. In the first
# row the steps seem to become smaller as the tones rise.


# %%
def tones(frequencies, seconds=0.35):
    """Short tones in a row, each faded in and out."""
    t = np.arange(int(seconds * sr)) / sr
    fade = np.minimum(1, np.minimum(t, seconds - t) / 0.03)
    return np.concatenate([0.2 * fade * np.sin(2 * np.pi * f * t) for f in frequencies])


equal_hz = np.linspace(200, 1600, 8)
equal_mel = mel_to_hz(np.linspace(hz_to_mel(200), hz_to_mel(1600), 8))
print("equal in Hz: ", *np.round(equal_hz).astype(int))
print("equal in mel:", *np.round(equal_mel).astype(int))
sound(tones(equal_hz), "Equal steps in Hz")
sound(tones(equal_mel), "Equal steps in mel")

# %% [markdown]
# Listeners were asked to set a tone that sounds half as high as another, and a scale was built from their answers, the
# *mel scale* ([Stevens, Volkmann and Newman 1937](https://doi.org/10.1121/1.1915893)). Much speech software uses the
# formula of [HTK](https://htk.eng.cam.ac.uk/):
#
# $$m(f) = 1127 \ln\!\left(1 + \frac{f}{700}\right).$$
#
# Its slope is largest at 0 Hz and half as large at 700 Hz. Far above 700 Hz the curve is close to a logarithm. The
# factor 1127 makes 1000 Hz equal to 1000 mel. (With $\log_{10}$ the formula is $2595 \log_{10}(1 + f / 700)$, the same
# to five digits.)

# %%
print(f"1000 Hz are {hz_to_mel(1000.0):.2f} mel; 8000 Hz are {hz_to_mel(8000.0):.0f} mel")
print(f"half of all mels lie below {mel_to_hz(hz_to_mel(8000.0) / 2):.0f} Hz")
slopes = [(hz_to_mel(f + 1e-3) - hz_to_mel(f)) / 1e-3 for f in (0.0, 700.0)]
print(f"slope: {slopes[0]:.2f} mel a Hz at 0 Hz, {slopes[1]:.2f} at 700 Hz")
assert abs(hz_to_mel(1000.0) - 1000) < 0.05 and abs(slopes[1] / slopes[0] - 0.5) < 1e-4
assert abs(2595 * np.log10(1 + 8000 / 700) / hz_to_mel(8000.0) - 1) < 1e-5
show_answer(hz_to_mel)
show_source(mel_to_hz)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.8))
ax.plot(hz, hz_to_mel(hz))
ax.axvline(700, color="#999999", linestyle=":")
ax.set(xlabel="frequency (Hz)", ylabel="pitch (mel)", title="the mel scale; dotted: 700 Hz")
plt.show()

# %% [markdown]
# Music counts pitches in octaves and semitones, so why does this course use mel? Filters that are spaced equally in
# octaves are only a few Hz apart in the bass. A frame of 40 ms hardly separates tones that are less than 50 Hz apart,
# and many of the low filters would hold no FFT bin. Mel is a compromise. At low frequencies, where the frame limits the
# resolution, it is nearly linear. At high frequencies, where the ear limits it, it is nearly logarithmic. And the
# vocoders that can be downloaded were trained on mel spectrograms.

# %%
octaves = np.geomspace(31.25, 8000, 130)  # the same number of filters, eight octaves
empty = sum(not np.any((low < hz) & (hz < high)) for low, high in zip(octaves[:-2], octaves[2:], strict=True))
print(f"of 128 filters spaced equally in octaves from 31 Hz, {empty} hold no FFT bin")
assert empty > 15

# %% [markdown]
# ## The filter bank
#
# Divide the scale from 0 to 8000 Hz into equal steps in mel, with 130 edges $e_0, \dots, e_{129}$. Each filter is a
# triangle, and the triangles overlap. Filter $i$ rises from 0 at $e_i$ to 1 at $e_{i+1}$ and falls to 0 at $e_{i+2}$,
# in straight lines *in mel*. Its output is the sum of the FFT's bins, weighted by
#
# $$M[k, i] = \max\left(0,\ \min\left(\frac{m_k - e_i}{e_{i+1} - e_i},
# \ \frac{e_{i+2} - m_k}{e_{i+2} - e_{i+1}}\right)\right),$$
#
# where $m_k$ is the pitch of FFT bin $k$. These are 128 filters, the columns of a matrix with 513 rows.

# %%
edges = np.linspace(0, hz_to_mel(8000.0), 130)
step = edges[1]  # all steps are equal, so both fractions have the same denominator
pitch = hz_to_mel(hz)[:, None]  # (513, 1)
by_hand = np.maximum(0, 1 - np.abs(pitch - edges[1:-1]) / step)  # (513, 128)

matrix = mel_matrix()
print(f"{matrix.shape}; largest difference to the package's: {np.abs(by_hand - matrix).max():.0e}")
assert np.abs(by_hand - matrix).max() < 1e-9
show_answer(mel_matrix)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.8))
for i in range(7, 128, 12):  # one in twelve
    ax.fill(mel_to_hz(edges[i : i + 3]), (0, 1, 0), alpha=0.6)
ax.set(
    xlabel="frequency (Hz, logarithmic)", ylabel="weight", title="one filter in twelve", xscale="log", xlim=(100, 8000)
)
plt.show()

# %% [markdown]
# Low filters are narrow, high ones wide. Here are four facts. Forgetting one of them leads to a bug:

# %%
held = (matrix > 0).sum(axis=0)  # FFT bins in each filter
centres = mel_to_hz(edges[1:-1])
print(f"filters hold {held[0]} FFT bin at the bottom, {held[-1]} at the top")
apart = np.diff(centres)
print(f"neighbours are {apart[0]:.1f} Hz apart at the bottom, {apart[-1]:.0f} Hz at the top")
between = (centres[0] <= hz) & (hz <= centres[-1])
weights = matrix[between].sum(axis=1)
print(f"a bin's weights add up to {weights.min():.3f} .. {weights.max():.3f}")
print(f"bin 0, the constant part, has weight {matrix[0].sum():g}")
assert held[0] == 1 and held[-1] == 21 and held.min() == 1
assert apart[0] < sr / 1024 < apart[20]
assert np.allclose(weights, 1) and not matrix[0].any()

# %% [markdown]
# The lowest filters are closer together than the FFT's bins, which are 15.6 Hz apart. A filter that holds no bin is
# always zero, and draws a black line across the picture. With 128 filters and 1024 points each filter holds at least
# one bin. With a shorter FFT some hold none.
#
# Other libraries divide each triangle by its width (Slaney's normalisation, [librosa](https://librosa.org)'s default),
# or draw its sides as straight lines in Hz. These give other numbers. If a network is trained on one kind and its
# vocoder on another, the sound is distorted.
#
# ## The logarithm
#
# The ear compares loudness by ratios, so the last step is a logarithm. The logarithm of silence is minus infinity, so
# the magnitudes are clipped at $10^{-5}$ first:
#
# $$L[m, i] = \ln \operatorname{clip}\Big(\sum_k |S[m, k]|\, M[k, i],\ 10^{-5},\ 10^{8}\Big).$$

# %%
plucked = music("plucked")
S = stft(plucked)
L = log_mel(plucked)
by_hand = np.log(np.clip(np.abs(S) @ matrix, 1e-5, 1e8))
silence, louder = log_mel(np.zeros(320)), log_mel(2 * plucked) - L
print(f"(frames, mel bins): {L.shape}; largest difference by hand: {np.abs(by_hand - L).max():.0e}")
print(f"silence is {silence.max():.2f}; twice as loud is {louder.mean():+.3f}")
assert np.abs(by_hand - L).max() < 1e-3
assert np.allclose(silence, np.log(1e-5)) and np.allclose(louder, np.log(2), atol=1e-4)
show_answer(log_mel)


# %%
def draw(ax, picture, **options):
    """A log-mel spectrogram: time to the right, mel bins up."""
    extent = (0, len(picture) / 50, 0, 128)
    return ax.imshow(picture.T, extent=extent, interpolation="nearest", **options)


# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3.4))
image = draw(ax, L)
fig.colorbar(image, label="ln(mel magnitude)")
ax.set(xlabel="time (s)", ylabel="mel bin", title="Ode to Joy on plucked strings")
plt.show()

# %% [markdown]
# The network of this course learns to generate such pictures. Compare it with lesson 01's: towards the top the
# overtones move closer together, because a mel bin is wider there. And the picture is small:

# %%
a_second = {"samples": sr, "STFT, two numbers a bin": 2 * 513 * 50, "log-mel": 128 * 50}
for name, count in a_second.items():
    print(f"{name:24}{count:7} numbers a second")
assert a_second["STFT, two numbers a bin"] / a_second["log-mel"] > 8

# %% [markdown]
# ## What is lost
#
# All **phases** are lost. Some **detail** is lost, too: 128 sums do not determine 513 magnitudes. A change in the null
# space of $M^T$, which has 385 dimensions, does not change the mel spectrum. Low pitches stay separate and high ones
# merge. Here are two tones that are 80 Hz apart, first low and then high, in the STFT and in the mel spectrum:


# %%
def peaks(level):
    """How many peaks a spectrum has within 12 dB (a factor of 4) of its largest value."""
    left, middle, right = level[:-2], level[1:-1], level[2:]
    return int(np.sum((middle > left) & (middle > right) & (middle > level.max() / 4)))


t = np.arange(sr) / sr
for f in (300, 6000):
    pair = 0.2 * np.sin(2 * np.pi * f * t) + 0.2 * np.sin(2 * np.pi * (f + 80) * t)
    magnitude = np.abs(stft(pair))[5:-5].mean(axis=0)
    seen = peaks(magnitude), peaks(magnitude @ matrix)
    print(f"{f} and {f + 80} Hz: peaks in the STFT: {seen[0]}, in the mel spectrum: {seen[1]}")
    assert seen == ((2, 2) if f == 300 else (2, 1))
print("dimensions of the null space of M^T:", 513 - np.linalg.matrix_rank(matrix))
assert 513 - np.linalg.matrix_rank(matrix) == 385

# %% [markdown]
# What is left of one frame? As a simple guess of its spectrum, spread each mel bin over its FFT bins by their weights:

# %%
spread = (matrix / matrix.sum(axis=0)).T  # (128, 513): a mel bin, over its FFT bins by their weights
magnitude = np.abs(S[60])
guess = np.exp(L[60]) @ spread
for low, high in ((100, 1000), (4000, 5000)):
    band = (low < hz) & (hz < high)
    swings = [np.ptp(20 * np.log10(x[band])) for x in (magnitude, guess)]
    print(f"{low} .. {high} Hz: the spectrum covers {swings[0]:.0f} dB, the guess {swings[1]:.0f} dB")
assert swings[0] > 2 * swings[1]

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3))
ax.plot(hz, 20 * np.log10(magnitude), linewidth=1, label="the frame's spectrum")
ax.plot(hz, 20 * np.log10(np.maximum(guess, 1e-5)), label="the guess from its 128 mel bins")
ax.set(xlabel="frequency (Hz)", ylabel="magnitude (dB)", xlim=(0, 5000), ylim=(-60, 40), title="1.2 s into the music")
ax.legend()
plt.show()

# %% [markdown]
# At the left the orange line follows each overtone and each gap. To the right each filter covers an overtone and the
# gap beside it, so only the smooth envelope is left.
#
# ## Phases from consistency
#
# Now we compute the sound. Begin with an easier task: all 513 magnitudes are known, and only the phases are missing.
# They can be found because frames overlap, so that most spectra are not the transform of any sound (lesson 01). There
# are two sets of spectra:
#
# - The *consistent* spectra are the transforms of sounds. $P_C = \text{stft} \circ \text{istft}$ returns the nearest
#   consistent spectrum.
# - The other set has the *wanted magnitudes* $A$. $P_A(S) = A\, S / |S|$ returns its nearest member, which has the same
#   phases as $S$.
#
# We look for a spectrum that lies in both sets. Alternate between them ([Griffin and Lim
# 1984](https://doi.org/10.1109/TASSP.1984.1164317)):
#
# $$S \leftarrow P_A(P_C(S)).$$
#
# Each step goes to the nearest point of one set. So the distance between an iterate and the next can never grow. The
# error below measures this distance. With momentum, a step also goes further in the direction of the last change, and
# the error becomes smaller ([Perraudin, Balazs and Søndergaard 2013](https://doi.org/10.1109/WASPAA.2013.6701851)):
#
# $$C_n = P_C(S_n), \qquad S_{n+1} = P_A\big(C_n + \alpha\, (C_n - C_{n-1})\big).$$


# %%
def find_phases(A, iterations, momentum):
    """Griffin-Lim with known magnitudes A (frames, 513): each iteration's sound and error (dB)."""
    phase = 2 * np.pi * np.random.default_rng(0).random(A.shape)
    spectrum, previous = (A * np.exp(1j * phase)).astype(np.complex64), None
    sounds, errors = [], []
    for _ in range(iterations):
        sounds.append(istft(spectrum, length=len(A) * 320, floor=0.1))
        consistent = stft(sounds[-1])
        errors.append(20 * np.log10(np.linalg.norm(np.abs(consistent) - A) / np.linalg.norm(A)))
        ahead = consistent if previous is None else consistent + momentum * (consistent - previous)
        spectrum = A * ahead / np.maximum(np.abs(ahead), 1e-8)
        previous = consistent
    return sounds, errors


iterations = 40 if FAST else 100
classic_sounds, classic = find_phases(np.abs(S), iterations, momentum=0)
fast_sounds, fast = find_phases(np.abs(S), iterations, momentum=0.99)
print("iteration    0.00    0.99    (momentum; error of magnitudes in dB)")
for i in (0, 4, 19, iterations - 1):
    print(f"{i + 1:9}{classic[i]:8.1f}{fast[i]:8.1f}")
assert np.all(np.diff(classic[1:]) < 0.01)  # it never grows (but for `floor` and rounding)
assert fast[-1] < classic[-1] - 3 and fast[4] < fast[0] - 8

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.8))
ax.plot(1 + np.arange(iterations), classic, label="Griffin and Lim")
ax.plot(1 + np.arange(iterations), fast, label="with momentum 0.99")
ax.set(xlabel="iteration", ylabel="error of magnitudes (dB)", xscale="log")
ax.legend()
plt.show()

# %%
sound(plucked, "The recording")
sound(fast_sounds[0], "Its magnitudes with random phases")
sound(fast_sounds[4], "After 5 iterations")
sound(fast_sounds[-1], f"After {iterations} iterations")

# %% [markdown]
# Random phases blur the sound. Most of the blur disappears in the first iterations. Here is the spectrogram of the
# sound after some of them:

# %% tags=["hide-input"]
frames = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 26, 30, 35, 39, 39, 39, 39]
fig, ax = plt.subplots(figsize=(6, 3))
image = draw(ax, log_mel(fast_sounds[0])[:150], vmin=-5, vmax=3.5)
ax.set(xlabel="time (s)", ylabel="mel bin")


def show_iteration(i):
    image.set_data(log_mel(fast_sounds[frames[i]])[:150].T)
    ax.set_title(f"iteration {frames[i] + 1}")


film(fig, show_iteration, len(frames), "the log-mel spectrogram of the sound, iteration after iteration", 4)

# %% [markdown]
# ## From the mel spectrogram
#
# Our network generates 128 mel bins, not 513 magnitudes. So the second set is now that of the spectra with the wanted
# *mel bins*. The package's step towards it multiplies each magnitude $|C_k|$ by a correction. The correction is a
# weighted mean over the mel bins of $k$, of the wanted value divided by the present one:
#
# $$A_k = |C_k| \sum_i \frac{M[k, i]}{\sum_j M[k, j]}\, \left(\frac{e^{L_i}}{(|C|\, M)_i}\right)^{1.3}.$$
#
# This is done in every iteration. So consistency determines the phases, and also how the magnitude of a mel bin is
# distributed over its FFT bins. The power is 1.3 and not 1 because neighbouring mel bins share FFT bins, and the mean
# of their corrections is too small. How much of the wanted change does the power 1 give?

# %%
show_answer(plain_griffin_lim)

# %% tags=["answer"]
show_source(refine, corrected)

# %%
averaging = (matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-9)).T
for genre in synth.GENRES:
    picture = log_mel(music(genre))
    magnitude = np.abs(stft(plain_griffin_lim(picture, 8)))
    present = np.maximum(magnitude @ matrix, 1e-5)
    ratio = np.exp(picture) / present
    wanted, given = np.log(ratio), np.log((magnitude * (ratio @ averaging)) @ matrix / present)
    share = np.sum(wanted * given) / np.sum(wanted**2)  # the slope of a line through given against wanted
    print(f"{genre}: {100 * share:.0f} % of the wanted change")
    assert 0.5 < share < 0.9  # 0.55 to 0.88; with five seeds each varies by less than 0.025


# %%
def log_mel_error(samples, picture):
    """Mean distance of log-mels: 0.69 is a factor of two."""
    return float(np.mean(np.abs(log_mel(samples) - picture)))


print("iterations    momentum 0    momentum 0.99    (mean error of log-mels)")
errors = {}
for count in (0, 8, 64):
    errors[count] = [log_mel_error(plain_griffin_lim(L, count, momentum), L) for momentum in (0, 0.99)]
    print(f"{count:10}{errors[count][0]:14.3f}{errors[count][1]:17.3f}")
assert errors[0][1] > 2 * errors[8][1] > 3 * errors[64][1]
assert errors[64][1] < 0.8 * errors[64][0]

# %%
errors = {}
for genre in synth.GENRES:
    samples = music(genre)
    picture = log_mel(samples)
    back = plain_griffin_lim(picture)
    errors[genre] = log_mel_error(back, picture)
    sound(samples, f"{genre}: the recording")
    sound(back, f"{genre}: from its log-mel spectrogram alone, error {errors[genre]:.2f}")
assert min(errors, key=errors.get) == "organ" and max(errors.values()) < 0.25

# %% [markdown]
# You should hear the same tune on the same instrument, with a slight metallic sound. The organ has the smallest error.
# Every inverter sets such a limit: do not expect generated music to sound better than real music does through it. The
# later lessons use `griffin_lim`, which begins with better phases. Lesson 10 explains these, and compares Griffin-Lim
# with a trained inverter.
#
# ## Common mistakes
#
# | what you see or hear | what it is |
# |---|---|
# | a good picture, and noise from the vocoder | other mel filters (Slaney's), powers, or decibels |
# | doubling the loudness adds 1.39, not 0.69 | powers, $\lvert S \rvert^2$, where magnitudes are meant |
# | `-inf` or NaN in training | the logarithm of silence: clip before it |
# | black lines at the bottom | filters that hold no FFT bin: fewer filters, or a longer FFT |
# | Griffin-Lim buzzes at one pitch | it began with phases of zero: take random ones |
# | a click at the start of every clip | istft divides by a window near zero: give `floor` |
# | the error stops falling at a high value | momentum above 1 |
#
# ## Exercises
#
# Write `hz_to_mel`, `mel_matrix`, `log_mel` and `plain_griffin_lim` in `lessons/02_mel/exercise.py`, and run
# `make check-02`. This is what right answers look like:

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 2, figsize=(6, 5))
axes[0, 0].plot(hz, hz_to_mel(hz))
axes[0, 0].set(title="hz_to_mel", xlabel="frequency (Hz)", ylabel="pitch (mel)")
axes[0, 1].imshow(mel_matrix(64, 8), interpolation="nearest", cmap="cividis")
axes[0, 1].set(title="mel_matrix(64, 8)", xlabel="mel bin i", ylabel="FFT bin k")
glide = 0.2 * np.sin(np.pi * 4000 * np.arange(2 * sr) ** 2 / sr**2)
draw(axes[1, 0], log_mel(glide))
axes[1, 0].set(title="log_mel of a glide to 8000 Hz", xlabel="time (s)", ylabel="mel bin")
draw(axes[1, 1], log_mel(plain_griffin_lim(log_mel(glide), 16)))
axes[1, 1].set(title="... and of plain_griffin_lim of it", xlabel="time (s)", ylabel="mel bin")
plt.show()

# %% [markdown]
# **Predict, then run.** (1) `mel_matrix(512)`: how many of its 128 filters hold no FFT bin? (2) `find_phases`
# with momentum 1.5: does the error fall, stall or grow? Write your answers down, then compute them.
#

# %% tags=["answer"]
narrow = mel_matrix(512)
empty = int(np.sum(~narrow.any(axis=0)))
print(f"(1) {empty} of 128 filters holds no bin of an FFT of 512 points: it would be zero in every frame")
assert empty == 1
_, too_much = find_phases(np.abs(S), 12, momentum=1.5)
print(
    f"(2) it falls, then grows: {too_much[0]:.1f}, {too_much[3]:.1f}, {too_much[11]:.1f} dB after 1, 4, 12 iterations"
)
assert too_much[3] < too_much[0] - 5 and too_much[11] > too_much[3]

# %% [markdown]
# ## Experiment
#
# Build the spectrogram from powers, $\frac{1}{2} \ln \sum_k |S[m, k]|^2 M[k, i]$, in place of magnitudes. (Half of the
# logarithm of a power is the logarithm of a magnitude.) Run `plain_griffin_lim` on it, and compare the log-mel
# spectrogram of the sound with that of the recording. How large is the error, for powers and for magnitudes? In which
# mel bins is it largest? Write the numbers and your conclusion into the form EXPERIMENT at the end of `exercise.py`.

# %% tags=["answer"]
of_powers = 0.5 * np.log(np.clip(np.abs(S) ** 2 @ matrix, 1e-10, 1e16)).astype(np.float32)
off = {}
for name, target in (("magnitudes", L), ("powers, halved", of_powers)):
    difference = log_mel(plain_griffin_lim(target, 64)) - L
    off[name] = [np.abs(difference[:, part]).mean() for part in (slice(0, 40), slice(88, 128))]
    print(f"{name:15} mean error in mel bins 0 to 39: {off[name][0]:.2f}, in 88 to 127: {off[name][1]:.2f}")
assert off["powers, halved"][1] > 4 * off["magnitudes"][1]  # 0.83 and 0.10
assert off["powers, halved"][0] < 2 * off["magnitudes"][0]
total = matrix.sum(axis=0)
print(f"the weights of filters 0 to 39 add up to {total[:40].min():.1f} .. {total[:40].max():.1f},", end=" ")
print(f"of 88 to 127 to {total[88:].min():.0f} .. {total[88:].max():.0f}")
assert total[:40].max() < 2 and round(total[88:].min()) == 5 and round(total[88:].max()) == 11

# %% [markdown] tags=["answer"]
# A low filter's weights add up to one or two, and both spectrograms nearly agree. A high filter's add up to 5 to 11.
# The root of the sum of squares is then smaller than the sum, so the high bins are too soft. The information in the two
# spectrograms is similar, but the inverse must know which of the two it is given.

# %% [markdown]
# ## Sources
#
# - S. S. Stevens, J. Volkmann, E. B. Newman (1937), [A scale for the measurement of the psychological magnitude
#   pitch](https://doi.org/10.1121/1.1915893).
# - D. Griffin, J. Lim (1984), [Signal estimation from modified short-time Fourier
#   transform](https://doi.org/10.1109/TASSP.1984.1164317).
# - N. Perraudin, P. Balazs, P. L. Søndergaard (2013), [A fast Griffin-Lim
#   algorithm](https://doi.org/10.1109/WASPAA.2013.6701851).
# - TensorFlow, [linear_to_mel_weight_matrix](https://www.tensorflow.org/api_docs/python/tf/signal/linear_to_mel_weight_matrix):
#   the filter bank of this lesson, number for number.
