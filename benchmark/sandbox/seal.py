"""Closing a process off: from then on it opens what it was granted and nothing else.

Linux does it through Landlock (kernel 5.13 and later; `man 7 landlock`), without any privilege and
for good: neither the process nor what it starts can take it back.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""System call numbers, the same on every architecture."""
_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_DUMPABLE = 4

_WRITE_FILE, _READ_FILE, _READ_DIR, _REFER, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 13, 1 << 14
_CHANGE_FOLDER = sum(1 << bit for bit in range(4, 13))
"""Make and remove files, folders, links, sockets and devices."""
_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE
_TCP = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


@dataclass(frozen=True)
class Reach:
    """What a sealed process may still do. Paths that do not exist are left out."""

    read: tuple[str, ...] = ()
    """Files, and folders with all that is in them."""
    use: tuple[str, ...] = ()
    """Read and written, but nothing is made or removed there: devices."""
    write: tuple[str, ...] = ()
    """Folders in which everything is allowed."""
    listed: tuple[str, ...] = ()
    """Folders of which the names are seen, and not what is in the files."""
    network: bool = False
    """TCP connections."""


def landlock_version() -> int:
    """Return the version of the kernel's Landlock, 0 if there is none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, _VERSION))


def seal(reach: Reach) -> None:
    """Close this process off for good, on a kernel that has Landlock.

    Only the calling thread and what it starts are closed off: call it before any other thread
    runs. Raises `OSError` if the kernel refuses.
    """
    version = landlock_version()
    libc = ctypes.CDLL(None, use_errno=True)
    rights = _rights(version)
    ruleset = _checked(libc, libc.syscall(_CREATE_RULESET, *_attributes(version, rights, reach), 0))
    try:
        for paths, allowed in (
            (reach.read, _READ_FILE | _READ_DIR),
            (reach.use, _OF_FILES | _READ_DIR),
            (reach.write, rights),
            (reach.listed, _READ_DIR),
        ):
            for path in paths:
                _allow(libc, ruleset, path, allowed & rights)
        _checked(libc, libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(libc, libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _rights(version: int) -> int:
    """Return what is forbidden unless granted; running programs is not among it."""
    rights = _READ_FILE | _READ_DIR | _WRITE_FILE | _CHANGE_FOLDER
    rights |= _REFER if version >= 2 else 0
    return rights | (_TRUNCATE if version >= 3 else 0)


def _attributes(version: int, rights: int, reach: Reach) -> tuple[bytes, int]:
    """Return `struct landlock_ruleset_attr` as long as the kernel knows it, and its size."""
    fields = [rights]
    if version >= 4:
        fields.append(0 if reach.network else _TCP)
    if version >= 6:
        fields.append(_ABSTRACT_SOCKETS_AND_SIGNALS)
    packed = struct.pack(f"={len(fields)}Q", *fields)
    return packed, len(packed)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, allowed: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # not there, or not ours to open: nothing to grant
        return
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            allowed &= _OF_FILES
        rule = struct.pack("=Qi", allowed, handle)
        _checked(libc, libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    finally:
        os.close(handle)


def _checked(libc: ctypes.CDLL, status: int) -> int:
    if status < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return status


def around(folders: Iterable[Path], secret: Iterable[Path]) -> list[str]:
    """Return paths that cover the folders without the secret ones.

    A folder that holds a secret one is replaced by what else is in it.
    """
    hidden = [Path(os.path.realpath(path)) for path in secret]
    found: list[str] = []
    pending = [Path(os.path.realpath(folder)) for folder in folders]
    while pending:
        folder = pending.pop()
        if any(folder.is_relative_to(path) for path in hidden):
            continue
        if any(path.is_relative_to(folder) for path in hidden):
            with contextlib.suppress(OSError):
                pending.extend(
                    Path(entry) for entry in os.scandir(folder) if not entry.is_symlink()
                )
        elif str(folder) not in found:
            found.append(str(folder))
    return found


def keep_from_siblings() -> None:
    """Let other processes of the user not look into this one (Linux): no ptrace, no memory.

    Where nothing is sealed, it is what keeps a worker's environment and open files to itself; the
    administrator's processes are not bound by it. What this process forks is kept likewise.
    """
    _set_dumpable(0)


def be_as_any_process() -> None:
    """Take `keep_from_siblings` back: a kept process may not open all of its own /proc folder."""
    _set_dumpable(1)


def _set_dumpable(value: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, value, 0, 0, 0)
