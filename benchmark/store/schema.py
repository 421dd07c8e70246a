"""Opening `results.sqlite`: making its tables, and refusing what this version cannot read."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from benchmark.errors import UserError
from benchmark.store import ledger
from benchmark.store.faults import DamageError
from benchmark.store.layout import MODEL, SCHEMA, TRIAL
from benchmark.store.transaction import transaction

FILE = "results.sqlite"
START = "start with: bench run --defense mesa"
_WAIT = 30.0
"""Seconds to wait for a commit of another process before giving up."""


def no_results(out: Path) -> UserError:
    """Return the error for a folder that holds no results yet."""
    return UserError(f"no results in {out}; {START}")


def connect(file: Path) -> sqlite3.Connection:
    """Open the SQLite file, set for a results folder that may lie on a network disk.

    A rollback journal, not write-ahead logging: the latter needs memory that all processes share,
    which network disks do not give, and leaves its newest rows in a second file that a copied
    results folder easily loses. A commit every few seconds does not need its speed. `EXTRA` syncs
    the folder as well after the journal is gone, so that a commit also outlives a power cut.
    """
    # "rw" for readers too: after a kill in the middle of a commit, the first one to open the file
    # rolls it back, and in a read-only folder SQLite quietly reads only.
    address = f"{file.resolve().as_uri()}?mode=rw"
    connection = sqlite3.connect(address, uri=True, timeout=_WAIT, isolation_level=None)
    connection.execute("PRAGMA synchronous = EXTRA")
    # A damaged page shall be an error, not an endless walk or a wild row.
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def touch(file: Path) -> None:
    """Make an empty file unless there is one; SQLite takes it for an empty database."""
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644))


def is_empty(connection: sqlite3.Connection) -> bool:
    """Say whether the file has no tables: a run was killed before it made them."""
    return connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0


def create(connection: sqlite3.Connection) -> None:
    """Make every table in one transaction."""
    with transaction(connection):
        connection.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID")
        connection.execute("INSERT INTO meta VALUES ('schema', ?)", (SCHEMA,))
        connection.execute(ledger.CREATE)
        for layout in (MODEL, TRIAL):
            for statement in layout.tables():
                connection.execute(statement)
            ledger.start(connection, layout)


def check(connection: sqlite3.Connection, file: Path) -> None:
    """Raise a `UserError` unless the tables are those of this version."""
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if "meta" not in names:
        raise UserError(f"{file} is not a results file of bench; use another --out")
    found = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    schema = found[0] if found else None
    if schema == SCHEMA:
        return
    if not isinstance(schema, int):
        raise DamageError("its schema is not known")
    if schema > SCHEMA:
        raise UserError(
            f"{file} was written by a newer version (schema {schema}, this one reads {SCHEMA}); "
            "upgrade backdoor-bench or use another --out"
        )
    raise UserError(
        f"{file} was written by an older version (schema {schema}, this one reads {SCHEMA}); "
        "use another --out, or read it with the version that wrote it"
    )
