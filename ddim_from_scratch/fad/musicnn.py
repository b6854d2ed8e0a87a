"""MTT_vgg of musicnn (Pons and Serra 2019): tags for three seconds of music, and an embedding.

A small network, trained to tag the MagnaTagATune recordings: guitar, slow, no vocals. Its last layer before the tags is
an embedding for the Frechet distance. Its licence (ISC, musicnn_mtt_vgg.LICENSE) allows redistribution, so the weights
come with this package.

    samples --musicnn_patches--> (n, 187, 96) --musicnn--> 50 tags, 256 features

Architecture and preprocessing are those of the musicnn 0.1.0 package.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np

from ..audio.contract import SR
from ..audio.mel import check_samples, slaney_mel_matrix
from ..audio.stft import frame, frame_slices, windowed_rfft
from ..nn.fast import layers_for
from ..runtime import tree
from ..runtime.backend import Array, array_module, constant, empty, parallel
from ..runtime.errors import UserError

N_FFT = 512  # samples: 32 ms
HOP_LENGTH = 256
N_MELS = 96
PATCH_FRAMES = 187  # 3 s
PATCH_SECONDS = (PATCH_FRAMES - 1) * HOP_LENGTH / SR  # shortest sound with that many frames: 2.976 s
FEATURES = 256
POOLS = (((4, 1), (2, 2)), ((2, 2), (2, 2)), ((2, 2), (2, 2)), ((2, 2), (2, 2)), ((4, 4), (4, 4)))  # size, stride
DEVICE_PATCHES = 16  # through the network at a time on a GPU: the largest activations take 150 MB each

WEIGHTS = Path(__file__).with_name("musicnn_mtt_vgg.npz")
DIGEST = "0f291da5091a7fb11c3216df240dfa1a148af9af97c7493c535d34873c90a2af"  # of its arrays: see runtime/tree.py

# fmt: off
TAGS = (
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano",
    "ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing",
    "vocals", "no vocals", "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal", "pop",
    "soft", "sitar", "solo", "man", "classic", "choir", "voice", "new age", "dance", "male voice",
    "female vocal", "beats", "harp", "cello", "no voice", "weird", "country", "metal", "female voice", "choral",
)
# fmt: on


def musicnn_patches(samples: Array, hop_frames: int = PATCH_FRAMES) -> Array:
    """log10(10000 |STFT|^2 @ mel matrix + 1) of frames centred on every 256th sample, in patches.

    samples: (n,) float32 or float64 (computed in that precision), mono, 16 kHz, in [-1, 1]. The signal is mirrored at
        its ends, so that the first frame is centred on sample 0, as in librosa at the time.
    hop_frames: distance between patches; by default they do not overlap.
    Returns float32 (patches, 187, 96). A patch needs 47 616 samples (2.976 s). The rest at the end is dropped; a
        shorter signal gives (0, 187, 96).
    Raises ValueError if samples are not one-dimensional, floating point and finite.

    musicnn rounds the powers to float16, in which 10000 times a power above 6.55 is infinite, and tags become NaN.
    Music at full loudness reaches this. Here powers stay float32. Elsewhere tags differ by less than 1e-4.
    """
    check_samples(samples)
    xp = array_module(samples)
    count = (len(samples) // HOP_LENGTH + 1 - PATCH_FRAMES) // hop_frames + 1
    if count < 1:
        return empty((0, PATCH_FRAMES, N_MELS), samples, np.float32)
    centred = xp.pad(samples, N_FFT // 2, mode="reflect")
    frames = frame(centred, N_FFT, HOP_LENGTH, pad_end=False)[: (count - 1) * hop_frames + PATCH_FRAMES]
    matrix = constant(slaney_mel_matrix, N_FFT, N_MELS, SR, 0.0, SR / 2, like=samples)
    rows = empty((len(frames), N_MELS), samples, np.float32)

    def transform(block: slice) -> None:
        power = xp.abs(windowed_rfft(frames[block], N_FFT)) ** 2  # (frames, 257)
        rows[block] = xp.log10(10000 * (power @ matrix) + 1)

    parallel(transform, frame_slices(len(frames)))
    return xp.stack([rows[start : start + PATCH_FRAMES] for start in range(0, count * hop_frames, hop_frames)])


def musicnn(params: tree.Tree, patches: Array) -> tuple[Array, Array]:
    """Tags and features of each patch.

    params: of `load_musicnn`, on the device of `patches`. patches: float32 (n, 187, 96) of `musicnn_patches`.
    Returns the probability of each of `TAGS` (n, 50), and the features that they are computed from (n, 256): the 128
    channels of the last pooling, musicnn's "pool5", for each half of the patch.
    """
    features = empty((len(patches), FEATURES), patches)
    layers, step = layers_for(patches), 1 if isinstance(patches, np.ndarray) else DEVICE_PATCHES

    def some(first: int) -> None:
        features[first : first + step] = _features(params, patches[first : first + step], layers)

    parallel(some, range(0, len(patches), step))
    return tag_probabilities(params, features), features


def tag_probabilities(params: tree.Tree, features: Array) -> Array:
    """The probability of each of `TAGS`, (n, 50), from features (n, 256): a dense layer and a sigmoid."""
    return _sigmoid(features @ params["dense"]["w"] + params["dense"]["b"])


def _features(params: tree.Tree, patches: Array, layers: ModuleType) -> Array:
    """Five times: convolution, ReLU, batch normalisation, max pooling. (n, 187, 96) to (n, 256)."""
    xp = array_module(patches)
    x = _normalise(patches[..., None], params["norm0"], layers)  # (n, 187, 96, 1)
    for i, (size, stride) in enumerate(POOLS, start=1):
        x, _ = layers.conv2d(x, **params[f"conv{i}"])  # 128 channels
        xp.maximum(x, 0, out=x)
        x = _normalise(x, params[f"norm{i}"], layers)
        x = layers.max_pool(x, size, stride)  # 92 x 48, 46 x 24, 23 x 12, 11 x 6, 2 x 1
    return x.reshape(len(x), FEATURES)


def _normalise(x: Array, params: tree.Tree, layers: ModuleType) -> Array:
    """Batch normalisation with scale gamma and centre beta."""
    y = layers.batch_norm_inference(x, params)
    y *= params["gamma"]
    y += params["beta"]
    return y


def _sigmoid(x: Array) -> Array:
    return 0.5 * array_module(x).tanh(0.5 * x) + 0.5  # 1 / (1 + exp(-x)), which could overflow


@lru_cache
def load_musicnn() -> tree.Tree:
    """The weights that come with this package: float32 NumPy arrays, cached and read-only.

    norm0 .. norm5: mean, variance, gamma, beta. conv1 .. conv5: w, b. dense: w (256, 50), b.
    Raises UserError if the file is missing or damaged.
    """
    params = tree.load(WEIGHTS) if WEIGHTS.exists() else {}
    if tree.digest(params) != DIGEST:
        raise UserError(f"{WEIGHTS} is missing or not the one that was published: install the package again")
    for leaf in tree.flatten(params).values():
        leaf.flags.writeable = False
    return params


def top_tags(probabilities: np.ndarray, k: int = 5) -> list[tuple[str, float]]:
    """The k most likely tags of a recording, with their mean probability over its patches (n, 50)."""
    mean = probabilities.mean(axis=0)
    return [(TAGS[i], float(mean[i])) for i in np.argsort(-mean)[:k]]
