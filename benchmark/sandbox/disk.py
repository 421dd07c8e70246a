"""What the files of a folder take on the disk, counted a little at a time."""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

LEAST = 4096
"""Bytes that anything counts, an empty file or folder too: each takes up some of the disk."""
_PAUSE_S = 0.25
_PIECE_S = 0.02
"""Counted in one go: however many files there are, time and memory are looked at in between."""
_CLOSED = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}


class Disk:
    """How much is below a folder: infinitely much if a part of it cannot be looked into."""

    def __init__(self, folder: Path) -> None:
        self.mib = 0.0
        self._folder, self._next = folder, 0.0
        self._whole, self._so_far, self._count = 0.0, 0.0, counted(folder)

    def look(self) -> None:
        """Go on counting for a moment, if it is time: at most a tenth of the time goes into it."""
        begun = time.monotonic()
        if begun < self._next:
            return
        pause = self._go_on(begun + _PIECE_S)
        now = time.monotonic()
        self._next = now + max(pause, 10 * (now - begun))

    def _go_on(self, end: float) -> float:
        """Count until all is counted or it is `end`; return how long the next time can wait."""
        pause = 0.0
        for total in self._count:
            self._so_far = total
            if time.monotonic() > end:
                break
        else:
            self._whole, self._so_far, self._count = self._so_far, 0.0, counted(self._folder)
            pause = _PAUSE_S
        self.mib = max(self._whole, self._so_far) / 2**20
        return pause


def counted(folder: Path) -> Iterator[float]:
    """Yield a growing sum of the bytes that the files below a folder take; links are not followed.

    A folder that is closed to us, or whose path is longer than a path can be, could hold anything:
    it counts as infinitely much, or nobody's limit would hold.
    """
    total, pending = 0.0, [str(folder)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    total += _size(entry)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    yield total
        except OSError as error:  # removed while we look, mostly
            total += math.inf if error.errno in _CLOSED else 0.0
            yield total


def _size(entry: os.DirEntry[str]) -> float:
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError as error:
        return math.inf if error.errno in _CLOSED else 0.0
    return max(LEAST, getattr(found, "st_blocks", -(-found.st_size // 512)) * 512)
