"""Trials to leaderboard rows: means, spreads, worst cases and intervals."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import pandas as pd

from benchmark.report.bootstrap import intervals
from benchmark.report.rows import Row, Untaken
from benchmark.report.sampling import samples, with_models
from benchmark.report.setting import board_setting

STAYED = 0.10
"""ASR above which a backdoor is said to have stayed; a fraction."""

_MEANS = {
    "asr_before_mean": "asr_before",
    "asr_after_mean": "asr_after",
    "base_clean_accuracy_mean": "base_clean_accuracy",
    "clean_accuracy_before_mean": "clean_accuracy_before",
    "clean_accuracy_after_mean": "clean_accuracy_after",
    "robust_accuracy_before_mean": "robust_accuracy_before",
    "robust_accuracy_after_mean": "robust_accuracy_after",
    "der_mean": "der",
    "detection_mean": "detection",
    "false_alarm_mean": "false_alarm",
    "seconds_mean": "seconds",
    "peak_memory_mib_mean": "peak_memory_mib",
    "forward_images_mean": "forward_images",
    "backward_images_mean": "backward_images",
}
_SHARED = (
    *("dataset", "model", "attack", "setting", "group", "defense", "version", "variant"),
    *("variant_id", "role", "knowledge"),
)
Fields = dict[str, Any]


def aggregate(frame: pd.DataFrame) -> list[Row]:
    """Return one row for each (group, variant_id) of `frame`, a `Store.trials_frame()`.

    Ranks are not given yet. A trial of several repaired models counts once, with their mean.
    """
    if frame.empty:
        return []
    frame = with_models(frame)
    frame = frame.assign(row=frame.groupby(["group", "variant_id"], sort=False).ngroup())
    # Of rows on the same victims sums are taken in the same order: equal values have equal means.
    counted = frame[averaged(frame)].sort_values("victim", kind="stable")
    untaken = frame[(frame["status"] == "done") & (frame["asr_before"] < frame["min_asr"])]
    rows = _counts(frame, counted)
    for figures in (_figures(counted), _intervals(counted), _untaken(untaken)):
        for at, fields in figures.items():
            rows[at] |= fields
    return [Row(**fields) for fields in rows]


def averaged(frame: pd.DataFrame) -> pd.Series[bool]:
    """Return which trials count: done, on a victim whose attack took or that had none."""
    took = frame["min_asr"].isna() | (frame["asr_before"] >= frame["min_asr"])
    return (frame["status"] == "done") & took


def by_attack(trials: pd.DataFrame) -> pd.Series[float]:
    """Return the mean ASR after the defense for each trigger and target, over their seeds.

    `trials`: those that count and have a figure, with a column `row`; sorted by row, trigger and
    target, which the result has as its index.
    """
    return trials.groupby(["row", "trigger", "target"], sort=True)["asr_after"].mean()


def _counts(frame: pd.DataFrame, averaged: pd.DataFrame) -> list[Fields]:
    by_row = frame.groupby("row", sort=True)
    shared = by_row[list(_SHARED)].first().to_dict("records")
    settings = {
        group: board_setting(texts)
        for group, texts in frame.groupby("group")["setting"].unique().items()
    }
    triggers, seeds = _different(frame, "trigger"), _different(frame, "seed")
    trials = by_row.size()
    failed = (frame["status"] == "failed").groupby(frame["row"]).sum()
    repeats = by_row["repeats"].max()
    attacked = frame["min_asr"].notna().groupby(frame["row"]).any()
    by_averaged = averaged.groupby("row")
    counted = by_averaged.size().reindex(trials.index, fill_value=0)
    models = by_averaged["of_model"].nunique().reindex(trials.index, fill_value=0)
    return [
        {
            **{str(name): value for name, value in fields.items()},
            "setting": settings[fields["group"]],
            "triggers": triggers[at],
            "seeds": seeds[at],
            "ranked": fields["role"] == "ranked",
            "trials": int(trials[at]),
            "failed": int(failed[at]),
            "averaged": int(counted[at]),
            "models": int(models[at]),
            "repeats": int(repeats[at]),
            "backdoored": bool(attacked[at]),
            "attack_failed": (),
        }
        for at, fields in enumerate(shared)
    ]


def _different(frame: pd.DataFrame, column: str) -> dict[int, tuple[Any, ...]]:
    """Return each row's different values of a column, sorted, as plain data."""
    pairs = frame[["row", column]].drop_duplicates().sort_values(["row", column])
    return {
        _index(at): tuple(values.tolist()) for at, values in pairs.groupby("row", sort=True)[column]
    }


def _figures(averaged: pd.DataFrame) -> dict[int, Fields]:
    by_row = averaged.groupby("row", sort=True)
    means = by_row[list(_MEANS.values())].mean()
    means.columns = pd.Index(list(_MEANS))
    # A model on which several stamps were tried is one that was searched.
    each = averaged.groupby(["row", "of_model"], sort=True)["false_alarm"].mean()
    means["false_alarm_mean"] = each.groupby("row", sort=True).mean()
    after = averaged.dropna(subset=["asr_after"])
    by_after = after.groupby("row", sort=True)["asr_after"]
    attacks = by_attack(after)
    worst = attacks.loc[attacks.groupby("row").idxmax()].reset_index().set_index("row")
    # A trial of a single model has no spread, but it has a model.
    largest = averaged["asr_after_max"].fillna(averaged["asr_after"])
    figures = means.assign(
        asr_after_std=by_after.std(ddof=1),
        asr_after_worst=worst["asr_after"],
        asr_after_worst_trigger=worst["trigger"],
        asr_after_over_10=(after["asr_after"] > STAYED).groupby(after["row"]).mean(),
        asr_after_models_std=by_row["asr_after_std"].mean(),
        asr_after_models_worst=largest.groupby(averaged["row"]).max(),
    )
    records = figures.to_dict("records")
    return {
        _index(at): {str(name): _plain(value) for name, value in fields.items()}
        for at, fields in zip(figures.index, records, strict=True)
    }


def _intervals(averaged: pd.DataFrame) -> dict[int, Fields]:
    after = averaged.dropna(subset=["asr_after"])
    drawn = samples(after, "asr_after")
    return {
        _index(at): {
            "asr_after_ci_low": found[0],
            "asr_after_ci_high": found[1],
            "units": drawn[at].units,
        }
        for at, found in zip(drawn, intervals(list(drawn.values())), strict=True)
        if found is not None
    }


def _untaken(untaken: pd.DataFrame) -> dict[int, Fields]:
    found: dict[int, list[Untaken]] = {}
    wanted = untaken[["row", "trigger", "target", "seed", "asr_before"]]
    for at, trigger, target, seed, asr in wanted.itertuples(index=False):
        item = Untaken(str(trigger), int(target), int(seed), float(asr))
        found.setdefault(_index(at), []).append(item)
    return {
        at: {"attack_failed": tuple(sorted(items, key=lambda u: (u.trigger, u.target, u.seed)))}
        for at, items in found.items()
    }


def _index(value: Hashable) -> int:
    return int(str(value))


def _plain(value: Any) -> Any:
    """Return None for what pandas has as NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value
