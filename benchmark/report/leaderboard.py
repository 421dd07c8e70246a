"""The leaderboard in every format, from the trials of a store."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from benchmark.errors import unknown_name
from benchmark.report.aggregate import aggregate
from benchmark.report.boards import boards
from benchmark.report.escape import csv_cell
from benchmark.report.markup import to_latex, to_markdown
from benchmark.report.ranking import ranked
from benchmark.report.rows import Row
from benchmark.report.selecting import selected

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

FORMATS = ("table", "json", "csv", "markdown", "latex")


def leaderboard(frame: pd.DataFrame, only: Sequence[str] = ()) -> list[Row]:
    """Return the rows of every leaderboard in `frame`, a `Store.trials_frame()`, in order.

    `only`: names of the rows to keep, as `selected` takes them; ranks stay those among all.
    """
    rows = ranked(aggregate(frame))
    return selected(rows, only) if only else rows


def print_leaderboard(console: Console, frame: pd.DataFrame, only: Sequence[str] = ()) -> None:
    """Print a table for each leaderboard in `frame`, laid out for the width of `console`."""
    from benchmark.report.table import board_view  # rich is needed for this format only

    for board in boards(leaderboard(frame, only)):
        console.print(board_view(board, console))
        console.print()


def render(frame: pd.DataFrame, format: str, only: Sequence[str] = ()) -> str:
    """Return the leaderboards in `frame` as text in one of `FORMATS` but `table`.

    JSON and CSV have fractions and every figure; Markdown and LaTeX have percent.
    """
    if format not in _RENDERERS:
        raise unknown_name("format", format, FORMATS)
    return _RENDERERS[format](leaderboard(frame, only))


def _json(rows: Sequence[Row]) -> str:
    return json.dumps([row.as_dict() for row in rows], indent=2, allow_nan=False) + "\n"


def _csv(rows: Sequence[Row]) -> str:
    """Return one line a row; lists as JSON, what has no value empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row.__dataclass_fields__)
    for row in rows:
        values = row.as_dict().values()
        writer.writerow([json.dumps(v) if isinstance(v, list) else csv_cell(v) for v in values])
    return text.getvalue()


_RENDERERS: dict[str, Callable[[Sequence[Row]], str]] = {
    "json": _json,
    "csv": _csv,
    "markdown": lambda rows: to_markdown(boards(rows)),
    "latex": lambda rows: to_latex(boards(rows)),
}
