"""How many rows a table has and which, so that a row that vanished is noticed too.

A flipped bit in an inner page of the file can hide whole rows, each of which would still fit its
own checksum; the mean over the rest would be silently wrong.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from benchmark.store.codec import Row, verify
from benchmark.store.faults import DamageError
from benchmark.store.layout import Layout

CREATE = "CREATE TABLE ledger (name TEXT PRIMARY KEY, rows, digest) WITHOUT ROWID"
_EMPTY = bytes(32)


def start(connection: sqlite3.Connection, layout: Layout) -> None:
    """Enter the table as empty."""
    connection.execute("INSERT INTO ledger VALUES (?, 0, ?)", (layout.table, _EMPTY))


def replace(connection: sqlite3.Connection, layout: Layout, flat: Row) -> None:
    """Account for `flat` taking the place of the row of its identity, if there is one."""
    _account(connection, layout, flat[0], [flat[-1]])


def remove(connection: sqlite3.Connection, layout: Layout, identity: str) -> None:
    """Account for the row of that identity being taken away, if there is one."""
    _account(connection, layout, identity, [])


def _account(
    connection: sqlite3.Connection, layout: Layout, identity: str, new: Sequence[bytes]
) -> None:
    """Exchange the checksum of a row for those in `new`: one or none."""
    old = connection.execute(
        f'SELECT sum FROM {layout.table} WHERE "{layout.key}" = ?', (identity,)
    ).fetchall()
    rows, digest = _entry(connection, layout)
    for one in (*(row[0] for row in old), *new):
        digest ^= int.from_bytes(one, "big")
    connection.execute(
        "UPDATE ledger SET rows = ?, digest = ? WHERE name = ?",
        (rows - len(old) + len(new), digest.to_bytes(32, "big"), layout.table),
    )


def audit(connection: sqlite3.Connection, layout: Layout, rows: Sequence[Row]) -> None:
    """Check that `rows`, read in this transaction, are whole and are all that were written."""
    together = verify(layout, rows)
    if (len(rows), together) != _entry(connection, layout):
        raise DamageError(f"rows of its table `{layout.table}` are missing or out of date")


def _entry(connection: sqlite3.Connection, layout: Layout) -> tuple[int, int]:
    found = connection.execute(
        "SELECT rows, digest FROM ledger WHERE name = ?", (layout.table,)
    ).fetchone()
    if found is None or not isinstance(found[0], int) or not isinstance(found[1], bytes):
        raise DamageError(f"the row count of its table `{layout.table}` is lost")
    return found[0], int.from_bytes(found[1], "big")
