"""`bench repair`: a results folder rebuilt from what is whole; the damaged file itself is kept."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmark.errors import UserError
from benchmark.store import schema
from benchmark.store.artifacts import ArtifactStore, sync_folder
from benchmark.store.database import Store
from benchmark.store.faults import DamagedFile, damaged, disk_error, explained
from benchmark.store.lock import WriterLock
from benchmark.store.salvage import Found, Salvaged, salvage

_JOURNAL = "-journal"
_UNFINISHED = ".unfinished.sqlite"


@dataclass(frozen=True)
class LostArtifact:
    """A file that is gone, or was damaged and is now removed."""

    path: Path
    damaged: bool
    holder: str
    """`model`, `trial` or nothing: the kind of record that refers to it."""
    identity: str


@dataclass
class Repaired:
    """What was found in a results folder and done about it."""

    found: Found
    """Table → records kept and lost; nothing is lost where nothing was damaged."""
    what: str = ""
    """What was wrong with the results file; empty if it was whole."""
    kept_as: Path | None = None
    """Where the damaged results file is kept."""
    artifacts: list[LostArtifact] = field(default_factory=list)


def repair(out: Path) -> Repaired:
    """Rebuild `out/results.sqlite` from its whole records if it is damaged; drop bad artifacts.

    Every record that is kept is kept to the last bit. A kill at any moment leaves the damaged file
    or the rebuilt one in its place. A folder without results, one that another run is writing, one
    of another schema, an artifact that cannot be read, and a file in which nothing is whole are a
    `UserError`.
    """
    file = out / schema.FILE
    if not file.exists():
        raise schema.no_results(out)
    lock = WriterLock(out)
    try:
        try:
            repaired = Repaired(_read_all(out))
        except DamagedFile as error:
            repaired = _rebuild(file, error)
        repaired.artifacts = _drop_bad_artifacts(out)
    except OSError as error:
        raise disk_error(error, out) from error
    finally:
        lock.release()
    return repaired


def _read_all(out: Path) -> Found:
    """Read every row, checked; raises a `DamagedFile` at the first that is not whole."""
    with Store.open(out, write=False) as store:
        store.check_pages()
        store.trials_frame()
        trials = {trial.trial for trial in store.trials()}
        models = {model.id for model in store.models()}
    return {"trial": Salvaged(trials, trials), "model": Salvaged(models, models)}


def _rebuild(file: Path, error: DamagedFile) -> Repaired:
    """Put a file with the whole records in the place of the damaged one."""
    fresh = file.with_name(_UNFINISHED)
    for left in (fresh, Path(f"{fresh}{_JOURNAL}")):
        left.unlink(missing_ok=True)  # of a repair that was killed
    try:
        found = _copy_whole(file, fresh)
        if not any(table.kept for table in found.values()):
            raise UserError(
                f"{error.what}, and no record in it is whole; move it away to start anew"
            )
        kept_as = _keep(file)
        fresh.replace(file)
        sync_folder(file.parent)
    finally:
        fresh.unlink(missing_ok=True)
    again = _read_all(file.parent)
    if any(again[name].kept != table.kept for name, table in found.items()):
        raise damaged(file, "the disk did not keep what was just written to it")
    return Repaired(found, error.what, kept_as)


def _copy_whole(file: Path, fresh: Path) -> Found:
    with explained(fresh):
        schema.touch(fresh)
        connection = schema.connect(fresh)
        try:
            schema.create(connection)
            return salvage(file, connection)
        finally:
            connection.close()


def _keep(file: Path) -> Path:
    """Give the damaged file a second name, and its journal another.

    SQLite would apply a journal that it finds beside the new file, and so damage that one too.
    """
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    name, number = file.with_name(f"{file.stem}.damaged-{now}{file.suffix}"), 1
    while name.exists():
        number += 1
        name = file.with_name(f"{file.stem}.damaged-{now}-{number}{file.suffix}")
    try:
        os.link(file, name)
    except OSError:  # not every disk has links
        shutil.copy2(file, name)
    journal = Path(f"{file}{_JOURNAL}")
    if journal.exists():
        journal.rename(f"{name}{_JOURNAL}")
    return name


def _drop_bad_artifacts(out: Path) -> list[LostArtifact]:
    """Remove the artifacts that do not fit their names; tell of these and of those missing."""
    artifacts = ArtifactStore(out)
    bad = {path.stem: path for path in artifacts.damaged()}
    lost = []
    with Store.open(out, write=False) as store:
        holders = [("model", model.id, model.artifact) for model in store.models()]
        holders += [("trial", trial.trial, trial.triggers_artifact) for trial in store.trials()]
    for kind, identity, name in holders:
        if name and (name in bad or not artifacts.path(name).exists()):
            lost.append(LostArtifact(artifacts.path(name), name in bad, kind, identity))
    named = {one.path.stem for one in lost}
    lost += [LostArtifact(path, True, "", "") for name, path in bad.items() if name not in named]
    for path in bad.values():
        path.unlink(missing_ok=True)
    return lost
