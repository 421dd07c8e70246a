"""Whoever asks why trials failed is told where to look, and finds it there."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from benchmark.report.trial_view import log_of
from benchmark.store import Store

FILES = Path(__file__).parent / "plugin_files"
DIARY = """
import json
import os
from benchmark.api import hookimpl


def note(**told):
    with open(os.environ["DIARY"], "a") as file:
        file.write(json.dumps(told) + "\\n")


@hookimpl
def bench_trial_started(trial):
    note(hook="started", trial=trial.trial)


@hookimpl
def bench_trial_finished(trial, result):
    note(hook="finished", trial=trial.trial, status=result.status, error=result.error)


@hookimpl
def bench_run_finished(result):
    note(hook="end", done=result.done, failed=result.failed)
"""


class Failed:
    """A run in which defenses failed, and then one in which an attack did."""

    def __init__(self, tiny_run, folder: Path) -> None:
        self.command, self.out = tiny_run.command, tiny_run.copy(folder / "out")
        diary = folder / "diary.py"
        diary.write_text(DIARY, encoding="utf-8")
        self.diary = folder / "diary.jsonl"
        self.command = type(self.command)(self.command.home, extra={"DIARY": str(self.diary)})
        asked = ["--plugin", FILES / "unlucky.py", "--defense", "unlucky", "--defense", "sleepy"]
        self.first = self.run(*asked, "--timeout", "4")
        more = ["--plugin", FILES / "stubborn.py", "--plugin", diary]
        self.second = self.run(*asked[:-2], "--attack", "broken-attack", *more)
        with Store.open(self.out, write=False) as store:
            self.trials = {(one.defense, one.attack, one.trigger): one for one in store.trials()}

    def run(self, *words: object):
        return self.command(*self.command.tiny(self.out, *words, attack__triggers="170"))

    def bench(self, *words: object) -> str:
        done = self.command(*words, "--out", self.out)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def failed(tiny_run, tmp_path_factory) -> Failed:
    return Failed(tiny_run, tmp_path_factory.mktemp("failed"))


def test_the_end_of_a_run_says_where_to_look(failed: Failed) -> None:
    for done in (failed.first, failed.second):
        assert done.returncode == 1, done.stderr
        where = f"--out {shlex.quote(str(failed.out))}"
        told = f"why trials failed: bench trials --failed {where}; "
        assert f"{told}what one printed: bench show TRIAL --log {where}\n" in done.stderr
        assert "bench trials --failed tells why" in " ".join(done.stdout.split())


def test_a_run_without_a_failure_says_nothing_of_it(tiny_run) -> None:
    assert "why trials failed" not in tiny_run.done.stderr


def test_the_list_of_failed_trials_has_each_with_its_reason(failed: Failed) -> None:
    lines = " ".join(failed.bench("trials", "--failed").split())
    of_all = {one.trial: one for one in failed.trials.values()}
    assert {one.status for one in of_all.values()} == {"done", "failed"}
    for trial, one in of_all.items():
        assert (trial[:8] in lines) == (one.status == "failed")
    assert lines.count("the attack failed: RuntimeError: no way in") == 4
    for_one = failed.bench("trials", "--failed", "--defense", "unlucky", "--attack", "bw3x3")
    _, first, *reason = for_one.splitlines()
    assert first.split()[1:6] == ["unlucky", "170", "1", "0", "failed"]
    assert [line.strip() for line in reason] == ["ArithmeticError: the loss is no number"]
    assert failed.bench("trials", "--failed", "--defense", "shake", "--attack", "bw3x3") == ""


def test_what_was_found_is_in_the_list(failed: Failed) -> None:
    line = next(
        line
        for line in failed.bench("trials", "--attack", "bw3x3", "--trigger", "0").splitlines()
        if "shake" in line
    )
    one = failed.trials["shake", "bw3x3", "0"]
    assert f"{100 * one.asr_before:.1f} → {100 * one.metrics['asr']:.1f}" in line
    assert one.trial[:8] in line


def test_a_name_that_no_trial_has_is_one_line(failed: Failed) -> None:
    done = failed.command("trials", "--defense", "meza", "--out", failed.out)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("bench: no trial has the defense 'meza' (there are: fine_tuning,")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("defense", ["unlucky", "sleepy"])
def test_what_a_failed_trial_had_noted_and_printed_is_kept(failed: Failed, defense: str) -> None:
    one = failed.trials[defense, "bw3x3", "170"]
    assert one.status == "failed"
    # The harness alone notes examples.
    assert one.series == [
        {"series": "search", "epoch": 0, "loss": 2.0},
        {"series": "search", "epoch": 1, "loss": 1.0},
    ]
    printed = failed.bench("show", one.trial[:8], "--log")
    assert printed.startswith("the search begins\n")
    assert ("ArithmeticError: the loss is no number" in printed) == (defense == "unlucky")


def test_the_log_of_what_never_started_is_that_of_its_attack(failed: Failed) -> None:
    one = failed.trials["unlucky", "broken-attack", "0"]
    assert (one.status, one.log) == ("failed", "")
    printed = failed.bench("show", one.trial, "--log")
    assert printed.startswith("every door was tried\n")
    assert "RuntimeError: no way in" in printed
    shown = failed.bench("show", one.trial)
    assert "\nlog of the attack, last " in shown
    assert "  every door was tried\n" in shown
    with Store.open(failed.out, write=False) as store:
        victim = store.model(one.victim)
    assert victim is not None
    # Of a base model's failure the victim tells nothing, and its own log counts where it has one.
    base = type(victim)(**{**vars(victim), "kind": "base", "log": "no layers"})
    silent = type(victim)(**{**vars(victim), "log": ""})
    assert log_of(one, silent, base) == (" of the base model", "no layers")
    own = failed.trials["unlucky", "bw3x3", "170"]
    assert log_of(own, victim, base) == ("", own.log)


def test_observers_are_told_of_trials_that_fail_with_their_attack(failed: Failed) -> None:
    notes = [json.loads(line) for line in failed.diary.read_text("utf-8").splitlines()]
    ids = {one.trial for one in failed.trials.values() if one.attack == "broken-attack"}
    for hook in ("started", "finished"):
        assert sorted(ids) == sorted(note["trial"] for note in notes if note["hook"] == hook)
    ends = [note for note in notes if note["hook"] == "finished"]
    assert {note["status"] for note in ends} == {"failed"}
    assert {note["error"] for note in ends} == {"the attack failed: RuntimeError: no way in"}
    assert notes[-1] == {"hook": "end", "done": 0, "failed": len(ids)}
