"""Our figures beside a paper's: what was measured of a study, and how it compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmark.report.aggregate import averaged, by_attack
from benchmark.report.bootstrap import ENOUGH, FEWEST
from benchmark.report.compare import Difference, paired
from benchmark.report.sampling import interval, units, with_models
from benchmark.study import Claim, Grid, Published, Study, StudyRow

Trials = Mapping[tuple[str, str], frozenset[str]]
"""(grid, label of a row) → identities of the trials that belong to it."""


@dataclass(frozen=True)
class Figure:
    """ASR after a defense over a grid, ours and the paper's; fractions, None where there is none.

    `trials` counts the finished trials on victims whose attack took; `planned` those asked for.
    """

    grid: str
    row: str
    planned: int
    trials: int
    mean: float | None
    std: float | None
    low: float | None
    """95 % bootstrap interval of the mean, over attacks and seeds; None under three."""
    high: float | None
    units: int
    """Different attacks, or seeds if these are more: what the interval rests on."""
    worst: float | None
    """Largest mean over the seeds of one trigger and target; `lowest` the smallest."""
    lowest: float | None
    clean_before: float | None
    clean_after: float | None
    published: Published | None

    @property
    def verdict(self) -> str:
        """Say in words how our mean stands to the paper's."""
        if self.mean is None:
            return "not measured"
        if self.published is None:
            return "the paper gives no figure"
        off = 100 * (self.mean - self.published.mean)
        by = f"{abs(off):.1f} points {'above' if off > 0 else 'below'} the paper"
        if self.low is None or self.high is None:
            return f"{by}; fewer than {FEWEST} attacks or seeds, so no verdict"
        few = f" (few attacks or seeds: {self.units})" if self.units < ENOUGH else ""
        if self.low <= self.published.mean <= self.high:
            return f"agrees: the paper's mean lies in our interval{few}"
        return f"differs: {by}{few}"


@dataclass(frozen=True)
class ClaimFigure:
    """A claim of the paper as a paired difference of ASR after the defense, in fractions."""

    grid: str
    claim: Claim
    found: Difference


def figures(
    study: Study, grids: Sequence[Grid], trials: Trials, frame: pd.DataFrame
) -> list[Figure]:
    """Return a figure for every row and grid that was asked for, in the study's order."""
    usable = _usable(frame)
    return [
        _figure(grid, row, trials[grid.name, row.label], usable)
        for grid in grids
        for row in study.row
        if (grid.name, row.label) in trials
    ]


def claims(
    study: Study, grids: Sequence[Grid], trials: Trials, frame: pd.DataFrame
) -> list[ClaimFigure]:
    """Return the study's claims on each grid, over the victims that both rows have faced."""
    usable = _usable(frame)
    return [
        ClaimFigure(
            grid.name,
            claim,
            paired(
                _of(usable, trials[grid.name, claim.first]).set_index("victim"),
                _of(usable, trials[grid.name, claim.second]).set_index("victim"),
                "asr_after",
            ),
        )
        for grid in grids
        for claim in study.claim
        if {(grid.name, claim.first), (grid.name, claim.second)} <= trials.keys()
    ]


def _usable(frame: pd.DataFrame) -> pd.DataFrame:
    return with_models(frame)[averaged(frame)].set_index("trial", drop=False)


def _of(usable: pd.DataFrame, identities: frozenset[str]) -> pd.DataFrame:
    return usable[usable.index.isin(identities)]


def _figure(grid: Grid, row: StudyRow, identities: frozenset[str], usable: pd.DataFrame) -> Figure:
    mine = _of(usable, identities)
    after = mine["asr_after"].to_numpy(dtype=np.float64)
    attacks = by_attack(mine.dropna(subset=["asr_after"]).assign(row=0))
    low, high = interval(mine, "asr_after")
    return Figure(
        grid=grid.name,
        row=row.label,
        planned=len(identities),
        trials=len(mine),
        mean=_or_none(after.mean() if len(after) else None),
        std=_or_none(after.std(ddof=1) if len(after) > 1 else None),
        low=low,
        high=high,
        units=units(mine),
        worst=_or_none(attacks.max() if len(after) else None),
        lowest=_or_none(attacks.min() if len(after) else None),
        clean_before=_or_none(mine["clean_accuracy_before"].mean() if len(mine) else None),
        clean_after=_or_none(mine["clean_accuracy_after"].mean() if len(mine) else None),
        published=row.published.get(grid.name),
    )


def _or_none(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
