"""VGGish's weights: converted once from TensorFlow's or PyTorch's files, then kept as an .npz file.

TensorFlow or PyTorch is imported only for the conversion.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..runtime import hub, tree
from ..runtime.errors import UserError, naming, printable, warn, why
from ..runtime.files import cache_folder, reading
from ..runtime.tree import Tree


class Layer(NamedTuple):
    """The shape of a layer's weights, in our layout and TensorFlow's, and the layer's name in the published files."""

    shape: tuple[int, ...]
    tensorflow: str  # tensorflow/models, vggish_slim.py
    torch: str  # torchvggish 0.2


LAYERS = {
    "conv1": Layer((3, 3, 1, 64), "conv1", "features.0"),
    "conv2": Layer((3, 3, 64, 128), "conv2", "features.3"),
    "conv3_1": Layer((3, 3, 128, 256), "conv3/conv3_1", "features.6"),
    "conv3_2": Layer((3, 3, 256, 256), "conv3/conv3_2", "features.8"),
    "conv4_1": Layer((3, 3, 256, 512), "conv4/conv4_1", "features.11"),
    "conv4_2": Layer((3, 3, 512, 512), "conv4/conv4_2", "features.13"),
    "fc1_1": Layer((12288, 4096), "fc1/fc1_1", "embeddings.0"),
    "fc1_2": Layer((4096, 4096), "fc1/fc1_2", "embeddings.2"),
    "fc2": Layer((4096, 128), "fc2", "embeddings.4"),
}
LIMIT = 1 << 30  # bytes of arrays: VGGish's are 288 MB
MOST = max(math.prod(layer.shape) for layer in LAYERS.values())  # numbers in an array
LARGEST = 1e9  # number in an array
DAMAGED = "is damaged or of another kind", "download it again"
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # where a TensorFlow 2 checkpoint keeps its variables' names


def load_vggish(source: str | Path | None = None) -> Tree:
    """VGGish's parameters, {"conv1": {"w": (3, 3, 1, 64), "b": (64,)}, ..., "fc2": ...}, float32.

    source: None for the published model, which is converted already, in TF-Hub's or Kaggle's cache, or downloaded. Or a
        path: a SavedModel's folder, a TensorFlow checkpoint (vggish_model.ckpt), a state dict of torchvggish (.pth), or
        an .npz that this function wrote.
    The conversion is kept in `cache_folder()`, under a name that depends on the source's path, size and time.
    Raises UserError, naming the file and the remedy, if a file is missing, damaged or of another model.
    """
    if source is None:
        return _load_published()
    source = Path(source)
    if source.suffix == ".npz":
        return _checked(tree.flatten(tree.load(_existing(source), LIMIT)), source)
    return _load_converted(source, "vggish")


def vggish_at_hand() -> bool:
    """Whether `load_vggish()` works offline: the published model is converted, or cached by TF-Hub or Kaggle."""
    return bool(_published_conversions()) or hub.find(hub.VGGISH) is not None


def load_vggish_pca(source: str | Path) -> Tree:
    """The argument `pca` of `vggish.postprocess`: {"eigen_vectors": (128, 128), "means": (128,)}, float32.

    source: Google's vggish_pca_params.npz, or torchvggish's file with the same arrays (.pth).
    """
    source = _existing(Path(source))
    arrays = tree.load(source) if source.suffix == ".npz" else _torch_arrays(source)
    try:
        vectors, means = (np.asarray(arrays[f"pca_{name}"]) for name in ("eigen_vectors", "means"))
    except KeyError:
        raise UserError(
            f"{source} has no pca_eigen_vectors and pca_means: name vggish_pca_params.npz or its PyTorch form"
        ) from None
    if vectors.shape != (128, 128) or means.size != 128:
        raise UserError(f"{source}: {vectors.shape} vectors and {means.shape} means are not VGGish's, 128 of 128")
    for leaf in (vectors, means):
        if not tree.is_finite(leaf) or abs(leaf).max() > LARGEST:
            raise UserError(f"{source} contains {leaf.dtype} numbers that are not finite, or huge: download it again")
    if np.linalg.matrix_rank(vectors) < 128:
        raise UserError(f"{source}: its 128 vectors are not independent, so not VGGish's: download it again")
    return {"eigen_vectors": vectors.astype(np.float32), "means": means.reshape(128).astype(np.float32)}


def _load_published() -> Tree:
    # TF-Hub's cache is a temporary folder by default, so the conversion may exist without it.
    conversions = _published_conversions()
    folder = hub.find(hub.VGGISH)
    if folder is None and conversions:
        return _checked(tree.flatten(tree.load(conversions[-1])), conversions[-1])
    try:
        return _load_converted(folder or hub.download(hub.VGGISH), "vggish-published")
    except UserError as error:
        raise UserError(f"{error}; --embedding musicnn works without a download") from None


def _published_conversions() -> list[Path]:
    """Converted weights in the cache folder, the newest last."""
    return sorted(cache_folder().glob("vggish-published-*.npz"), key=lambda path: path.stat().st_mtime_ns)


def _load_converted(source: Path, name: str) -> Tree:
    """The cached conversion of `source`. It is made now if there is none, or a damaged one."""
    files = _weight_files(source)
    stamps = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    cached = cache_folder() / f"{name}-{hashlib.sha256(repr(stamps).encode()).hexdigest()[:16]}.npz"
    try:
        return _checked(tree.flatten(tree.load(cached)), cached)
    except (OSError, UserError):
        pass
    params = _checked(_from_torch(source) if source.suffix in (".pth", ".pt") else _from_tensorflow(source), source)
    keep(cached, params)
    return params


def keep(entry: Path, content: Tree) -> None:
    """Writes a file of the cache folder, or prints a warning if that fails."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        tree.save(entry, content)
    except (OSError, UserError) as error:
        warn(f"nothing is kept in {printable(entry.parent)} ({why(error)}): set DDIM_CACHE to a folder with room")


def _weight_files(source: Path) -> list[Path]:
    """The files with a source's weights. A TensorFlow checkpoint is a file, or a common prefix of several."""
    if source.is_dir():
        if not hub.is_saved_model(source):
            raise UserError(f"{source} is no SavedModel (no saved_model.pb in it): name the folder that has one")
        files = sorted((source / "variables").glob("variables.*"))
    else:
        files = [source] if source.exists() else sorted(source.parent.glob(source.name + ".*"))
    files = files or [_existing(source)]
    for file in files:
        reading(file).close()  # TensorFlow and PyTorch would wait for a pipe
    return files


def _existing(path: Path) -> Path:
    if not path.exists():
        raise UserError(f"{path} does not exist: check the path")
    return path


def _from_tensorflow(source: Path) -> dict[str, np.ndarray]:
    """Our arrays from "vggish/conv1/weights", "vggish/conv1/biases", ... in a checkpoint or SavedModel."""
    arrays = _tensorflow_arrays(source / "variables" / "variables" if source.is_dir() else source)
    flat = {}
    for layer, names in LAYERS.items():
        for leaf, theirs in {"w": "weights", "b": "biases"}.items():
            ending = f"/{names.tensorflow}/{theirs}"
            if found := [name for name in arrays if f"/{name}".endswith(ending)]:
                flat[f"{layer}/{leaf}"] = arrays[found[0]]
    return flat


def _tensorflow_arrays(prefix: Path) -> dict[str, np.ndarray]:
    """The weights and biases in a checkpoint, by variable name."""
    try:
        import tensorflow as tf
        from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph
    except ImportError as error:
        raise UserError(
            f"{prefix}: reading it, once, needs TensorFlow ({why(error)}): pip install 'ddim_from_scratch[hub]'"
        ) from None
    with naming(prefix, *DAMAGED):
        reader = tf.train.load_checkpoint(str(prefix))
        keys = {name: name for name in reader.get_variable_to_shape_map()}
        if OBJECT_GRAPH in keys:  # TensorFlow 2 stores a variable under its place in the program, not its name
            graph = TrackableObjectGraph.FromString(reader.get_tensor(OBJECT_GRAPH))
            keys = {a.full_name: a.checkpoint_key for node in graph.nodes for a in node.attributes}
        wanted = {key for key, shape in reader.get_variable_to_shape_map().items() if math.prod(shape) <= MOST}
        return {
            name: np.asarray(reader.get_tensor(key))
            for name, key in keys.items()
            if name.endswith(("/weights", "/biases")) and key in wanted
        }


def _from_torch(source: Path) -> dict[str, np.ndarray]:
    """Our arrays from "features.0.weight", ... of torchvggish, whose outputs come first: (D, C, 3, 3) and (D, C).

    It flattens the last convolution's output in the order N H W C, as we do, so nothing else has to be permuted.
    """
    arrays = _torch_arrays(source)
    flat = {}
    for layer, names in LAYERS.items():
        if (w := arrays.get(f"{names.torch}.weight")) is not None and w.ndim > 1:
            flat[f"{layer}/w"] = np.moveaxis(w, (0, 1), (-1, -2))
        if (b := arrays.get(f"{names.torch}.bias")) is not None:
            flat[f"{layer}/b"] = b
    return flat


def _torch_arrays(source: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise UserError(f"{source}: reading it, once, needs PyTorch ({why(error)}): pip install torch") from None
    with naming(source, *DAMAGED), reading(source) as file:
        state = torch.load(file, map_location="cpu", weights_only=True)
        return {name: np.asarray(value) for name, value in state.items()}


def _checked(flat: dict[str, np.ndarray], source: Path) -> Tree:
    """The tree of VGGish's arrays. Raises UserError if one is missing, has another shape, or is not float."""
    shapes = {f"{layer}/w": names.shape for layer, names in LAYERS.items()}
    shapes |= {f"{layer}/b": names.shape[-1:] for layer, names in LAYERS.items()}
    for name, shape in shapes.items():
        if name not in flat:
            raise UserError(f"{source} has no {name}: these are not VGGish's weights, or not all; download them again")
        if flat[name].shape != shape or flat[name].dtype.kind != "f":
            raise UserError(
                f"{source}: {name} is {flat[name].dtype} {flat[name].shape}, VGGish's is float32 {shape}: "
                "these are another model's weights"
            )
        if not tree.is_finite(flat[name]) or abs(flat[name]).max() > LARGEST:
            raise UserError(f"{source}: {name} contains NaN, infinity or huge numbers: download it again")
        if name.endswith("/w") and not flat[name].any():
            raise UserError(f"{source}: {name} is zero: these are not VGGish's weights; download them again")
    return tree.unflatten({name: np.ascontiguousarray(flat[name], np.float32) for name in shapes})
