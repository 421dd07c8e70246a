"""Two rows of a leaderboard against each other, on the victims that both have faced."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmark.report.aggregate import averaged
from benchmark.report.bootstrap import Floats
from benchmark.report.leaderboard import leaderboard
from benchmark.report.rows import Row
from benchmark.report.sampling import interval, units, with_models
from benchmark.report.selecting import pairs_named

COMPARED = ("asr_after", "clean_accuracy_after", "robust_accuracy_after", "seconds")
"""What is compared: fractions in [0, 1], and the wall time of the defense."""

_ROUNDING = 1e-12
"""A difference within it is the rounding of a sum, and counts as zero."""


@dataclass(frozen=True)
class Difference:
    """One figure of A minus the same of B, over the pairs in which both have it.

    Without pairs every number is None; under three attacks and seeds the interval is.
    """

    figure: str
    """One of `COMPARED`."""
    pairs: int
    a_mean: float | None
    b_mean: float | None
    mean: float | None
    """Mean of A minus B, pair by pair."""
    ci_low: float | None
    """95 % bootstrap interval of `mean`, over the pairs' attacks and seeds."""
    ci_high: float | None
    units: int
    """Different attacks among the pairs, or seeds if these are more: what the interval rests on."""

    @property
    def distinguishable(self) -> bool | None:
        """Say whether the interval leaves out zero; None where there is no interval."""
        if self.ci_low is None or self.ci_high is None:
            return None
        return self.ci_low > _ROUNDING or self.ci_high < -_ROUNDING


@dataclass(frozen=True)
class Comparison:
    """Rows A and B of one leaderboard. A pair is a victim that both were scored on."""

    a: Row
    b: Row
    pairs: int
    models: int
    """Different models among the victims of the pairs; see `Row.models`."""
    units: int
    """Different attacks among them, or seeds if these are more: what an interval rests on."""
    only_a: int
    """Victims on which A has a finished trial and B has none, or a failed one."""
    only_b: int
    differences: tuple[Difference, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        about = ("defense", "version", "variant", "variant_id", "role", "knowledge")
        board = ("dataset", "model", "attack", "setting", "group")
        a, b = self.a.as_dict(), self.b.as_dict()
        return {
            **{name: a[name] for name in board},
            "a": {name: a[name] for name in about},
            "b": {name: b[name] for name in about},
            **{"pairs": self.pairs, "models": self.models, "units": self.units},
            **{"only_a": self.only_a, "only_b": self.only_b},
            "differences": [
                asdict(found) | {"distinguishable": found.distinguishable}
                for found in self.differences
            ],
        }


def compare(frame: pd.DataFrame, a: str, b: str) -> list[Comparison]:
    """Compare the rows named `a` and `b` in every leaderboard of `frame` that has both.

    `frame` is a `Store.trials_frame()`. Only finished trials on victims whose attack took count,
    as in the leaderboard. Raises `UserError` as `pairs_named` does.
    """
    usable = with_models(frame)[averaged(frame)]
    return [_compare(usable, *rows) for rows in pairs_named(leaderboard(frame), a, b)]


def _compare(usable: pd.DataFrame, a: Row, b: Row) -> Comparison:
    ours, theirs = _by_victim(usable, a), _by_victim(usable, b)
    both = ours.index.intersection(theirs.index)
    shared = len(both)
    return Comparison(
        a=a,
        b=b,
        pairs=shared,
        models=ours.loc[both, "of_model"].nunique(),
        units=units(ours.loc[both]),
        only_a=len(ours) - shared,
        only_b=len(theirs) - shared,
        differences=tuple(paired(ours, theirs, name) for name in COMPARED),
    )


def _by_victim(usable: pd.DataFrame, row: Row) -> pd.DataFrame:
    """Return the row's trials under their victims; a row has one trial on each."""
    mine = (usable["group"] == row.group) & (usable["variant_id"] == row.variant_id)
    return usable[mine].set_index("victim")


def paired(ours: pd.DataFrame, theirs: pd.DataFrame, figure: str) -> Difference:
    """Return one figure of `ours` minus `theirs`, trials under the identities of their victims.

    The trials are those of `with_models`. A model is drawn with all of its pairs, so what makes it
    easy or hard cancels out.
    """
    both = pd.concat([ours[figure], theirs[figure]], axis=1, join="inner", keys=["a", "b"])
    both = both.dropna().sort_index()
    a, b = both.to_numpy(dtype=np.float64).T
    mine = ours.loc[both.index].assign(difference=a - b)
    low, high = interval(mine, "difference")
    return Difference(figure, len(a), _mean(a), _mean(b), _mean(a - b), low, high, units(mine))


def _mean(values: Floats) -> float | None:
    return math.fsum(values) / len(values) if len(values) else None
