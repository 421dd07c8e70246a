"""Observers follow a run, cannot disturb it, and TensorBoard's files hold what the run found."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.plugins import load_plugins

DIARY = """
import json
import os
from benchmark.api import hookimpl


def note(hook, **told):
    with open(os.environ["DIARY"], "a") as file:
        file.write(json.dumps({"hook": hook, **told}) + "\\n")


@hookimpl
def bench_run_started(run):
    note("run started", trials=run.trials, run=run.id)


@hookimpl
def bench_trial_started(trial):
    note("started", defense=trial.defense, trigger=trial.trigger, scale=trial.options.get("scale"))
    raise RuntimeError("the tracker's server is gone")


@hookimpl
def bench_trial_step(trial, step, total, text):
    note("step", defense=trial.defense, step=step, total=total, text=text)


@hookimpl
def bench_trial_finished(run, trial, result):
    note("finished", defense=trial.defense, status=result.status, asr=result.metrics.get("asr"))
    raise SystemExit(3)


@hookimpl
def bench_run_finished(run, result):
    note("run finished", done=result.done, failed=result.failed, cut=result.interrupted)
"""


@pytest.fixture(scope="module")
def watched(command, tmp_path_factory):
    """A run with an observer that notes everything and fails often, and with TensorBoard."""
    folder = tmp_path_factory.mktemp("watched")
    (folder / "diary.py").write_text(DIARY, encoding="utf-8")
    words = command.tiny(folder / "out", attack__triggers="170", shake__seconds=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIARY", str(folder / "diary.jsonl"))
        more = ["--defense", "shake", "--plugin", folder / "diary.py", "--tensorboard"]
        done = command(*words, *more, folder / "boards")
    notes = [json.loads(line) for line in (folder / "diary.jsonl").read_text().splitlines()]
    return folder, done, notes


def test_an_observer_sees_the_run_from_start_to_end(watched) -> None:
    _, _, notes = watched
    hooks = [note["hook"] for note in notes]
    assert (hooks[0], hooks[-1]) == ("run started", "run finished")
    assert notes[0]["trials"] == hooks.count("started") == hooks.count("finished") >= 3
    shake = [note for note in notes if note.get("defense") == "shake"]
    assert shake[0] == {**shake[0], "hook": "started", "trigger": "170", "scale": 0.5}
    steps = [note for note in shake if note["hook"] == "step"]
    assert {(note["text"], note["total"]) for note in steps} == {("asleep", 30)}
    assert sorted({note["step"] for note in steps}) == [note["step"] for note in steps]
    assert shake[-1]["hook"] == "finished"


def test_its_errors_are_said_once_and_cost_no_trial(watched, command) -> None:
    folder, done, notes = watched
    assert done.returncode == 0
    assert notes[-1] == {
        **notes[-1],
        "done": notes[0]["trials"],
        "failed": 0,
        "cut": False,
    }
    line = (
        f"warning: plugin file {folder / 'diary.py'}: bench_trial_started: line 20: RuntimeError: "
    )
    assert done.stderr.count(line) == 1
    assert done.stderr.count("bench_trial_finished: line 31: it called sys.exit(3)") == 1
    assert "Traceback" not in done.stderr
    said = command("leaderboard", "--out", folder / "out", "--format", "json").stdout
    asr = {row["defense"]: row["asr_after_mean"] for row in json.loads(said)}
    seen = {note["defense"]: note["asr"] for note in notes if note["hook"] == "finished"}
    assert seen == asr


def test_tensorboard_reads_the_numbers_that_the_leaderboard_shows(watched, command) -> None:
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="the extra `tensorboard` is not installed",
    )
    folder, _, notes = watched
    found = {}
    for path in (folder / "boards" / notes[0]["run"]).iterdir():
        board = event_accumulator.EventAccumulator(str(path))
        board.Reload()
        found[path.name.partition("-")[0]] = board
    said = command("leaderboard", "--out", folder / "out", "--format", "json").stdout
    for row in json.loads(said):
        [after] = found[row["defense"]].Scalars("after/asr")
        assert after.value == pytest.approx(row["asr_after_mean"], abs=1e-6)
    shake, tuning = found["shake"], found["fine_tuning"]
    progress = [event.value for event in shake.Scalars("progress/asleep")]
    assert progress == sorted(progress)
    assert 0 < progress[-1] <= 1
    losses = tuning.Scalars("retrain/loss")
    assert [event.step for event in losses] == list(range(len(losses)))
    assert len(losses) > 1
    assert losses[-1].value > 0
    hparams = tuning.SummaryMetadata("_hparams_/session_start_info").plugin_data
    assert hparams.plugin_name == "hparams"
    assert b"retrain.epochs" in hparams.content


def test_what_is_no_such_hook_is_refused(write_plugin, monkeypatch, capsys) -> None:
    source = "@hookimpl\ndef bench_trial_ended(trial):\n    pass\n"
    file = write_plugin(source)
    monkeypatch.setattr(sys, "argv", ["bench", "run", "--plugin", str(file)])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr().err
    assert (end.value.code, said.count("\n")) == (2, 1)
    assert "did you mean bench_trial_" in said


def test_a_plugin_may_observe_and_offer_something(write_plugin) -> None:
    both = (
        '@hookimpl\ndef bench_defenses():\n    return [DefenseSpec("one", "1", "x", lazy("a:B"))]\n'
        "@hookimpl\ndef bench_run_started(run):\n    pass\n"
    )
    plugins = load_plugins([write_plugin(both)])
    assert "one" in plugins.defenses
    assert [list(observer.calls) for observer in plugins.observers] == [["bench_run_started"]]


def test_there_is_nothing_to_check_in_an_observer(write_plugin, monkeypatch, capsys) -> None:
    file = write_plugin("@hookimpl\ndef bench_run_started(run):\n    pass\n")
    monkeypatch.setattr(sys, "argv", ["bench", "check", str(file)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "offers nothing to check (observers have no rules to keep)" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_refused_before_the_run(command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "out"
    done = command(*command.tiny(out, "--tensorboard", tmp_path / "file" / "boards"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot write to" in done.stderr
    assert not out.exists()
