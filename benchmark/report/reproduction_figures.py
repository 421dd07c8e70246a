"""The figures of a reproduction: ASR by trigger, and generated triggers in the plane."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.records import TrialRecord
from benchmark.report.aggregate import averaged
from benchmark.report.html.contents import Contents
from benchmark.report.html.figures import Drawing, grid_drawing, plane_drawings, save
from benchmark.report.html.grid import Line, arrange
from benchmark.report.html.patches import Patches, UnreadableTriggers, read_patches
from benchmark.report.reproduction import Trials
from benchmark.study import Grid, Study, StudyRow


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it; its `.svg`, `.pdf`, `.png` and `.csv` lie in their folder."""

    grid: str
    name: str
    """Path in the folder, without an ending."""
    caption: str


def draw(
    study: Study, grids: Sequence[Grid], trials: Trials, contents: Contents, folder: Path
) -> list[Picture]:
    """Write what the study's figures can be drawn of so far, and return it, grid by grid."""
    pictures = []
    for grid in grids:
        for drawing, caption in _drawings(study, grid, trials, contents):
            save(drawing, folder)
            pictures.append(Picture(grid.name, drawing.name, caption))
    return pictures


def _drawings(
    study: Study, grid: Grid, trials: Trials, contents: Contents
) -> Iterator[tuple[Drawing, str]]:
    rows = [row for row in study.row if not row.ablation and (grid.name, row.label) in trials]
    counted = _labelled(contents.frame, grid, rows, trials)
    if counted.empty:
        return
    roles = {str(one): str(role) for one, role in counted.groupby("row")["role"].first().items()}
    lines = [
        Line(row.label, row.label, roles[row.label], roles[row.label] == "ranked")
        for row in rows
        if row.label in roles
    ]
    arranged = arrange(counted, "row", lines, contents)
    yield grid_drawing(arranged, f"{grid.name}-triggers"), "ASR after each defense, by trigger"
    if study.drawn_row:
        yield from _planes(grid, trials.get((grid.name, study.drawn_row), ()), contents)


def _labelled(
    frame: pd.DataFrame, grid: Grid, rows: Iterable[StudyRow], trials: Trials
) -> pd.DataFrame:
    """Return the trials that count, with the label of the row that each belongs to."""
    row_of = {trial: row.label for row in rows for trial in trials[grid.name, row.label]}
    labelled = frame.assign(row=frame["trial"].map(row_of))
    return labelled[labelled["row"].notna() & averaged(labelled)]


def _planes(
    grid: Grid, identities: Iterable[str], contents: Contents
) -> Iterator[tuple[Drawing, str]]:
    """Yield the maps of the first trial, in the order of its trigger, that kept its triggers."""
    wanted = set(identities)
    for trial in contents.trials:
        patches = _patches(trial, contents) if trial.trial in wanted else None
        if patches is not None:
            what = f"triggers generated against trigger {trial.trigger}, target {trial.target}"
            for drawing in plane_drawings(patches, f"{grid.name}-generated"):
                yield drawing, what
            return


def _patches(trial: TrialRecord, contents: Contents) -> Patches | None:
    try:
        return read_patches(trial, contents.artifacts)
    except UnreadableTriggers:
        return None
