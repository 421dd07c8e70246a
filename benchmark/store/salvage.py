"""What is whole in a damaged results file: records all of whose rows fit their checksums."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.store import ledger, pages, rows
from benchmark.store.codec import Encoded, Record, Row, checked_shared, decode, verify
from benchmark.store.faults import DamageError
from benchmark.store.layout import MODEL, TRIAL, Layout
from benchmark.store.transaction import transaction

_DETAIL = 3
"""Columns of a detail row: identity, body, checksum. As many as of a row of the ledger."""
_LEAST_BYTES = 100
"""No record takes less; a file cannot have had more of them than its size allows."""


@dataclass
class Salvaged:
    """How much of one table was found."""

    kept: set[str] = field(default_factory=set)
    """Identities of the records that are whole."""
    seen: set[str] = field(default_factory=set)
    """Identities of which there is any trace."""
    written: int | None = None
    """How many rows there were, if the file still says so."""

    @property
    def lost(self) -> int:
        """The number of records that were there and are not whole, as far as it can be told."""
        return max(len(self.seen), self.written or 0) - len(self.kept)


Found = dict[str, Salvaged]
"""Name of a table → what was found of it."""


def salvage(file: Path, connection: sqlite3.Connection) -> Found:
    """Copy every whole record of a damaged `file` into the empty results behind `connection`.

    A record is copied to the last bit, or not at all.
    """
    data = file.read_bytes()
    heads = _Heads(data)
    best: dict[str, tuple[str, bool]] = {}
    with transaction(connection):
        for layout, record, row in heads.whole(data):
            # Of two whole versions one was written over the other, and its page used no more.
            rank = (getattr(record, "finished", ""), record.status == "done")
            identity = row.flat[0]
            if identity in best and rank <= best[identity]:
                continue
            best[identity] = rank
            ledger.replace(connection, layout, row.flat)
            rows.put(connection, layout, row)
            heads.found[layout.table].kept.add(identity)
    return heads.found


class _Heads:
    """The small rows, which fit in memory; the details are read a second time, one by one."""

    def __init__(self, data: bytes) -> None:
        self.found: Found = {layout.table: Salvaged() for layout in (MODEL, TRIAL)}
        self._flat: dict[str, list[tuple[Layout, Row]]] = defaultdict(list)
        self._shared: dict[str, Row] = {}
        for row in pages.records(data):
            self._sort(row, most=len(data) // _LEAST_BYTES)

    def _sort(self, row: Row, most: int) -> None:
        if len(row) == _DETAIL and row[0] in self.found and row[1] in range(most):
            self.found[row[0]].written = row[1]  # of the ledger
        for layout in (MODEL, TRIAL):
            if len(row) == len(layout.columns) + 1 and _fits(layout, row):
                self._flat[row[0]].append((layout, row))
                self.found[layout.table].seen.add(row[0])
            elif layout.shared and len(row) == len(layout.shared) + 1 and _is_shared(layout, row):
                self._shared[row[0]] = row

    def whole(self, data: bytes) -> Iterator[tuple[Layout, Record, Encoded]]:
        """Yield the records of which every row is there, with their rows."""
        for row in pages.records(data):
            if len(row) != _DETAIL or not isinstance(row[0], str):
                continue
            for layout, flat in self._flat.get(row[0], ()):
                shared = self._shared_of(layout, flat)
                try:
                    record = decode(layout, flat, shared[1:], row[1], row[2])
                except (DamageError, json.JSONDecodeError):
                    continue
                yield layout, record, Encoded(flat, row, shared)

    def _shared_of(self, layout: Layout, flat: Row) -> Row:
        if not layout.shared:
            return ()
        return self._shared.get(flat[layout.columns.index("shared")], ())


def _fits(layout: Layout, row: Row) -> bool:
    try:
        verify(layout, [row])
    except DamageError:
        return False
    return True


def _is_shared(layout: Layout, row: Row) -> bool:
    try:
        checked_shared(layout, row)
    except (DamageError, ValueError):
        return False
    return True
