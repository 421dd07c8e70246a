"""Every trial as a line of a CSV, JSON Lines or parquet file."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import UserError, unknown_name
from benchmark.records import TrialRecord
from benchmark.report.escape import csv_cell
from benchmark.report.flatten import Payloads, flatten
from benchmark.report.whole import check_place, write_whole

Line = dict[str, Any]


def export(
    trials: Iterable[TrialRecord], format: str, file: Path, models: Payloads | None = None
) -> int:
    """Write `trials` to `file` as `csv`, `jsonl` or `parquet`; return how many there were.

    `models` (identity → payload) adds the options of the attacks and base models.
    The file appears whole or not at all. Numbers are written with all their digits.
    """
    if format not in _WRITERS:
        raise unknown_name("format", format, _WRITERS)
    check_place(file)
    lines = [flatten(record, models) for record in trials]
    if not lines:
        raise UserError("no trials to write yet; start with: bench run --defense mesa")
    write_whole(file, lambda unfinished: _WRITERS[format](lines, unfinished))
    return len(lines)


def _columns(lines: Iterable[Line]) -> list[str]:
    """Return the names of all lines in the order of their first use, options last."""
    names = dict.fromkeys(name for line in lines for name in line)
    return sorted(names, key=lambda name: name.startswith(("metric.", "option.")))


def _to_jsonl(lines: list[Line], file: Path) -> None:
    columns = _columns(lines)
    with file.open("w", encoding="utf-8", newline="\n") as out:
        for line in lines:
            whole = {name: line.get(name) for name in columns}
            out.write(json.dumps(whole, allow_nan=False) + "\n")


def _to_csv(lines: list[Line], file: Path) -> None:
    columns = _columns(lines)
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(map(csv_cell, columns))
        for line in lines:
            writer.writerow([csv_cell(_text_of_nested(line.get(name))) for name in columns])


def _to_parquet(lines: list[Line], file: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = {name: _arrow([line.get(name) for line in lines], pa) for name in _columns(lines)}
    parquet.write_table(pa.table(table), file)


def _arrow(values: list[Any], pa: Any) -> Any:
    """Return one column: numbers or truth values if all are and the format has them, else text."""
    plain = [_text_of_nested(value) for value in values]
    kinds = {type(value) for value in plain if value is not None}
    if len(kinds) < 2 or kinds == {int, float}:
        # It has no whole numbers of more than 64 bits, and beside fractions none of more than 53.
        with contextlib.suppress(OverflowError, pa.ArrowInvalid):
            return pa.array(plain, None if len(kinds) == 1 else pa.float64())
    return pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in plain])


def _text_of_nested(value: Any) -> Any:
    """Return lists and mappings as JSON, and texts so that every file can hold them."""
    if isinstance(value, str):  # an option may hold half a character, which is no UTF-8
        return value.encode("utf-8", "backslashreplace").decode()
    return json.dumps(value) if isinstance(value, list | tuple | Mapping) else value


_WRITERS: Mapping[str, Callable[[list[Line], Path], None]] = {
    "csv": _to_csv,
    "jsonl": _to_jsonl,
    "parquet": _to_parquet,
}
