"""Opening `results.sqlite`: making its tables, and refusing what this version cannot read."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from benchmark.errors import UserError
from benchmark.store import ledger
from benchmark.store.artifacts import ANY as ARTIFACTS
from benchmark.store.faults import DamagedFile, DamageError
from benchmark.store.layout import MODEL, SCHEMA, TRIAL
from benchmark.store.patience import Connection
from benchmark.store.transaction import transaction

FILE = "results.sqlite"
CONTENTS = ("artifacts", FILE, f"{FILE}-wal", f"{FILE}-shm", f"{FILE}-journal")
"""What a results folder holds."""
START = "start with: bench run --defense mesa"
_WAIT = 30.0
"""Seconds to wait for a commit of another process before giving up."""


def no_results(out: Path) -> UserError:
    """Return the error for a folder that holds no results yet."""
    return UserError(f"no results in {out}; {START}")


def connect(file: Path) -> Connection:
    """Open the SQLite file, set for a results folder that may lie on a network disk.

    A rollback journal, not write-ahead logging: the latter needs memory that all processes share,
    which network disks do not give, and leaves its newest rows in a second file that a copied
    results folder easily loses. A commit every few seconds does not need its speed. `EXTRA` syncs
    the folder as well after the journal is gone, so that a commit also outlives a power cut.
    """
    # "rw" for readers too: after a kill in the middle of a commit, the first one to open the file
    # rolls it back, and in a read-only folder SQLite quietly reads only.
    address = f"{file.resolve().as_uri()}?mode=rw"
    connection = sqlite3.connect(
        address, uri=True, timeout=_WAIT, isolation_level=None, factory=Connection
    )
    connection.execute("PRAGMA synchronous = EXTRA")
    # A damaged page shall be an error, not an endless walk or a wild row.
    connection.execute("PRAGMA cell_size_check = ON")
    # What was replaced is gone, and cannot come back when a damaged file is salvaged.
    connection.execute("PRAGMA secure_delete = ON")
    return connection


def touch(file: Path) -> bool:
    """Make an empty file unless there is one; SQLite takes it for an empty database.

    Return whether there was none.
    """
    is_new = not file.exists()
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644))
    return is_new


def is_empty(connection: sqlite3.Connection, file: Path, *, is_new: bool) -> bool:
    """Say whether the file has no page: it `is_new`, or a run was killed before it made the tables.

    A file with pages but without tables has lost them; to make them anew would bury the rows. So
    has one without pages beside artifacts, unless it was not there a moment ago.
    """
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return False
    if connection.execute("PRAGMA page_count").fetchone()[0]:
        raise DamageError("its tables are gone")
    if not is_new and any(file.parent.glob(ARTIFACTS)):
        raise DamageError("it is empty, and there are artifacts")
    return True


def create(connection: sqlite3.Connection) -> None:
    """Make every table in one transaction."""
    with transaction(connection):
        connection.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID")
        connection.execute("INSERT INTO meta VALUES ('schema', ?)", (SCHEMA,))
        # Once more, in the file's header: one flipped bit must not look like another version.
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
        connection.execute(ledger.CREATE)
        for layout in (MODEL, TRIAL):
            for statement in layout.tables():
                connection.execute(statement)
            ledger.start(connection, layout)


def complete(connection: sqlite3.Connection) -> None:
    """Add what the first files of this schema did not have: what they said once, a second time."""
    with transaction(connection):
        for layout in (MODEL, TRIAL):
            for statement in layout.tables():
                connection.execute(statement)
            if layout.shared:
                copy = f"INSERT OR IGNORE INTO {layout.table}_spare SELECT * FROM "
                connection.execute(f"{copy} {layout.table}_shared")
        if connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA:
            connection.execute(f"PRAGMA user_version = {SCHEMA}")


def has_spare(connection: sqlite3.Connection) -> bool:
    """Say whether the shared rows are there twice."""
    found = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE name = ?", (f"{TRIAL.table}_spare",)
    )
    return bool(found.fetchone()[0])


def check_pages(connection: sqlite3.Connection) -> None:
    """Raise a `DamageError` if the tree of pages is broken."""
    said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if said != "ok":
        raise DamageError(" ".join(str(said).split()))


def check(connection: sqlite3.Connection, file: Path) -> None:
    """Raise a `UserError` unless the tables are those of this version."""
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if "meta" not in names:
        raise DamagedFile(file, f"{file} is not a results file of bench, or is damaged")
    found = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    schema = found[0] if found else None
    again = connection.execute("PRAGMA user_version").fetchone()[0]
    said_once = schema == 1 and again == 0  # as in the first files of all
    if not isinstance(schema, int) or schema < 1 or (again != schema and not said_once):
        raise DamageError("its schema is not known")
    if schema == SCHEMA:
        return
    if schema > SCHEMA:
        raise UserError(
            f"{file} was written by a newer version (schema {schema}, this one reads {SCHEMA}); "
            "upgrade backdoor-bench or use another --out"
        )
    raise UserError(
        f"{file} was written by an older version (schema {schema}, this one reads {SCHEMA}); "
        "use another --out, or read it with the version that wrote it"
    )
