"""Temporary folders that outlive a killed process until the next one of its kind looks."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import psutil

from benchmark.removal import remove_folder

_RANDOM = 8
"""Characters that `mkdtemp` adds to a name."""


def make(prefix: str, longest: int | None = None) -> Path:
    """Return a new folder; those that dead processes left under this prefix are removed.

    In `/tmp` if its path would be longer than `longest` elsewhere.
    """
    place, name = Path(tempfile.gettempdir()), f"{prefix}{os.getpid()}-"
    if longest is not None and len(str(place / name)) + _RANDOM > longest:
        place = Path("/tmp")
    _sweep(place, prefix)
    return Path(tempfile.mkdtemp(prefix=name, dir=place))


def temporary(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """Return a new folder that goes when it is closed or forgotten; the dead's are removed too.

    One whose process was ended from outside, as by a plugin that is checked, cannot clean up.
    """
    _sweep(Path(tempfile.gettempdir()), prefix)
    return tempfile.TemporaryDirectory(prefix=f"{prefix}{os.getpid()}-", ignore_cleanup_errors=True)


def _sweep(place: Path, prefix: str) -> None:
    for left in place.glob(f"{prefix}*"):
        number = left.name.removeprefix(prefix).partition("-")[0]
        if number.isdigit() and not psutil.pid_exists(int(number)):
            remove_folder(left)
