"""What a process and its descendants use, from outside; and their end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

import psutil

from benchmark.sandbox.disk import Disk

_adopts = False


def adopt_orphans() -> None:
    """Make this process the parent of every descendant whose own parent has ended (Linux).

    For a process that starts nothing but sandboxes: their watch then ends all its descendants.
    """
    global _adopts
    if sys.platform == "linux":
        pr_set_child_subreaper = 36
        _adopts = ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0) == 0


class Watch:
    """Memory and disk of a process tree, and the processes that it ever had.

    `keeper` is the process that starts sandboxes for this one, 0 if it starts them itself: their
    orphans hang under it, and it lives on.
    """

    def __init__(self, pid: int, folder: Path, keeper: int = 0) -> None:
        self.current_mib = self.peak_mib = 0.0
        self._disk = Disk(folder)
        self._family: dict[int, psutil.Process] = {}
        self._root, self._keeper = pid, keeper

    @property
    def disk_mib(self) -> float:
        """Return what was seen on the disk; infinity where something is closed to us."""
        return self._disk.mib

    def look(self) -> None:
        """Measure the tree now; memory that processes share is counted in each."""
        total = 0
        for process in self._tree():
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
                self._family[process.pid] = process
        self.current_mib = total / 2**20
        self.peak_mib = max(self.peak_mib, self.current_mib)
        self._disk.look()

    def _tree(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self._root)
            return [root, *root.children(recursive=True)]
        except psutil.Error:
            return []

    def kill_all(self) -> None:
        """Kill the process group and everything seen, those that left the group too.

        What was started and abandoned unseen hangs under this process or the keeper.
        """
        abandoned = self._abandoned()
        for process in [*self._tree(), *self._family.values(), *abandoned]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._root, signal.SIGKILL)
        psutil.wait_procs(abandoned, timeout=2)

    def _abandoned(self) -> list[psutil.Process]:
        if not _adopts:
            return []
        with contextlib.suppress(psutil.Error):
            own = psutil.Process().children(recursive=True)
            return [process for process in own if process.pid != self._keeper]
        return []
