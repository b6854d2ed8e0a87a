"""Errors that the user can mend."""

from __future__ import annotations

import errno

REMEDIES = {  # of what the system refuses
    errno.ENOENT: "check the path",
    errno.EACCES: "check its permissions, or choose another folder",
    errno.EPERM: "check its permissions, or choose another folder",
    errno.EROFS: "choose a folder that can be written",
    errno.ENOSPC: "make room; what was saved before is whole, and a run goes on with --resume",
    errno.EDQUOT: "make room; what was saved before is whole, and a run goes on with --resume",
    errno.EFBIG: "raise the limit (ulimit -f); what was saved before is whole, and a run goes on with --resume",
}


class UserError(ValueError):
    """What the user can mend. Commands print its one line, without a traceback, and exit with status 2."""
