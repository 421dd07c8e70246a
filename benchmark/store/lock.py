"""One writer for a results folder, whoever and wherever the others are."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.store import work_folder
from benchmark.store.faults import disk_error

FILE = ".lock"
_MOST = 2048
"""Bytes of the file: more than a name of a host and a path to a temporary folder need."""
_live: weakref.WeakSet[WriterLock] = weakref.WeakSet()


class WriterLock:
    """Holds `<out>/.lock` until `release()` or the end of the process, however it ends.

    The kernel lets go of the lock with its last holder, so a killed run leaves none behind; what
    the file says is only for the message to whoever comes second.
    """

    def __init__(self, out: Path) -> None:
        """Take the lock, or raise a `UserError` that says who holds it."""
        path = out / FILE
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise disk_error(error, path) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one who wrote this is dead or done: nobody else can have got here.
            left = _said(os.pread(self._descriptor, _MOST, 0)).get("work")
            with contextlib.suppress(Exception):  # what a run left must not keep out all others
                work_folder.remove(left)
            self._sign()
        except OSError as error:
            text = os.pread(self._descriptor, _MOST, 0)
            os.close(self._descriptor)
            raise _refusal(error, out, text) from error
        _live.add(self)

    @contextlib.contextmanager
    def work_folder(self) -> Iterator[Path]:
        """Make a temporary folder for the block; after a kill, the next holder removes it."""
        path = work_folder.new_path()
        self._sign(work=str(path))  # first: a kill between the two must leave no stray folder
        try:
            path.mkdir(mode=0o700)
        except OSError as error:
            raise disk_error(error, path) from error
        try:
            yield path
        finally:
            work_folder.remove(str(path))

    def _sign(self, work: str = "") -> None:
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "work": work}
        # One write of one length: a kill leaves the old text or the new one.
        os.pwrite(self._descriptor, json.dumps(holder).encode().ljust(_MOST), 0)

    def release(self) -> None:
        """Let the next writer in. The file stays: removing it would let two writers in at once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _refusal(error: OSError, out: Path, text: bytes) -> UserError:
    if error.errno in (errno.EAGAIN, errno.EACCES):
        return UserError(
            f"{out} is being written by another run{_holder(text)}; "
            "wait for it or use another --out"
        )
    if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
        return UserError(f"the disk of {out} has no file locks; use another --out")
    return disk_error(error, out / FILE)


def _holder(text: bytes) -> str:
    """Return ` (pid N on HOST since WHEN)`, or nothing while the holder is still signing."""
    said = _said(text)
    if not said.keys() >= {"pid", "host", "since"}:
        return ""
    return f" (pid {said['pid']} on {said['host']} since {said['since']})"


def _said(text: bytes) -> dict[str, Any]:
    """Return what a holder signed; nothing where that is empty or damaged."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _forget_in_child() -> None:
    # A forked child shares the parent's lock and would keep it after the parent was killed.
    for lock in list(_live):
        lock.release()


os.register_at_fork(after_in_child=_forget_in_child)
