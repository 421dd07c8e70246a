"""Choosing leaderboards by data set and attack, and naming a row of one.

A row is `mesa`, `mesa:epochs=5`, or the start of its variant_id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from benchmark.errors import UserError, unknown_name
from benchmark.report.boards import Board
from benchmark.report.ranking import FEWEST_DIGITS
from benchmark.report.rows import Row

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 8


def boards_of(
    frame: pd.DataFrame, datasets: Sequence[str] = (), attacks: Sequence[str] = ()
) -> pd.DataFrame:
    """Return the trials of the leaderboards of these data sets and attacks; empty: of any.

    `frame`: a `Store.trials_frame()`. Raises `UserError`, which lists what there is, for a name
    that no leaderboard has, and if none is left.
    """
    there = kept = frame[["group", "dataset", "attack"]].drop_duplicates()
    for column, names in (("dataset", datasets), ("attack", attacks)):
        for name in names:
            if name not in set(there[column]):
                raise _no_board([f"{column} {name!r}"], there)
        kept = kept[kept[column].isin(names)] if names else kept
    if kept.empty:
        asked = [("dataset", datasets), ("attack", attacks)]
        raise _no_board([f"{one} {' or '.join(map(repr, names))}" for one, names in asked], there)
    return frame[frame["group"].isin(kept["group"])]


def _no_board(asked: Sequence[str], there: pd.DataFrame) -> UserError:
    pairs = there[["dataset", "attack"]].drop_duplicates().itertuples(index=False)
    known = sorted(f"{dataset} · {attack}" for dataset, attack in pairs)
    return UserError(f"no leaderboard of {' and '.join(asked)}", f"there are: {', '.join(known)}")


def pairs_named(rows: Sequence[Row], a: str, b: str) -> list[tuple[Row, Row]]:
    """Return the rows that `a` and `b` name, for each leaderboard that has both.

    Raises `UserError` for a name that no row has, for one that several rows of a leaderboard
    have, for two that name one row, and for rows that no leaderboard has in common.
    """
    found = {name: _matching(rows, name) for name in (a, b)}
    for name, matching in found.items():
        if not matching:
            raise unknown_name("row of a leaderboard", name, _known(rows))
    both = {row.group for row in found[a]} & {row.group for row in found[b]}
    if not both:
        raise UserError(f"no leaderboard has both {a!r} and {b!r}")
    groups = [row.group for row in rows if row.group in both]
    pairs = [
        (_only(found[a], group, a), _only(found[b], group, b)) for group in dict.fromkeys(groups)
    ]
    if any(one is other for one, other in pairs):
        raise UserError(f"{a!r} and {b!r} name the same row", "compare two different ones")
    return pairs


def selected(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """Return the rows that have one of these names, in order.

    A defense's name is that of all its variants. Raises `UserError` for a name that no row has.
    """
    found = {name: _matching(rows, name) for name in names}
    for name, matching in found.items():
        if not matching:
            raise unknown_name("row of a leaderboard", name, _known(rows))
    kept = {id(row) for matching in found.values() for row in matching}
    return [row for row in rows if id(row) in kept]


def _matching(rows: Iterable[Row], name: str) -> list[Row]:
    """Return the rows of that name; a defense's own name goes before an identity that fits."""
    found = [row for row in rows if name in _names(row)]
    if found or len(name) < FEWEST_DIGITS:
        return found
    return [row for row in rows if row.variant_id.startswith(name)]


def _names(row: Row) -> tuple[str, ...]:
    """Return what a row is called: the options, with or without the version, after a colon.

    The last is its own: as the tables show it.
    """
    versioned = " ".join(filter(None, (row.version, row.variant)))
    return row.defense, *(f"{row.defense}:{rest}" for rest in (row.variant, versioned, row.shown))


def _known(rows: Iterable[Row]) -> set[str]:
    return {name for row in rows for name in _names(row)[: 2 if row.variant else 1]}


def _only(rows: Sequence[Row], group: str, name: str) -> Row:
    found = [row for row in rows if row.group == group]
    if len(found) == 1:
        return found[0]
    where = Board(tuple(found)).name
    choices = " or ".join(f"{_names(row)[-1]!r} ({row.variant_id[:_SHOWN]})" for row in found)
    raise UserError(f"{name!r} names {len(found)} rows of {where}", f"say {choices}")
