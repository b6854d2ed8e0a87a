"""The Frechet distance between two sets of clips, seen as Gaussians in a space of embeddings.

frechet     the distance of two Gaussians
vggish      the network that the distance is published with, and its log-mel patches
weights     its weights, converted once from TensorFlow's or PyTorch's files
embeddings  what places a clip in the space
"""

from .embeddings import log_mel_statistics
from .frechet import frechet_distance, gaussian
from .vggish import postprocess, vggish, vggish_examples
from .weights import load_vggish, load_vggish_pca, vggish_at_hand

__all__ = [
    "frechet_distance",
    "gaussian",
    "load_vggish",
    "load_vggish_pca",
    "log_mel_statistics",
    "postprocess",
    "vggish",
    "vggish_at_hand",
    "vggish_examples",
]
