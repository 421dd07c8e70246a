"""Records to rows and back, to the last bit, with a checksum over each row."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from benchmark.errors import JobFault
from benchmark.records import ModelRecord, TrialRecord
from benchmark.store.faults import DamageError
from benchmark.store.layout import METRIC_COLUMNS, SPREAD_COLUMNS, Layout

Record = ModelRecord | TrialRecord
Row = tuple[Any, ...]

# SQLite has no NaN and no record counts below zero: both stand for None in a checksum.
_NO_FLOAT = math.nan
_NO_INTEGER = -(2**63)


def checksum(layout: Layout) -> Callable[[Sequence[Any]], bytes]:
    """Return the function from a row's flat columns to their SHA-256.

    It hashes bytes, not text: 100,000 rows are checked whenever a leaderboard is drawn, and
    printing a float costs more than all the rest of the check.
    """
    texts = len(layout.texts)
    pack_from = texts + len(layout.integers)
    pack = struct.Struct(f"<{len(layout.integers)}q{len(layout.numbers)}d").pack

    def digest(row: Sequence[Any]) -> bytes:
        integers = row[texts:pack_from]
        if None in integers:
            integers = [_NO_INTEGER if v is None else v for v in integers]
        floats = [_NO_FLOAT if v is None else v for v in row[pack_from:]]
        return sha256("\0".join(row[:texts]).encode() + pack(*integers, *floats)).digest()

    return digest


def encode(layout: Layout, record: Record) -> tuple[Row, Row]:
    """Return the flat row and the detail row of `record`, each with its checksum at the end.

    A number that is not finite is a `JobFault`: no later mean would notice where it came from.
    A lone surrogate in a text, which no UTF-8 file can hold, becomes its escape.
    """
    values = vars(record) | _derived(layout, record)
    flat: list[Any] = [_text(values[name]) for name in layout.texts]
    flat += [values[name] for name in layout.integers]
    flat += [_finite(name, values[name], flat[0]) for name in layout.numbers]
    row_sum = checksum(layout)(flat)
    # Diagnostics may hold NaN, and Python reads back the NaN that it wrote.
    body = json.dumps({name: values[name] for name in layout.details}, separators=(",", ":"))
    return (*flat, row_sum), (flat[0], body, detail_sum(row_sum, body))


def detail_sum(row_sum: bytes, body: str) -> bytes:
    """Return the checksum of a detail row, which binds it to the flat row beside it."""
    return sha256(row_sum + body.encode()).digest()


def decode(layout: Layout, flat: Row, body: str, body_sum: bytes) -> Record:
    """Return the record of a flat row (checksum last) and its detail, both checked."""
    verify(layout, [flat])
    try:
        if detail_sum(flat[-1], body) != body_sum:
            raise ValueError
        details = json.loads(body)
    except (AttributeError, TypeError, ValueError) as error:
        raise DamageError(
            f"the details of {layout.table} {flat[0]} do not fit its checksum"
        ) from error
    values = dict(zip(layout.columns, flat, strict=False)) | details
    for name in layout.derived:
        del values[name]
    if "knowledge" in values:
        values["knowledge"] = tuple(json.loads(values["knowledge"]))
        values["artifacts"] = tuple(values["artifacts"])
    return layout.record(**values)


def verify(layout: Layout, rows: Sequence[Row]) -> int:
    """Check each row (checksum last) and return the exclusive or of all checksums."""
    digest = checksum(layout)
    together = 0
    for row in rows:
        try:
            found = digest(row[:-1])
        except (TypeError, struct.error, UnicodeError):
            found = b""
        if found != row[-1]:
            raise DamageError(f"{layout.table} {row[0]!r} does not fit its checksum")
        together ^= int.from_bytes(found, "big")
    return together


def _derived(layout: Layout, record: Record) -> dict[str, Any]:
    if not isinstance(record, TrialRecord):
        return {}
    for name, value in record.metrics.items():
        _finite(name, value, record.trial)
    spread = record.spread.get("asr", {})
    return {
        "knowledge": list(record.knowledge),
        **{column: record.metrics.get(name) for column, name in METRIC_COLUMNS.items()},
        **{column: spread.get(name) for column, name in SPREAD_COLUMNS.items()},
    }


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "backslashreplace").decode()


def _finite(name: str, value: float | None, identity: str) -> float | None:
    if value is not None and not math.isfinite(value):
        raise JobFault(f"{name} of {identity} is {value}, not a finite number")
    return value
