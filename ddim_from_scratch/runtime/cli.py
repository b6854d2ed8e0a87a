"""What the commands share: a parser, options, and one line for each error."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from .errors import REMEDIES, UserError


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are UserErrors, one line each, like all others."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; {self.prog} --help lists the options")


def flag(name: str) -> str:
    """The command-line option of a field: "batch_size" to "--batch-size"."""
    return "--" + name.replace("_", "-")


def at_least(least: int) -> Callable[[str], int]:
    """An argparse type: whole numbers from `least` on."""

    def whole_number(text: str) -> int:
        if (value := int(text)) < least:
            raise argparse.ArgumentTypeError(f"{value} is too small: give {least} or more")
        return value

    return whole_number


def add_hardware_options(parser: argparse.ArgumentParser) -> None:
    """--threads, --gpu and --plain, which change how a command computes, not what."""
    parser.add_argument("--threads", type=at_least(1), metavar="N", help="CPU threads (default: every core)")
    parser.add_argument("--gpu", action="store_true", help="compute on a GPU, with CuPy")
    parser.add_argument("--plain", action="store_true", help="compute with the textbook's layers: ten times slower")


def run_command(main: Callable[[], None]) -> None:
    """Run a command's `main`: errors that the user can mend become one line on stderr and exit status 2."""
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted: a run continues from its last checkpoint with --resume", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        remedy = REMEDIES.get(error.errno, "what was saved before is whole")
        print(f"error: {error.filename or error}: {error.strerror or 'failed'}: {remedy}", file=sys.stderr)
        sys.exit(2)
    except (UserError, MemoryError) as error:
        print(f"error: {error or 'out of memory: lower --batch-size or --widths'}", file=sys.stderr)
        sys.exit(2)
