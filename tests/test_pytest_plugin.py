"""The pytest plugin, as its users meet it: in a pytest of its own, found by its entry point."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BAD = """
from benchmark.api import DefenseSpec, Outcome, hookimpl
import torch

class Careless:
    def __init__(self, options):
        pass

    def repair(self, view, run):
        with torch.no_grad():
            next(view.model.parameters()).mul_(1 + torch.rand(1) / 100)
        return Outcome([view.model])

@hookimpl
def bench_defenses():
    return [DefenseSpec("careless", "1", "keeps no rule", Careless)]
"""


@pytest.fixture
def pytest_run(tmp_path: Path):
    """Run pytest in an empty folder; returns its status and what it printed."""
    assert "backdoor-bench" in {point.name for point in entry_points(group="pytest11")}

    def run(*arguments: object) -> tuple[int, str]:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_each_rule_is_a_test_and_says_how_to_mend(pytest_run, tmp_path: Path) -> None:
    (tmp_path / "careless.py").write_text(BAD, encoding="utf-8")
    (tmp_path / "test_mine.py").write_text("def test_mine():\n    assert False\n")
    status, said = pytest_run("--bench-check", "careless.py", "-rA", "-k", "not artifact")
    assert status == 1
    # The folder's own tests were not asked for.
    assert "test_mine" not in said
    for rule in ("import", "determinism", "inputs", "globals"):
        assert f"FAILED ::bench-check::careless::{rule}" in said, said
    assert "mend:" in said
    assert "careless.py:" in said
    assert "PASSED" in said
    assert "1 deselected" in said
    assert "Traceback" not in said


def test_the_fixture_fails_with_the_findings(pytest_run, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BAD.replace("DefenseSpec(", "AttackSpec("), "utf-8")
    text = "def test_bad(bench_check):\n    bench_check('broken.py')\n"
    (tmp_path / "test_mine.py").write_text(text)
    status, said = pytest_run()
    assert (status, "1 failed" in said) == (1, True), said
    assert "plugin broken.py (file " in said
    assert "NameError: name 'AttackSpec' is not defined" in said
    assert "mend:" in said


def test_an_unknown_name_is_a_usage_error(pytest_run) -> None:
    status, said = pytest_run("--bench-check", "nothing_of_this_name")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "unknown plugin 'nothing_of_this_name'" in said


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--bench-set", "careless.nothing=1", "careless.nothing"),
        ("--bench-set", "meza.epochs=1", "nothing in this run is called 'meza'"),
        ("--bench-timeout", "nan", "a timeout of nan s"),
    ],
)
def test_what_a_check_cannot_be_asked_is_a_usage_error(
    pytest_run, tmp_path: Path, option: str, value: str, says: str
) -> None:
    (tmp_path / "careless.py").write_text(BAD, encoding="utf-8")
    status, said = pytest_run("--bench-check", "careless.py", option, value)
    assert status == pytest.ExitCode.USAGE_ERROR, said
    assert says in said


def test_options_may_be_for_one_of_several_targets(pytest_run, tmp_path: Path) -> None:
    asked = ["--bench-check", "none", "--bench-check", "fine_tuning", "-k", "contract", "-rA"]
    status, said = pytest_run(*asked, "--bench-set", "fine_tuning.retrain.epochs=1")
    assert status == 0, said
    for name in ("none", "fine_tuning"):
        assert f"PASSED ::bench-check::{name}::contract" in said


def test_a_data_set_is_checked_on_the_files_it_is_given(pytest_run, tmp_path: Path) -> None:
    import numpy as np

    pixels = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    labels = np.arange(60) % 3
    parts = {"images": pixels, "labels": labels}
    arrays = {f"{half}_{name}": parts[name] for half in ("train", "test") for name in parts}
    np.savez(tmp_path / "own.npz", **arrays)
    asked = ["--bench-check", "files", "--bench-data-dir"]
    status, said = pytest_run(*asked, tmp_path / "own.npz")
    assert status == 0, said
    status, said = pytest_run(*asked, tmp_path / "nowhere")
    assert status != 0
    assert "nowhere" in said


def test_without_the_option_nothing_of_the_harness_is_imported(pytest_run, tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "import sys\ndef test_mine():\n    assert 'torch' not in sys.modules\n"
        "    assert 'pydantic' not in sys.modules\n    assert 'benchmark.kit' not in sys.modules\n"
    )
    status, said = pytest_run("-p", "no:jaxtyping", "-p", "no:hypothesispytest")
    assert status == 0, said
