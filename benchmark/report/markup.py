"""The leaderboard for a README (Markdown) and for a paper (LaTeX with booktabs)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmark.report.boards import Board
from benchmark.report.cells import Cells, cells
from benchmark.report.escape import latex, markdown, printable

_COLUMNS: tuple[tuple[str, Callable[[Cells], str]], ...] = (
    ("#", lambda c: c.rank),
    ("defense", lambda c: c.full_name),
    ("told", lambda c: c.knows),
    ("trials (failed)", lambda c: c.trials),
    ("ASR % before", lambda c: c.before),
    ("ASR % after", lambda c: ", ".join((c.after, *c.models))),
    ("95 % interval", lambda c: c.interval),
    ("worst (trigger)", lambda c: c.worst),
    ("% of trials above 10 %", lambda c: c.stayed),
    ("clean acc. % before", lambda c: c.clean_before),
    ("clean acc. % after", lambda c: c.clean_after),
    ("robust acc. %", lambda c: c.robust),
    ("seconds", lambda c: c.seconds),
    ("peak MiB", lambda c: c.memory),
)
_LEFT = (1, 2)
"""Columns of words, set flush left."""


def to_markdown(boards: Sequence[Board]) -> str:
    """Return a heading, a table and its notes for each board."""
    return "\n".join(_markdown_board(board) for board in boards)


def to_latex(boards: Sequence[Board]) -> str:
    """Return a `table` environment for each board; the document needs `\\usepackage{booktabs}`."""
    return "\n".join(["% needs \\usepackage{booktabs}", *map(_latex_board, boards)])


def _markdown_board(board: Board) -> str:
    marks = [":--" if at in _LEFT else "--:" for at in range(len(_COLUMNS))]
    heads = [markdown(header) for header, _ in _COLUMNS]
    rows = [[markdown(text) for text in texts] for s in _sections(board) for texts in s]
    lines = [f"| {' | '.join(line)} |" for line in (heads, marks, *rows)]
    notes = [f"- {markdown(note)}" for note in board.notes]
    return "\n".join([f"### {markdown(board.title)}", "", *lines, "", *notes, ""])


def _latex_board(board: Board) -> str:
    marks = "".join("l" if at in _LEFT else "r" for at in range(len(_COLUMNS)))
    sections = [
        "\n".join(" & ".join(map(latex, texts)) + r" \\" for texts in section)
        for section in _sections(board)
    ]
    caption = " ".join([f"{board.title}.", *board.notes])
    return "\n".join(
        [
            *(r"\begin{table}", r"\centering", r"\scriptsize", r"\setlength{\tabcolsep}{3pt}"),
            *(f"\\begin{{tabular}}{{{marks}}}", r"\toprule"),
            " & ".join(_stacked(header) for header, _ in _COLUMNS) + r" \\",
            *(r"\midrule", "\n\\midrule\n".join(sections), r"\bottomrule", r"\end{tabular}"),
            *(f"\\caption{{{latex(caption)}}}", r"\end{table}", ""),
        ]
    )


def _stacked(header: str) -> str:
    """Return a header a word a line, so that fourteen columns fit a page."""
    words = header.replace(" %", "\0%").split(" ")
    inner = r"\\".join(latex(word.replace("\0", " ")) for word in words)
    return f"\\begin{{tabular}}[b]{{@{{}}c@{{}}}}{inner}\\end{{tabular}}"


def _sections(board: Board) -> list[list[list[str]]]:
    return [
        [[printable(text(cells(row))) for _, text in _COLUMNS] for row in section]
        for section in board.sections
    ]
