"""A leaderboard taken apart: the ASR after each defense for each trigger, target class or seed."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmark.report.aggregate import aggregate
from benchmark.report.boards import NOTHING, Board, boards
from benchmark.report.cells import cells, mean_asr
from benchmark.report.rows import Row

if TYPE_CHECKING:
    import pandas as pd

BY = ("trigger", "target", "seed")
"""What a leaderboard can be taken apart by: columns of `Store.trials_frame()`."""
ALL = "all"
"""The last line: the leaderboard's own figures."""


@dataclass(frozen=True)
class Part:
    """What one defense did on the trials of one line: a trigger's, a target class's or a seed's."""

    by: str
    value: Any
    row: Row
    """Of these trials alone; only rank and setting are those of the whole leaderboard."""

    def as_dict(self) -> dict[str, Any]:
        """Return what the line is of, and the figures."""
        return {"by": self.by, "value": self.value, **self.row.as_dict()}


@dataclass(frozen=True)
class Grouped:
    """One leaderboard as a table with a line a trigger (target class, seed), a column a defense."""

    board: Board
    by: str
    lines: tuple[tuple[Any, tuple[Row | None, ...]], ...]
    """A value and, for each row of the board, its figures there; None where it has no trial."""

    @property
    def title(self) -> str:
        """What the leaderboard is of, and what the cells hold."""
        return f"{self.board.title}: ASR % after, by {self.by}"

    @property
    def heads(self) -> list[str]:
        """The heading of each column."""
        return [self.by, *(cells(row).full_name for row in self.board.rows)]

    @property
    def texts(self) -> list[list[str]]:
        """The cells of each line, that of the whole leaderboard last."""
        made = [[str(value), *map(_cell, rows)] for value, rows in self.lines]
        return [*made, [ALL, *map(_cell, self.board.rows)]]

    @property
    def parts(self) -> list[Part]:
        """Its cells one by one, for files that programs read."""
        return [
            Part(self.by, value, row)
            for value, rows in self.lines
            for row in rows
            if row is not None
        ]

    @property
    def notes(self) -> list[str]:
        """What a reader must know to read the figures; one sentence each."""
        told = f"Mean ± standard deviation over the trials of a line; {NOTHING}: no trial counts."
        return [told, *self.board.trial_notes]


def grouped(frame: pd.DataFrame, rows: Sequence[Row], by: str) -> list[Grouped]:
    """Return a table for each leaderboard in `rows`, which were made from `frame`.

    `by` is one of `BY`.
    """
    found: dict[tuple[str, str], dict[Any, Row]] = {}
    for value, part in frame.groupby(by, sort=False):
        for row in aggregate(part):
            found.setdefault((row.group, row.variant_id), {})[_plain(value)] = row
    return [_grouped(board, by, found) for board in boards(rows)]


def _grouped(board: Board, by: str, found: dict[tuple[str, str], dict[Any, Row]]) -> Grouped:
    columns = [found[row.group, row.variant_id] for row in board.rows]
    values = sorted({value for column in columns for value in column}, key=_in_order)
    both = list(zip(board.rows, columns, strict=True))
    lines = tuple((value, tuple(_of(row, c.get(value)) for row, c in both)) for value in values)
    return Grouped(board, by, lines)


def _of(whole: Row, part: Row | None) -> Row | None:
    """Return the figures of a part as those of a row of the whole leaderboard."""
    if part is None:
        return None
    return replace(part, rank=whole.rank, setting=whole.setting, tell_apart=whole.tell_apart)


def _cell(row: Row | None) -> str:
    return NOTHING if row is None else mean_asr(row)


def _in_order(value: object) -> tuple[tuple[int, int, str], ...]:
    """Sort 9 before 10, as people do, also within names."""
    pieces = re.split(r"(\d+)", str(value))
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in pieces if p)


def _plain(value: Hashable) -> Any:
    """Return a text or a whole number of Python's own for pandas' value."""
    return value if isinstance(value, str) else int(str(value))
