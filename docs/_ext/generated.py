"""Writes the reference pages when a build begins, so that they cannot be stale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import command_pages
import hook_pages

FOLDER = "generated"
PAGES = {
    "commands.md": command_pages.commands_page,
    "options.md": command_pages.options_page,
    "hooks.md": hook_pages.hooks_page,
}


def write_pages(app: Any) -> None:
    """Write each page, unless it is there already as it would be."""
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        path, text = folder / name, page()
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, Any]:
    """Register the step with Sphinx."""
    app.connect("config-inited", lambda app, _config: write_pages(app))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
