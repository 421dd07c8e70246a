"""Classes that have numbers and no names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmark.errors import UserError

_MOST = 10_000


def names_of(labels: Iterable[int], where: Path) -> tuple[str, ...]:
    """Return "0" to the highest label; raises `UserError` for labels that are no class numbers."""
    lowest, highest = min(labels), max(labels)
    if lowest < 0 or highest >= _MOST:
        odd = lowest if lowest < 0 else highest
        raise UserError(f"{where}: {odd} is no class number", "they count from 0")
    return tuple(map(str, range(highest + 1)))
