"""What several tests share: plugin files written for the occasion, packages really installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FIXTURES = Path(__file__).parent / "fixtures"
HEADER = "from benchmark.api import AttackSpec, DefenseSpec, hookimpl, lazy\n"

PluginWriter = Callable[..., Path]
Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def write_plugin(tmp_path: Path) -> PluginWriter:
    """Write a plugin file whose source begins with the usual imports."""

    def write(source: str, name: str = "a_plugin.py", header: str = HEADER) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(header + source, encoding="utf-8")
        return path

    return write


@pytest.fixture
def write_defense(write_plugin: PluginWriter) -> PluginWriter:
    """Write a plugin file with one defense."""

    def write(name: str, file: str = "a_plugin.py", hook: str = "bench_defenses") -> Path:
        spec = f'DefenseSpec("{name}", "1", "does nothing", lazy("nowhere:Nothing"))'
        return write_plugin(f"@hookimpl\ndef {hook}():\n    return [{spec}]\n", file)

    return write


@pytest.fixture(scope="session")
def installed_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good and a broken third-party plugin, built and installed by pip."""
    box = tmp_path_factory.mktemp("third-party")
    names = ["bench-example-noise", "bench-example-broken"]
    for name in names:
        shutil.copytree(FIXTURES / name, box / "source" / name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    how = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(box / "site")]
    sources = [str(box / "source" / name) for name in names]
    subprocess.run([*pip, *how, *sources], check=True, stdout=subprocess.DEVNULL)
    return box / "site"


@pytest.fixture
def python(tmp_path: Path) -> Python:
    """Run code in a fresh interpreter that sees the harness and the folders in `path`."""

    def run(
        code: str, *arguments: str, path: tuple[Path, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        folders = os.pathsep.join(map(str, (*path, ROOT)))
        environment = {**os.environ, "PYTHONPATH": folders}
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    return run
