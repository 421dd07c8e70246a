"""The leaderboard in every format, from the trials of a store."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError, unknown_name
from benchmark.report.aggregate import aggregate
from benchmark.report.boards import Board, boards
from benchmark.report.escape import csv_cell
from benchmark.report.grouped import Grouped, grouped
from benchmark.report.markup import COLUMNS, to_latex, to_markdown
from benchmark.report.ranking import ranked
from benchmark.report.rows import Row
from benchmark.report.selecting import selected

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

FORMATS = ("table", "json", "csv", "markdown", "latex")
_WITH_COLUMNS = ("csv", "markdown", "latex")


def chosen_columns(names: str, format: str, by: str = "") -> tuple[str, ...]:
    """Return the columns that a list such as `defense,seconds` names, as `render` takes them.

    They are called as in the format's own head. Raises `UserError` for one that it does not have,
    and for a format that is not made of columns or that has a column a defense.
    """
    if format not in _WITH_COLUMNS:
        raise UserError(f"--columns is for {', '.join(_WITH_COLUMNS)}, not for {format}")
    if by and format != "csv":
        raise UserError(f"by {by}, the columns in {format} are the rows", "choose them with --row")
    known = _csv_columns(by) if format == "csv" else list(COLUMNS)
    chosen = tuple(dict.fromkeys(name.strip() for name in names.split(",")))
    for name in chosen:
        if name not in known:
            raise UserError(f"unknown column {name!r} of {format}", f"known: {', '.join(known)}")
    return chosen


def leaderboard(frame: pd.DataFrame, only: Sequence[str] = ()) -> list[Row]:
    """Return the rows of every leaderboard in `frame`, a `Store.trials_frame()`, in order.

    `only`: names of the rows to keep, as `selected` takes them; ranks stay those among all.
    """
    rows = ranked(aggregate(frame))
    return selected(rows, only) if only else rows


def print_leaderboard(
    console: Console, frame: pd.DataFrame, only: Sequence[str] = (), by: str = ""
) -> None:
    """Print a table for each leaderboard in `frame`, laid out for the width of `console`.

    `by`: one of `grouped.BY`, for tables with a line for each of its values.
    """
    # rich is needed for this format only
    from benchmark.report.table import board_view
    from benchmark.report.table_grouped import grouped_view

    rows = leaderboard(frame, only)
    views = (
        (grouped_view(table, console) for table in grouped(frame, rows, by))
        if by
        else (board_view(board, console) for board in boards(rows))
    )
    for view in views:
        console.print(view)
        console.print()


def render(
    frame: pd.DataFrame,
    format: str,
    only: Sequence[str] = (),
    by: str = "",
    columns: Sequence[str] = (),
) -> str:
    """Return the leaderboards in `frame` as text in one of `FORMATS` but `table`.

    JSON and CSV have fractions and every figure; Markdown and LaTeX have percent. `by`: one of
    `grouped.BY`, for figures of each of its values. `columns`: those to show, in this order, as
    `chosen_columns` returns them; empty: all.
    """
    if format not in _RENDERERS:
        raise unknown_name("format", format, FORMATS)
    rows = leaderboard(frame, only)
    return _RENDERERS[format](grouped(frame, rows, by) if by else boards(rows), columns)


Tables = Sequence[Board] | Sequence[Grouped]


def _records(tables: Tables) -> list[dict[str, Any]]:
    """Return every row of every table as plain data."""
    return [
        one.as_dict()
        for table in tables
        for one in (table.rows if isinstance(table, Board) else table.parts)
    ]


def _json(tables: Tables, _columns: Sequence[str]) -> str:
    return json.dumps(_records(tables), indent=2, allow_nan=False) + "\n"


def _csv(tables: Tables, columns: Sequence[str]) -> str:
    """Return one line a row; lists as JSON, what has no value empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    records = _records(tables)
    columns = columns or list(records[0] if records else Row.__dataclass_fields__)
    writer.writerow(columns)
    for record in records:
        values = [record[name] for name in columns]
        writer.writerow([json.dumps(v) if isinstance(v, list) else csv_cell(v) for v in values])
    return text.getvalue()


def _csv_columns(by: str) -> list[str]:
    return [*(("by", "value") if by else ()), *Row.__dataclass_fields__]


_RENDERERS: dict[str, Callable[[Tables, Sequence[str]], str]] = {
    "json": _json,
    "csv": _csv,
    "markdown": to_markdown,
    "latex": to_latex,
}
