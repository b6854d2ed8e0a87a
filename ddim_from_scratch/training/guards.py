"""Guards of a long training: one process per folder, stopping between steps, naming numbers that went wrong."""

from __future__ import annotations

import errno
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..runtime import tree
from ..runtime.errors import UserError, warn, why
from ..runtime.files import locking
from ..runtime.tree import Packed, Tree
from .optim import norm

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
LOOK_SECONDS, FORCE_SECONDS = 0.5, 60.0
LOCK = ".lock"  # in a run's folder; it stays, and holds nothing


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """A context in which no other process trains in the folder `run`, which is made if need be. A kill ends it.

    Raises UserError if the folder is taken.
    """
    run.mkdir(parents=True, exist_ok=True)
    with locking(run / LOCK) as file:
        if fcntl:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"another process is training in {run}: wait for it, or choose another --run") from None
            except OSError as error:  # some file systems of clusters have no locks
                warn(f"{run} can't be locked ({why(error)}): train there only once at a time")
        yield


def no_locks(file: BinaryIO) -> str:
    """The reason why SQLite cannot lock an open file; "" if it can."""
    if fcntl:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):  # another process has locked it
                return why(error)
    return ""


class Stop:
    """`with Stop() as stop`: SIGINT, SIGTERM and SIGHUP wait in `stop.signal` for the end of a step.

    A second one acts at once, as it would without. One that is ignored (nohup) stays so. In any thread but the main
    one nothing changes.
    """

    signal: signal.Signals | None = None

    def __enter__(self) -> Stop:
        self.former = {}
        if threading.current_thread() is threading.main_thread():
            heard = [s for s in STOPPING if signal.getsignal(s) != signal.SIG_IGN]
            self.former = {s: signal.signal(s, self._came) for s in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for s, handler in self.former.items():
            signal.signal(s, handler)

    def _came(self, number: int, _: object) -> None:
        self.signal = signal.Signals(number)
        self.__exit__()


def end_with_parent(parent: int) -> None:
    """Ends this process after `parent`, which started it, has ended: at the next step, or by force.

    A killed process takes none of those with it that it has started.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(FORCE_SECONDS)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def first_non_finite(of: Tree) -> str | None:
    """The name of the first leaf that holds NaN or infinity, or float32 numbers whose squares are infinite."""
    if isinstance(of, Packed) and math.isfinite(norm(of.flat)):
        return None
    return next((name for name, leaf in tree.flatten(of).items() if not math.isfinite(norm(leaf))), None)
