"""A trial's diagnostics as curves: one chart for each quantity, one line for each sub-model."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_STEPS = ("epoch", "step", "iteration", "batch")
_MOST_LINES = 24
_MOST_POINTS = 200
_NUMBERED = re.compile(r"(.+?) (\d+)")

Rows = Sequence[Mapping[str, Any]]


@dataclass
class Line:
    """The points of one curve; a value that is not finite is None."""

    label: str
    x: list[float] = field(default_factory=list)
    y: list[float | None] = field(default_factory=list)


@dataclass(frozen=True)
class Chart:
    """One quantity of one stage."""

    stage: str
    quantity: str
    step: str
    """What the horizontal axis counts."""
    lines: list[Line]


def charts(rows: Rows, without: Iterable[str] = ()) -> list[Chart]:
    """Return the charts of a record's `series`, in the order in which they were noted.

    Stages called `retrain 1`, `retrain 2`, … become lines of one chart. At most 200 points a line
    and 24 lines a chart are kept, evenly chosen.
    """
    stages: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for row in rows:
        name = str(row.get("series", ""))
        if name in without:
            continue
        numbered = _NUMBERED.fullmatch(name)
        stage, number = numbered.groups() if numbered else (name, "")
        stages.setdefault(stage, []).append((number, row))
    return [chart for stage, found in stages.items() for chart in _stage(stage, found)]


def _stage(stage: str, found: list[tuple[str, Mapping[str, Any]]]) -> list[Chart]:
    rows = [row for _, row in found]
    numeric = [name for name in dict.fromkeys(n for r in rows for n in r) if _numeric(rows, name)]
    step = next((name for name in _STEPS if name in numeric), "")
    parts = _parts(found, numeric, step)
    quantities = [name for name in numeric if name not in (step, parts)]
    made = [
        Chart(stage, name, step or "row", _lines(found, name, step, parts)) for name in quantities
    ]
    return [chart for chart in made if any(len(line.x) > 1 for line in chart.lines)]


def _numeric(rows: Rows, name: str) -> bool:
    values = [row[name] for row in rows if name in row]
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _parts(found: list[tuple[str, Mapping[str, Any]]], numeric: list[str], step: str) -> str:
    """Return the name of the column that tells the sub-models of one step apart, or nothing."""
    at = [(number, row.get(step)) for number, row in found]
    if not step or len(set(at)) == len(at):
        return ""
    kinds = {name: {row.get(name) for _, row in found} for name in numeric if name != step}
    for name in sorted(kinds, key=lambda name: len(kinds[name])):
        pairs = {(*place, row.get(name)) for place, (_, row) in zip(at, found, strict=True)}
        if len(pairs) == len(at) and len(kinds[name]) <= _MOST_LINES:
            return name
    return ""


def _lines(
    found: list[tuple[str, Mapping[str, Any]]], name: str, step: str, parts: str
) -> list[Line]:
    lines: dict[str, Line] = {}
    for at, (number, row) in enumerate(found):
        if name not in row or not _finite(row.get(step, at)):
            continue
        label = " ".join(filter(None, (number, f"{parts} {row.get(parts)}" if parts else "")))
        line = lines.setdefault(label, Line(label))
        line.x.append(float(row[step]) if step in row else float(at))
        line.y.append(_rounded(row[name]))
    return [_thinned(line) for line in _evenly(list(lines.values()), _MOST_LINES)]


def _rounded(value: float) -> float | None:
    return float(f"{value:.4g}") if _finite(value) else None


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _thinned(line: Line) -> Line:
    return Line(line.label, _evenly(line.x, _MOST_POINTS), _evenly(line.y, _MOST_POINTS))


def _evenly(values: list[Any], most: int) -> list[Any]:
    if len(values) <= most:
        return values
    return [values[round(n * (len(values) - 1) / (most - 1))] for n in range(most)]
