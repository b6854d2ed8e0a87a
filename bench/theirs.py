"""The Frechet distances of fadtk and frechet-audio-distance, installed without their requirements."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from unittest.mock import MagicMock, patch

import numpy as np

PACKAGES = ("fadtk", "frechet_audio_distance")
# What they import besides their distance: models and readers, which the distance does not use.
UNUSED = ["torchaudio", "torchvision", "torchlibrosa", "torchlibrosa.stft", "torchlibrosa.augmentation", "resampy"]
UNUSED += ["hypy_utils", "hypy_utils.tqdm_utils", "hypy_utils.logging_utils", "hypy_utils.nlp_utils"]
UNUSED += ["hypy_utils.downloader", "laion_clap", "encodec", "librosa", "transformers"]


def distance_of(package: str) -> Callable[[np.ndarray, np.ndarray], float]:
    """embeddings (n, D), embeddings (m, D) to their distance, as one of PACKAGES computes it.

    Raises ImportError if it is not installed.
    """
    with patch.dict(sys.modules, {name: MagicMock() for name in UNUSED}):
        module = importlib.import_module(f"{package}.fad")
    if package == "fadtk":
        statistics, distance = module.calc_embd_statistics, module.calc_frechet_distance
    else:
        toolkit = module.FrechetAudioDistance.__new__(module.FrechetAudioDistance)  # its __init__ fetches a model
        statistics, distance = toolkit.calculate_embd_statistics, toolkit.calculate_frechet_distance
    return lambda a, b: distance(*statistics(a), *statistics(b))
