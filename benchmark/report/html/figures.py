"""Every figure as SVG, PDF, PNG and CSV in a folder."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.records import EXAMPLES, TrialRecord
from benchmark.report.boards import Board
from benchmark.report.escape import csv_cell
from benchmark.report.html.contents import Contents
from benchmark.report.html.curves import Chart, charts
from benchmark.report.html.embedding import FEWEST, Method, Plane, embed
from benchmark.report.html.fronts import Cost, points
from benchmark.report.html.grid import Grid, grid_of
from benchmark.report.html.patches import (
    Patches,
    UnreadableTriggers,
    evenly,
    read_patches,
    to_patches,
)
from benchmark.report.html.trials import choose_costly
from benchmark.report.whole import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PLAIN = re.compile(r"[^A-Za-z0-9]+")
_PLANES: dict[Method, str] = {"components": "first two components", "tsne": "t-SNE"}
_COSTS: tuple[Cost, ...] = ("clean_accuracy", "seconds")
_SHEET = 64
"""Recovered triggers beside the original."""
# Without a date in it, the same numbers give the same file.
_KINDS: dict[str, dict[str, Any]] = {
    "svg": {"metadata": {"Date": None}},
    "pdf": {"metadata": {"CreationDate": None}},
    "png": {"dpi": 200},
}


@dataclass(frozen=True)
class Drawing:
    """A figure to be drawn, and its numbers: the first line names the columns."""

    name: str
    """Path in the folder, without an ending."""
    draw: Callable[[], Figure]
    numbers: list[Sequence[Any]]


def save_all(contents: Contents, folder: Path, most: int) -> int:
    """Write each figure's `.svg`, `.pdf`, `.png` and `.csv`; return how many figures there are.

    Up to `most` trials get their own, the first of each row of a leaderboard before the second.
    """
    made = drawings(contents, most)
    return sum(save(drawing, folder) for drawing in made)


def save(drawing: Drawing, folder: Path) -> int:
    """Write one figure's `.svg`, `.pdf`, `.png` and `.csv`; return 1, the number of figures."""
    from benchmark.report.html.plots import style

    place = folder / drawing.name
    place.parent.mkdir(parents=True, exist_ok=True)
    with style():
        figure = drawing.draw()
        for kind, how in _KINDS.items():
            write_whole(
                place.with_name(f"{place.name}.{kind}"),
                partial(figure.savefig, format=kind, **how),
            )
    write_whole(place.with_name(f"{place.name}.csv"), partial(_csv, rows=drawing.numbers))
    return 1


def drawings(contents: Contents, most: int) -> Iterator[Drawing]:
    """Yield the figures of the leaderboards, then those of trials."""
    for number, board in enumerate(contents.boards, 1):
        row = board.rows[0]
        # Two boards may share their names, and a name may hold what no file name can.
        stem = _PLAIN.sub("-", f"{number}-{row.dataset}-{row.model}-{row.attack}").strip("-")
        yield from _board_drawings(contents, board, stem)
    trials = {trial.trial: trial for trial in contents.trials}
    for identity in choose_costly(contents.trials, most).trials:
        yield from _trial_drawings(contents, trials[identity])


def grid_drawing(grid: Grid, name: str) -> Drawing:
    """Return the figure of a grid of triggers (the paper's Figures 1 and 4)."""
    from benchmark.report.html import plots

    heads = ("trigger", "target", "defense", "role", "asr_after", "std", "trials")
    numbers: list[Sequence[Any]] = [heads]
    for one in grid.series:
        for trigger, bar in zip(grid.triggers, one.bars, strict=True):
            if bar:
                at = (trigger.name, trigger.target, one.label, one.role)
                numbers.append((*at, bar.mean, bar.std, bar.count))
    return Drawing(name, partial(plots.grid_plot, grid), numbers)


def plane_drawings(patches: Patches, stem: str) -> Iterator[Drawing]:
    """Yield generated triggers in the plane (the paper's Figures 3 and 5), if there are enough."""
    from benchmark.report.html import plot_trials

    if len(patches) >= FEWEST:
        for method, name in _PLANES.items():
            plane = embed(patches, method)
            draw = partial(plot_trials.plane_plot, plane, name)
            yield Drawing(f"{stem}/{method}", draw, _places(plane))


def _board_drawings(contents: Contents, board: Board, stem: str) -> Iterator[Drawing]:
    from benchmark.report.html import plots

    grid = grid_of(contents, board)
    if grid.triggers:
        yield grid_drawing(grid, f"{stem}-triggers")
    for cost in _COSTS:
        found = points(board.rows, contents.labels(board), cost)
        if found:
            yield Drawing(
                f"{stem}-{cost.replace('_', '-')}",
                partial(plots.front_plot, found, cost),
                [
                    ("defense", "role", cost, "asr_after", "ci_low", "ci_high", "front"),
                    *((p.label, p.role, p.cost, p.asr, p.low, p.high, p.front) for p in found),
                ],
            )


def _trial_drawings(contents: Contents, trial: TrialRecord) -> Iterator[Drawing]:
    from benchmark.report.html import plot_trials

    stem = f"trials/{trial.trial}"
    names: set[str] = set()
    for number, chart in enumerate(charts(trial.series, without=[EXAMPLES])):
        name = _PLAIN.sub("-", f"{chart.stage}-{chart.quantity}")
        name = f"{name}-{number}" if name in names else name
        names.add(name)
        draw = partial(plot_trials.chart_plot, chart)
        yield Drawing(f"{stem}/curve-{name}", draw, _curve(chart))
    try:
        patches = read_patches(trial, contents.artifacts)
    except UnreadableTriggers:
        return  # the page says so; here there is nothing to draw
    if patches is None or not len(patches):
        return
    victim = contents.models.get(trial.victim)
    pixels = victim.payload.get("trigger") if victim else None
    original = to_patches([pixels]) if pixels is not None else None
    shown = evenly(patches, _SHEET)
    sheet = partial(plot_trials.sheet_plot, original, shown)
    yield Drawing(f"{stem}/recovered", sheet, _pixel_rows(shown))
    yield from plane_drawings(patches, stem)


def _curve(chart: Chart) -> list[Sequence[Any]]:
    rows: list[Sequence[Any]] = [("line", chart.step, chart.quantity)]
    for line in chart.lines:
        rows += [(line.label, x, y) for x, y in zip(line.x, line.y, strict=True)]
    return rows


def _pixel_rows(patches: Any) -> list[Sequence[Any]]:
    _, height, width, _ = patches.shape
    names = [f"{c}_{y}_{x}" for y in range(height) for x in range(width) for c in "rgb"]
    return [("trigger", *names), *((n, *p.ravel().tolist()) for n, p in enumerate(patches))]


def _places(plane: Plane) -> list[Sequence[Any]]:
    drawn = set(plane.drawn.tolist())
    rows = [(n, *point, n in drawn) for n, point in enumerate(plane.points.tolist())]
    return [("trigger", "x", "y", "thumbnail"), *rows]


def _csv(file: Path, rows: Iterable[Sequence[Any]]) -> None:
    with file.open("w", encoding="utf-8", errors="backslashreplace", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows([csv_cell(value) for value in row] for row in rows)
