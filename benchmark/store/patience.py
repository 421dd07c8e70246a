"""A connection that can wait for as long as another program holds the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_ATTEMPT_MS = 2000
"""How long SQLite waits by itself; only then can Ctrl-C be heard."""


class Connection(sqlite3.Connection):
    """SQLite's connection, which gives up after its timeout unless it is to be patient."""

    _when_waiting: Callable[[], None] | None = None

    def execute(self, statement: str, values: Any = (), /) -> sqlite3.Cursor:
        """Carry out a statement; while patient, again until nobody else stands in its way."""
        is_told = False
        while True:
            try:
                return super().execute(statement, values)
            except sqlite3.OperationalError as error:
                if self._when_waiting is None or not _is_busy(error):
                    raise
            if not is_told:
                self._when_waiting()
                is_told = True

    @contextmanager
    def patient(self, when_waiting: Callable[[], None]) -> Iterator[None]:
        """Be patient in the block; `when_waiting` is called once for each statement that waits."""
        [before] = self.execute("PRAGMA busy_timeout").fetchone()
        self.execute(f"PRAGMA busy_timeout = {_ATTEMPT_MS}")
        self._when_waiting = when_waiting
        try:
            yield
        finally:
            self._when_waiting = None
            self.execute(f"PRAGMA busy_timeout = {before}")


def _is_busy(error: sqlite3.OperationalError) -> bool:
    # A lock is asked for where a transaction begins and where it is committed: after either, the
    # same statement may be given again. The extended codes share their lowest byte.
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
