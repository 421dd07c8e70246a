"""Entry point of the process in which plugin code runs.

usage: python -m benchmark.sandbox.child FOLDER
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from pathlib import Path

import psutil

from benchmark.sandbox.files import JobFolder, Request

FAILED = 3
"""Exit status of a process whose plugin raised; the reason is in `error.txt`."""


def main() -> int:
    """Run the task of the folder's request."""
    die_with(os.getppid())
    folder = JobFolder(Path(sys.argv[1]).absolute())
    request = Request.model_validate_json((folder.inbox / "request.json").read_text("utf-8"))
    try:
        from benchmark.sandbox.tasks import run_task

        run_task(request, folder)
    except Exception as error:
        with contextlib.suppress(Exception):  # the plugin may have closed standard error
            traceback.print_exc()
        folder.write_error(_reason(error))
        return FAILED
    return 0


def _reason(error: Exception) -> str:
    try:
        text = str(error)
    except Exception:
        text = "(its message cannot be shown)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def die_with(parent: int) -> None:
    """End this process and its children when its parent is gone.

    So a killed run leaves nothing behind.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        end_family()

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


def end_family() -> None:
    """Kill whatever this process started, and end it."""
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                process.kill()
    os._exit(1)


if __name__ == "__main__":
    status = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the plugin may have closed it
            stream.flush()
    # A thread that the plugin left running must not keep the process alive.
    os._exit(status)
