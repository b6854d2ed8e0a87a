"""The Frechet distance between two sets of clips, seen as Gaussians in a space of embeddings.

frechet     the distance of two Gaussians
embeddings  what places a clip in the space
"""

from .embeddings import log_mel_statistics
from .frechet import frechet_distance, gaussian

__all__ = ["frechet_distance", "gaussian", "log_mel_statistics"]
