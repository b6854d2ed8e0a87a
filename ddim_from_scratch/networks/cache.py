"""What a network's forward pass keeps for its backward pass."""

from __future__ import annotations

from ..runtime.tree import Tree


class _Forgetful(dict):
    """A cache that keeps nothing."""

    def __setitem__(self, name: str, value: object) -> None:
        pass


def cache_for(training: bool) -> Tree:
    """An empty tree; without training it stays empty, so that memory is free again at once."""
    return {} if training else _Forgetful()
