"""The results of every run in one folder: what the runner writes and the reports read."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

from benchmark.errors import UserError
from benchmark.records import ModelRecord, Status, TrialRecord
from benchmark.store import ledger, opening, rows, schema
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.codec import Record, Row, encode
from benchmark.store.faults import DamageError, damaged, explained
from benchmark.store.layout import MODEL, TRIAL, Layout
from benchmark.store.lock import WriterLock
from benchmark.store.patience import Connection
from benchmark.store.transaction import transaction

if TYPE_CHECKING:
    import pandas as pd


class Store:
    """The records of a results folder. Open it with `Store.open`, best in a `with` statement.

    Whatever a `put_…` returned from is on the disk and outlives a kill at any moment after it.
    """

    def __init__(self, out: Path, connection: Connection, lock: WriterLock | None) -> None:
        """Take over an opened file; without a `lock` only for reading."""
        self.out = out
        self.file = out / schema.FILE
        self.artifacts = ArtifactStore(out)
        self._connection = connection
        self._lock = lock

    @classmethod
    def open(cls, out: Path, *, write: bool, create: bool = False) -> Store:
        """Open the results in `out`; `create` makes the folder and an empty store if need be.

        One process at a time opens with `write`, any number without. Everything that may stand in
        the way (no results, another writer, another schema, damage, permissions) is a `UserError`.
        """
        file = out / schema.FILE
        opening.check_folder(out, create=write and create)
        if not (write and create) and not file.exists():
            raise schema.no_results(out)
        lock = WriterLock(out) if write else None
        try:
            store = cls(out, opening.connect(file, create=write and create), lock)
            if write:
                store.check_pages()
                with explained(file):
                    schema.complete(store._connection)
                store.artifacts.sweep()
            return store
        except BaseException:
            if lock:
                lock.release()
            raise

    def check_pages(self) -> None:
        """Check the tree of pages and the spare rows, which no other read looks at.

        A broken tree is a `DamagedFile`: each further write might break more of it.
        """
        with explained(self.file):
            schema.check_pages(self._connection)
            if schema.has_spare(self._connection):
                rows.shared(self._connection, TRIAL, "spare")

    def close(self) -> None:
        """Let go of the file and of the writer's lock."""
        self._connection.close()
        if self._lock:
            self._lock.release()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def work_folder(self) -> AbstractContextManager[Path]:
        """Return a block's temporary folder; if this process is killed, the next writer removes it.

        Only of a store that was opened for writing.
        """
        if self._lock is None:
            raise RuntimeError("this store was opened for reading")
        return self._lock.work_folder()

    def patient(self, say: Callable[[str], None]) -> AbstractContextManager[None]:
        """In the block wait for other programs as long as these hold the file, and `say` so.

        Elsewhere that is an error after half a minute; a run would lose what it has just found.
        """
        text = f"{self.file} is held by another program: this run waits until that is done"
        return self._connection.patient(lambda: say(text))

    def put_model(self, record: ModelRecord) -> None:
        """Store `record` in the place of an earlier one with its identity."""
        self._put(MODEL, record)

    def put_trial(self, record: TrialRecord) -> None:
        """Store `record` in the place of an earlier one with its identity.

        A metric that is NaN or infinite is a `JobFault`, and nothing is stored.
        """
        self._put(TRIAL, record)

    def put_all(self, records: Iterable[Record]) -> None:
        """Store these records in one transaction: all of them, or none."""
        self._check_writable()
        with explained(self.file), transaction(self._connection):
            for record in records:
                self._replace(MODEL if isinstance(record, ModelRecord) else TRIAL, record)

    def drop_trial(self, identity: str) -> None:
        """Take away the record of that identity, if it is stored."""
        self._check_writable()
        with explained(self.file), transaction(self._connection):
            ledger.remove(self._connection, TRIAL, identity)
            rows.remove(self._connection, TRIAL, identity)

    def agree_on_min_asr(self, thresholds: Mapping[str, float]) -> int:
        """Give the stored trials of each leaderboard (its `group`) one threshold, all or none.

        Returns how many had another one. It decides no number of a trial and is in no identity,
        only whether the trial counts; but a board on which it differs from trial to trial would
        average over victims that it calls not backdoored elsewhere. The latest run's holds.
        """
        self._check_writable()
        with explained(self.file), transaction(self._connection):
            other = self._with_other_min_asr(thresholds)
            for start in range(0, len(other), rows.CHUNK):
                chunk = rows.several(self._connection, TRIAL, other[start : start + rows.CHUNK])
                for record in cast("list[TrialRecord]", chunk):
                    self._replace(TRIAL, replace(record, min_asr=thresholds[record.group]))
        return len(other)

    def thresholds(self) -> dict[str, float]:
        """Return the `min_asr` of each leaderboard, under its `group`; none of clean models."""
        at, of = TRIAL.columns.index("min_asr"), TRIAL.columns.index("shared")
        found: dict[str, float] = {}
        with explained(self.file), transaction(self._connection, write=False):
            shared = rows.shared(self._connection, TRIAL)
            for row in rows.audited(self._connection, TRIAL):
                if row[at] is not None and row[of] in shared:
                    found.setdefault(shared[row[of]]["group"], row[at])
        return found

    def _with_other_min_asr(self, thresholds: Mapping[str, float]) -> list[str]:
        """Return the trials on attacked models of these groups that hold another threshold."""
        shared = rows.shared(self._connection, TRIAL)
        wanted = {
            name: thresholds[fields["group"]]
            for name, fields in shared.items()
            if fields["group"] in thresholds
        }
        at, of = TRIAL.columns.index("min_asr"), TRIAL.columns.index("shared")
        return [
            row[0]
            for row in rows.audited(self._connection, TRIAL)
            if row[at] is not None and row[at] != wanted.get(row[of], row[at])
        ]

    def model(self, identity: str) -> ModelRecord | None:
        """Return the model of that identity, if it is stored."""
        with explained(self.file):
            return cast("ModelRecord | None", rows.one(self._connection, MODEL, identity))

    def models(self) -> list[ModelRecord]:
        """Return every stored model, in the order of their identities."""
        with explained(self.file), transaction(self._connection, write=False):
            known = [row[0] for row in rows.audited(self._connection, MODEL)]
            return cast("list[ModelRecord]", rows.several(self._connection, MODEL, known))

    def trial(self, identity: str) -> TrialRecord | None:
        """Return the trial of that identity, if it is stored."""
        with explained(self.file):
            return cast("TrialRecord | None", rows.one(self._connection, TRIAL, identity))

    def trials(self, among: Container[str] | None = None) -> Iterator[TrialRecord]:
        """Yield the stored trials, in the order of their identities, a few in memory at a time.

        All of them, or those whose identity is `among` the given ones.
        """
        with explained(self.file):
            found = [row[0] for row in self._flat_trials()]
        known = [one for one in found if among is None or one in among]
        for start in range(0, len(known), rows.CHUNK):
            # No read lock is held between two chunks: a slow consumer must not stop a run.
            with explained(self.file):
                chunk = self._several_trials(known[start : start + rows.CHUNK])
            yield from cast("list[TrialRecord]", chunk)

    def _several_trials(self, identities: list[str]) -> list[Record]:
        """Return these trials, which were all there; a run may have dropped some since."""
        try:
            return rows.several(self._connection, TRIAL, identities)
        except DamageError:
            there = {row[0] for row in self._flat_trials()}
            left = [one for one in identities if one in there]
            return rows.several(self._connection, TRIAL, left)

    def statuses(self, identities: Iterable[str]) -> dict[str, Status]:
        """Return the status of each of these trials that is stored; one scan for any number."""
        at = TRIAL.columns.index("status")
        with explained(self.file):
            stored = {row[0]: row[at] for row in self._flat_trials()}
        return {identity: stored[identity] for identity in identities if identity in stored}

    def find_trial(self, prefix: str) -> TrialRecord:
        """Return the one trial whose identity starts with `prefix`; none or two: `UserError`."""
        with explained(self.file):
            known = self._starting_with(prefix)
            if not known:
                self._flat_trials()  # or is it there and cannot be found?
        if not known:
            raise UserError(f"no trial {prefix!r} in {self.out}; bench trials lists them")
        if len(known) > 1:
            few = ", ".join(known[:3])
            raise UserError(f"{len(known)} trials start with {prefix!r}, such as {few}; say more")
        found = self.trial(known[0])
        if found is None:
            raise damaged(self.file, f"the row of trial {known[0]} is not where it belongs")
        return found

    def _starting_with(self, prefix: str) -> list[str]:
        # An identity is ASCII; for bytes that are no UTF-8 SQLite would not even look.
        ascii_only = prefix.isascii()
        return rows.starting_with(self._connection, TRIAL, prefix) if ascii_only else []

    def built_on(self, identity: str) -> list[str]:
        """Return the finished trials and victims that started from the model `identity`.

        Of a base model these are its victims and the trials on them.
        """
        made = [one for one in self.models() if one.payload.get("base") == identity]
        models = {identity, *(one.id for one in made)}
        at, status = TRIAL.columns.index("victim"), TRIAL.columns.index("status")
        with explained(self.file):
            flat = self._flat_trials()
        trials = [row[0] for row in flat if row[at] in models and row[status] == "done"]
        return [*trials, *(one.id for one in made if one.status == "done")]

    def lost_models(self) -> set[str]:
        """Return the identities of models from which finished results started and that are gone.

        `bench repair` may find a trial whole and its model not: no finished record of it is stored.
        """
        models = [one for one in self.models() if one.status == "done"]
        at, status = TRIAL.columns.index("victim"), TRIAL.columns.index("status")
        with explained(self.file):
            named = {row[at] for row in self._flat_trials() if row[status] == "done"}
        named |= {one.payload.get("base", "") for one in models}
        return named - {one.id for one in models} - {""}

    def trials_frame(self) -> pd.DataFrame:
        """Return one row a trial with the flat columns only: no options, logs or diagnostics.

        The columns are the scalar fields of `TrialRecord` but `recovered_target`, `run`,
        `finished` and the triggers' artifact; `knowledge` (a tuple); and from the metrics
        `asr_after`, `clean_accuracy_after`, `robust_accuracy_after`, `der`, and `asr_after_std`,
        `asr_after_max` over the repaired models of the trial; of defenses that may claim to have
        found the target class, `detection` and `false_alarm`. Rates in [0, 1]; what has no value
        is NaN. `weights` is the SHA-256 of the victim's weights, empty where it is not stored.
        """
        # pandas takes 0.4 s that a run need not spend
        from benchmark.store.frame import claimants, frame, with_claims, with_weights, witnesses

        read = transaction(self._connection, write=False)
        with explained(self.file), read, rows.no_collection():
            shared = rows.shared(self._connection, TRIAL)
            made = frame(TRIAL, rows.audited(self._connection, TRIAL), shared)
            asked = rows.several(self._connection, TRIAL, witnesses(made))
            wanted = claimants(made, cast("list[TrialRecord]", asked))
            claims = rows.several(self._connection, TRIAL, wanted)
            models = rows.audited(self._connection, MODEL)
            made = with_weights(made, models)
            return with_claims(made, cast("list[TrialRecord]", claims))

    def _flat_trials(self) -> list[Row]:
        with transaction(self._connection, write=False):
            return rows.audited(self._connection, TRIAL)

    def _put(self, layout: Layout, record: Record) -> None:
        self._check_writable()
        with explained(self.file), transaction(self._connection):
            self._replace(layout, record)

    def _check_writable(self) -> None:
        if self._lock is None:
            raise RuntimeError("this store was opened for reading")

    def _replace(self, layout: Layout, record: Record) -> None:
        encoded = encode(layout, record)
        ledger.replace(self._connection, layout, encoded.flat)
        rows.put(self._connection, layout, encoded)
