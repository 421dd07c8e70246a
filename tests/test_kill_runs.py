"""The kill test of `tests/benchmarks/kill_runs.py`, with a few kills."""

import importlib.util
import random
import sys
from pathlib import Path

FILE = Path(__file__).parent / "benchmarks" / "kill_runs.py"
spec = importlib.util.spec_from_file_location("kill_runs", FILE)
kill_runs = sys.modules["kill_runs"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kill_runs)


def test_runs_killed_a_few_times_end_as_an_undisturbed_one(tiny_run, tmp_path):
    killing = kill_runs.Killing(
        tiny_run.command,
        tmp_path,
        random.Random(2),
        right=kill_runs.numbers(tiny_run.out, "170"),
        longest=10,
        defenses=("shake",),
    )
    killing.until_complete(tmp_path / "results", iter(["kill", "interrupt", "kill", "kill"]))
    assert killing.counts["kills"] >= 1
    assert killing.counts["runs completed"] == 1
    assert killing.wrong() == 0, killing.counts
