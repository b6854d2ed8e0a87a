"""Refuses work that cannot fit into memory, before hours are spent on it."""

from __future__ import annotations

import psutil

from .errors import UserError


def require_memory(needed: int, purpose: str, remedy: str) -> None:
    """Raises UserError, naming the remedy, if `needed` bytes are more than the machine has available."""
    if needed > (available := psutil.virtual_memory().available):
        raise UserError(
            f"{purpose} need {needed / 1e9:.2f} GB of memory; {available / 1e9:.2f} GB are available. Lower {remedy}"
        )
