"""A metric is in no trial's identity: what becomes of stored trials when its file is edited."""

from __future__ import annotations

from pathlib import Path

from benchmark.store import Store

MINE = """
from benchmark.api import MetricSpec, hookimpl


class Mine:
    def __init__(self, options):
        pass

    def compute(self, evidence):
        return 0.25


@hookimpl
def bench_metrics():
    return [MetricSpec("mine", "1", "x", Mine, higher_is_better=True)]
"""


def values(out: Path) -> dict[str, list[float | None]]:
    """Return the metric's value in each trial of trigger 170, and that trigger's ASR."""
    with Store.open(out, write=False) as store:
        trials = [trial for trial in store.trials() if trial.trigger == "170"]
    assert {trial.status for trial in trials} == {"done"}
    names = ("mine", "asr")
    return {name: [trial.metrics.get(name) for trial in trials] for name in names}


def test_stored_trials_are_measured_anew_by_a_new_or_an_edited_metric(tiny_run, tmp_path):
    command, out, file = tiny_run.command, tiny_run.copy(tmp_path / "out"), tmp_path / "mine.py"
    file.write_text(MINE, encoding="utf-8")
    words = command.tiny(out, "--defense", "shake", attack__triggers="170")
    before = values(out)
    assert before["mine"] == [None] * 4

    done = command(*words, "--plugin", file)
    assert done.returncode == 0, done.stderr
    line = "4 trials are run again for a metric that is new or was changed: mine"
    assert line in done.stderr
    assert values(out) == {"mine": [0.25] * 4, "asr": before["asr"]}

    file.write_text(MINE.replace("0.25", "0.75"), encoding="utf-8")
    never = command(*words, "--plugin", file, "--rerun", "never")
    assert "4 trials would have to be run again" in never.stderr
    assert "all 4 trials are there already" in never.stderr
    assert values(out)["mine"] == [0.25] * 4
    # Only what is asked for now is held against what is stored.
    assert "run again" not in command(*words).stderr
    planned = command(*words, "--plugin", file, "--dry-run")
    assert line in planned.stdout
    assert "4 trials, 0 there already" in planned.stdout

    done = command(*words, "--plugin", file)
    assert line in done.stderr
    assert values(out) == {"mine": [0.75] * 4, "asr": before["asr"]}
    again = command(*words, "--plugin", file)
    assert again.stderr.startswith("all 4 trials are there already")


def test_finished_trials_stay_if_a_new_metric_fails_them(tiny_run, tmp_path):
    command, out, file = tiny_run.command, tiny_run.copy(tmp_path / "out"), tmp_path / "mine.py"
    words = command.tiny(out, "--defense", "shake", attack__triggers="170")
    with Store.open(out, write=False) as store:
        before = list(store.trials())

    file.write_text(f"import os\n{MINE.replace('return 0.25', 'os._exit(3)')}", encoding="utf-8")
    done = command(*words, "--plugin", file)
    assert done.returncode == 1, done.stderr
    line = next(line for line in done.stderr.splitlines() if "shake on bw3x3 170: " in line)
    assert "shake on bw3x3 170: failed: " in line
    assert line.endswith("; its earlier result is kept")
    assert "0 trials done, 4 failed (4 of them keep their earlier results)\n" in done.stderr
    with Store.open(out, write=False) as store:
        assert list(store.trials()) == before
    # Without the metric they are what they were; with it they are wanted again.
    again = command(*words)
    assert (again.returncode, again.stderr.count("failed")) == (0, 0), again.stderr
    file.write_text(MINE, encoding="utf-8")
    mended = command(*words, "--plugin", file)
    assert mended.returncode == 0, mended.stderr
    assert values(out)["mine"] == [0.25] * 4


def test_trials_from_before_this_was_kept_are_current(tiny_run, tmp_path):
    command, out = tiny_run.command, tiny_run.copy(tmp_path / "out")
    with Store.open(out, write=True) as store:
        trials = list(store.trials())
        assert {trial.environment["metrics"]["asr"] for trial in trials} == {"1"}
        for trial in trials:
            del trial.environment["metrics"]
        store.put_all(trials)
    again = command(*command.tiny(out, "--defense", "shake"))
    assert again.stderr.startswith("all 8 trials are there already")
