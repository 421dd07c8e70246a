"""Weights and triggers under the hash of their bytes: written once, checked on every read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from benchmark.errors import JobFault
from benchmark.store.faults import disk_error

ANY = "artifacts/*/*.safetensors"
"""Where artifacts lie in a results folder."""
_NAME = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1 << 20
_UNFINISHED = ".unfinished-"


class ArtifactStore:
    """The files `<out>/artifacts/ab/abcd….safetensors`, each called by its own SHA-256."""

    def __init__(self, out: Path) -> None:
        """Name the place; nothing is made there before the first `add`."""
        self.folder = out / "artifacts"

    def add(self, source: Path | bytes) -> str:
        """Keep the bytes of `source` and return their name: 64 hexadecimal digits.

        The file appears under its name complete and on the disk, or not at all.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, unfinished = tempfile.mkstemp(prefix=_UNFINISHED, dir=self.folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    name = _copy(source, file)
                # Over an existing file too: it may be the damaged one that this replaces.
                self._place(Path(unfinished), self.path(name))
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(unfinished).unlink()
                raise
        except OSError as error:
            raise disk_error(error, self.folder) from error
        return name

    def path(self, name: str) -> Path:
        """Return where the artifact lies or would lie; a name that is no hash is a `JobFault`."""
        if not _NAME.fullmatch(name):
            raise JobFault(f"{name!r} is not the name of an artifact")
        return self.folder / name[:2] / f"{name}.safetensors"

    def read(self, name: str) -> bytes:
        """Return the artifact's bytes; a missing or damaged one is a `JobFault`."""
        path = self.path(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise JobFault(f"artifact {name} is missing: there is no {path}") from error
        except OSError as error:
            raise disk_error(error, path) from error
        if hashlib.sha256(data).hexdigest() != name:
            raise JobFault(f"artifact {name} is damaged: {path} does not fit its name")
        return data

    def verify(self, name: str) -> bool:
        """Say whether the artifact is there and its bytes are those that were added."""
        try:
            return _fits(self.path(name))
        except OSError:
            return False

    def damaged(self) -> Iterator[Path]:
        """Yield the files whose bytes do not fit their names.

        Of a file that cannot be read nobody knows what it holds: it is a `UserError`.
        """
        for path in sorted(self.folder.parent.glob(ANY)):
            try:
                is_damaged = _NAME.fullmatch(path.stem) and not _fits(path)
            except OSError as error:
                raise disk_error(error, path) from error
            if is_damaged:
                yield path

    def mark(self, text: str) -> Path:
        """Write a text that another process finds here if it sees this folder; a sweep removes it.

        The file's name is new each time.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=self.folder)
            os.fchmod(handle, 0o644)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise disk_error(error, self.folder) from error
        return Path(name)

    def sweep(self, age_s: float = 0.0) -> None:
        """Remove what a killed run was still writing, if nothing was written for `age_s`.

        Without an age only for the one writer of the folder.
        """
        now = time.time()
        for path in self.folder.glob(f"{_UNFINISHED}*"):
            with contextlib.suppress(OSError):
                if not age_s or now - path.stat().st_mtime > age_s:
                    path.unlink()

    def _place(self, unfinished: Path, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        unfinished.chmod(0o644)
        unfinished.replace(path)
        # The names are data too: without this a power cut could lose a file that a row refers to.
        for folder in (path.parent, self.folder):
            sync_folder(folder)


def _fits(path: Path) -> bool:
    """Say whether a file's bytes have the hash that it is called by."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == path.stem


def _copy(source: Path | bytes, file: BinaryIO) -> str:
    digest = hashlib.sha256()
    for block in _blocks(source):
        digest.update(block)
        file.write(block)
    file.flush()
    os.fsync(file.fileno())
    return digest.hexdigest()


def _blocks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
