"""Start the plugin's process, hold it to its limits, leave nothing of it behind."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass

from benchmark.errors import end_in_words
from benchmark.sandbox.files import JobFolder
from benchmark.sandbox.log import BoundedLog
from benchmark.sandbox.start import Running, start
from benchmark.sandbox.watch import Watch

_POLL_S = 0.05


@dataclass(frozen=True)
class Limits:
    """What a sandboxed process may use; None: as much as it likes."""

    timeout_s: float | None
    memory_mib: int | None
    disk_mib: int | None

    def passed(self, elapsed: float, watch: Watch) -> str:
        """Return in words the first limit that is passed; empty if none is."""
        if self.timeout_s is not None and elapsed > self.timeout_s:
            return f"timed out: still running after {self.timeout_s:g} s"
        if self.memory_mib is not None and watch.current_mib > self.memory_mib:
            return f"out of memory: {watch.current_mib:.0f} MiB, the limit is {self.memory_mib}"
        if self.disk_mib is not None and watch.disk_mib > self.disk_mib:
            written = f"{watch.disk_mib:.0f} MiB written"
            if math.isinf(watch.disk_mib):
                written = "a folder that cannot be looked into"
            return f"out of disk space: {written}, the limit is {self.disk_mib}"
        return ""


@dataclass(frozen=True)
class Exit:
    """How a sandboxed process ended."""

    status: int
    """Exit status; minus the signal's number if a signal ended it."""
    killed: str
    """Why the harness ended it; empty if it ended by itself."""
    peak_memory_mib: float
    """Largest resident memory seen, of the process and its children."""
    log: str
    """What it printed: the first and the last 32 KiB."""

    @property
    def reason(self) -> str:
        """Say in words why the process failed; empty if its status is 0."""
        if self.killed:
            return self.killed
        return end_in_words(self.status)


def launch(folder: JobFolder, threads: int, limits: Limits) -> Exit:
    """Run `benchmark.sandbox.child` on the folder and wait for its end.

    Limits are on wall time, on the resident memory of the whole process tree and on what it writes
    in the folder. When the process has ended, whatever it started is killed.
    """
    log_end, output = os.pipe()
    try:
        process = start(folder, threads, output)
    except BaseException:
        os.close(log_end)
        raise
    finally:
        os.close(output)
    log = BoundedLog(log_end)
    watch = Watch(process.pid, folder.root, process.keeper)
    killed = ""
    try:
        killed = _hold(process, limits, watch)
    finally:
        watch.kill_all()
        status = process.wait()
    return Exit(status, killed, watch.peak_mib, log.text())


def _hold(process: Running, limits: Limits, watch: Watch) -> str:
    """Wait until the process has ended or passes a limit; return which one."""
    started = time.monotonic()
    watch.look()  # a copy may be done before it is asked for the first time
    while process.poll() is None:
        watch.look()
        passed = limits.passed(time.monotonic() - started, watch)
        if passed:
            return passed
        time.sleep(_POLL_S)
    return process.lost()
