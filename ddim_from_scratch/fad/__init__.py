"""The Frechet distance between two sets of clips, seen as Gaussians in a space of embeddings.

frechet     the distance of two Gaussians
embeddings  what places a clip in the space
musicnn     a pretrained tagger, whose weights come with this package
"""

from .embeddings import log_mel_statistics
from .frechet import frechet_distance, gaussian
from .musicnn import load_musicnn, musicnn, musicnn_patches, top_tags

__all__ = [
    "frechet_distance",
    "gaussian",
    "load_musicnn",
    "log_mel_statistics",
    "musicnn",
    "musicnn_patches",
    "top_tags",
]
