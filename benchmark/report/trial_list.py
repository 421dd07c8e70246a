"""The trials of a results folder in a list: what `bench show` is given, and what each found."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.text import Text

from benchmark.errors import UserError
from benchmark.report.boards import percent
from benchmark.report.escape import printable
from benchmark.report.table import plain_text

if TYPE_CHECKING:
    import pandas as pd

DIGITS = 8
"""Of an identity, where it is shown to a person: `bench show` takes its start."""


_COLUMNS: Mapping[str, Literal["<", ">"]] = {
    "trial": "<",
    "defense": "<",
    "trigger": "<",
    "target": ">",
    "seed": ">",
    "ASR %": "<",
    "clean acc. %": "<",
    "seconds": ">",
}
"""Heading → the side on which its texts stand."""
_GAP = "  "


def chosen_trials(frame: pd.DataFrame, *, failed: bool, **names: Sequence[str]) -> pd.DataFrame:
    """Return the rows of `Store.trials_frame()` that are asked for, in the order of the list.

    `failed`: those alone that failed. `names`: column → the values to keep; empty: any. Raises
    `UserError`, which lists what there is, for a value that no trial has.
    """
    kept = frame
    for column, wanted in names.items():
        known = set(frame[column])
        for name in wanted:
            if name not in known:
                there = ", ".join(sorted(known))
                raise UserError(f"no trial has the {column} {name!r}", f"there are: {there}")
        kept = kept[kept[column].isin(wanted)] if wanted else kept
    kept = kept[kept["status"] == "failed"] if failed else kept
    order = [
        "dataset",
        "model",
        "attack",
        "defense",
        "variant",
        "trigger",
        "target",
        "seed",
        "trial",
    ]
    return kept.sort_values(order, kind="stable")


def trial_lines(frame: pd.DataFrame, console: Console) -> Iterator[Text]:
    """Yield a line of headings, and for each trial of `frame` a line of its figures.

    Below it stand, in lines as long as `console` is wide, the options that were set for its defense
    and, if it failed, why.
    """
    several = [name for name in ("dataset", "model", "attack") if frame[name].nunique() > 1]
    trials = list(frame.itertuples(index=False))
    texts = [_texts(trial, several) for trial in trials]
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *texts, strict=True)]

    def line(cells: Sequence[str], style: str = "") -> Text:
        sides = zip(cells, _COLUMNS.values(), widths, strict=True)
        whole = _GAP.join(f"{cell:{side}{width}}" for cell, side, width in sides)
        return plain_text(whole.rstrip(), console, style)

    yield line(list(_COLUMNS), "bold")
    margin = " " * (widths[0] + len(_GAP))
    trial: Any
    for trial, cells in zip(trials, texts, strict=True):
        style = "red" if trial.status == "failed" else ""
        yield line(cells, style)
        for more in filter(None, (trial.variant, trial.error)):
            for part in _wrapped(printable(more), console.width - len(margin)):
                yield plain_text(margin + part, console, style or "dim")


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 30), break_long_words=False, break_on_hyphens=False)


def _texts(trial: Any, several: Collection[str]) -> list[str]:
    """Return a trial's texts; data set, model and attack are in them where there are `several`."""
    found = [
        trial.trial[:DIGITS],
        trial.defense,
        " ".join([*(getattr(trial, name) for name in several), trial.trigger]),
        str(trial.target),
        str(trial.seed),
    ]
    if trial.status == "failed":
        found += ["failed", ""]
    else:
        untaken = trial.asr_before < trial.min_asr
        asr = _change(trial.asr_before, trial.asr_after)
        clean = _change(trial.clean_accuracy_before, trial.clean_accuracy_after)
        found += [asr + " (attack did not take)" * untaken, clean]
    return [printable(text) for text in (*found, f"{trial.seconds:.1f}")]


def _change(before: float, after: float) -> str:
    return f"{_rate(before)} → {_rate(after)}"


def _rate(value: float) -> str:
    return percent(None if math.isnan(value) else value)
