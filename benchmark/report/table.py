"""The leaderboard on a terminal: lines stacked in a row at 80 columns, spread from 120 on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from benchmark.report.boards import NOTHING, Board
from benchmark.report.cells import Cells, cells
from benchmark.report.escape import printable

WIDE = 120
"""Columns of a terminal from which every figure has its own column."""
_ASCII = str.maketrans({"→": "->", "±": "+-", "·": "/", "−": "-"})


@dataclass(frozen=True)
class _Column:
    header: str
    lines: Callable[[Cells], list[str]]
    justify: Literal["left", "right"] = "right"
    fold: bool = False
    """Whether long text breaks into more lines; figures never do."""


def _name(cell: Cells) -> list[str]:
    return [cell.name, cell.variant, cell.marks, cell.knows]


def _change(cell: Cells) -> str:
    return f"{cell.before} → {cell.after}"


def _asr(cell: Cells) -> list[str]:
    interval = f"95 %: {cell.interval}" if cell.interval != NOTHING else ""
    stayed = f"> 10 %: {_stayed(cell)} of trials" if cell.stayed not in (NOTHING, "0") else ""
    return [_change(cell), interval, f"worst {cell.worst}", stayed, *cell.models]


def _stayed(cell: Cells) -> str:
    return cell.stayed if cell.stayed == NOTHING else f"{cell.stayed} %"


def _clean(cell: Cells) -> str:
    return f"{cell.clean_before} → {cell.clean_after}"


_NARROW = (
    _Column("#", lambda c: [c.rank]),
    _Column("defense\ntold", _name, "left", fold=True),
    _Column("trials\n(failed)", lambda c: [c.trials]),
    _Column("ASR % before → after\n± std, worst trigger", _asr, "left", fold=True),
    _Column("clean acc. %\nrobust acc. %", lambda c: [_clean(c), c.robust]),
    _Column("seconds\npeak MiB", lambda c: [c.seconds, c.memory]),
)
_WIDE = (
    _Column("#", lambda c: [c.rank]),
    _Column("defense\ntold", _name, "left", fold=True),
    _Column("trials\n(failed)", lambda c: [c.trials]),
    _Column("ASR %\nbefore → after ± std", lambda c: [_change(c), *c.models], "left", fold=True),
    _Column("95 %\ninterval", lambda c: [c.interval]),
    _Column("worst\n(trigger)", lambda c: [c.worst], fold=True),
    _Column("trials\n> 10 %", lambda c: [_stayed(c)]),
    _Column("clean acc. %\nbefore, after", lambda c: [_clean(c)]),
    _Column("robust\nacc. %", lambda c: [c.robust]),
    _Column("seconds\npeak MiB", lambda c: [c.seconds, c.memory]),
)


def board_view(board: Board, console: Console) -> RenderableType:
    """Return `board` laid out for the width and the character set of `console`."""
    columns = _WIDE if console.width >= WIDE else _NARROW
    table = empty_table()
    for column in columns:
        table.add_column(
            stacked(column.header.split("\n"), console),
            justify=column.justify,
            # A figure that finds no room ends in an ellipsis: cut off, it would be another figure.
            overflow="fold" if column.fold else "ellipsis",
            no_wrap=not column.fold,
        )
    for section in board.sections:
        for row in section:
            made = cells(row)
            style = "" if row.ranked else "dim"
            texts = [filter(None, column.lines(made)) for column in columns]
            table.add_row(*(stacked(lines, console, style) for lines in texts))
        table.add_section()
    return titled(board.title, [table], board.notes, console)


def empty_table() -> Table:
    """Return a table as all of these are drawn: lines above, below and between sections."""
    return Table(box=box.HORIZONTALS, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")


def titled(
    title: str, tables: Sequence[Table], notes: Iterable[str], console: Console
) -> RenderableType:
    """Return tables between their title and their notes."""
    below = [Padding(plain_text(note, console), (0, 0, 0, 1)) for note in notes]
    return Group(plain_text(title, console, "bold"), *tables, *below)


def plain_text(line: str, console: Console, style: str = "") -> Text:
    """Return `line` for the character set of `console`: nothing in it is markup or a control."""
    # Text, not markup: a defense may be called `[red]x`.
    shown = printable(line)
    return Text(_ascii(shown) if console.options.ascii_only else shown, style=style)


def stacked(lines: Iterable[str], console: Console, style: str = "") -> Text:
    """Return lines one above the other, each as `plain_text`."""
    return Text("\n").join(plain_text(line, console, style) for line in lines)


def _ascii(line: str) -> str:
    return line.translate(_ASCII).encode("ascii", "backslashreplace").decode()
