"""The process in which plugin code runs.

usage: python -m benchmark.sandbox.child FOLDER
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import psutil

from benchmark.loading.importing import hint_beside
from benchmark.sandbox.files import JobFolder, Request
from benchmark.sandbox.mounts import own_mounts
from benchmark.sandbox.reach import own_reach
from benchmark.sandbox.seal import landlock_version, seal

FAILED = 3
"""Exit status of a process whose plugin raised; the reason is in `error.txt`."""


def carry_out(root: Path) -> int:
    """Close this process off, run the task of the folder's request and return the exit status.

    No other thread may run yet: it would not be closed off.
    """
    folder = JobFolder(root.absolute())
    request = Request.model_validate_json((folder.inbox / "request.json").read_text("utf-8"))
    sealed = _seal(request, folder)
    die_with(os.getppid())
    try:
        from benchmark.sandbox.tasks import run_task

        run_task(request, folder)
    except SystemExit as end:
        return _status(end)
    except BaseException as error:
        with contextlib.suppress(Exception):  # the plugin may have closed standard error
            traceback.print_exc()
        folder.write_error(_reason(error, sealed, request))
        return FAILED
    return 0


def _status(end: SystemExit) -> int:
    """Return the exit status that Python gives to `sys.exit(...)`."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    with contextlib.suppress(Exception):
        print(end.code, file=sys.stderr)
    return 1


def _seal(request: Request, folder: JobFolder) -> bool:
    """Close this process off as far as the system can; return whether it could."""
    _bound_files(request.disk_mib)
    if request.readable is None or not landlock_version():
        return False
    by = f"landlock {landlock_version()}"
    if request.disk_mib is not None and (own := own_mounts(request.disk_mib, folder.root)):
        by += f", {own}"
    read = (*request.readable, str(folder.inbox))
    reach = own_reach(read, (folder.outbox, folder.scratch), network=request.task != "repair")
    # Written before, because it cannot be after; and so the plugin cannot change it either.
    folder.write_sealed(by)
    try:
        seal(reach)
    except OSError as error:  # in a container that forbids it, say
        folder.write_sealed("")
        print(f"not sealed: {error}", file=sys.stderr)
        return False
    return True


_BESIDE_BYTES = 2**19
"""Of the limit on files, for those beside a long one."""


def _bound_files(disk_mib: int | None) -> None:
    """Let no single file grow past the limit; the sum of all is watched from outside.

    A little less, so that one file and a log are not the sum's fault, which ends the process
    before it can say its own.
    """
    if disk_mib is not None and os.name == "posix":
        import resource

        most = disk_mib * 2**20 - _BESIDE_BYTES
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


_SEALED = (
    "a plugin reads the system, packages and what it is given, writes in its working folder, and "
    "reaches no other process and no server; run.readable opens folders"
)


def _reason(error: BaseException, sealed: bool, request: Request) -> str:
    try:
        text = str(error)
    except Exception:
        text = "(its message cannot be shown)"
    number = error.errno if isinstance(error, OSError) else None
    if sealed and (isinstance(error, PermissionError) or number == errno.EROFS):
        text += f" ({_SEALED})"
    if number == errno.EFBIG:
        text += " (no file may pass the limit run.disk_mib)"
    origins = [one.origin for one in (request.plugin, request.model) if one is not None]
    for file in dict.fromkeys(one["path"] for one in origins if one["kind"] == "file"):
        hint = hint_beside(error, file)
        text += f" ({hint})" if hint else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def die_with(parent: int, end: Callable[[], NoReturn] | None = None) -> None:
    """End this process and its children when its parent is gone, with `end` if it is given.

    So a killed run leaves nothing behind.
    """

    def watch() -> None:
        if os.name == "posix":
            # A signal that this thread took would not wake the main one, where Python answers it.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        while os.getppid() == parent:
            time.sleep(0.5)
        (end or end_family)()

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


def end_family() -> NoReturn:
    """Kill whatever this process started, and end it."""
    # A sealed process is not shown the others and knows only its own group.
    with contextlib.suppress(psutil.Error, OSError):
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                process.kill()
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def end_with(status: int) -> NoReturn:
    """End this process now: a thread that the plugin left running must not keep it alive."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the plugin may have closed it
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    end_with(carry_out(Path(sys.argv[1])))
