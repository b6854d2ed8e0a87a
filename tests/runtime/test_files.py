"""Files that are replaced in one move."""

import pytest

from ddim_from_scratch.runtime.files import read_json, replacing, write_json


def test_replacing_keeps_the_old_file_after_an_error(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), replacing(path) as file:
        file.write(b"half of the n")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_has_no_nan_or_infinity(number, tmp_path):
    write_json(tmp_path / "file", {"a": None, "b": [0.1]})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file", {"a": [number]})
    assert read_json(tmp_path / "file") == {"a": None, "b": [0.1]}
