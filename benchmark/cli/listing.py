"""The console of commands that print a list."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_WITHOUT_TERMINAL = 200


def listing_console() -> Console:
    """Return a console for standard output, wide where that is a pipe or a file."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=_WIDTH_WITHOUT_TERMINAL)
    return console
