"""All or nothing: what happens between BEGIN and COMMIT."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def transaction(connection: sqlite3.Connection, *, write: bool = True) -> Iterator[None]:
    """Run the block as one transaction; an exception, Ctrl-C included, undoes it.

    A reader's transaction gives its statements one state of the file between them.
    """
    try:
        # In here: Ctrl-C while SQLite begins is raised when it has begun.
        connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After a full disk SQLite has rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
