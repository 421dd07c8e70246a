"""Removing a folder in which plugin code could do as it liked."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path


def remove_folder(folder: str | Path) -> None:
    """Remove a folder with all that is in it, however deep it is and whatever is closed in it.

    Whoever could write there must not end a run by what he left: nothing is raised, and what
    cannot be removed stays.
    """
    # Before Python 3.13 it calls itself at each level, and later ones still hold a file open.
    with contextlib.suppress(RecursionError, OSError, ValueError):
        shutil.rmtree(folder, ignore_errors=True)
    if os.path.lexists(folder):
        _remove_by_program(str(folder))


def _remove_by_program(folder: str) -> None:
    for words in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
        with contextlib.suppress(OSError, ValueError):
            subprocess.run(
                [*words, "--", folder],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
