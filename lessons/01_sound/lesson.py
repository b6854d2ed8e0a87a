# %% [markdown]
# # Sound, and how to see it
#
# A recording is a row of numbers. This lesson turns it into a picture of which pitches sound when, and turns the
# picture back into the recording without loss. It explains which frequencies a sampling rate can represent, why a
# frame of sound needs a window, and what a window costs.
#
# You need Python and NumPy, sines and complex exponentials; headphones help. Every sound on this page was computed by
# the code above its player.

# %%
import matplotlib.pyplot as plt
import numpy as np
import soxr

from ddim_from_scratch.audio import istft, stft, synth
from ddim_from_scratch.audio.stft import hann, overlap_add, windowed_rfft
from lessons import show_answer, show_source, sound

# %% [markdown]
# ## A sound is a row of numbers
#
# A microphone measures the pressure of the air, $f_s$ times a second: $x[n]$ is the pressure at the time $n
# / f_s$, scaled so that the loudest a file can hold is 1. A pure tone of frequency $f$ is
#
# $$x[n] = A \sin(2 \pi f n / f_s).$$
#
# All sound in this course is sampled at $f_s = 16\,000$ Hz.

# %%
sr = 16_000  # samples a second
n = np.arange(2 * sr)  # two seconds
tone = 0.3 * np.sin(2 * np.pi * 440 * n / sr)  # A above middle C
sound(tone, "A pure tone of 440 Hz")

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.6))
ax.plot(1000 * n[:81] / sr, tone[:81], "o-", markersize=3, linewidth=0.8)
ax.set(xlabel="time (ms)", ylabel="pressure $x[n]$", title="5 ms of it: a dot is a sample")
plt.show()

# %% [markdown]
# A file stores each sample as an integer of $b$ bits, so the sample is rounded. The rounding error behaves like
# noise. It is spread evenly over one step, so its power is a twelfth of the step squared. The signal-to-noise ratio
# of a sine at full scale is then about
#
# $$6.02\, b + 1.76\ \text{dB}.$$
#
# Here it is, measured:

# %%
full = np.sin(2 * np.pi * 440.3 * n / sr)
print("bits   signal above noise   6.02 b + 1.76")
for bits in (16, 8, 4):
    steps = 2 ** (bits - 1) - 1
    error = np.round(full * steps) / steps - full
    measured = 10 * np.log10(np.mean(full**2) / np.mean(error**2))
    print(f"{bits:4}   {measured:15.1f} dB   {6.02 * bits + 1.76:10.1f} dB")
    assert abs(measured - (6.02 * bits + 1.76)) < 1.5

sound(np.round(tone * 7) / 7, "The tone with 4 bits: rounding adds overtones that were not there")

# %% [markdown]
# > **A common bug.** Integers wrap around. If two loud 16-bit sounds are added as integers, the sum is not clipped but
# > wraps around, which is heard as a crackle. Convert them to floats first, `x / 32768`.

# %%
loud = np.array([30_000], np.int16)
print("30000 + 30000 in 16 bits =", (loud + loud)[0])
assert (loud + loud)[0] == 60_000 - 2**16

# %% [markdown]
# ## Which frequencies a sampling rate can represent
#
# Samples do not determine the sound between them. A sine of frequency $f_s - f$ passes through the same points as one
# of frequency $f$, turned upside down, because
#
# $$\sin\big(2\pi (f_s - f)\, n / f_s\big) = \sin(2 \pi n - 2\pi f n / f_s) = -\sin(2 \pi f n / f_s).$$
#
# So at 16 000 samples a second, two tones are sure to give different samples only if both lie below 8000 Hz, half the
# rate. A tone above 8000 Hz gives the samples of a lower tone, which was never played. This is *aliasing* ([Shannon
# 1949](https://doi.org/10.1109/JRPROC.1949.232969)).

# %%
seven, nine = (np.sin(2 * np.pi * f * n / sr) for f in (7000, 9000))
print("largest |x_9000[n] + x_7000[n]| =", f"{np.abs(nine + seven).max():.1e}")
assert np.abs(nine + seven).max() < 1e-9

# %% tags=["hide-input"]
t = np.linspace(0, 1e-3, 1000)
fig, ax = plt.subplots(figsize=(6, 2.6))
ax.plot(1000 * t, -np.sin(2 * np.pi * 7000 * t), label="7000 Hz, upside down")
ax.plot(1000 * t, np.sin(2 * np.pi * 9000 * t), label="9000 Hz", linestyle="--")
ax.plot(1000 * n[:17] / sr, nine[:17], "o", color="#333333", label="samples of both")
ax.set(xlabel="time (ms)", ylabel="pressure", xlim=(0, 1), ylim=(-1.7, 1.1))
ax.legend(loc="lower center", ncols=3)
plt.show()

# %% [markdown]
# Now let a tone glide from 0 up to 16 000 Hz in four seconds. After $t$ seconds its frequency is $4000\, t$. Its
# phase is the integral of $2 \pi$ times the frequency, $4000 \pi t^2$. You hear it rise for two seconds and then
# fall, although the frequency in the formula rises all the time.

# %%
t = np.arange(4 * sr) / sr
sweep = 0.2 * np.sin(4000 * np.pi * t**2)
sound(sweep, "A glide from 0 to 16 000 Hz that turns round at 8000 Hz")

# %% [markdown]
# So the rate of a recording must not be lowered by simply keeping every third sample. Everything above half the new
# rate must be filtered out first. The package uses the library [soxr](https://github.com/dofuuz/python-soxr) for
# this. Here is the music for the rest of the lesson: an old tune that the package plays on simulated strings, at 22
# 050 Hz.

# %%
notes = synth.score(synth.TUNES["Ode to Joy (Beethoven)"], held=False)
played = synth.play(notes, "plucked", 0, 100, np.random.default_rng(0))[: 5 * synth.SR]
music = soxr.resample(played, synth.SR, sr).astype(np.float32)
print(f"{len(played)} samples at {synth.SR} Hz -> {len(music)} at {sr} Hz: {len(music) / sr:.2f} s")
sound(music, "Ode to Joy on plucked strings")

# %% [markdown]
# ## Which frequencies are in a frame?
#
# Take a short piece of sound, a *frame* of $N$ samples. How similar is it to a wave of frequency $f$? Multiply the
# two, sample by sample, and add up the products. If they swing together, the products are positive and their sum is
# large. If they do not, the products cancel. A wave in the frame may start at any place of its cycle, so compare with
# a cosine and a sine at once, which together are $e^{-j\theta} = \cos \theta - j \sin \theta$:
#
# $$X[k] = \sum_{i=0}^{N-1} x[i]\, e^{-2 \pi j k i / N}, \qquad k = 0, 1, \dots, N/2.$$
#
# Bin $k$ belongs to the wave with $k$ whole periods in the frame, of frequency $k f_s / N$. The magnitude $|X[k]|$ says
# how strong this wave is. The angle says at which place of its cycle it was when the frame began. This is the *discrete
# Fourier transform*. It can be written as a matrix product.

# %%
N = 640  # 40 ms
i, k = np.arange(N), np.arange(N // 2 + 1)
waves = np.exp(-2j * np.pi * np.outer(k, i) / N)  # (321, 640): a wave in each row
frame = tone[:N]
X = waves @ frame  # (321,)
print("largest difference to NumPy's FFT:", f"{np.abs(X - np.fft.rfft(frame)).max():.1e}")
assert np.abs(X - np.fft.rfft(frame)).max() < 1e-9
print(f"bins are {sr / N:g} Hz apart; 440 Hz is bin {440 * N / sr:g}; largest {np.abs(X).argmax()}")

# %% [markdown]
# The product takes $N^2 / 2$ multiplications. The *fast* Fourier transform gives the same numbers with about $N
# \log_2\, N$ multiplications. It splits the sum into a sum over even $i$ and one over odd $i$; each of them is a
# transform of half the length. From here on we use it.
#
# ## Why a window
#
# 440 Hz lies between two bins: the frame holds 17.6 periods. The transform treats the frame as if it were repeated for
# ever. Where one repetition ends and the next begins, the tone jumps. A jump contains all frequencies, so a single tone
# spreads over the whole spectrum. This is called *leakage*.
#
# The remedy is to fade every frame in and out, so that both ends are zero. The periodic Hann window is
#
# $$w[i] = \tfrac{1}{2} - \tfrac{1}{2} \cos(2 \pi i / N).$$

# %%
show_answer(hann)

# %% tags=["hide-input"]
tone_440 = np.sin(2 * np.pi * 440 * np.arange(3 * N) / sr)
fig, axes = plt.subplots(2, 1, figsize=(6, 4.4), sharex=True)
for ax, window, name in zip(axes, (np.ones(N), hann(N)), ("as it is", "times the Hann window"), strict=True):
    ax.plot(1000 * np.arange(2 * N) / sr, np.tile(tone_440[:N] * window, 2))
    ax.axvline(1000 * N / sr, color="#333333", linewidth=0.8, linestyle=":")
    ax.set(title=f"the frame {name}, twice in a row", ylabel="pressure")
axes[0].set_xlim(20, 60)
axes[1].set_xlabel("time (ms)")
plt.show()

# %% [markdown]
# At the dotted line the upper curve jumps, and the lower one does not. Now compare the spectra in decibels, $20
# \log_{10}$ of the magnitude. The frame is transformed with many zeros behind it. This computes the same spectrum on a
# finer grid than one value every 25 Hz.


# %%
def decibels(magnitude):
    """20 log10 of a magnitude relative to its largest, -120 dB at least."""
    return 20 * np.log10(np.maximum(magnitude / magnitude.max(), 1e-6))


FINE = 1 << 16  # points: 640 samples and 64 896 zeros
hz = np.fft.rfftfreq(FINE, 1 / sr)
windows = {"no window": np.ones(N), "Hann": hann(N)}

# %% tags=["hide-input"]
fig, ax = plt.subplots()
for name, window in windows.items():
    ax.plot(hz, decibels(np.abs(np.fft.rfft(tone_440[:N] * window, FINE))), label=name, linewidth=1)
ax.set(xlabel="frequency (Hz)", ylabel="magnitude (dB)", xlim=(0, 1500), ylim=(-110, 5))
ax.set_title("one tone of 440 Hz, 40 ms of it")
ax.legend()
plt.show()

# %% [markdown]
# The price is a peak that is twice as wide. Its width and the height of the humps beside it depend on the window alone:

# %%
print("window      first zero beside the peak   highest hump beside it")
humps = {}
for name, window in windows.items():
    response = decibels(np.abs(np.fft.rfft(window, FINE)))
    valley = np.flatnonzero(np.diff(response) > 0)[0]  # the first place where it rises again
    humps[name] = response[valley:].max()
    print(f"{name:10}  {hz[valley]:15.1f} Hz          {humps[name]:15.1f} dB")
    assert abs(hz[valley] - (50 if name == "Hann" else 25)) < 0.5
assert -13.5 < humps["no window"] < -13 and -32 < humps["Hann"] < -31

# %% [markdown]
# Without a window the highest hump is only 13 dB below the peak, a little less than a quarter of it. It can hide a soft
# note beside a loud one. With the Hann window it is 31 dB lower than the peak.
#
# **Zeros behind the frame do not make the peaks narrower.** The package transforms frames of 640 samples with 1024
# points, so there is a bin every 15.625 Hz instead of every 25 Hz. But two tones whose crests meet in the middle of the
# frame must still be about 50 Hz apart, half the width of the Hann peak, to give two peaks:


# %%
def two_tones(apart):
    """A frame of two tones: its fine spectrum, and the package's 513 points of it, in dB."""
    t = (np.arange(N) - N / 2) / sr  # both crests in the middle of the frame
    pair = np.cos(2 * np.pi * 1000 * t) + np.cos(2 * np.pi * (1000 + apart) * t)
    fine = np.abs(np.fft.rfft(pair * hann(N), FINE))
    return decibels(fine), decibels(np.abs(windowed_rfft(pair, 1024)))


for apart, expected in ((30, 1), (80, 2)):
    fine, _ = two_tones(apart)
    left, middle, right = fine[:-2], fine[1:-1], fine[2:]
    peaks = int(np.sum((middle > left) & (middle > right) & (middle > -10)))
    print(f"{apart} Hz apart: {peaks} peak{'s' * (peaks > 1)}")
    assert peaks == expected

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(6, 2.8), sharey=True)
for ax, apart in zip(axes, (30, 80), strict=True):
    fine, points = two_tones(apart)
    ax.plot(hz, fine, linewidth=1)
    ax.plot(np.fft.rfftfreq(1024, 1 / sr), points, "o", markersize=4)
    ax.set(xlim=(850, 1230), ylim=(-50, 5), xlabel="frequency (Hz)", title=f"two tones, {apart} Hz apart")
axes[0].set_ylabel("magnitude (dB)")
plt.show()

# %% [markdown]
# ## The picture: a frame every 20 milliseconds
#
# Music changes, so a single spectrum of all of it says little. The *short-time Fourier transform* multiplies a frame by
# the window, transforms it, moves on by a hop of $H$ samples, and repeats this to the end:
#
# $$S[m, k] = \sum_{i=0}^{L-1} w[i]\, x[m H + i]\, e^{-2 \pi j k i / N}.$$
#
# Here $L = 640$ samples are a frame, $H = 320$ the hop, $N = 1024$ the points of the FFT. By hand it is a
# loop:

# %%
L, H, N_FFT = 640, 320, 1024
count = -(-len(music) // H)  # rounded up: the last frames reach beyond the end, into zeros
padded = np.pad(music, (0, L))
by_hand = np.array([np.fft.rfft(padded[m * H : m * H + L] * hann(L), N_FFT) for m in range(count)])

S = stft(music)
print("shape (frames, bins):", S.shape, S.dtype)
print(f"largest difference to the loop: {np.abs(S - by_hand).max():.1e} of {np.abs(S).max():.0f}")
assert S.shape == by_hand.shape == (250, 513)
assert np.abs(S - by_hand).max() < 1e-4

# %% [markdown]
# The package's own is the same loop, over blocks of frames in several threads, for batches, on a CPU or
# GPU:

# %%
show_answer(stft)
show_source(windowed_rfft)


# %%
def spectrogram(ax, samples, frame_length=L, hop_length=H, n_fft=N_FFT, top_hz=4000, range_db=70):
    """Magnitudes in dB below the loudest, time to the right, frequency up."""
    level = decibels(np.abs(stft(samples, frame_length, hop_length, n_fft)))
    first = (frame_length - hop_length) / 2 / sr  # frame m is drawn around its middle, m hop + frame / 2
    extent = (first, first + len(level) * hop_length / sr, 0, sr / 2)
    image = ax.imshow(level.T, extent=extent, vmin=-range_db, vmax=0, interpolation="nearest")
    ax.set(xlabel="time (s)", ylabel="frequency (Hz)", ylim=(0, top_hz))
    return image


# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 4))
image = spectrogram(ax, music)
fig.colorbar(image, label="magnitude (dB)")
ax.set_title("Ode to Joy on plucked strings")
plt.show()

# %% [markdown]
# Read it like a score. Time runs to the right. A vertical edge is a string being plucked; for an instant it contains
# all frequencies. From the edge, horizontal lines go to the right: the fundamental of the string, and its overtones
# at 2, 3, 4, ... times that frequency. The higher an overtone, the faster it decays:

# %%
string = soxr.resample(synth.plucked(60), synth.SR, sr)  # middle C
bins = np.round(np.arange(1, 7) * synth.frequency_hz(60) * N_FFT / sr).astype(int)  # of 1, 2, ... 6 times its frequency
early, late = decibels(np.abs(stft(string)))[[5, 30]][:, bins]  # 0.1 and 0.6 s after the pluck
print("dB lost in half a second, the fundamental and five overtones:", *np.round(early - late).astype(int))
assert np.all(np.diff(early - late) > 2)

# %% [markdown]
# The glide from before shows what you heard: at half the sampling rate it is reflected.

# %% tags=["hide-input"]
fig, ax = plt.subplots()
image = spectrogram(ax, sweep, top_hz=8000)
fig.colorbar(image, label="magnitude (dB)")
ax.set_title("the glide to 16 000 Hz")
plt.show()

# %%
turn = np.abs(stft(sweep)).argmax(axis=1) * sr / N_FFT  # the loudest frequency of each frame
print(f"highest: {turn.max():.0f} Hz, after {turn.argmax() * H / sr:.2f} s")
print(f"after 3 s, where the formula says 12 000 Hz: {turn[149]:.0f} Hz")
assert turn.max() > 7950 and abs(turn[149] - 4000) < 20

# %% [markdown]
# ## How long should a frame be?
#
# A long frame separates pitches that are close together. A short frame separates events that are close in time. With
# the Hann window, a frame of $L$ samples gives peaks that are $4 f_s / L$ wide, and blurs time by about $L / (2
# f_s)$, half its length. The product of the two is always 2, so a gain in one is a loss in the other.

# %% tags=["hide-input"]
fig, axes = plt.subplots(3, 1, figsize=(6, 7.5), sharex=True)
for ax, frame_length in zip(axes, (128, 640, 3200), strict=True):
    spectrogram(ax, music[: 3 * sr], frame_length, 64, 4096, top_hz=2000)
    wide_hz, blur_ms = 4 * sr / frame_length, 500 * frame_length / sr
    ax.set(title=f"frames of {1000 * frame_length / sr:g} ms: {wide_hz:g} Hz wide, {blur_ms:g} ms blurred", xlabel="")
    assert wide_hz * blur_ms / 1000 == 2
axes[-1].set_xlabel("time (s)")
plt.show()

# %% [markdown]
# (Each frame is drawn around its middle. If it were drawn at its start, a pluck would appear half a frame too early, in
# the last picture 0.1 s. A click at 0.5 s shows it:)

# %%
click = np.zeros(sr)
click[sr // 2] = 1
for frame_length in (128, 640, 3200):
    loudest = np.sum(np.abs(stft(click, frame_length, 64, 4096)) ** 2, axis=1).argmax() * 64
    middle = loudest + frame_length / 2
    print(f"frames of {frame_length:4}: the loudest starts at {loudest / sr:.3f} s, its middle is {middle / sr:.3f} s")
    assert abs(middle / sr - 0.5) <= 64 / sr

# %% [markdown]
# Top: every pluck is a sharp edge, but the notes cannot be told apart. Bottom: each overtone is a thin line, but its
# beginning is blurred. The middle, 40 ms, is a compromise. The paper's trained inverter was made for it, and we use it.
#
# ## And back
#
# Each frame of $S$ can be turned back into its windowed samples, $y_m[i] = w[i]\, x[mH + i]$, by the
# inverse FFT. Add the frames at the places where they came from. Then every sample is multiplied by the sum of the
# windows that cover it. If the hop is half a window, the Hann windows add up to exactly 1:

# %%
twelve = np.ones((12, 1))
sum_w, sum_w2 = (overlap_add(twelve * window, H) for window in (hann(L), hann(L) ** 2))
for name, total in (("w  ", sum_w[H:-H]), ("w^2", sum_w2[H:-H])):  # where two windows meet
    print(f"sum of {name}: from {total.min():.3f} to {total.max():.3f}")
assert np.allclose(sum_w[H:-H], 1)
assert np.allclose([sum_w2[H:-H].min(), sum_w2[H:-H].max()], [0.5, 1])

# %% tags=["hide-input"]
ms = 1000 * np.arange(len(sum_w)) / sr
fig, ax = plt.subplots(figsize=(6, 2.8))
for m in range(12):
    ax.plot(ms[m * H : m * H + L], hann(L), color="#999999", linewidth=0.8)
ax.plot(ms, sum_w, label=r"$\sum w$")
ax.plot(ms, sum_w2, label=r"$\sum w^2$")
ax.set(xlabel="time (ms)", ylabel="weight", xlim=(0, 140), ylim=(0, 1.3))
ax.set_title("windows (grey), and what they add up to")
ax.legend(loc="upper right", ncols=2)
plt.show()

# %%
show_answer(overlap_add)

# %% [markdown]
# So the sum of the frames is the recording, as long as $S$ is not changed. But a network generates a new $S$. And $S$
# holds about three times as many numbers as the sound has samples: twice as many because frames overlap by half, and
# 1.6 times as many because each frame of 640 samples has 1024 points. Most spectra are therefore *not the transform
# of any sound*. For these we look for the sound whose transform is nearest. Minimise the squared distance
#
# $$\sum_m \sum_i \big(w[i]\, x[mH + i] - y_m[i]\big)^2$$
#
# for each sample of $x$ separately. Setting the derivative to zero gives a mean of the frames, weighted by the window:
#
# $$x = \frac{\sum_m w\, y_m}{\sum_m w^2},$$
#
# where both sums are overlap-adds ([Griffin and Lim 1984](https://doi.org/10.1109/TASSP.1984.1164317), equation 6). If
# $S$ was not changed, this is still the recording.

# %%
back = istft(S, length=len(music))
print("numbers in S for each sample:", f"{2 * S.size / len(music):.2f}")
error = np.abs(back - music)
print(f"largest error: {error[20:].max():.1e}")
print(f"... in the first 20 samples {error[1:20].max():.1e}, at x[0] {error[0]:.1e}")
assert error[20:].max() < 1e-5 < error[1:20].max() < error[0] == abs(music[0])
assert abs(2 * S.size / len(music) - L / H * N_FFT / L) < 0.02  # overlap times zero padding: 2 * 1.6
sound(back, "There and back: the same")
show_answer(istft)

# %% [markdown]
# Only $x[0]$ is lost, because $w[0] = 0$ and no other window covers it. The next few samples are covered by the first
# window only, where it is nearly 0. Division by its square enlarges the rounding errors of 32-bit numbers. All other
# samples are as they were.
#
# ## Paint on it
#
# Sound can now be edited like a picture. Set all bins above 1000 Hz to 0; or keep only the few
# that are loud. Hardly any changed $S$ is the transform of a sound, so at the very start, where $w^2$ is nearly 0,
# the division makes a loud click. `floor=0.1` divides by no less than 0.1:

# %%
frequencies = np.fft.rfftfreq(N_FFT, 1 / sr)
muffled = S * (frequencies < 1000)
level = decibels(np.abs(S))
behind_a_door = istft(muffled, length=len(music), floor=0.1)
loud_only = istft(S * (level > -30), length=len(music), floor=0.1)
sound(music, "The recording")
sound(behind_a_door, "Everything above 1000 Hz removed: a string behind a door")
sound(loud_only, "Only bins less than 30 dB below the loudest")
without = istft(muffled, length=len(music))
with_floor, click = (np.abs(x[:20]).max() for x in (behind_a_door, without))
print(f"largest of the first 20 samples: {with_floor:.3f}, without floor {click:.0f}")
assert with_floor < 0.05 and click > 10

kept = np.mean(level > -30)
print(f"{100 * kept:.1f} % of the bins are kept in the second")
assert kept < 0.1

# %% [markdown]
# ## What the picture does not show
#
# The pictures above show magnitudes. $S$ is complex, so each number also has an angle, its *phase*. What happens if we
# keep the magnitudes and replace the phases?

# %%
magnitude = np.abs(S)
random_phase = np.exp(2j * np.pi * np.random.default_rng(0).random(S.shape))
changes = {"phases set to zero": magnitude, "random phases": magnitude * random_phase}
for name, changed in changes.items():
    x = istft(changed.astype(np.complex64), length=len(music), floor=0.1)
    sound(0.1 * x / np.sqrt(np.mean(x**2)), f"The same magnitudes, {name}")
    again = np.abs(stft(x))
    error = np.linalg.norm(again - magnitude) / np.linalg.norm(magnitude)
    print(f"{name:18}: the sound's own picture is off by {100 * error:.0f} %")
    assert error > 0.3

# %% [markdown]
# The tune can be heard, but the sound is distorted: it buzzes with phases of zero, and is blurred with random ones.
# And its own picture differs from the one that we started from. This makes it difficult to generate sound from a
# picture: the network generates magnitudes without phases, and phases must be found that fit. This is possible
# because frames overlap. Lesson 02 ends with an algorithm that alternates between `stft` and `istft`.
#
# ## Common mistakes
#
# | what you see or hear | what it is |
# |---|---|
# | a crackle where it is loud | integers that wrapped around: make them floats before adding |
# | a tone falls while the music rises | aliasing: samples were left out without a filter |
# | a grey veil over the whole spectrogram | no window, or one applied after the FFT |
# | a hum at the frame rate, 50 Hz | overlapping frames not divided by $\sum w^2$ |
# | a click at the very start | division by a $\sum w^2$ near zero: give `floor` |
# | shifted by half a frame from another library | that library centres its frames; ours begin at $mH$ |
# | everything upside down | `origin="lower"` forgotten |
#
# ## Exercises
#
# Write `hann`, `overlap_add`, `stft` and `istft` in `lessons/01_sound/exercise.py`; `make check-01` puts
# each in the package's place, runs the package's tests on it, and says what it thinks went wrong.
#
# Then write a test of `hann`, `test_hann`. The check runs it on nine wrong windows and says how many it finds.
#
# This is what right answers to the functions look like:

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 2, figsize=(6, 5))
axes[0, 0].plot(hann(16), "o-", markersize=4)
axes[0, 0].set(title="hann(16)", xlabel="i", ylabel="w[i]")
frames = np.outer([1, 2, 3], np.ones(4))
axes[0, 1].step(np.arange(8), overlap_add(frames, 2)[:8], where="mid")
axes[0, 1].set(title="overlap_add of 1s, 2s and 3s", xlabel="n", ylabel="y[n]", ylim=(0, 6))
small = stft(np.sin(2 * np.pi * np.arange(64) ** 2 / 256), 16, 4, 32)
axes[1, 0].imshow(np.abs(small).T)
axes[1, 0].set(title="|stft| of a small glide", xlabel="frame m", ylabel="bin k")
axes[1, 1].plot(istft(small, 16, 4, 32, length=64))
axes[1, 1].set(title="istft of it", xlabel="n", ylabel="x[n]")
plt.show()

# %% [markdown]
# **Predict, then run.** (1) A frame of 640 samples is transformed with 4096 points in place of 1024. How far
# apart must two tones be, now, to show as two? (2) The hop is 160 in place of 320. How many numbers does $S$
# have for each sample? Write your answers down before you change the cells above.

# %% tags=["answer"]
t = (np.arange(L) - L / 2) / sr
for apart in (30, 80):
    pair = np.cos(2 * np.pi * 1000 * t) + np.cos(2 * np.pi * (1000 + apart) * t)
    level = decibels(np.abs(windowed_rfft(pair, 4096)))
    peaks = int(np.sum((level[1:-1] > level[:-2]) & (level[1:-1] > level[2:]) & (level[1:-1] > -10)))
    print(f"(1) 4096 points, {apart} Hz apart: {peaks} peak{'s' * (peaks > 1)}")
    assert peaks == (1 if apart == 30 else 2)  # as before: zeros do not sharpen
numbers = 2 * stft(music, L, 160, N_FFT).size / len(music)
print(f"(2) {numbers:.2f} numbers for each sample, twice as many as with a hop of 320")
assert abs(numbers - 6.4) < 0.05

# %% [markdown]
# ## Experiment
#
# Repeat "Paint on it" with a window of ones in the place of the Hann window, in both directions: transform the frames,
# remove everything above 1000 Hz, and add up the frames. Measure how much power the result has above 1050 Hz (the Hann
# window blurs the edge by 50 Hz), and listen. Write the numbers and your conclusion into the form EXPERIMENT at the end
# of `exercise.py`.


# %% tags=["answer"]
def edited(window):
    """The music without what lies above 1000 Hz, by frames of this window."""
    padded = np.pad(music, (0, L))
    spectra = np.array([np.fft.rfft(padded[m * H : m * H + L] * window, N_FFT) for m in range(count)])
    y = np.fft.irfft(spectra * (frequencies < 1000), N_FFT)[:, :L] * window
    weight = overlap_add(np.tile(window**2, (count, 1)), H)
    return (overlap_add(y, H) / np.maximum(weight, 0.1))[: len(music)]


above = {}
for name, window in (("Hann", hann(L)), ("ones", np.ones(L))):
    power = np.abs(np.fft.rfft(edited(window))) ** 2
    above[name] = 10 * np.log10(power[np.fft.rfftfreq(len(music), 1 / sr) > 1050].sum() / power.sum())
    print(f"{name}: power above 1050 Hz is {above[name]:.0f} dB of the whole")
    sound(edited(window), f"Everything above 1000 Hz removed, with the window: {name}")
assert above["ones"] > above["Hann"] + 10

# %% [markdown] tags=["answer"]
# With ones one hears a buzz. Removing frequencies changes a frame at its ends, too. The Hann window fades the ends
# out before the frames are added; with ones each frame ends in a jump, 50 times a second, and a jump contains all
# frequencies.

# %% [markdown]
# ## Sources
#
# - D. Griffin, J. Lim (1984), [Signal estimation from modified short-time Fourier
#   transform](https://doi.org/10.1109/TASSP.1984.1164317): the least-squares inverse.
# - F. J. Harris (1978), [On the use of windows for harmonic analysis with the discrete Fourier
#   transform](https://doi.org/10.1109/PROC.1978.10837): the Hann window and forty others, with their side lobes.
# - C. E. Shannon (1949), [Communication in the presence of noise](https://doi.org/10.1109/JRPROC.1949.232969):
#   what a sampling rate can hold.
# - W. R. Bennett (1948), [Spectra of quantized signals](https://doi.org/10.1002/j.1538-7305.1948.tb01340.x):
#   a twelfth of the step squared.
# - J. O. Smith, [Spectral audio signal processing](https://ccrma.stanford.edu/~jos/sasp/): the book on this lesson.
