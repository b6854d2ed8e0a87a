"""The Frechet distance between two sets of clips, each described by a Gaussian in an embedding space.

    recordings --embeddings--> (n, D) --statistics--> mean, covariance --frechet--> distance --reliability--> trust

frechet      the distance between two Gaussians
vggish       the embedding network of the published distance, and its log-mel patches
weights      VGGish's weights, converted once from TensorFlow's or PyTorch's files
musicnn      a pretrained tagger, whose weights come with this package
embeddings   one interface to these networks, and a cache
statistics   a set of clips as a Gaussian, and its files
reliability  floor, confidence interval and extrapolation of a distance
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
