"""The SELECTs and INSERTs, the same for both kinds of record."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmark.store import ledger
from benchmark.store.codec import Encoded, Record, Row, checked_shared, decode
from benchmark.store.faults import DamageError
from benchmark.store.layout import Layout

CHUNK = 500
"""Rows a query when details are read; SQLite takes up to 999 values in one IN."""


def put(connection: sqlite3.Connection, layout: Layout, record: Encoded) -> None:
    """Write the rows of a record over those of its identity; the caller has a transaction."""
    for suffix, row in (
        ("", record.flat),
        ("_detail", record.detail),
        ("_shared", record.shared),
        ("_spare", record.shared),
    ):
        if not row:
            continue
        table = f"{layout.table}{suffix}"
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row)


def remove(connection: sqlite3.Connection, layout: Layout, identity: str) -> None:
    """Take away the rows that are a record's own; the caller has a transaction."""
    connection.execute(f'DELETE FROM {layout.table} WHERE "{layout.key}" = ?', (identity,))
    connection.execute(f"DELETE FROM {layout.table}_detail WHERE id = ?", (identity,))


def audited(connection: sqlite3.Connection, layout: Layout) -> list[Row]:
    """Return every flat row (checksum last), checked; the caller has a transaction."""
    with no_collection():
        found = connection.execute(f"SELECT {layout.selected} FROM {layout.table}").fetchall()
        ledger.audit(connection, layout, found)
        return found


def shared(
    connection: sqlite3.Connection, layout: Layout, copy: str = "shared"
) -> dict[str, dict[str, Any]]:
    """Return the shared fields under their hashes, checked; `copy` may be `spare`."""
    found = connection.execute(f"SELECT * FROM {layout.table}_{copy}").fetchall()
    return {row[0]: checked_shared(layout, row) for row in found}


def one(connection: sqlite3.Connection, layout: Layout, identity: str) -> Record | None:
    """Return the record of that identity, checked, if there is one."""
    records = several(connection, layout, [identity], missing_is_damage=False)
    return records[0] if records else None


def several(
    connection: sqlite3.Connection,
    layout: Layout,
    identities: Sequence[str],
    *,
    missing_is_damage: bool = True,
) -> list[Record]:
    """Return the records of these identities in the order of the identities, checked."""
    extra = "".join(f', s."{name}"' for name in layout.shared)
    join = f"LEFT JOIN {layout.table}_shared s ON s.id = shared " if extra else ""
    found: list[Row] = []
    for start in range(0, len(identities), CHUNK):
        wanted = identities[start : start + CHUNK]
        marks = ", ".join("?" * len(wanted))
        found += connection.execute(
            f"SELECT {layout.selected}{extra}, d.body, d.sum FROM {layout.table} {join}"
            f'LEFT JOIN {layout.table}_detail d ON d.id = {layout.table}."{layout.key}" '
            f'WHERE {layout.table}."{layout.key}" IN ({marks}) ORDER BY 1',
            tuple(wanted),
        ).fetchall()
    if missing_is_damage and len(found) != len(identities):
        raise DamageError(
            f"{len(identities) - len(found)} rows of `{layout.table}` cannot be found"
        )
    end = len(layout.columns) + 1
    return [decode(layout, row[:end], row[end:-2], row[-2], row[-1]) for row in found]


def starting_with(connection: sqlite3.Connection, layout: Layout, prefix: str) -> list[str]:
    """Return the identities that start with `prefix`, sorted."""
    found = connection.execute(
        f'SELECT "{layout.key}" FROM {layout.table} '
        f'WHERE substr("{layout.key}", 1, ?) = ? ORDER BY 1',
        (len(prefix), prefix),
    ).fetchall()
    return [identity for (identity,) in found]


@contextmanager
def no_collection() -> Iterator[None]:
    """Switch the garbage collector off for the block.

    Rows hold no cycles, yet the collector walks all of them again and again while 100,000 are
    being made: more than half of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
