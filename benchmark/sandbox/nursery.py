"""A process that holds torch and nothing of any job; for each job it starts a copy of itself.

Importing torch takes more than a second, a copy some hundredths. The process never runs a plugin's
code and is never told what a job is about, only its folder; each copy serves one job and ends.

usage: python -m benchmark.sandbox.nursery SOCKET
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NoReturn

from benchmark.sandbox.child import carry_out, end_family, end_with
from benchmark.sandbox.watch import adopt_orphans

_POLL_S = 0.02
_IDLE_POLL_S = 0.1


def main() -> None:
    """Serve jobs from the socket, one after another, until its other end is closed."""
    control = socket.socket(fileno=int(sys.argv[1]))
    import benchmark.sandbox.tasks  # noqa: F401  what every copy needs

    adopt_orphans()
    while True:
        while not select.select([control], [], [], _IDLE_POLL_S)[0]:
            _reap()
        with contextlib.suppress(ConnectionError):
            folder, descriptors, _, _ = socket.recv_fds(control, 65536, 1)
            if folder and descriptors:
                _serve(control, folder.decode(), descriptors[0])
                continue
        end_family()


def _serve(control: socket.socket, folder: str, output: int) -> None:
    """Start a copy for the folder; tell its number, and its exit status when it has ended."""
    pid = os.fork()
    if pid == 0:
        control.close()
        _become_job(Path(folder), output)
    os.close(output)
    control.send(b"%d" % pid)
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            _reap()
            control.send(b"%d" % os.waitstatus_to_exitcode(status))
            return
        if select.select([control], [], [], _POLL_S)[0]:
            end_family()  # nothing is sent while a job runs: the worker is gone


def _reap() -> None:
    """Forget the ended orphans that were handed to this process."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _become_job(folder: Path, output: int) -> NoReturn:
    """Take on what a process started for the folder would have, do the job and end."""
    status = 1
    try:
        os.setsid()
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.close(output)
        scratch = str(folder / "scratch")
        os.environ |= {"HOME": scratch, "TMPDIR": scratch}
        tempfile.tempdir = None
        os.chdir(scratch)
        status = carry_out(folder)
    except BaseException:
        traceback.print_exc()
    finally:
        end_with(status)


if __name__ == "__main__":
    main()
