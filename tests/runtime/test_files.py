"""Files that are replaced in one move, and what is neither read nor written."""

import os
import stat

import pytest

from ddim_from_scratch.runtime import files
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.runtime.files import (
    below,
    conforms,
    locking,
    read_bytes,
    read_json,
    reading,
    replacing,
    write_json,
)


@pytest.mark.parametrize("broken", ["write", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_replacing_keeps_the_old_file_after_an_error(broken, error, tmp_path, monkeypatch):
    def fail(*_):
        raise error("disk full")

    path = tmp_path / "file"
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, broken, fail)
        with pytest.raises(error), replacing(path) as file:
            file.write(b"half of the n")
            fail() if broken == "write" else None
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_a_temporary_file_has_another_name_each_time_and_is_made_anew(tmp_path, monkeypatch):
    names = []
    for _ in range(2):
        with replacing(tmp_path / "a") as file:
            names += [path.name for path in tmp_path.iterdir() if path.name != "a"]
            assert files.TEMPORARY.fullmatch(names[-1])[1] == "a"
            file.write(b"new")
    assert len(set(names)) == 2
    victim = tmp_path / "victim"  # even one that knew the name could not have it written through a link
    victim.write_bytes(b"mine")
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "0" * 16)
    (tmp_path / f".a.{'0' * 16}.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError), replacing(tmp_path / "a") as file:
        file.write(b"new")
    assert victim.read_bytes() == b"mine" and (tmp_path / f".a.{'0' * 16}.tmp").is_symlink()  # not ours to remove


@pytest.mark.parametrize("kind", ["device", "link to a device", "pipe", "folder"])
def test_nothing_but_a_regular_file_is_replaced(kind, tmp_path):
    path = tmp_path / "a"
    {
        "device": lambda: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3)),
        "link to a device": lambda: path.symlink_to(os.devnull),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
    }[kind if kind != "device" or os.geteuid() == 0 else "pipe"]()
    before = os.lstat(path)
    with pytest.raises(UserError, match="a is not a regular file"), replacing(path) as file:
        file.write(b"new")
    assert os.lstat(path) == before and list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "a").symlink_to(victim)
    with replacing(tmp_path / "a") as file:
        file.write(b"new")
    assert victim.read_bytes() == b"mine"
    assert (tmp_path / "a").read_bytes() == b"new" and not (tmp_path / "a").is_symlink()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_file_that_others_may_not_read_stays_so(mode, tmp_path):
    path, kept = tmp_path / "a", tmp_path / "previous"
    path.touch()
    path.chmod(mode)
    for _ in range(2):
        with replacing(path, keep=kept) as file:
            assert {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.glob(".a.*")} == {mode}  # while it is written, too
            file.write(b"new")
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(kept.stat().st_mode) == mode
    path.unlink()
    with replacing(path, keep=kept):
        pass
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_only_what_was_begun_under_our_own_names_is_swept_away(tmp_path):
    ours = tmp_path / f".log.csv.{'0a' * 8}.tmp"
    others = [f".notes.{'0a' * 8}.tmp", "log.csv.123.tmp", ".log.csv.tmp", "mine.tmp", f"log.csv.{'0a' * 8}.tmp"]
    for name in [ours.name, *others]:
        (tmp_path / name).touch()
    files.sweep_unfinished(tmp_path, {"log.csv"})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


@pytest.mark.parametrize("open_", [reading, locking, read_bytes, read_json])
def test_a_pipe_and_a_device_are_refused_at_once(open_, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/null"):
        with pytest.raises(UserError, match="not a regular file"):
            open_(path)


def test_a_lock_is_neither_made_nor_opened_behind_a_link(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        locking(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()
    locking(tmp_path / "new").close()
    assert (tmp_path / "new").read_bytes() == b""


def test_a_text_file_has_a_size(tmp_path):
    with open(tmp_path / "a.json", "wb") as file:
        file.truncate(files.LIMIT + 1)
    with pytest.raises(UserError, match="more than"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested"):
        read_json(tmp_path / "a.json")


def test_links_below_the_named_folder_are_refused(tmp_path):
    (tmp_path / "real/samples").mkdir(parents=True)
    (tmp_path / "run").symlink_to(tmp_path / "real")
    assert below(tmp_path / "run", "samples").is_dir()  # the folder that the user named may be a link
    (tmp_path / "real/rows").symlink_to(tmp_path)
    (tmp_path / "real/samples/a").symlink_to(tmp_path / "nowhere")
    for names in (["rows"], ["rows", "x"], ["samples", "a"]):
        with pytest.raises(UserError, match="is a link"):
            below(tmp_path / "run", *names)


@pytest.mark.parametrize(
    ("value", "kind", "right"),
    [(1, float, True), (1.5, float, True), (1.5, int, False), (True, int, False), (True, float, False),
     (float("nan"), float, False), (float("inf"), float, False), (10**400, int, False), (10**400, float, False),
     ("x", str, True), ("x" * 20_000, str, False), (None, (float, None), True), ("x", (float, None), False),
     ([1, 2.5], [float], True), ([1, "x"], [float], False), ([1, 2], [float, float], True),
     ([1], [float, float], False), ({"a": 1, "b": "x"}, {"a": int}, True), ({"b": "x"}, {"a": int}, False),
     ([], {"a": int}, False), ({"x": 1, "y": 2}, {str: int}, True), ({"x": 1, "y": "2"}, {str: int}, False)],
)  # fmt: skip
def test_values_of_a_json_file_have_kinds(value, kind, right):
    assert conforms(value, kind) is right


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_has_no_nan_or_infinity(number, tmp_path):
    write_json(tmp_path / "file", {"a": None, "b": [0.1]})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file", {"a": [number]})
    assert read_json(tmp_path / "file") == {"a": None, "b": [0.1]}
