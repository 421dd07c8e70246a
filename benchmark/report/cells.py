"""The texts of a leaderboard row, in percent, the same for a terminal, Markdown and LaTeX."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.report.boards import NOTHING, knows, percent
from benchmark.report.rows import Row


@dataclass(frozen=True)
class Cells:
    """One row as texts; `-` stands for what has no value."""

    rank: str
    name: str
    variant: str
    """Version, the options set by hand, and where needed the start of the row's identity."""
    marks: str
    knows: str
    trials: str
    before: str
    after: str
    interval: str
    worst: str
    stayed: str
    models: tuple[str, ...]
    """Spread over the repaired models of a trial, in two parts; empty where there is one model."""
    clean_before: str
    clean_after: str
    robust: str
    seconds: str
    memory: str

    @property
    def full_name(self) -> str:
        """The defense with its options and marks on one line."""
        marks = f"({self.marks})" if self.marks else ""
        return " ".join(filter(None, (self.name, self.variant, marks)))


def cells(row: Row) -> Cells:
    """Return the texts of `row`."""
    told = {
        "incomplete": row.incomplete,
        "look": row.look,
        "accuracy lost": row.accuracy_lost,
    }
    marks = [word for word, on in told.items() if on]
    return Cells(
        rank=NOTHING if row.rank is None else str(row.rank),
        name=row.defense,
        variant=row.shown,
        marks=", ".join(marks),
        knows=knows(row),
        trials=f"{row.trials} ({row.failed})" if row.failed else str(row.trials),
        before=percent(row.asr_before_mean),
        after=mean_asr(row),
        interval=_interval(row),
        worst=_worst(row),
        stayed=_stayed(row),
        models=_models(row),
        clean_before=percent(row.clean_accuracy_before_mean),
        clean_after=percent(row.clean_accuracy_after_mean),
        robust=percent(row.robust_accuracy_after_mean),
        seconds=_amount(row.seconds_mean),
        memory=_amount(row.peak_memory_mib_mean, digits=0),
    )


def mean_asr(row: Row) -> str:
    """Return the mean ASR after the defense, with its spread where there is one."""
    if row.asr_after_std is None:
        return percent(row.asr_after_mean)
    return f"{percent(row.asr_after_mean)} ± {percent(row.asr_after_std)}"


def _interval(row: Row) -> str:
    if row.asr_after_ci_low is None:
        return NOTHING
    return f"{percent(row.asr_after_ci_low)} to {percent(row.asr_after_ci_high)}"


def _worst(row: Row) -> str:
    if row.asr_after_worst is None:
        return NOTHING
    return f"{percent(row.asr_after_worst)} ({row.asr_after_worst_trigger})"


def _stayed(row: Row) -> str:
    if row.asr_after_over_10 is None:
        return NOTHING
    return f"{100 * row.asr_after_over_10:.0f}"


def _models(row: Row) -> tuple[str, ...]:
    if row.repeats < 2 or row.asr_after_models_std is None:
        return ()
    spread = f"of {row.repeats} models: ± {percent(row.asr_after_models_std)}"
    return spread, f"worst model {percent(row.asr_after_models_worst)}"


def _amount(value: float | None, digits: int = 1) -> str:
    if value is None:
        return NOTHING
    return f"{value:.{digits if value < 100 else 0}f}"
