"""All rows of the study, written as CSV files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench_mesa.theory.cases import CASES, Case
from bench_mesa.theory.exact import exact_rows
from bench_mesa.theory.gaussians import gaussian_rows
from bench_mesa.theory.measure import Canvas
from bench_mesa.theory.trained import SEARCHES, trained_rows

Row = dict[str, Any]


@dataclass
class Study:
    """What was measured, one list of rows a file."""

    ensembles: list[Row] = field(default_factory=list)
    """theory.csv: distances of the whole staircase, a row for each N and kind of sub-models."""
    levels: list[Row] = field(default_factory=list)
    """levels.csv: each trained sub-model of the staircase of 16 levels."""
    information: list[Row] = field(default_factory=list)
    """information.csv: the neural estimate against the closed form."""

    def write(self, folder: Path) -> list[Path]:
        """Write the files, numbers with 5 significant digits."""
        named = {"theory": self.ensembles, "levels": self.levels, "information": self.information}
        return [_write(folder / f"{name}.csv", rows) for name, rows in named.items()]


def study(cases: Sequence[Case] = CASES, say: Callable[[str], None] = lambda _text: None) -> Study:
    """Measure everything; `say` is told what comes next."""
    found = Study()
    for case in cases:
        canvas = Canvas.of(case)
        head = {"case": case.name, "dimension": case.dimension, "link": case.link.name}
        found.ensembles += [head | row for row in exact_rows(canvas)]
        for name in SEARCHES:
            say(f"{case.name}, {case.dimension}-D, link {case.link.name}: {name}")
            ensembles, levels = trained_rows(canvas, name)
            found.ensembles += [head | row for row in ensembles]
            found.levels += [head | row for row in levels]
    say("mutual information of Gaussians")
    found.information = gaussian_rows()
    return found


def _write(path: Path, rows: list[Row]) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _text(value) for name, value in row.items()} for row in rows)
    return path


def _text(value: Any) -> Any:
    return f"{value:.5g}" if isinstance(value, float) else value
