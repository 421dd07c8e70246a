"""Temporary folders that outlive a killed process until the next one of its kind looks."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import tempfile
from pathlib import Path

import psutil

from benchmark.removal import remove_folder

_RANDOM = 8
"""Characters that `mkdtemp` adds to a name."""
_LETTERS = str.maketrans("0123456789", "ghijklmnop")
"""Digits of a hash as letters: those of the process number come right behind."""


def make(prefix: str, longest: int | None = None) -> Path:
    """Return a new folder; those that dead processes left here under this prefix are removed.

    In `/tmp` if its path would be longer than `longest` elsewhere.
    """
    place, name = Path(tempfile.gettempdir()), _name(prefix)
    if longest is not None and len(str(place / name)) + _RANDOM > longest:
        place = Path("/tmp")
    _sweep(place, prefix)
    return Path(tempfile.mkdtemp(prefix=name, dir=place))


def temporary(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """Return a new folder that goes when it is closed or forgotten; the dead's are removed too.

    One whose process was ended from outside, as by a plugin that is checked, cannot clean up.
    """
    _sweep(Path(tempfile.gettempdir()), prefix)
    return tempfile.TemporaryDirectory(prefix=_name(prefix), ignore_cleanup_errors=True)


def _name(prefix: str) -> str:
    return f"{prefix}{_host()}{os.getpid()}-"


def _host() -> str:
    """Return what tells this host from others, and a container with processes of its own from it.

    Five letters in place of the name: a path with a socket in it has no room for more.
    """
    name = socket.gethostname()
    with contextlib.suppress(OSError):  # only Linux has it
        name += str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(name.encode()).hexdigest()[:5].translate(_LETTERS)


def _sweep(place: Path, prefix: str) -> None:
    """Remove what dead processes of this host left; of another's, nobody knows here who lives."""
    own = f"{prefix}{_host()}"
    for left in place.glob(f"{own}*"):
        number = left.name.removeprefix(own).partition("-")[0]
        if number.isdigit() and not psutil.pid_exists(int(number)):
            remove_folder(left)
