"""`bench merge`: the results of machines that never saw each other, in one folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmark.errors import UserError
from benchmark.records import ModelRecord, TrialRecord
from benchmark.store import schema
from benchmark.store.agreement import Choice, Difference, builds_on, choose, key_of
from benchmark.store.codec import Record
from benchmark.store.database import Store
from benchmark.store.lock import WriterLock
from benchmark.store.opening import check_folder


@dataclass(frozen=True)
class Conflict:
    """Two folders whose records of one identity have different numbers."""

    record: Record
    folder: Path
    other: Path
    difference: Difference


@dataclass
class Merged:
    """What became of the records of the folders."""

    trials: int = 0
    """Written now."""
    models: int = 0
    """Written now."""
    known: int = 0
    """Trials that the merged folder had already."""
    mended: int = 0
    """Trials that failed in one folder and are taken from another one, in which they were done."""
    left_out: int = 0
    """Trials on models that contradict those of the folder to believe."""
    min_asr: dict[float, int] = field(default_factory=dict)
    """Threshold → the trials of the merged folder for which it holds now and did not before."""
    missing: set[str] = field(default_factory=set)
    """Artifacts that a record names and no folder has."""
    conflicts: list[Conflict] = field(default_factory=list)
    """If there are any, nothing was written."""


def merge(folders: Sequence[Path], out: Path, prefer: Path | None = None) -> Merged:
    """Write into `out` the records that it lacks and the artifacts that these name.

    Of records that agree in their numbers the first is taken, `out`'s own before all, or one that
    has more metrics; a finished one before a failed one. The trials of a leaderboard get one
    `min_asr`: that of the folder to believe, else of `out`, else of the first that has any. Records
    that contradict each other are conflicts: with one, nothing is written, unless `prefer` names
    the folder to believe. Then what the others built on models that contradict it is left out. All
    records appear in one transaction or, after a kill, none; the same call again completes the
    merge. A folder that cannot be read (no results, damage, another schema, a run that is writing
    it) is a `UserError`, and nothing is written.
    """
    check_folder(out, create=False)
    with contextlib.ExitStack() as stack:
        stores = [stack.enter_context(_reading(folder)) for folder in _distinct(folders, out)]
        is_begun = (out / schema.FILE).exists()
        if is_begun:  # perhaps by a merge that was killed before it made the tables
            stores.insert(0, stack.enter_context(_writing(out)))
        merger = _Merger(stores, _believed(prefer, stores), is_begun)
        if not merger.merged.conflicts:
            merger.write(stores[0] if is_begun else stack.enter_context(_writing(out)))
        return merger.merged


def _writing(out: Path) -> Store:
    return Store.open(out, write=True, create=True)


def _distinct(folders: Sequence[Path], out: Path) -> list[Path]:
    """Return the folders, each once."""
    found: dict[str, Path] = {}
    for folder in folders:
        found.setdefault(os.path.realpath(folder), folder)
    if os.path.realpath(out) in found:
        raise UserError(f"{out} is a folder to merge and --out as well; use another --out")
    return list(found.values())


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[Store]:
    """Open a folder's results, whole, and keep runs from writing them meanwhile."""
    if not (folder / schema.FILE).exists():
        check_folder(folder, create=False)
        raise UserError(f"no results in {folder}; nothing was merged")
    # Where nothing can be written, nobody on this machine is writing.
    lock = WriterLock(folder) if os.access(folder, os.W_OK) else None
    try:
        with Store.open(folder, write=False) as store:
            store.check_pages()
            for damaged in store.artifacts.damaged():
                what = f"{damaged} is damaged"
                raise UserError(f"{what}; what is whole is kept by: bench repair --out {folder}")
            yield store
    finally:
        if lock:
            lock.release()


def _believed(prefer: Path | None, stores: Sequence[Store]) -> int | None:
    if prefer is None:
        return None
    for number, store in enumerate(stores):
        if os.path.realpath(store.out) == os.path.realpath(prefer):
            return number
    raise UserError(f"--prefer {prefer} is none of the folders that are merged")


class _Merger:
    """Decides what to take from where, a few records in memory at a time; then writes it."""

    def __init__(self, stores: Sequence[Store], believed: int | None, is_begun: bool) -> None:
        self.merged = Merged()
        self._stores, self._believed, self._is_begun = stores, believed, is_begun
        self._contradicted: list[set[str]] = [set() for _ in stores]
        self._models: list[ModelRecord] = []
        self._trials: list[tuple[int, str]] = []
        self._artifacts: dict[str, bool] = {}
        self._thresholds: dict[str, float] = {}
        for number in sorted(range(len(stores)), key=lambda one: one != believed):
            self._thresholds = stores[number].thresholds() | self._thresholds
        for kind in ("base", "victim"):  # what contradicts a base model takes its victims along
            models = [[one for one in store.models() if one.kind == kind] for store in stores]
            for choice in choose(models, believed, self._counts):
                self._take(choice)
        for choice in choose([store.trials() for store in stores], believed, self._counts):
            self._take(choice)

    def _counts(self, source: int, record: Record) -> bool:
        """Say no to what was built on a model that contradicts the one that is taken."""
        if builds_on(record) not in self._contradicted[source]:
            return True
        if isinstance(record, TrialRecord):
            self.merged.left_out += 1
        else:
            self._contradicted[source].add(record.id)
        return False

    def _take(self, choice: Choice) -> None:
        self._compare(choice)
        record = choice.record
        self._need_artifacts(record)
        is_known = self._is_begun and choice.source == 0
        if isinstance(record, TrialRecord):
            self.merged.known += is_known
            self.merged.mended += choice.mended and not is_known
            if not is_known:
                self._trials.append((choice.source, record.trial))
        elif not is_known:
            self._models.append(record)

    def _compare(self, choice: Choice) -> None:
        folder = self._stores[choice.source].out
        for source, difference in choice.contradicts:
            other = self._stores[source].out
            if choice.source != self._believed:
                conflict = Conflict(choice.record, folder, other, difference)
                self.merged.conflicts.append(conflict)
            elif source == 0 and self._is_begun:
                name = key_of(choice.record)
                raise UserError(
                    f"{other} holds {name} with other numbers than {folder}",
                    "merge them into a new --out",
                )
            if isinstance(choice.record, ModelRecord):
                self._contradicted[source].add(choice.record.id)

    def _need_artifacts(self, record: Record) -> None:
        """Note the files that a record names, and whether it is a loss if there is no such file."""
        if isinstance(record, ModelRecord):
            self._artifacts[record.artifact] = True
        else:
            self._artifacts[record.triggers_artifact] = True
            for name in record.artifacts:  # of repaired models, which are scored and rarely kept
                self._artifacts.setdefault(name, False)
        self._artifacts.pop("", None)

    def write(self, target: Store) -> None:
        """Write first the artifacts, so that no row ever names one that is still to come."""
        for name, is_loss in self._artifacts.items():
            if not target.artifacts.verify(name):
                found = (one.artifacts.path(name) for one in self._stores if one is not target)
                path = next((path for path in found if path.exists()), None)
                if path is not None:
                    target.artifacts.add(path)
                elif is_loss:
                    self.merged.missing.add(name)
        # The trials that are there first: after a kill, no leaderboard has two thresholds.
        for least in sorted(set(self._thresholds.values())):
            held = {group: one for group, one in self._thresholds.items() if one == least}
            self._count_changed(least, target.agree_on_min_asr(held))
        target.put_all(self._records())
        self.merged.models, self.merged.trials = len(self._models), len(self._trials)

    def _records(self) -> Iterator[Record]:
        yield from self._models
        for source, identity in self._trials:
            record = self._stores[source].trial(identity)
            assert record is not None  # it is locked, and was read a moment ago
            yield self._under_one_threshold(record)

    def _under_one_threshold(self, record: TrialRecord) -> TrialRecord:
        if record.min_asr is None:  # on a model that nobody attacked
            return record
        least = self._thresholds[record.group]
        self._count_changed(least, int(record.min_asr != least))
        return replace(record, min_asr=least)

    def _count_changed(self, least: float, trials: int) -> None:
        if trials:
            self.merged.min_asr[least] = self.merged.min_asr.get(least, 0) + trials
