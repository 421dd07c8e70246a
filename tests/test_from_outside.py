"""Third-party defenses beside an installed harness: a wheel, and a single file.

Both are wheels, built and installed with pip into a fresh environment; only what they depend on
(torch and the like) comes from the environment of the tests, because nothing is downloaded.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "tests" / "fixtures" / "bench-example-tuning"


@dataclass(frozen=True)
class Outside:
    """An environment in which the harness and a third-party defense are installed."""

    folder: Path
    environment: dict[str, str]

    def __call__(self, *words: object) -> str:
        """Run a command of the environment and return what it printed."""
        done = subprocess.run(
            [self.folder / "env" / "bin" / str(words[0]), *map(str, words[1:])],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def outside(command, tmp_path_factory: pytest.TempPathFactory) -> Outside:
    folder = tmp_path_factory.mktemp("outside")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder / "wheels"]
    subprocess.run([*pip, *build, ROOT, EXAMPLE], check=True, cwd=folder)
    wheels = sorted((folder / "wheels").iterdir())
    assert [wheel.name.split("-")[0] for wheel in wheels] == [
        "backdoor_bench",
        "bench_example_tuning",
    ]
    venv.create(folder / "env", with_pip=False, symlinks=True)
    site = folder / "env" / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    beside = sysconfig.get_path("purelib")
    line = f"import site; site.addsitedir({beside!r})\n"
    (site / "zz_beside.pth").write_text(line, encoding="utf-8")
    python = folder / "env" / "bin" / "python"
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed"]
    environment = command.environment()
    environment.pop("PYTHONPATH")
    subprocess.run([python, *install, *wheels], check=True, cwd=folder, env=environment)
    return Outside(folder, environment)


def board(outside: Outside, out: Path) -> dict[str, dict]:
    said = outside("bench", "leaderboard", "--out", out, "--format", "json")
    return {row["defense"]: row for row in json.loads(said)}


def test_a_wheel_of_a_third_party_is_found_and_run_by_name(outside, command) -> None:
    where = outside("python", "-c", "import benchmark; print(benchmark.__file__)")
    assert where.startswith(str(outside.folder)), "the installed harness is not the one in use"
    assert "plain_tuning" in outside("bench", "plugins")
    assert "passed in" in outside("bench", "check", "plain_tuning")
    words = command.tiny(outside.folder / "out", attack__triggers="170")
    outside("bench", *words, "--defense", "plain_tuning")
    rows = board(outside, outside.folder / "out")
    tuned = rows["plain_tuning"]
    assert (tuned["rank"], tuned["version"], tuned["failed"]) == (1, "3", 0)
    assert tuned["clean_accuracy_after_mean"] > 0.8
    outside(
        "bench", "export", "--out", outside.folder / "out", "-o", "rows.jsonl", "--format", "jsonl"
    )
    trial = next(
        row
        for row in map(json.loads, (outside.folder / "rows.jsonl").read_text().splitlines())
        if row["defense"] == "plain_tuning"
    )
    shown = outside("bench", "show", trial["trial"], "--out", outside.folder / "out")
    assert re.search(r"plugin\.distribution\s+bench-example-tuning", shown)
    assert re.search(r"plugin\.distribution_version\s+1\.4", shown)


def test_the_single_file_of_the_readme_runs_beside_it(outside, command) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    [source, *_] = re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)
    (outside.folder / "my_defense.py").write_text(source, encoding="utf-8")
    words = command.tiny(outside.folder / "single", attack__triggers="170")
    more = ["--plugin", "my_defense.py", "--defense", "mine", "--defense", "plain_tuning"]
    outside("bench", *words, *more)
    rows = board(outside, outside.folder / "single")
    assert {rows["mine"]["rank"], rows["plain_tuning"]["rank"]} == {1, 2}
    assert rows["mine"]["failed"] == 0
    # The same method in a file and in a wheel: other random numbers, the same kind of result.
    numbers = [rows[name]["clean_accuracy_after_mean"] for name in ("mine", "plain_tuning")]
    assert abs(numbers[0] - numbers[1]) < 0.15
