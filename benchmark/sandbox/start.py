"""Starting the process for a job: a copy of the nursery's on Linux, a new interpreter elsewhere."""

from __future__ import annotations

import os
import site
import socket
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from benchmark.sandbox.files import JobFolder

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "PYTHONPATH")
_WARM_UP_S = 300.0
_LAST_WORD_S = 10.0


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


def start(folder: JobFolder, threads: int, output: int) -> Running:
    """Start the job of the folder; what it prints goes to the descriptor `output`."""
    if sys.platform.startswith("linux"):
        try:
            return _nursery(threads, folder.root.parent).start(folder.root, output)
        except (OSError, ValueError):
            # It was killed, or cannot start. The long way tells, in the log, what is wrong.
            _forget_nursery()
    return _Own(folder, threads, output)


def _environment(home: Path, threads: int) -> dict[str, str]:
    """Return an environment without anything that the plugin has no need to know."""
    env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # Packages installed for the user would be lost with the home folder.
    env["PYTHONUSERBASE"] = site.getuserbase()
    env |= {"HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    env |= {"PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0"}
    return env


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
            env=_environment(folder.scratch, threads),
            start_new_session=True,
        )
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.poll()

    def wait(self) -> int:
        return self._process.wait()

    def lost(self) -> str:
        return ""


class _Copy:
    """A copy that the nursery made of itself."""

    def __init__(self, nursery: _Nursery, pid: int) -> None:
        self.pid, self.keeper = pid, nursery.pid
        self._nursery = nursery
        self._status: int | None = None
        self._lost = ""

    def poll(self) -> int | None:
        return self._read(0.0)

    def wait(self) -> int:
        status = self._read(_LAST_WORD_S)
        return -9 if status is None else status

    def lost(self) -> str:
        return self._lost

    def _read(self, seconds: float) -> int | None:
        if self._status is None:
            try:
                self._status = self._nursery.read(seconds)
            except OSError:
                self._status, self._lost = -9, "the process that starts plugins was killed"
                _forget_nursery()
        return self._status


class _Nursery:
    """This process's end of `benchmark.sandbox.nursery`."""

    def __init__(self, threads: int, home: Path) -> None:
        self.threads = threads
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "benchmark.sandbox.nursery", str(other.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                cwd="/",
                env=_environment(home, threads),
                start_new_session=True,
            )
        self.pid = self._process.pid

    def start(self, folder: Path, output: int) -> _Copy:
        """Raises `OSError` if the nursery has died."""
        socket.send_fds(self._socket, [str(folder).encode()], [output])
        pid = self.read(_WARM_UP_S)
        if pid is None:
            raise TimeoutError("the process that starts plugins does not answer")
        return _Copy(self, pid)

    def read(self, seconds: float) -> int | None:
        """Return the next number, None if none comes; raises `OSError` if none ever will."""
        self._socket.settimeout(seconds)
        try:
            message = self._socket.recv(64)
        except (BlockingIOError, TimeoutError):
            return None
        if not message:
            raise ConnectionError("the process that starts plugins has ended")
        return int(message)

    def close(self) -> None:
        """End the nursery and what it started."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


_current: list[_Nursery] = []


def _nursery(threads: int, home: Path) -> _Nursery:
    """Return the nursery; a new one if there is none for this number of threads."""
    if _current and _current[0].threads != threads:
        _forget_nursery()
    if not _current:
        _current.append(_Nursery(threads, home))
    return _current[0]


def _forget_nursery() -> None:
    while _current:
        _current.pop().close()
