"""A leaderboard that was taken apart, on a terminal: as many defenses beside each other as fit."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.table import Table

from benchmark.report.grouped import Grouped
from benchmark.report.table import empty_table, plain_text, stacked, titled

_FIGURE = len("100.0 ± 100.0")
_BETWEEN = 2
"""Blanks between two columns."""


def grouped_view(grouped: Grouped, console: Console) -> RenderableType:
    """Return `grouped` laid out for the width and the character set of `console`."""
    return titled(grouped.title, list(_tables(grouped, console)), grouped.notes, console)


def _tables(grouped: Grouped, console: Console) -> Iterator[Table]:
    """Yield one table, or several below each other if the defenses do not fit in one."""
    heads, lines = grouped.heads, grouped.texts
    first = max(len(line[0]) for line in (heads, *lines))
    several = max(1, (console.width - _BETWEEN - first) // (_FIGURE + _BETWEEN))
    for start in range(1, len(heads), several):
        chosen = [0, *range(start, min(start + several, len(heads)))]
        table = empty_table()
        for at in chosen:
            figures = at > 0
            table.add_column(
                stacked(_broken(heads[at]), console),
                justify="right" if figures else "left",
                overflow="fold",
                min_width=_FIGURE if figures else None,
                max_width=_FIGURE if figures else None,
            )
        for number, line in enumerate(lines, 1):
            table.add_row(
                *(plain_text(line[at], console) for at in chosen),
                end_section=number == len(lines) - 1,
            )
        yield table


def _broken(head: str) -> list[str]:
    """Return a heading in lines that fit a column, broken behind blanks, `_`, `=` and `,`."""
    lines = [""]
    for piece in re.findall(r"[^ _=,]*[ _=,]?", head):
        if len(lines[-1]) + len(piece.rstrip()) > _FIGURE:
            lines.append("")
        lines[-1] += piece
    return lines
