"""Errors that the user can fix."""

from __future__ import annotations

import errno

SAVED = "files saved before are intact"
REMEDIES = {  # by the operating system's error number
    errno.ENOENT: "check the path",
    errno.EACCES: "check its permissions, or choose another folder",
    errno.EPERM: "check its permissions, or choose another folder",
    errno.EROFS: "choose a writable folder",
    errno.ENOSPC: f"free some disk space; {SAVED}",
    errno.EDQUOT: f"free some disk space; {SAVED}",
    errno.EFBIG: f"raise the file size limit (ulimit -f); {SAVED}",
}


class UserError(ValueError):
    """An error the user can fix. Commands print it as one line, without a traceback, and exit with status 2."""
