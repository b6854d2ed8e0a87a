"""Where pretrained models are looked for, and what is said when there are none."""

import os
import sys
from types import SimpleNamespace

import pytest

from ddim_from_scratch.runtime import hub

pytestmark = pytest.mark.usefixtures("caches")


def test_a_model_is_found_in_tf_hubs_cache_and_in_kaggles(tmp_path):
    assert hub.find(hub.VGGISH) is None
    kaggle = tmp_path / "KAGGLEHUB_CACHE/models/google/vggish/tensorFlow2/vggish/1"
    # The SHA-1 of "https://tfhub.dev/google/vggish/1".
    tf_hub = tmp_path / "TFHUB_CACHE_DIR/a2d9c70b5c312dce4d2cde46297518f806bd50d0"
    for folder in (kaggle, tf_hub):
        folder.mkdir(parents=True)
        assert hub.find(hub.VGGISH) != folder
        (folder / "saved_model.pb").touch()
        assert hub.find(hub.VGGISH) == folder
        assert hub.download(hub.VGGISH) == folder
    assert hub.find(hub.SOUNDSTREAM) is None


def test_no_model_is_looked_for_where_others_can_put_one(tmp_path, monkeypatch):
    """TF-Hub's default cache is tfhub_modules in the shared temporary folder."""
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "shared"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "shared"))
    monkeypatch.setenv("DDIM_CACHE", str(tmp_path / "own"))
    name = "tfhub_modules/a2d9c70b5c312dce4d2cde46297518f806bd50d0"
    for folder in (tmp_path / "shared" / name, tmp_path / "own" / name):
        assert hub.find(hub.VGGISH) is None
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").touch()
    assert hub.find(hub.VGGISH) == folder

    downloaded = SimpleNamespace(resolve=lambda handle: os.environ["TFHUB_CACHE_DIR"])
    monkeypatch.setitem(sys.modules, "tensorflow_hub", downloaded)
    assert hub.download(hub.SOUNDSTREAM) == tmp_path / "own/tfhub_modules"
