"""The Frechet distance between two sets of clips, seen as Gaussians in a space of embeddings.

    recordings --embeddings--> (n, D) --statistics--> mean, covariance --frechet--> distance --reliability--> trust

frechet      the distance of two Gaussians
vggish       the network that the distance is published with, and its log-mel patches
weights      its weights, converted once from TensorFlow's or PyTorch's files
musicnn      a pretrained tagger, whose weights come with this package
embeddings   one interface to these networks, and a cache
statistics   a set of clips as a Gaussian, and the files that hold one
reliability  rank, floor, interval and extrapolation: how far to trust a score
"""

from .embeddings import Embedding, embed_clips, embed_files, embed_set, load_embedding, log_mel_statistics
from .frechet import frechet_distance, gaussian
from .musicnn import load_musicnn, musicnn, musicnn_patches, tag_probabilities, top_tags
from .statistics import Set
from .vggish import postprocess, vggish, vggish_examples
from .weights import load_vggish, load_vggish_pca, vggish_at_hand

__all__ = [
    "Embedding",
    "Set",
    "embed_clips",
    "embed_files",
    "embed_set",
    "frechet_distance",
    "gaussian",
    "load_embedding",
    "load_musicnn",
    "load_vggish",
    "load_vggish_pca",
    "log_mel_statistics",
    "musicnn",
    "musicnn_patches",
    "postprocess",
    "tag_probabilities",
    "top_tags",
    "vggish",
    "vggish_at_hand",
    "vggish_examples",
]
