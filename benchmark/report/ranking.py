"""Who stands where: ranks among those who compete, and marks on what needs a second look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from benchmark.report.rows import Row

FEWEST_DIGITS = 4
"""Shortest start of a variant's identity that names it."""
DEAR = 0.10
"""Clean accuracy lost, a fraction, above which a row is marked."""
ROLES = ("floor", "control", "ranked", "oracle")
"""From nothing done to everything known: the order of a leaderboard's sections."""


def ranked(rows: Iterable[Row]) -> list[Row]:
    """Return the rows with ranks and marks, each leaderboard's together and in its order.

    Ranked by mean ASR after the defense, ascending, then by clean accuracy, descending. Who has
    fewer trials in the average than another who competes has no rank.
    """
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.group].append(row)
    in_order = sorted(groups.values(), key=lambda g: _group_order(g[0]))
    return [row for group in in_order for row in _rank_group(group)]


def _group_order(row: Row) -> tuple[str, ...]:
    return row.dataset, row.attack, row.model, row.setting, row.group


def _rank_group(rows: Sequence[Row]) -> list[Row]:
    most = max(row.averaged for row in rows)
    rivals = max((row.averaged for row in rows if row.ranked), default=0)
    ceiling = _ceiling(rows, most)
    made: list[Row] = []
    place = 0
    for row in sorted(_told_apart(rows), key=_row_order):
        # One that lacks trials may lack the hard ones; one that fails them must not gain by it.
        competes = row.ranked and row.backdoored and row.averaged == rivals
        competes = competes and row.asr_after_mean is not None
        place += competes
        marked = replace(
            row,
            rank=place if competes else None,
            incomplete=row.averaged < most,
            look=row.ranked and row.backdoored and _beats(row, ceiling),
            accuracy_lost=_lost(row) > DEAR,
        )
        made.append(marked)
    return made


def _ceiling(rows: Sequence[Row], most: int) -> float | None:
    """Return the lowest mean ASR of an oracle; None without one.

    One that lacks trials does not count: it may lack the hard ones.
    """
    oracles = [row for row in rows if row.role == "oracle" and row.averaged == most]
    means = [row.asr_after_mean for row in oracles if row.asr_after_mean is not None]
    return min(means, default=None)


def _told_apart(rows: Sequence[Row]) -> list[Row]:
    """Return the rows; those that would look the same get the start of their identity."""
    named: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        named[row.defense, row.shown].append(row)
    return [
        row if len(same) == 1 else replace(row, tell_apart=row.variant_id[: _digits(same)])
        for same in named.values()
        for row in same
    ]


def _digits(rows: Sequence[Row]) -> int:
    """Return how many digits of their identities tell these rows apart."""
    known, longest = {row.variant_id for row in rows}, max(len(row.variant_id) for row in rows)
    lengths = range(FEWEST_DIGITS, longest)
    return next((n for n in lengths if len({one[:n] for one in known}) == len(rows)), longest)


def _row_order(row: Row) -> tuple[int, bool, float, float, str, str, str, str]:
    section = ROLES.index(row.role) if row.role in ROLES else len(ROLES)
    asr, clean = row.asr_after_mean, row.clean_accuracy_after_mean
    names = (row.defense, row.version, row.variant, row.variant_id)
    return (section, asr is None, _level(asr), -_level(clean), *names)


def _level(mean: float | None) -> float:
    """Return a mean without the rounding of its sum, which must not decide who is first."""
    return round(mean or 0.0, 12)


def _lost(row: Row) -> float:
    before, after = row.clean_accuracy_before_mean, row.clean_accuracy_after_mean
    return 0.0 if before is None or after is None else before - after


def _beats(row: Row, ceiling: float | None) -> bool:
    """Say whether even the upper end of the row's interval is below the oracle's mean ASR."""
    high = row.asr_after_ci_high
    return ceiling is not None and high is not None and high < ceiling
