"""A comparison of two defenses on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table

from benchmark.report.boards import NOTHING, Board, knows
from benchmark.report.bootstrap import ENOUGH, FEWEST
from benchmark.report.compare import Comparison, Difference
from benchmark.report.rows import Row
from benchmark.report.table import plain_text

_FIGURES = {
    "asr_after": "ASR % after",
    "clean_accuracy_after": "clean acc. %",
    "robust_accuracy_after": "robust acc. %",
    "seconds": "seconds",
}
_HEADS = ("", "A", "B", "A − B", "95 % interval", "pairs", "distinguishable from zero")


def comparison_view(comparison: Comparison, console: Console) -> RenderableType:
    """Return one comparison laid out for `console`; its rates in percent."""
    table = Table(box=box.HORIZONTALS, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for head in _HEADS:
        # A figure that finds no room ends in an ellipsis: cut off, it would be another figure.
        words = head in (_HEADS[0], _HEADS[-1])
        table.add_column(
            plain_text(head, console),
            justify="left" if words else "right",
            overflow="fold" if words else "ellipsis",
            no_wrap=not words,
        )
    for found in comparison.differences:
        table.add_row(*(plain_text(cell, console) for cell in _cells(found)))
    lines = [_named("A", comparison.a), _named("B", comparison.b), _counted(comparison)]
    about = [Padding(plain_text(line, console), (0, 0, 0, 1)) for line in lines]
    notes = [Padding(plain_text(note, console), (0, 0, 0, 1)) for note in _notes(comparison)]
    title = plain_text(Board((comparison.a, comparison.b)).title, console, "bold")
    return Group(title, *about, table, *notes)


def verdict(found: Difference) -> str:
    """Answer whether the difference is distinguishable from zero."""
    if found.ci_low is None or found.distinguishable is None:
        return "too few attacks or seeds"
    if not found.distinguishable:
        return "no"
    return f"yes: A is {'higher' if found.ci_low > 0 else 'lower'}"


def _named(letter: str, row: Row) -> str:
    return f"{letter}: {row.defense} {row.shown} (told {knows(row)})"


def _counted(comparison: Comparison) -> str:
    models = comparison.models
    which = f" (of {models} different models)" if models < comparison.pairs else ""
    return (
        f"{comparison.pairs} victims{which} with a finished trial of both; "
        f"only A: {comparison.only_a}, only B: {comparison.only_b}"
    )


def _cells(found: Difference) -> tuple[str, ...]:
    scale = 1 if found.figure == "seconds" else 100
    interval = NOTHING
    if found.ci_low is not None and found.ci_high is not None:
        interval = f"{scale * found.ci_low:+.1f} to {scale * found.ci_high:+.1f}"
    return (
        _FIGURES[found.figure],
        NOTHING if found.a_mean is None else f"{scale * found.a_mean:.1f}",
        NOTHING if found.b_mean is None else f"{scale * found.b_mean:.1f}",
        NOTHING if found.mean is None else f"{scale * found.mean:+.1f}",
        interval,
        str(found.pairs),
        verdict(found),
    )


def _notes(comparison: Comparison) -> list[str]:
    if comparison.units < FEWEST:
        return [f"No interval: it takes pairs on at least {FEWEST} different attacks or seeds."]
    found = ["A − B: mean over pairs on the same victim; 95 % bootstrap over attacks and seeds."]
    if comparison.units < ENOUGH:
        found.append(
            f"Under {ENOUGH} attacks or seeds the interval is narrower than the data can support: "
            "even if all pairs point one way, that can be chance; run more triggers or seeds."
        )
    return found
