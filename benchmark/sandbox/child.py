"""Entry point of the process in which plugin code runs.

usage: python -m benchmark.sandbox.child FOLDER
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from pathlib import Path

from benchmark.sandbox.files import JobFolder, Request

FAILED = 3
"""Exit status of a process whose plugin raised; the reason is in `error.json`."""


def main() -> int:
    """Run the task of the folder's request."""
    die_with(os.getppid())
    folder = JobFolder(Path(sys.argv[1]).absolute())
    request = Request.model_validate_json((folder.inbox / "request.json").read_text("utf-8"))
    try:
        from benchmark.sandbox.tasks import run_task

        run_task(request, folder)
    except Exception as error:
        traceback.print_exc()
        text = " ".join(str(error).split())
        reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
        (folder.outbox / "error.txt").write_text(reason[:2000], encoding="utf-8")
        return FAILED
    return 0


def die_with(parent: int) -> None:
    """End this process when its parent is gone, so that a killed run leaves nothing behind."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread that the plugin left running must not keep the process alive.
    os._exit(status)
