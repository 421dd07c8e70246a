"""A leaderboard for the page: the same texts as elsewhere, what to sort by, and drawn intervals."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.report.boards import Board
from benchmark.report.cells import Cells, cells
from benchmark.report.rows import Row

_TITLES = {
    "floor": "Floor: nothing is done",
    "control": "Controls: what retraining does without the trigger",
    "ranked": "Ranked defenses",
    "oracle": "Oracle: told the trigger, a ceiling",
}
_LEAST_SCALE = 0.05
"""The axis of the drawn intervals ends at 5 % or higher."""


@dataclass(frozen=True)
class Drawn:
    """An interval on the axis, each in percent of the axis' length; None where it has no value."""

    mean: float
    low: float
    high: float
    worst: float | None
    """None also where it lies beyond the end of the axis."""
    beyond: bool
    """The mean lies beyond the end of the axis."""
    further: bool
    """The interval or the worst does, and the mean does not."""


@dataclass(frozen=True)
class ViewRow:
    """A row's texts, its sort keys (lower is better or earlier), and its interval."""

    row: Row
    cells: Cells
    label: str
    drawn: Drawn | None


@dataclass(frozen=True)
class ViewSection:
    """The rows of one role."""

    role: str
    title: str
    rows: list[ViewRow]


@dataclass(frozen=True)
class View:
    """One leaderboard."""

    title: str
    notes: list[str]
    scale: float
    """ASR at the end of the axis on which the intervals are drawn, a fraction."""
    sections: list[ViewSection]


def board_view(board: Board, labels: dict[str, str]) -> View:
    """Return `board` as the page shows it."""
    scale = _scale(board)

    def made(row: Row) -> ViewRow:
        return ViewRow(row, cells(row), labels[row.variant_id], _drawn(row, scale))

    sections = [
        ViewSection(rows[0].role, _title(rows[0]), list(map(made, rows))) for rows in board.sections
    ]
    return View(board.title, board.notes, scale, sections)


def _title(row: Row) -> str:
    if row.role == "ranked" and not row.backdoored:
        return "Defenses, not ranked: there was no backdoor"
    return _TITLES.get(row.role, row.role)


def _scale(board: Board) -> float:
    """End the axis above what competes; the floor, near 100 %, would leave it no room."""
    inner = [row for row in board.rows if row.role in ("ranked", "oracle")] or board.rows
    ends = [v for row in inner for v in (row.asr_after_ci_high, row.asr_after_worst) if v]
    return min(1.0, max(_LEAST_SCALE, *ends, 0) * 1.05)


def _drawn(row: Row, scale: float) -> Drawn | None:
    mean = row.asr_after_mean
    if mean is None:
        return None

    def place(value: float | None) -> float:
        return round(100 * min(mean if value is None else value, scale) / scale, 2)

    worst, high = row.asr_after_worst, row.asr_after_ci_high
    return Drawn(
        mean=place(mean),
        low=place(row.asr_after_ci_low),
        high=place(high),
        worst=None if worst is None or worst > scale else place(worst),
        beyond=mean > scale,
        further=mean <= scale < max(worst or 0, high or 0),
    )
