"""Mounts of a process's own: a /dev/shm that nobody else has, and the rest read-only (Linux).

Landlock forbids to write what is in files, but not to change their times, permissions or extended
attributes: a note for the next trial. On a mount that is read-only, none of them can be changed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from pathlib import Path

_MOUNT_SETATTR = 442
"""Number of the system call, the same on every architecture."""
_NEW_MOUNTS, _NEW_IPC, _NEW_USER = 0x00020000, 0x08000000, 0x10000000
_PRIVATE = 1 << 14 | 1 << 18
_NO_SUID = 1 << 1 | 1 << 2
_BIND = 1 << 12
_READ_ONLY = 1
_FROM_HERE, _WITH_ALL_BELOW = -100, 0x8000
_CAPABILITIES_3 = 0x20080522
_SHARED = "/dev/shm"


def own_mounts(mib: int, writable: Path) -> str:
    """Give this process mounts and System V objects of its own, as far as the system lets it.

    Returns what it has then, for the record; empty: nothing. `mib` is how much its /dev/shm holds;
    but for that and `writable`, all is read-only. Containers often do not let users make
    namespaces. Call it before `seal`, and before any other thread runs.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        was_granted = _separate(libc)
        size = f"mode=1777,size={mib}m".encode()
        _checked(libc.mount(b"tmpfs", _SHARED.encode(), b"tmpfs", _NO_SUID, size))
    except OSError:
        return ""
    has = "own /dev/shm"
    with contextlib.suppress(OSError):
        _close_the_rest(libc, writable)
        has += ", read-only rest"
    if was_granted:
        _give_up_rights(libc)
    return has


def _separate(libc: ctypes.CDLL) -> bool:
    """Leave the common mounts and System V objects; say whether that took a user namespace.

    This process has all rights in it, also that of taking back what is done to its mounts.
    """
    user, group, privileged = os.geteuid(), os.getegid(), os.geteuid() == 0
    _checked(libc.unshare(_NEW_MOUNTS | _NEW_IPC | (0 if privileged else _NEW_USER)))
    if not privileged:
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    _checked(libc.mount(b"none", b"/", None, _PRIVATE, None))
    return not privileged


def _close_the_rest(libc: ctypes.CDLL, writable: Path) -> None:
    """Make all mounts read-only but those that a plugin writes in; devices work nevertheless."""
    place = os.fsencode(writable)
    _checked(libc.mount(place, place, None, _BIND, None))
    here = Path.cwd()
    _set(libc, b"/", _WITH_ALL_BELOW, add=_READ_ONLY)
    for path in (place, _SHARED.encode()):
        _set(libc, path, 0, remove=_READ_ONLY)
    with contextlib.suppress(OSError):  # where it was read-only before
        _set(libc, b"/proc", 0, remove=_READ_ONLY)  # drivers name their threads there
    os.chdir(here)  # it was on the mount below


def _set(libc: ctypes.CDLL, path: bytes, flags: int, *, add: int = 0, remove: int = 0) -> None:
    attributes = struct.pack("=4Q", add, remove, 0, 0)
    _checked(libc.syscall(_MOUNT_SETATTR, _FROM_HERE, path, flags, attributes, len(attributes)))


def _give_up_rights(libc: ctypes.CDLL) -> None:
    header, none = struct.pack("=Ii", _CAPABILITIES_3, 0), bytes(24)
    libc.capset(header, none)


def _checked(status: int) -> None:
    if status < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
