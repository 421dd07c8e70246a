"""Which field of a record lives where: flat columns for tables, one JSON text for the rest.

The columns have no declared type. SQLite would store 1.0 in a REAL column as the integer 1 and
lose the sign of -0.0; without a type it keeps the eight bytes of a float as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.records import ModelRecord, TrialRecord

SCHEMA = 1
"""Raised whenever the tables below change their meaning."""


@dataclass(frozen=True)
class Layout:
    """Where the records of one kind live: `<table>`, `<table>_detail`, `<table>_shared`.

    `<table>_spare` holds the rows of `<table>_shared` once more: one bad page in a single copy
    would take with it every record that refers to it.
    """

    table: str
    record: type[ModelRecord] | type[TrialRecord]
    texts: tuple[str, ...]
    """Text columns; the first one is the identity."""
    integers: tuple[str, ...]
    floats: tuple[str, ...]
    details: tuple[str, ...]
    derived: tuple[str, ...] = ()
    """Float columns copied out of `details` so that tables need not read it."""
    shared: tuple[str, ...] = ()
    """Text columns that many rows have in common: stored once, in `<table>_shared`, under their
    hash, which is the column `shared` of each row. Reading these texts anew for every row would
    take a third of the time of a leaderboard."""

    @property
    def key(self) -> str:
        """The identity's column."""
        return self.texts[0]

    @property
    def numbers(self) -> tuple[str, ...]:
        """Every column of floats."""
        return self.floats + self.derived

    @property
    def columns(self) -> tuple[str, ...]:
        """Every flat column but the checksum."""
        return self.texts + self.integers + self.numbers

    @property
    def selected(self) -> str:
        """The flat columns and the checksum, for a SELECT; `group` is a word of SQL."""
        return ", ".join(f'{self.table}."{name}"' for name in (*self.columns, "sum"))

    def tables(self) -> tuple[str, ...]:
        """Return the statements that make the tables."""
        others = ", ".join(f'"{name}"' for name in (*self.columns[1:], "sum"))
        common = ", ".join(f'"{name}"' for name in self.shared)
        kinds = ("shared", "spare") if common else ()
        return (
            *(
                f"CREATE TABLE IF NOT EXISTS {self.table}_{kind} (id TEXT PRIMARY KEY, {common}) "
                "WITHOUT ROWID"
                for kind in kinds
            ),
            # Without a rowid the rows are the index: no second tree that could disagree.
            f'CREATE TABLE IF NOT EXISTS {self.table} ("{self.key}" TEXT PRIMARY KEY, {others}) '
            "WITHOUT ROWID",
            f"CREATE TABLE IF NOT EXISTS {self.table}_detail (id TEXT PRIMARY KEY, body, sum)",
        )


MODEL = Layout(
    table="model",
    record=ModelRecord,
    texts=("id", "kind", "status", "error", "dataset", "model", "attack", "trigger", "artifact"),
    integers=("seed", "target"),
    floats=("clean_accuracy", "asr", "seconds", "peak_memory_mib"),
    details=("payload", "environment", "log", "series"),
)

METRIC_COLUMNS = {
    "asr_after": "asr",
    "clean_accuracy_after": "clean_accuracy",
    "robust_accuracy_after": "robust_accuracy",
    "der": "der",
}
"""Flat column → the metric that it copies."""

SPREAD_COLUMNS = {"asr_after_std": "std", "asr_after_max": "max"}
"""Flat column → what it copies from the spread of `asr` over a trial's repaired models."""

TRIAL = Layout(
    table="trial",
    record=TrialRecord,
    texts=("trial", "status", "error", "trigger", "victim", "shared"),
    shared=(
        *("group", "variant_id", "dataset", "model", "attack", "defense", "version"),
        *("variant", "setting", "knowledge", "role"),
    ),
    integers=("target", "seed", "repeats", "forward_images", "backward_images"),
    floats=(
        *("min_asr", "base_clean_accuracy", "asr_before", "clean_accuracy_before"),
        *("robust_accuracy_before", "seconds", "peak_memory_mib"),
    ),
    details=(
        *(
            "metrics",
            "spread",
            "empty",
            "recovered_target",
            "artifacts",
            "triggers_artifact",
        ),
        *("payload", "environment", "log", "series", "run", "finished"),
    ),
    derived=(*METRIC_COLUMNS, *SPREAD_COLUMNS),
)
