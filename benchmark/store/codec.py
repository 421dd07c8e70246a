"""Records to rows and back, to the last bit, with a checksum over each row."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

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


class Encoded(NamedTuple):
    """The rows of one record; `shared` is empty where its kind shares nothing."""

    flat: Row
    """Checksum last."""
    detail: Row
    """Checksum last."""
    shared: Row
    """Its own hash first."""


def encode(layout: Layout, record: Record) -> Encoded:
    """Return the rows that hold `record`.

    A number that is not finite is a `JobFault`: no later mean would notice where it came from.
    A lone surrogate in a text, which no UTF-8 file can hold, becomes its escape.
    """
    values = vars(record) | _derived(layout, record)
    shared = [_text(values[name]) for name in layout.shared]
    values["shared"] = shared_id(shared)
    flat: list[Any] = [_text(values[name]) for name in layout.texts]
    flat += [values[name] for name in layout.integers]
    flat += [_finite(name, values[name], flat[0]) for name in layout.numbers]
    row_sum = checksum(layout)(flat)
    # Diagnostics may hold NaN, and Python reads back the NaN that it wrote.
    body = json.dumps({name: values[name] for name in layout.details}, separators=(",", ":"))
    return Encoded(
        flat=(*flat, row_sum),
        detail=(flat[0], body, detail_sum(row_sum, body)),
        shared=(values["shared"], *shared) if shared else (),
    )


def shared_id(texts: Sequence[str]) -> str:
    """Return the hash under which these texts are stored."""
    return sha256("\0".join(texts).encode()).hexdigest()


def detail_sum(row_sum: bytes, body: str) -> bytes:
    """Return the checksum of a detail row, which binds it to the flat row beside it."""
    return sha256(row_sum + body.encode()).digest()


def decode(layout: Layout, flat: Row, shared: Row, body: str, body_sum: bytes) -> Record:
    """Return the record of a flat row (checksum last) and what belongs to it, all checked."""
    verify(layout, [flat])
    values = dict(zip(layout.columns, flat, strict=False))
    if layout.shared:
        values |= checked_shared(layout, (values.pop("shared"), *shared))
    try:
        if detail_sum(flat[-1], body) != body_sum:
            raise ValueError
        details = json.loads(body)
    except (AttributeError, TypeError, ValueError) as error:
        raise DamageError(
            f"the details of {layout.table} {flat[0]} do not fit its checksum"
        ) from error
    values |= details
    for name in layout.derived:
        del values[name]
    if "artifacts" in values:
        values["artifacts"] = tuple(values["artifacts"])
    return layout.record(**values)


def checked_shared(layout: Layout, row: Row) -> dict[str, Any]:
    """Return the fields in a row of `<table>_shared` (its hash first), checked."""
    try:
        if shared_id(row[1:]) != row[0]:
            raise ValueError
    except (TypeError, ValueError) as error:
        raise DamageError(f"a row of {layout.table}_shared does not fit its hash") from error
    fields: dict[str, Any] = dict(zip(layout.shared, row[1:], strict=True))
    return fields | {"knowledge": tuple(json.loads(fields["knowledge"]))}


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
