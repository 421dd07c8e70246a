"""What a process and its descendants use, from outside; and their end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmark.sandbox.disk import Disk

_PERSIST_S = 10.0
"""How long the family is killed again while somebody of it is left."""
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
        for pid in descent(self._root):
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                total += process.memory_info().rss
                self._family[pid] = process
        self.current_mib = total / 2**20
        self.peak_mib = max(self.peak_mib, self.current_mib)
        self._disk.look()

    def _tree(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(self._root)
            return [root, *root.children(recursive=True)]
        return []

    def kill_all(self) -> None:
        """Kill the process group and everything seen, those that left the group too.

        What was started and abandoned unseen hangs under this process or the keeper. Whoever forks
        between our look and our blow is met by the next one.
        """
        end = time.monotonic() + _PERSIST_S
        while True:
            abandoned = self._abandoned()
            for process in [*self._tree(), *self._family.values(), *abandoned]:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._root, signal.SIGKILL)
            psutil.wait_procs(abandoned, timeout=2)
            if not abandoned or time.monotonic() > end:
                return

    def _abandoned(self) -> list[psutil.Process]:
        if not _adopts:
            return []
        with contextlib.suppress(psutil.Error):
            own = psutil.Process().children(recursive=True)
            return [process for process in own if process.pid != self._keeper]
        return []


def descent(root: int) -> Iterator[int]:
    """Yield the number of a process and those of its living descendants.

    Linux lists the children of each thread. To ask every process of the machine for its parent
    instead, as psutil does, takes some 3 ms and more where there are many: 20 times a second, that
    is a twentieth of a core for each job. The lists may lack one while another ends; a later look
    finds it.
    """
    if not _LISTED:
        with contextlib.suppress(psutil.Error):
            yield from (one.pid for one in psutil.Process(root).children(recursive=True))
        yield root
        return
    pending = [root]
    while pending:
        pid = pending.pop()
        yield pid
        pending += _children(pid)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):  # it has ended, or a thread of it
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (thread / "children").read_text("ascii").split())
    return found


_LISTED = Path(f"/proc/self/task/{os.getpid()}/children").exists()
"""Whether this system lists a thread's children; the kernel may be built without."""
