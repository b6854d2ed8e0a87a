"""Pretrained models from TensorFlow Hub and Kaggle: finds the local copy, or downloads one.

A model is a SavedModel, a folder with saved_model.pb and variables/. Finding one needs no TensorFlow.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from .errors import UserError, why
from .files import cache_folder, home


class HubModel(NamedTuple):
    """A pretrained model: its usual name, and the two addresses where it is published."""

    name: str
    tf_hub: str  # https://tfhub.dev/...
    kaggle: str  # owner/model/framework/variation/version

    @property
    def addresses(self) -> tuple[str, str]:
        return self.tf_hub, f"https://www.kaggle.com/models/{self.kaggle}"


VGGISH = HubModel("VGGish", "https://tfhub.dev/google/vggish/1", "google/vggish/tensorFlow2/vggish/1")
SOUNDSTREAM = HubModel(
    "the SoundStream mel decoder",
    "https://tfhub.dev/google/soundstream/mel/decoder/music/1",
    "google/soundstream/tensorFlow2/mel-decoder-music/1",
)


def find(model: HubModel) -> Path | None:
    """The folder of `model` in the cache of TF-Hub (TFHUB_CACHE_DIR) or Kaggle, or None."""
    cache = tf_hub_cache()
    # TF-Hub names a folder by the SHA-1 of the address it was downloaded from.
    folders = [cache / hashlib.sha1(address.encode()).hexdigest() for address in model.addresses]
    kaggle = os.environ.get("KAGGLEHUB_CACHE") or home() / ".cache" / "kagglehub"
    folders.append(Path(kaggle, "models", model.kaggle))
    return next((folder for folder in folders if is_saved_model(folder)), None)


def tf_hub_cache() -> Path:
    """TFHUB_CACHE_DIR, or a folder of the user's own: TF-Hub's default is one where everyone can put a model."""
    return Path(os.environ.get("TFHUB_CACHE_DIR") or cache_folder() / "tfhub_modules")


def is_saved_model(folder: str | Path) -> bool:
    return Path(folder, "saved_model.pb").is_file()


def download(model: HubModel) -> Path:
    """The folder of `model`, downloaded to TF-Hub's cache if necessary. An interrupted download leaves no files.

    Raises UserError, which says what to do, if tensorflow_hub or the network is missing.
    """
    if folder := find(model):
        return folder
    try:
        import tensorflow_hub
    except ImportError as error:
        raise UserError(
            f"{model.name} is not installed, and downloading it needs tensorflow_hub ({why(error)}): "
            f"pip install 'ddim_from_scratch[hub]'"
        ) from None
    os.environ["TFHUB_CACHE_DIR"] = str(tf_hub_cache())
    try:
        return Path(tensorflow_hub.resolve(model.tf_hub))
    except Exception as error:  # urllib, tarfile and TensorFlow raise many types
        raise UserError(
            f"{model.name} could not be downloaded from {model.tf_hub} ({why(error)}): "
            f"try again with a network, or get {model.kaggle} from Kaggle and name its folder"
        ) from None
