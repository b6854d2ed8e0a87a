from pathlib import Path
from typing import NamedTuple

from ..audio import LeftOut, find_audio


class Pair(NamedTuple):
    audio: Path
    notes: Path


def pairs(data: str, left_out: LeftOut | None = None) -> list[Pair]:
    return [Pair(p, p.with_suffix(".mid")) for p in find_audio(data, left_out) if p.with_suffix(".mid").exists()]
