"""Flat rows as a pandas table, a column at a time because rows of objects are ten times slower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark.records import TrialRecord
from benchmark.store.codec import Row
from benchmark.store.faults import DamageError
from benchmark.store.layout import MODEL, Layout

Shared = Mapping[str, Mapping[str, Any]]


def frame(layout: Layout, rows: Sequence[Row], shared: Shared) -> pd.DataFrame:
    """Return the flat and the shared columns of `rows`; text as objects, numbers as NumPy's."""
    columns = dict(zip(layout.columns, zip(*rows, strict=True), strict=False))
    made = {name: _column(layout, name, columns.get(name, ())) for name in layout.columns}
    return pd.DataFrame(made | _spread_out(layout, made.pop("shared"), shared), copy=False)


def _column(layout: Layout, name: str, values: Sequence[Any]) -> Any:
    if name in layout.numbers:
        return np.array(values, dtype=np.float64)
    if name in layout.integers:
        return pd.array(values, dtype="Int64") if None in values else np.array(values, np.int64)
    return np.array(values, dtype=object)


def _spread_out(layout: Layout, hashes: Any, shared: Shared) -> dict[str, Any]:
    """Return the shared columns, a value for each row."""
    places = {name: place for place, name in enumerate(shared)}
    try:
        at = np.fromiter((places[name] for name in hashes), dtype=np.intp, count=len(hashes))
    except KeyError as error:
        raise DamageError(f"a row of {layout.table}_shared is missing") from error
    columns = {}
    for name in layout.shared:
        each = (fields[name] for fields in shared.values())
        values = np.fromiter(each, dtype=object, count=len(shared))
        columns[name] = values[at]
    return columns


def with_weights(made: pd.DataFrame, models: Sequence[Row]) -> pd.DataFrame:
    """Return the table with the hash of each victim's weights, out of the flat rows of `models`."""
    at = MODEL.columns.index("artifact")
    found = {row[0]: row[at] for row in models}
    made["weights"] = np.array([found.get(v, "") for v in made["victim"]], dtype=object)
    return made


CLAIMS = ("detection", "false_alarm")
"""Metrics of defenses that name a target class; few have them, so they are no flat columns."""


def witnesses(made: pd.DataFrame) -> list[str]:
    """Return one finished trial of each row of a leaderboard that may claim to find the target.

    Which metrics a trial has, its defense and options decide: one tells for all of its row.
    """
    told = {knowledge: "target class" in knowledge for knowledge in set(made["knowledge"])}
    free = (made["role"] == "ranked") & ~made["knowledge"].map(told).astype(bool)
    rows = made[free & (made["status"] == "done")].groupby(["group", "variant_id"], sort=False)
    return sorted(rows["trial"].first())


def claimants(made: pd.DataFrame, asked: Sequence[TrialRecord]) -> list[str]:
    """Return every finished trial of the rows of which a witness, in `asked`, has a claim."""
    claiming = {
        (one.group, one.variant_id) for one in asked if not one.metrics.keys().isdisjoint(CLAIMS)
    }
    if not claiming:
        return []
    rows = pd.MultiIndex.from_frame(made[["group", "variant_id"]]).isin(claiming)
    return sorted(made.loc[rows & (made["status"] == "done"), "trial"])


def with_claims(made: pd.DataFrame, records: Sequence[TrialRecord]) -> pd.DataFrame:
    """Return the table with a column for each of `CLAIMS`, out of the details of `records`."""
    for name in CLAIMS:
        values = {record.trial: record.metrics.get(name) for record in records}
        made[name] = made["trial"].map(values).astype(np.float64)
    return made
