"""A run's temporary folder, under a name by which the next run can find it after a kill."""

from __future__ import annotations

import re
import secrets
import tempfile
from pathlib import Path
from typing import Any

from benchmark.removal import remove_folder

_NAME = re.compile(r"bench-run-[0-9a-f]{16}")


def new_path() -> Path:
    """Return where a new run puts its temporary files; nothing is there yet."""
    return Path(tempfile.gettempdir()) / f"bench-run-{secrets.token_hex(8)}"


def remove(noted: Any) -> None:
    """Remove the folder that a run noted, if what was noted is such a folder at all.

    The note may be damaged, but hardly into the name of another run's folder: 64 bits are random.
    """
    if isinstance(noted, str) and "\0" not in noted and _NAME.fullmatch(Path(noted).name):
        remove_folder(noted)
