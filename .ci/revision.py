"""Build hook: a wheel knows the git revision that it was built from, for the results' records."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACE = "benchmark/_revision.txt"
COMMAND = ["git", "describe", "--always", "--dirty", "--abbrev=12"]


class Revision(BuildHookInterface):
    """Adds `PLACE` to a wheel that is built in a checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Ask git; an editable installation needs no file, it runs in the checkout itself."""
        root = Path(self.root)
        if version == "editable" or not (root / ".git").exists():
            return
        try:
            done = subprocess.run(COMMAND, cwd=root, capture_output=True, text=True, check=False)
        except OSError:  # no git here
            return
        if done.returncode == 0 and done.stdout.strip():
            self._folder = tempfile.TemporaryDirectory()
            file = Path(self._folder.name) / "revision.txt"
            file.write_text(done.stdout.strip() + "\n", encoding="utf-8")
            build_data["force_include"][str(file)] = PLACE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary file."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()
