"""One HTML file with everything in it: tables as markup, the rest as packed data and scripts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.report.boards import Board
from benchmark.report.escape import printable
from benchmark.report.html.board_view import board_view
from benchmark.report.html.contents import Contents
from benchmark.report.html.examples import Pictures
from benchmark.report.html.fronts import points
from benchmark.report.html.grid import Grid, grid_of
from benchmark.report.html.packing import packed_json, packed_text
from benchmark.report.html.patches import packed, packed_trigger
from benchmark.report.html.provenance import board_facts, provenance
from benchmark.report.html.trials import COLUMNS, Patchwork, choose_costly, details, short_row

if TYPE_CHECKING:
    from jinja2 import Environment

_CHUNK = 25
"""Trials whose details are unpacked together when one of them is opened."""
_SCRIPTS = ("unpack", "theme", "tables", "charts", "patches", "trials", "details", "start")


def page(contents: Contents, *, title: str, command: str, cache_dir: Path, most_costly: int) -> str:
    """Return the report as HTML. Every name and log in it is escaped by the template or packed.

    `most_costly` trials get what takes seconds a trial; example images come from `cache_dir`.
    """
    patches = Patchwork()
    pictures = Pictures(cache_dir)
    labels = [contents.labels(board) for board in contents.boards]
    data = {
        "boards": [_board(contents, board, patches) for board in contents.boards],
        "columns": COLUMNS,
        "trials": list(_short_rows(contents, patches)),
        "chunk": _CHUNK,
    }
    chunks = list(_chunks(contents, pictures, most_costly))
    data["patches"] = [packed_trigger(pixels) for pixels in patches.pixels]
    data["pictures"] = [packed(image[None]) for image in pictures.pixels]
    views = [board_view(board, made) for board, made in zip(contents.boards, labels, strict=True)]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            views=views,
            facts=[board_facts(contents, board) for board in contents.boards],
            provenance=provenance(contents, command),
            trials=contents.trials,
            failed=sum(trial.status == "failed" for trial in contents.trials),
            data=packed_json(data),
            chunks=chunks,
            plotly=packed_text(_plotly()),
            style=_asset("style.css"),
            scripts=[_asset(f"{name}.js") for name in _SCRIPTS],
        )
    )


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("benchmark.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["printable"] = printable
    return made


def _asset(name: str) -> str:
    return (resources.files("benchmark.report.html") / "templates" / name).read_text("utf-8")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _board(contents: Contents, board: Board, patches: Patchwork) -> dict[str, Any]:
    labels = contents.labels(board)
    return {
        "title": printable(board.title),
        "grid": _grid(grid_of(contents, board), patches),
        "fronts": {
            cost: [
                asdict(point) | {"label": printable(point.label)}
                for point in points(board.rows, labels, cost)
            ]
            for cost in ("clean_accuracy", "seconds")
        },
    }


def _grid(grid: Grid, patches: Patchwork) -> dict[str, Any]:
    return {
        "triggers": [
            {"label": printable(trigger.label), "patch": patches.number(trigger.pixels)}
            for trigger in grid.triggers
        ],
        "series": [
            {
                "label": printable(series.label),
                "role": series.role,
                "bars": [bar and [bar.mean, bar.std, bar.count] for bar in series.bars],
            }
            for series in grid.series
        ],
    }


def _short_rows(contents: Contents, patches: Patchwork) -> Iterator[list[Any]]:
    numbers = {board.rows[0].group: at for at, board in enumerate(contents.boards)}
    for trial in contents.trials:
        yield short_row(contents, trial, numbers[trial.group], patches)


def _chunks(contents: Contents, pictures: Pictures, most_costly: int) -> Iterator[str]:
    costly = choose_costly(contents.trials, most_costly)
    for start in range(0, len(contents.trials), _CHUNK):
        trials = contents.trials[start : start + _CHUNK]
        yield packed_json([details(contents, trial, costly, pictures) for trial in trials])
