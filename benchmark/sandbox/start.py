"""Starting the process for a job: a copy of the nursery's on Linux, a new interpreter elsewhere."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from benchmark.sandbox.files import JobFolder
from benchmark.sandbox.keeper import environment, forget_nursery, nursery


class Running(Protocol):
    """A started process."""

    @property
    def pid(self) -> int:
        """Its number; it leads a session of its own."""

    @property
    def keeper(self) -> int:
        """The number of the process that started it, 0 if that is this one."""

    def poll(self) -> int | None:
        """Return the exit status, None while the process runs."""

    def wait(self) -> int:
        """Return the exit status of a process that ends now."""

    def lost(self) -> str:
        """Return why nothing is known of the end of the process; mostly empty."""


def prepare(threads: int, home: Path) -> None:
    """Start the nursery that `start` would, if it can be; `home` is the parent of jobs' folders."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):
            nursery(threads, home)


def start(folder: JobFolder, threads: int, output: int) -> Running:
    """Start the job of the folder; what it prints goes to the descriptor `output`.

    `threads` is what libraries find in the environment; torch is told by the job itself.
    """
    if sys.platform.startswith("linux"):
        try:
            return nursery(threads, folder.root.parent).start(str(folder.root), [output])
        except (OSError, ValueError):
            # It was killed, or cannot start. The long way tells, in the log, what is wrong.
            forget_nursery()
    return _Own(folder, threads, output)


class _Own:
    """A child of this process that starts from nothing."""

    keeper = 0

    def __init__(self, folder: JobFolder, threads: int, output: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmark.sandbox.child", str(folder.root)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder.scratch,
            env=environment(folder.scratch, threads),
            start_new_session=True,
        )
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.poll()

    def wait(self) -> int:
        return self._process.wait()

    def lost(self) -> str:
        return ""
