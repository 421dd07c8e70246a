"""Which models, attacks and seeds stand behind a mean: what the bootstrap draws again."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd

from benchmark.report.bootstrap import Sample, intervals


def with_models(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the trials with `of_model`, a number for each different model, and what it is of.

    Two victims are one model, and no two witnesses, if their weights are the same: a model that
    somebody brought is that of every seed. In the control arm they are if they come from one base
    model, which the seed tells: whatever is stamped on it, nothing was planted. The numbers are in
    the order of the victims' identities, so that rows on the same victims draw them together.

    `of_attack` and `of_seed` number its trigger and target, and its seed; the first of them where
    one model stands for several.
    """
    control = frame["min_asr"].isna()
    seeds = "seed " + frame["seed"].astype(str)
    known = frame["weights"].where(frame["weights"] != "", frame["victim"])
    key = pd.factorize(frame["group"] + "\0" + known.mask(control, seeds))[0]
    victim = pd.Series(pd.factorize(frame["victim"], sort=True)[0], index=frame.index)
    of_model = victim.groupby(key).transform("min")
    # What is stamped on a clean model is no attack: its base model is all that there is of it.
    attack = (frame["trigger"].astype(str) + "\0" + frame["target"].astype(str)).mask(control, "")
    attacks = pd.Series(pd.factorize(attack)[0], index=frame.index)
    return frame.assign(
        of_model=of_model,
        of_attack=attacks.groupby(of_model).transform("min"),
        of_seed=frame["seed"].groupby(of_model).transform("min"),
    )


def samples(frame: pd.DataFrame, figure: str) -> dict[Hashable, Sample]:
    """Return the sample of a figure for each value of the column `row`.

    `frame` is one of `with_models`, without trials that lack the figure.
    """
    models = frame.groupby(["row", "of_model"], sort=True).agg(
        sums=(figure, "sum"),
        counts=(figure, "count"),
        attacks=("of_attack", "first"),
        seeds=("of_seed", "first"),
    )
    if models.empty:
        return {}
    rows = models.index.get_level_values(0).to_numpy()
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    parts = (
        np.split(models[name].to_numpy(dtype=kind), starts[1:])
        for name, kind in (("sums", float), ("counts", float), ("attacks", int), ("seeds", int))
    )
    return {row: Sample(*own) for row, *own in zip(rows[starts], *parts, strict=True)}


def units(frame: pd.DataFrame) -> int:
    """Return how many different attacks there are, or seeds if these are more."""
    return int(frame[["of_attack", "of_seed"]].nunique().max())


def interval(frame: pd.DataFrame, figure: str) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a figure's mean over all of `frame`, or None twice."""
    (found,) = intervals([*samples(frame.assign(row=0), figure).values()]) or (None,)
    return found or (None, None)
