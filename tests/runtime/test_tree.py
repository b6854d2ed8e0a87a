"""Trees of arrays, and their files: whole or refused, never a mixture, never unpickled."""

import pickle

import numpy as np
import pytest
from helpers import assert_same_leaves

from ddim_from_scratch.runtime import tree
from ddim_from_scratch.runtime.errors import FileError


@pytest.fixture
def params(rng):
    return {
        "down0": {"block0": {"w": rng.standard_normal((3, 2)).astype(np.float32), "b": np.zeros(2)}},
        "step": np.array(7),
        "empty": np.zeros((0, 3), np.float32),
    }


def test_flatten_and_unflatten_are_inverse(params):
    assert list(tree.flatten(params)) == ["down0/block0/w", "down0/block0/b", "step", "empty"]
    assert_same_leaves(tree.unflatten(tree.flatten(params)), params)


def test_map_keeps_the_shape_of_the_tree(params):
    total = tree.map(lambda a, b: a + b, params, params)
    assert_same_leaves(total, tree.map(lambda a: 2 * a, params))


def test_map_refuses_trees_that_lack_a_leaf(params):
    with pytest.raises(KeyError):
        tree.map(lambda a, b: a, params, {"down0": params["down0"]})


def test_what_is_saved_is_loaded(params, tmp_path):
    tree.save(tmp_path / "a.npz", params)
    assert_same_leaves(tree.load(tmp_path / "a.npz"), params)
    tree.save(str(tmp_path / "without suffix"), params)
    assert_same_leaves(tree.load(str(tmp_path / "without suffix")), params)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "without suffix"]


def test_a_saved_file_is_as_readable_as_any_other(params, tmp_path):
    (tmp_path / "plain").touch()
    tree.save(tmp_path / "a.npz", params)
    assert (tmp_path / "a.npz").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_missing_file_is_a_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        tree.load(tmp_path / "a.npz")


OTHER_FILES = {
    "empty": lambda file: None,
    "text": lambda file: file.write(b"epoch,loss\n1,0.5\n"),
    "pickle": lambda file: pickle.dump({"w": [1, 2]}, file),
    "one array": lambda file: np.save(file, np.zeros(3)),
    "npz of Python objects": lambda file: np.savez(file, w=np.array([{"a": 1}], dtype=object)),
    "leaf and tree of one name": lambda file: np.savez(file, **{"a": np.zeros(2), "a/b": np.zeros(2)}),
    "zip magic only": lambda file: file.write(b"PK\x03\x04"),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_another_kind_of_file_is_refused_by_name(kind, tmp_path):
    path = tmp_path / "odd.npz"
    with path.open("wb") as file:
        OTHER_FILES[kind](file)
    with pytest.raises(FileError, match=r"odd\.npz"):
        tree.load(path)


def test_a_file_cut_anywhere_is_refused(params, tmp_path):
    tree.save(tmp_path / "a.npz", params)
    whole = (tmp_path / "a.npz").read_bytes()
    for length in range(0, len(whole), 29):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(FileError, match=r"cut\.npz"):
            tree.load(tmp_path / "cut.npz")


def test_a_flipped_bit_never_changes_a_number(params, tmp_path, rng):
    """It is refused, or harmless (a date), or an array is missing, which whoever asks for it will find."""
    tree.save(tmp_path / "a.npz", params)
    whole, expected = (tmp_path / "a.npz").read_bytes(), tree.flatten(params)
    for position in rng.permutation(len(whole))[:300]:
        changed = bytearray(whole)
        changed[position] ^= 1 << int(rng.integers(8))
        (tmp_path / "flipped.npz").write_bytes(changed)
        try:
            loaded = tree.load(tmp_path / "flipped.npz")
        except FileError:
            continue
        for name, leaf in tree.flatten(loaded).items():
            np.testing.assert_array_equal(leaf, expected[name])


def test_packed_leaves_are_views_of_one_vector_and_so_are_the_trees_within(rng):
    given = {"b": {"w": rng.standard_normal((2, 3)), "none": {}}, "a": rng.standard_normal(4)}
    packed = tree.pack(given)
    assert_same_leaves(packed, given)
    assert list(packed.flat) == [*given["b"]["w"].ravel(), *given["a"]]
    packed.flat *= 2
    packed["b"].flat += 1
    np.testing.assert_array_equal(packed["b"]["w"], 2 * given["b"]["w"] + 1)
    np.testing.assert_array_equal(packed["a"], 2 * given["a"])
    assert packed["b"]["none"] == {} and packed["b"]["none"].flat.size == 0


def test_packing_like_another_tree_takes_its_order_and_only_its_leaves(rng):
    given = {"b": {"w": np.ones(2), "v": np.zeros(3)}, "a": np.full(2, 7.0)}
    assert list(tree.pack(given, like={"a": None, "b": {"w": None}}).flat) == [7, 7, 1, 1]
    with pytest.raises(KeyError, match="c"):
        tree.pack(given, like={"c": None})


def test_a_part_of_a_file_is_read_alone(params, tmp_path):
    tree.save(tmp_path / "a.npz", params)
    assert list(tree.load(tmp_path / "a.npz", only="step")) == ["step"]
