"""Start the plugin's process, hold it to its limits, leave nothing of it behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import site
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import IO

import psutil

from benchmark.sandbox.files import JobFolder

_POLL_S = 0.05
_LOG_END = 32 * 1024
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "PYTHONPATH")


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
        if self.status < 0:
            with contextlib.suppress(ValueError):
                return f"the process was ended by {signal.Signals(-self.status).name}"
            return f"the process was ended by signal {-self.status}"
        return f"the process ended with status {self.status}" if self.status else ""


class _BoundedLog:
    """Keeps the first and the last part of a stream, however much is printed."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._head, self._tail, self._size = bytearray(), bytearray(), 0
        self._stream = stream
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        while chunk := os.read(self._stream.fileno(), 65536):
            self._size += len(chunk)
            room = _LOG_END - len(self._head)
            self._head += chunk[:room]
            self._tail = (self._tail + chunk[room:])[-_LOG_END:]

    def text(self) -> str:
        """Return what was kept; says how much was left out."""
        self._thread.join(timeout=2)
        left_out = self._size - len(self._head) - len(self._tail)
        gap = f"\n… {left_out} bytes left out …\n".encode() if left_out > 0 else b""
        return (bytes(self._head) + gap + bytes(self._tail)).decode("utf-8", errors="replace")


def launch(
    folder: JobFolder, *, threads: int, timeout_s: float | None, memory_mib: int | None
) -> Exit:
    """Run `benchmark.sandbox.child` on the folder and wait for its end.

    Limits are on wall time and on the resident memory of the whole process tree. When the process
    has ended, whatever it started is killed.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark.sandbox.child", str(folder.root)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder.scratch,
        env=_environment(folder.scratch, threads),
        start_new_session=True,
    )
    assert process.stdout is not None
    log = _BoundedLog(process.stdout)
    started, watch = time.monotonic(), _Watch(process.pid)
    killed = ""
    try:
        while process.poll() is None:
            watch.look()
            elapsed = time.monotonic() - started
            if timeout_s is not None and elapsed > timeout_s:
                killed = f"timed out: still running after {timeout_s:g} s"
            elif memory_mib is not None and watch.current_mib > memory_mib:
                killed = f"out of memory: {watch.current_mib:.0f} MiB, the limit is {memory_mib}"
            if killed:
                break
            time.sleep(_POLL_S)
    finally:
        watch.kill_all()
        status = process.wait()
    return Exit(status, killed, watch.peak_mib, log.text())


def _environment(home: Path, threads: int) -> dict[str, str]:
    """Return an environment without anything that the plugin has no need to know."""
    env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # Packages installed for the user would be lost with the home folder.
    env["PYTHONUSERBASE"] = site.getuserbase()
    env |= {"HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    env |= {"PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0"}
    return env


class _Watch:
    """Memory of a process tree, and the processes that it ever had."""

    def __init__(self, pid: int) -> None:
        self.current_mib = self.peak_mib = 0.0
        self._family: dict[int, psutil.Process] = {}
        self._root = pid

    def look(self) -> None:
        """Measure the tree now; memory that processes share is counted in each."""
        total = 0
        for process in self._tree():
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
                self._family[process.pid] = process
        self.current_mib = total / 2**20
        self.peak_mib = max(self.peak_mib, self.current_mib)

    def _tree(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self._root)
            return [root, *root.children(recursive=True)]
        except psutil.Error:
            return []

    def kill_all(self) -> None:
        """Kill the process group and everything seen, those that left the group too.

        What was started and abandoned unseen hangs under this process, if it `adopt_orphans`.
        """
        own = psutil.Process().children(recursive=True) if _ADOPTS else []
        for process in [*self._tree(), *self._family.values(), *own]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._root, signal.SIGKILL)
        if _ADOPTS:
            psutil.wait_procs(own, timeout=2)


_ADOPTS = False


def adopt_orphans() -> None:
    """Make this process the parent of every descendant whose own parent has ended (Linux).

    For a process that starts nothing but sandboxes: `launch` then kills all its descendants.
    """
    global _ADOPTS
    if sys.platform == "linux":
        pr_set_child_subreaper = 36
        _ADOPTS = ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0) == 0
