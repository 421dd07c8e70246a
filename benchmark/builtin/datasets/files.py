"""Looking at files before they are trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from benchmark.errors import UserError

_TAIL = 1 << 16


def stamp(files: Iterable[Path]) -> str:
    """Return a cheap key of the files: name, size, time of change and a hash of their ends.

    The end of a parquet file is its directory, with offsets and statistics of all that is in it.
    Raises `UserError` if a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in files:
        try:
            found = path.stat()
            with path.open("rb") as handle:
                handle.seek(max(0, found.st_size - _TAIL))
                tail = handle.read()
        except OSError as error:
            raise unreadable(path, error) from error
        digest.update(f"{path.name}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
        digest.update(hashlib.sha256(tail).digest())
    return digest.hexdigest()


def verify_md5(path: Path, expected: str) -> None:
    """Raise `UserError` unless the file has the official MD5 checksum."""
    try:
        with path.open("rb") as handle:
            found = hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False))
    except OSError as error:
        raise unreadable(path, error) from error
    if found.hexdigest() != expected:
        raise UserError(
            f"{path} is damaged or incomplete: its MD5 is {found.hexdigest()}, not {expected}",
            "download it again",
        )


def unreadable(path: Path, error: OSError) -> UserError:
    """Return the error for a file that the system does not let us read."""
    return UserError(f"cannot read {path}: {error.strerror or error}")
