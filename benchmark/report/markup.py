"""The leaderboard for a README (Markdown) and for a paper (LaTeX with booktabs)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from benchmark.report.boards import Board
from benchmark.report.cells import Cells, cells
from benchmark.report.escape import latex, markdown, printable
from benchmark.report.grouped import Grouped

COLUMNS: Mapping[str, Callable[[Cells], str]] = {
    "#": lambda c: c.rank,
    "defense": lambda c: c.full_name,
    "told": lambda c: c.knows,
    "trials (failed)": lambda c: c.trials,
    "ASR % before": lambda c: c.before,
    "ASR % after": lambda c: ", ".join((c.after, *c.models)),
    "95 % interval": lambda c: c.interval,
    "worst (trigger)": lambda c: c.worst,
    "% of trials above 10 %": lambda c: c.stayed,
    "clean acc. % before": lambda c: c.clean_before,
    "clean acc. % after": lambda c: c.clean_after,
    "robust acc. %": lambda c: c.robust,
    "seconds": lambda c: c.seconds,
    "peak MiB": lambda c: c.memory,
}
"""Heading of each column of a leaderboard → its text."""
_LEFT = ("defense", "told")


@dataclass(frozen=True)
class _Sheet:
    """A table as texts: what both languages set."""

    title: str
    heads: Sequence[str]
    left: Collection[int]
    """Columns of words, set flush left."""
    sections: Sequence[Sequence[Sequence[str]]]
    """Lines, set apart by rules where the language has them."""
    notes: Sequence[str]

    def marks(self, left: str, right: str) -> list[str]:
        """Return the mark of each column."""
        return [left if at in self.left else right for at in range(len(self.heads))]


def to_markdown(boards: Sequence[Board | Grouped], columns: Sequence[str] = ()) -> str:
    """Return a heading, a table and its notes for each board.

    `columns`: those of `COLUMNS` to show, in this order; empty: all.
    """
    return "\n".join(_markdown(_sheet(board, columns)) for board in boards)


def to_latex(boards: Sequence[Board | Grouped], columns: Sequence[str] = ()) -> str:
    """Return a `table` environment for each board; the document needs `\\usepackage{booktabs}`.

    `columns`: those of `COLUMNS` to show, in this order; empty: all.
    """
    tables = [_latex(_sheet(board, columns)) for board in boards]
    return "\n".join(["% needs \\usepackage{booktabs}", *tables])


def _sheet(board: Board | Grouped, columns: Sequence[str]) -> _Sheet:
    if isinstance(board, Grouped):
        *lines, whole = [[printable(text) for text in line] for line in board.texts]
        return _Sheet(board.title, board.heads, {0}, [lines, [whole]], board.notes)
    heads = list(columns or COLUMNS)
    sections = [
        [[printable(COLUMNS[head](cells(row))) for head in heads] for row in section]
        for section in board.sections
    ]
    left = {at for at, head in enumerate(heads) if head in _LEFT}
    return _Sheet(board.title, heads, left, sections, board.notes)


def _markdown(sheet: _Sheet) -> str:
    heads = [markdown(header) for header in sheet.heads]
    rows = [[markdown(text) for text in texts] for s in sheet.sections for texts in s]
    lines = [f"| {' | '.join(line)} |" for line in (heads, sheet.marks(":--", "--:"), *rows)]
    notes = [f"- {markdown(note)}" for note in sheet.notes]
    return "\n".join([f"### {markdown(sheet.title)}", "", *lines, "", *notes, ""])


def _latex(sheet: _Sheet) -> str:
    sections = [
        "\n".join(" & ".join(map(latex, texts)) + r" \\" for texts in section)
        for section in sheet.sections
    ]
    caption = " ".join([f"{sheet.title}.", *sheet.notes])
    return "\n".join(
        [
            *(r"\begin{table}", r"\centering", r"\scriptsize", r"\setlength{\tabcolsep}{3pt}"),
            *(f"\\begin{{tabular}}{{{''.join(sheet.marks('l', 'r'))}}}", r"\toprule"),
            " & ".join(map(_stacked, sheet.heads)) + r" \\",
            *(r"\midrule", "\n\\midrule\n".join(sections), r"\bottomrule", r"\end{tabular}"),
            *(f"\\caption{{{latex(caption)}}}", r"\end{table}", ""),
        ]
    )


def _stacked(header: str) -> str:
    """Return a header a word a line, so that many columns fit a page."""
    words = header.replace(" %", "\0%").split(" ")
    inner = r"\\".join(latex(word.replace("\0", " ")) for word in words)
    return f"\\begin{{tabular}}[b]{{@{{}}c@{{}}}}{inner}\\end{{tabular}}"
