"""The last line of a command that fails."""

import pytest

from ddim_from_scratch.runtime.cli import run_command
from ddim_from_scratch.runtime.errors import UserError


@pytest.mark.parametrize("error", [UserError("the file x is bad"), FileNotFoundError(2, "no such file", "x")])
def test_run_command_prints_one_line_and_exits_with_2(error, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as stop:
        run_command(main)
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
