"""ASR after every defense for each trigger of an attack grid: the paper's Figures 1 and 4."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark.report.aggregate import averaged
from benchmark.report.boards import Board
from benchmark.report.html.contents import Contents


@dataclass(frozen=True)
class Bar:
    """One defense on one trigger; fractions."""

    mean: float
    std: float | None
    """Over the repaired models of a trial if there are several, else over seeds; None for one."""
    count: int
    """Trials, one a seed."""


@dataclass(frozen=True)
class Series:
    """One row of the leaderboard over all triggers."""

    label: str
    variant_id: str
    role: str
    bars: tuple[Bar | None, ...]
    """One a trigger, in the order of `Grid.triggers`; None where no trial counts."""


@dataclass(frozen=True)
class GridTrigger:
    """One place on the axis."""

    name: str
    target: int
    label: str
    """The name; with the target class where the grid has several."""
    pixels: Any
    """Nested lists of shape (3, height, width) in [0, 1]; None if its victim is not stored."""


@dataclass(frozen=True)
class Grid:
    """The numbers of one figure; triggers sorted by the mean ASR that the ranked rows left."""

    triggers: tuple[GridTrigger, ...]
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Line:
    """One series to be drawn: the trials whose cell in the column `of` is `key`."""

    key: str
    label: str
    role: str
    ranked: bool
    """Whether its ASR counts in the order of the triggers."""


def grid_of(contents: Contents, board: Board) -> Grid:
    """Return the figure of `board`, from the trials that its averages are over."""
    group = contents.frame[contents.frame["group"] == board.rows[0].group]
    labels = contents.labels(board)
    lines = [
        Line(row.variant_id, labels[row.variant_id], row.role, row.ranked) for row in board.rows
    ]
    return arrange(group[averaged(group)], "variant_id", lines, contents)


def arrange(counted: pd.DataFrame, of: str, lines: Sequence[Line], contents: Contents) -> Grid:
    """Return the figure of the trials `counted`, one series a line."""
    by = counted[counted["asr_after"].notna()].groupby([of, "trigger", "target"], sort=True)
    table = by.agg(
        mean=("asr_after", "mean"),
        over_seeds=("asr_after", "std"),
        over_models=("asr_after_std", "mean"),
        count=("asr_after", "size"),
        victim=("victim", "first"),
    )
    found = {(str(v), str(t), int(c)): row for (v, t, c), row in _rows(table)}
    places = _sorted_places(found, {line.key for line in lines if line.ranked})
    several = len({target for _, target in places}) > 1
    victims = {key[1:]: str(row["victim"]) for key, row in found.items()}
    triggers = tuple(
        GridTrigger(
            name=name,
            target=target,
            label=f"{name} → {target}" if several else name,
            pixels=_pixels(contents, victims[name, target]),
        )
        for name, target in places
    )
    series = tuple(
        Series(
            label=line.label,
            variant_id=line.key,
            role=line.role,
            bars=tuple(_bar(found.get((line.key, *place))) for place in places),
        )
        for line in lines
    )
    return Grid(triggers, tuple(one for one in series if any(one.bars)))


def _rows(table: pd.DataFrame) -> Iterator[tuple[Any, dict[str, Any]]]:
    return zip(table.index, table.to_dict("records"), strict=True)  # type: ignore[arg-type]


def _sorted_places(
    found: dict[tuple[str, str, int], dict[str, Any]], competing: set[str]
) -> list[tuple[str, int]]:
    """Return (trigger, target), the easiest first; last where no ranked defense has a figure."""
    left: dict[tuple[str, int], list[float]] = {}
    for (variant, name, target), row in found.items():
        values = left.setdefault((name, target), [])
        if variant in competing or not competing:
            values.append(float(row["mean"]))
    means = {key: sum(values) / (len(values) or 1) for key, values in left.items()}
    return sorted(left, key=lambda key: (not left[key], means[key], key))


def _bar(row: dict[str, Any] | None) -> Bar | None:
    if row is None:
        return None
    spreads = [float(row[name]) for name in ("over_models", "over_seeds")]
    std = next((value for value in spreads if math.isfinite(value)), None)
    return Bar(float(row["mean"]), std, int(row["count"]))


def _pixels(contents: Contents, victim: str) -> Any:
    model = contents.models.get(victim)
    return model.payload.get("trigger") if model else None
