"""The page "Write your first defense", followed to the letter in an environment of its own.

Only two things differ: pip may not reach for anything (what a package needs has to be there), and
`bench run` is given the tiny case, so that it takes seconds.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[1] / "docs" / "write-your-first-defense.md"
BENCH = """\
import sys
from benchmark.cli import main
if __name__ == "__main__":
    if sys.argv[1] == "run":
        sys.argv[2:2] = {tiny!r}
    main()
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)


@pytest.fixture(scope="module")
def outside(command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment beside this one's packages, with `bench` and `pip` of its own."""
    folder = tmp_path_factory.mktemp("outside")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "env" / "lib" / version / "site-packages"
    installed = {sysconfig.get_path("purelib"), str(Path(__file__).parents[1])}
    lines = "".join(f"site.addsitedir({path!r});" for path in sorted(installed))
    (site / "beside.pth").write_text(f"import site;{lines}\n", encoding="utf-8")
    python = folder / "env" / "bin" / "python"
    tiny = command.tiny(folder / "results", attack__triggers="170")
    write_script(folder, "bench", [python, folder / "bench.py"])
    (folder / "bench.py").write_text(BENCH.format(tiny=[str(one) for one in tiny[1:]]))
    offline = ["--no-index", "--no-build-isolation", "--disable-pip-version-check", "--quiet"]
    write_script(folder, "pip", [python, "-m", "pip"], after=offline)
    return folder


def write_script(folder: Path, name: str, words: list[object], after: list[str] = ()) -> None:
    """Write a command; words of `after` come after its first argument."""
    path = folder / "env" / "bin" / name
    head = shlex.join(map(str, words))
    path.write_text(f'#!/bin/sh\nfirst=$1; shift\nexec {head} "$first" {shlex.join(after)} "$@"\n')
    path.chmod(0o755)


def follow(outside: Path, command, block: str) -> str:
    """Run a block of the page as it stands; returns what it printed."""
    environment = command.environment()
    environment["PATH"] = f"{outside / 'env' / 'bin'}{os.pathsep}{environment['PATH']}"
    environment.pop("PYTHONPATH")
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", block],
        env=environment,
        cwd=outside,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def leaderboard(outside: Path, command) -> dict[str, dict]:
    """Return the rows of the leaderboard by defense."""
    said = follow(outside, command, f"bench leaderboard --format json --out {outside / 'results'}")
    return {row["defense"]: row for row in json.loads(said)}


def test_the_page_leads_to_a_checked_and_ranked_defense(outside: Path, command) -> None:
    install, start, check, idea, run, single = blocks("sh")
    assert "pip install" in install
    follow(outside, command, start)
    said = follow(outside, command, check)
    assert "defense my_defense (package bench-my-defense 0.1.0" in said
    assert "ok     determinism" in said
    assert "passed in" in follow(outside, command, idea)
    follow(outside, command, run)
    board = leaderboard(outside, command)
    assert (board["my_defense"]["rank"], board["my_defense"]["ranked"]) == (1, True)
    assert board["my_defense"]["asr_before_mean"] > 0.9
    assert {"none", "fine_tuning"} < board.keys()

    said = follow(outside, command, single)
    assert "defense quick_idea" in said
    board = leaderboard(outside, command)
    assert {board["my_defense"]["rank"], board["quick_idea"]["rank"]} == {1, 2}
    # The same code in a file and in a package: other random numbers, the same kind of result.
    numbers = [board[name]["clean_accuracy_after_mean"] for name in ("my_defense", "quick_idea")]
    assert abs(numbers[0] - numbers[1]) < 0.1


def test_the_pages_python_is_a_test_that_passes_on_the_package(outside: Path, command) -> None:
    [test] = blocks("python")
    (outside / "test_page.py").write_text(test, encoding="utf-8")
    python = outside / "env" / "bin" / "python"
    where = f"bench-my-defense/tests test_page.py -p no:cacheprovider --rootdir {outside}"
    said = follow(outside, command, f"{python} -m pytest -q {where}")
    assert "4 passed" in said
