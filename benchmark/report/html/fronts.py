"""What a defense leaves against what it costs, and who is not beaten on both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmark.report.rows import Row

Cost = Literal["clean_accuracy", "seconds"]


@dataclass(frozen=True)
class Point:
    """One row of a leaderboard as a point."""

    label: str
    role: str
    cost: float
    """Mean clean accuracy after the defense, a fraction; or mean seconds."""
    asr: float
    """Mean ASR after the defense, a fraction; `low` to `high` is its 95 % interval."""
    low: float | None
    high: float | None
    front: bool
    """No other row that competes is at least as good in both and better in one."""


def points(rows: Sequence[Row], labels: dict[str, str], cost: Cost) -> list[Point]:
    """Return the points of a figure in the order of `rows`; rows without a number are left out.

    Only rows that are ranked can be on the front: a floor costs nothing, an oracle is told all.
    """
    found = [(row, _cost(row, cost), row.asr_after_mean) for row in rows]
    numbered = [(row, c, asr) for row, c, asr in found if c is not None and asr is not None]
    rivals = [(_loss(c, cost), asr) for row, c, asr in numbered if row.ranked]
    return [
        Point(
            label=labels[row.variant_id],
            role=row.role,
            cost=c,
            asr=asr,
            low=row.asr_after_ci_low,
            high=row.asr_after_ci_high,
            front=row.ranked and not _beaten((_loss(c, cost), asr), rivals),
        )
        for row, c, asr in numbered
    ]


def front(found: Sequence[Point]) -> list[Point]:
    """Return the points of the Pareto front, the cheapest first."""
    return sorted((p for p in found if p.front), key=lambda p: (p.cost, p.asr))


def _cost(row: Row, cost: Cost) -> float | None:
    return row.clean_accuracy_after_mean if cost == "clean_accuracy" else row.seconds_mean


def _loss(value: float, cost: Cost) -> float:
    return -value if cost == "clean_accuracy" else value


def _beaten(one: tuple[float, float], others: Sequence[tuple[float, float]]) -> bool:
    return any(o[0] <= one[0] and o[1] <= one[1] and o != one for o in others)
