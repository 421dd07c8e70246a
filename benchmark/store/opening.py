"""From a folder's path to an open results file; whatever is in the way is a `UserError`."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import UserError
from benchmark.store import schema
from benchmark.store.faults import disk_error, explained
from benchmark.store.patience import Connection


def check_folder(out: Path, *, create: bool) -> None:
    """Refuse what is no folder; make it where `create` asks for it."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file, not a folder of results; use another --out")
    try:
        if create:
            out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, out) from error


def connect(file: Path, *, create: bool) -> Connection:
    """Open the results file and check its schema; make its tables where `create` asks for it."""
    with explained(file):
        is_new = create and schema.touch(file)
        connection = schema.connect(file)
        try:
            if schema.is_empty(connection, file, is_new=is_new):
                if not create:
                    raise schema.no_results(file.parent)
                schema.create(connection)
            schema.check(connection, file)
        except BaseException:
            connection.close()
            raise
        return connection
