"""This process's end of `benchmark.sandbox.nursery`: copies are asked for, and their ends told."""

from __future__ import annotations

import os
import site
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.errors import JobFault

STARTED, ENDED = b"started", b"ended"
"""Before the number of a copy, and before its exit status."""
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "PYTHONPATH")
_WARM_UP_S = 300.0
_LAST_WORD_S = 10.0


def environment(home: Path, threads: int) -> dict[str, str]:
    """Return an environment without anything that a plugin has no need to know."""
    env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    if env.get("PYTHONPATH"):
        # Plugins' processes start in other folders than this one.
        folders = env["PYTHONPATH"].split(os.pathsep)
        env["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, folders))
    # Packages installed for the user would be lost with the home folder.
    env["PYTHONUSERBASE"] = site.getuserbase()
    env |= {"HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    env |= {"PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0"}
    return env


class Copy:
    """A copy that the nursery made of itself."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid, self.keeper = pid, nursery.pid
        self._nursery = nursery
        self._status: int | None = None
        self._lost = ""

    def poll(self) -> int | None:
        """Return the exit status, None while the copy runs."""
        return self._read(0.0)

    def wait(self, seconds: float | None = _LAST_WORD_S) -> int:
        """Return the exit status of a copy that ends within the time; None: at any time.

        One that does not takes its nursery along, whose next word would be of its end.
        """
        status = self._read(seconds)
        if status is None:
            self._status = status = -9
            forget_nursery()
        return status

    def lost(self) -> str:
        """Return why nothing is known of the copy's end; mostly empty."""
        return self._lost

    def _read(self, seconds: float | None) -> int | None:
        if self._status is None:
            try:
                self._status = self._nursery.read(ENDED, seconds)
            except OSError:
                self._status, self._lost = -9, "the process that starts plugins was killed"
                forget_nursery()
        return self._status


class Nursery:
    """One nursery and the socket to it. It makes one copy at a time."""

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
                env=environment(home, threads),
                start_new_session=True,
            )
        self.pid = self._process.pid

    def start(self, what: str, descriptors: Sequence[int]) -> Copy:
        """Ask for a copy that does `what` the nursery understands by these descriptors.

        Raises `OSError` if the nursery has died.
        """
        socket.send_fds(self._socket, [what.encode()], descriptors)
        pid = self.read(STARTED, _WARM_UP_S)
        if pid is None:
            raise TimeoutError("the process that starts plugins does not answer")
        return Copy(self, pid)

    def read(self, kind: bytes, seconds: float | None) -> int | None:
        """Return the next number, None if none comes; raises `OSError` if none ever will.

        A number of another kind is a `JobFault`: nothing is known of the copy that it was to be of.
        """
        self._socket.settimeout(seconds)
        try:
            message = self._socket.recv(64)
        except (BlockingIOError, TimeoutError):
            return None
        if not message:
            raise ConnectionError("the process that starts plugins has ended")
        found, _, number = message.partition(b" ")
        if found != kind:
            forget_nursery()
            raise JobFault("the process that starts plugins spoke of another one")
        return int(number)

    def close(self) -> None:
        """End the nursery and what it started."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


_current: list[Nursery] = []


def nursery(threads: int, home: Path) -> Nursery:
    """Return the nursery; a new one if there is none for this number of threads."""
    if _current and _current[0].threads != threads:
        forget_nursery()
    if not _current:
        _current.append(Nursery(threads, home))
    return _current[0]


def forget_nursery() -> None:
    """End the nursery, if there is one."""
    while _current:
        _current.pop().close()
