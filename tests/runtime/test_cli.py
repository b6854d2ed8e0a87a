"""What a command says at last, and on what console."""

import signal
import sys
from unittest.mock import Mock

import pytest
from tqdm import tqdm

from ddim_from_scratch.runtime.cli import Parser, output_file, run_command
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.runtime.files import replacing

FULL = "a.wav: No space left on device: free some disk space; files saved before are intact; draw anew"
STRANGE = "a\x1b[31m\nb"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UserError(STRANGE), 2, r"error: a\x1b[31m\nb"),
        (FileNotFoundError(2, "gone", STRANGE), 2, r"error: a\x1b[31m\nb: gone: check the path"),
        (OSError(28, "No space left on device", "a.wav"), 2, f"error: {FULL}"),
        (
            MemoryError(),
            2,
            "error: out of memory: ask for less at a time, a smaller batch or network, or fewer or shorter clips",
        ),
        (KeyboardInterrupt(), 130, "interrupted; finished files are kept; draw anew"),
    ],
)
def test_a_command_that_fails_ends_with_one_harmless_line_and_a_remedy(error, status, said, capsys):
    with pytest.raises(SystemExit) as stop:
        run_command(Mock(side_effect=error), "draw anew")
    assert stop.value.code == status
    assert capsys.readouterr().err == f"{said}\n"


def test_an_output_that_cannot_be_written_is_named_at_once(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        output_file(str(tmp_path / "nowhere/a.json"))
    assert error.value.filename == str(tmp_path / "nowhere") and output_file(str(tmp_path / "a")) == tmp_path / "a"
    parser = Parser()
    parser.add_argument("--json", type=output_file)
    with pytest.raises(UserError, match=f"--json: {tmp_path} is not a regular file: choose another name"):
        parser.parse_args(["--json", str(tmp_path)])
    with pytest.raises(UserError, match="--js"):  # options are written in full
        parser.parse_args(["--js", "a"])


def test_a_reader_that_has_seen_enough_ends_it_quietly(capsys, monkeypatch):
    def main():
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", sys.stdout)
    with pytest.raises(SystemExit) as stop:
        run_command(main)
    assert stop.value.code == 128 + signal.SIGPIPE and not capsys.readouterr().err


def test_a_closed_console_is_none(monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    run_command(lambda: tqdm.write("said", file=sys.stderr))


def test_a_signal_leaves_nothing_half_written(capsys, tmp_path):
    def main():
        with replacing(tmp_path / "a.wav") as file:
            file.write(b"half")
            signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as stop:
            run_command(main, "draw anew")
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stop.value.code == 128 + signal.SIGTERM and "draw anew" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_a_console_of_another_code_page_shows_what_it_can(monkeypatch, tmp_path):
    with open(tmp_path / "console", "w", encoding="cp437") as console:
        monkeypatch.setattr(sys, "stdout", console)
        run_command(lambda: print("caf\u00e9 \u4e2d \udce9"))
    monkeypatch.undo()
    shown = (tmp_path / "console").read_text(encoding="cp437")
    assert shown == "caf\u00e9 \\u4e2d \\udce9\n"
