"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmark.errors import UserError


def check_place(file: Path) -> None:
    """Raise a `UserError` if `file` is a folder or would lie in one that does not exist."""
    if file.is_dir():
        raise UserError(f"cannot write {file}: it is a folder; name a file in it")
    if not file.parent.is_dir():
        raise UserError(f"cannot write {file}: there is no folder {file.parent}")


def write_whole(file: Path, write: Callable[[Path], None]) -> None:
    """Have `write` fill a file beside `file`, which then takes its place.

    What the disk refuses is a `UserError`; an older `file` then stays as it was.
    """
    try:
        _write(file, write)
    except OSError as error:
        raise UserError(f"cannot write {file}: {(error.strerror or str(error)).lower()}") from error


def _write(file: Path, write: Callable[[Path], None]) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    os.close(handle)
    unfinished = Path(name)
    try:
        write(unfinished)
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        mask = os.umask(0)
        os.umask(mask)
        unfinished.chmod(0o666 & ~mask)  # mkstemp's 0600 would surprise whoever shares the file
        unfinished.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
