"""Results name the git revision of the harness, also where it is installed and not a checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def git(*words: str, cwd: Path) -> str:
    return subprocess.run(["git", *words], cwd=cwd, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A clone of this checkout, and the wheel that is built in it."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    clone = tmp_path_factory.mktemp("clone") / "repo"
    git("clone", "--quiet", str(ROOT), str(clone), cwd=ROOT)
    # What is tested is as it is in this tree, committed or not.
    for name in ("pyproject.toml", ".ci/revision.py", "benchmark/environment.py"):
        (clone / name).write_bytes((ROOT / name).read_bytes())
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(clone / "dist")],
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert built.returncode == 0, built.stderr
    return clone, next((clone / "dist").glob("*.whl"))


def test_a_wheel_holds_the_revision_that_it_was_built_from(wheel: tuple[Path, Path]) -> None:
    clone, file = wheel
    with zipfile.ZipFile(file) as archive:
        written = archive.read("benchmark/_revision.txt").decode().strip()
    assert written.removesuffix("-dirty") == git("rev-parse", "--short=12", "HEAD", cwd=clone)


def test_what_is_installed_tells_it(wheel: tuple[Path, Path], tmp_path: Path) -> None:
    _, file = wheel
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path)
        written = archive.read("benchmark/_revision.txt").decode().strip()
    code = "from benchmark.environment import software; print(software()['git_revision'])"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == written
