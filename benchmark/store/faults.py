"""Errors of the disk and of SQLite, said in one line that names the file and what to do."""

from __future__ import annotations

import errno
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.errors import UserError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
MENDING = "what is whole in it is kept by: bench repair --out {out}"

_SQLITE_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full: {file} was left as it was; free some space, run again",
    sqlite3.SQLITE_READONLY: "{file} cannot be written; check its permissions or use another --out",
    sqlite3.SQLITE_PERM: "{file} cannot be opened; check its permissions or use another --out",
    sqlite3.SQLITE_CANTOPEN: "{file} cannot be opened; check the folder and its permissions",
    sqlite3.SQLITE_BUSY: "{file} is busy: another program is holding it; try again when it is done",
    sqlite3.SQLITE_IOERR: "{file} cannot be read or written ({error}); check the disk",
}


_DAMAGE = {
    sqlite3.SQLITE_CORRUPT: "{file} is damaged",
    sqlite3.SQLITE_NOTADB: "{file} is not a results file, or is damaged",
}


class DamageError(Exception):
    """A row whose content does not fit its checksum; `explained` makes a `DamagedFile` of it."""


class DamagedFile(UserError):
    """A results file is not as it was once written: `bench repair` may help, and nothing else."""

    def __init__(self, file: Path, what: str) -> None:
        """Say `what` was found and what to do."""
        super().__init__(f"{what}; {MENDING.format(out=shlex.quote(str(file.parent)))}")
        self.what = what


def damaged(file: Path, what: str) -> DamagedFile:
    """Return the error for a results file of which `what` is not what was once written."""
    return DamagedFile(file, f"{file} is damaged: {what}")


def sqlite_error(error: sqlite3.Error, file: Path) -> UserError:
    """Return the one line that says what SQLite met in `file`."""
    # The extended codes share their lowest byte with the primary one. Errors that the Python
    # module raises on its own, such as text that is not UTF-8, have no code.
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return damaged(file, str(error))
    if code == sqlite3.SQLITE_ERROR:
        return damaged(file, f"its tables are not as they were written ({error})")
    if code & 0xFF in _DAMAGE:
        return DamagedFile(file, _DAMAGE[code & 0xFF].format(file=file))
    reason = _SQLITE_REASONS.get(code & 0xFF, "{file} cannot be used: {error}")
    return UserError(reason.format(file=file, error=error))


def disk_error(error: OSError, path: Path) -> UserError:
    """Return the one line that says why `path` could not be read or written."""
    if error.errno in FULL:
        return UserError(f"the disk is full: {path} was not written; free some space, run again")
    reason = (error.strerror or str(error)).lower()
    return UserError(f"cannot use {path}: {reason}; check its permissions or use another --out")


@contextmanager
def explained(file: Path) -> Iterator[None]:
    """Turn what SQLite, the disk or a checksum says about `file` into a `UserError`."""
    try:
        yield
    except DamageError as error:
        raise damaged(file, str(error)) from error
    except UnicodeDecodeError as error:  # of a column's name
        raise damaged(file, "its tables are not as they were written") from error
    except sqlite3.Error as error:
        raise sqlite_error(error, file) from error
    except OSError as error:
        raise disk_error(error, file) from error
