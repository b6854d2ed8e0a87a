"""Shared by the commands: a parser, common options, and one-line error messages."""

from __future__ import annotations

import argparse
import io
import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from .errors import UserError, line
from .files import require_regular, require_writable


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UserError, so that its errors are one line like all others.

    Options are written in full: `--system` and `--run` are read before the other options are known.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings | {"allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; {self.prog} --help lists the options")


class Subcommand(Parser):
    """A subcommand's parser: an option that it does not know is its own error, whose help lists the others."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown


def flag(name: str) -> str:
    """The command-line option of a field: "batch_size" gives "--batch-size"."""
    return "--" + name.replace("_", "-")


def counted(n: int, name: str) -> str:
    """ "1 clip", "2 clips"."""
    return f"{n} {name}{'' if n == 1 else 's'}"


def at_least(least: int, most: float = math.inf) -> Callable[[str], int]:
    """An argparse type for integers from `least` to `most`."""

    def integer(text: str) -> int:
        if (value := int(text)) < least:
            raise argparse.ArgumentTypeError(f"{value} is too small: give {least} or more")
        if value > most:
            raise argparse.ArgumentTypeError(f"{value} is too large: give {most} or less")
        return value

    return integer


def output_file(text: str) -> Path:
    """An argparse type for files to write. Raises, before hours of work, if none can be written there."""
    try:
        require_regular(Path(text))
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    require_writable(Path(text).parent)
    return Path(text)


def add_threads_option(parser: argparse.ArgumentParser) -> None:
    """--threads."""
    parser.add_argument("--threads", type=at_least(1), metavar="N", help="number of CPU threads (default: all cores)")


def add_hardware_options(parser: argparse.ArgumentParser) -> None:
    """--threads, --gpu and --plain: how a command computes. They do not change what it computes."""
    add_threads_option(parser)
    parser.add_argument("--gpu", action="store_true", help="compute on an NVIDIA GPU, with CuPy")
    parser.add_argument("--plain", action="store_true", help="compute with the textbook's layers, ten times slower")


def run_command(main: Callable[[], None], again: str = "run the same command again") -> None:
    """Runs a command's `main`. Errors that the user can fix become one line on stderr and exit status 2.

    SIGTERM and SIGHUP end it as Ctrl-C does, so that nothing half written stays; one that is ignored (nohup) stays so.
    again: how to go on after an interruption or a full disk.
    """
    ends = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has one
    deadly = [number for number in ends if signal.getsignal(number) is signal.SIG_DFL]
    for number in deadly:
        signal.signal(number, _interrupt)
    sys.stdout, sys.stderr = (console or open(os.devnull, "w") for console in (sys.stdout, sys.stderr))  # noqa: SIM115
    for console in (sys.stdout, sys.stderr):
        if isinstance(console, io.TextIOWrapper):  # one that lacks a letter of a file's name shows its number
            console.reconfigure(errors="backslashreplace")
    try:
        main()
    except BrokenPipeError:  # whoever reads the output has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  else Python says so at its end
        sys.exit(128 + 13)  # as a shell has SIGPIPE
    except KeyboardInterrupt as stop:
        print(f"interrupted; finished files are kept; {again}", file=sys.stderr)
        sys.exit(128 + (stop.args[0] if stop.args else signal.SIGINT))  # as a shell has it
    except (UserError, OSError, MemoryError) as error:
        print(f"error: {line(error, again)}", file=sys.stderr)
        sys.exit(2)
    finally:
        for number in deadly:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, _: object) -> NoReturn:
    raise KeyboardInterrupt(number)
