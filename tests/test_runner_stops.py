"""Runs that are killed, interrupted, repeated or met by another; jobs that others wait for."""

import contextlib
import os
import re
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from benchmark.store import Store

STUBBORN = Path(__file__).parent / "plugin_files" / "stubborn.py"
MEASURED = {"seconds", "peak_memory_mib", "environment", "run", "finished", "log", "setting"}
"""What two runs of one trial may differ in; the setting names the triggers asked for."""


def trials(out):
    with Store.open(out, write=False) as store:
        return {one.trial: vars(one) for one in store.trials()}


def numbers(out):
    return {
        trial: {name: value for name, value in record.items() if name not in MEASURED}
        for trial, record in trials(out).items()
    }


def models(out):
    with Store.open(out, write=False) as store:
        return {one.id: (one.artifact, one.clean_accuracy, one.asr) for one in store.models()}


def expected(tiny_run, trigger):
    """Return the numbers of the undisturbed run on one trigger."""
    found = numbers(tiny_run.out).items()
    return {key: value for key, value in found if value["trigger"] == trigger}


def lines_until(process, text):
    """Read what a run says until a line holds `text`."""
    said = []
    for line in process.stderr:
        said.append(line)
        if text in line:
            return said
    raise AssertionError(f"{text!r} was never said, but: {''.join(said)}")


def command_line(process):
    """Return the words that it was started with, none if it has ended meanwhile."""
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


# Killed in the middle, and gone on with

ONE_WAITS = """
import time
from pathlib import Path
from benchmark.api import hookimpl


@hookimpl
def bench_trial_finished(trial):
    mark = Path({mark!r})
    if trial.defense == "shake" and not mark.exists():
        mark.touch()
        time.sleep(3600)
"""
"""Lets the first of two runs not get past its trial of `shake`."""


@pytest.fixture(scope="module")
def killed(tiny_run, tmp_path_factory):
    """A run with one worker, killed after its first trial, and what the same command did then."""
    command, home = tiny_run.command, tmp_path_factory.mktemp("killed")
    out, mark, plugin = home / "results", home / "waits", home / "one_waits.py"
    plugin.write_text(ONE_WAITS.format(mark=str(mark)), encoding="utf-8")
    asked = ["--plugin", plugin, "--defense", "shake", "--workers", 1]
    arguments = command.tiny(out, *asked, attack__triggers="170")
    process = command.start(*arguments)
    lines_until(process, "shake on bw3x3 170: ASR")
    wait_for(mark.exists)
    process.kill()
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    nothing_left, kept = command.nothing_left(), trials(out)
    assert list(command.temporary.iterdir())  # nobody was left to remove it
    return out, kept, nothing_left, command(*arguments)


def test_a_killed_run_leaves_no_process(killed):
    assert killed[2]


def test_the_next_run_removes_the_temporary_files_of_a_killed_one(killed, tiny_run):
    assert list(tiny_run.command.temporary.iterdir()) == []


def test_the_same_command_goes_on_where_the_killed_one_was(killed):
    out, kept, _, done = killed
    assert done.returncode == 0, done.stderr
    assert 1 <= len(kept) < 4
    assert "base model" not in done.stderr
    assert "attack bw3x3" not in done.stderr
    assert f"{4 - len(kept)} trials done, {len(kept)} there already" in done.stderr
    assert {key: trials(out)[key] for key in kept} == kept


def test_a_killed_run_with_one_worker_ends_with_the_numbers_of_an_undisturbed_one_with_two(
    killed, tiny_run
):
    assert numbers(killed[0]) == expected(tiny_run, "170")
    assert models(killed[0]).items() < models(tiny_run.out).items()


def test_running_everything_again_gives_every_digit_again(killed, tiny_run, tmp_path):
    command, out = tiny_run.command, tmp_path / "results"
    shutil.copytree(killed[0], out)
    arguments = ["--defense", "shake", "--workers", 2, "--rerun", "always"]
    done = command(*command.tiny(out, *arguments, attack__triggers="170"))
    assert done.returncode == 0, done.stderr
    assert "4 trials done\n" in done.stderr
    assert "base model, seed 0: " in done.stderr
    assert numbers(out) == expected(tiny_run, "170")
    assert models(out) == models(killed[0])
    runs = {record["run"] for record in trials(out).values()}
    assert len(runs) == 1
    assert runs.isdisjoint(record["run"] for record in trials(killed[0]).values())


# Stopped while a defense looks after a child of its own


@pytest.fixture
def nursing(tiny_run, tmp_path):
    """Start a run that has one trial behind it and one going on for an hour."""
    command, out = tiny_run.command, tiny_run.copy(tmp_path / "results")
    asked = ["--plugin", STUBBORN, "--defense", "nanny", "--defense", "rattle", "--workers", 2]
    process = command.start(*command.tiny(out, *asked, attack__triggers="170"))
    lines_until(process, "rattle on bw3x3 170: ASR")
    wait_for(lambda: any("sleep" in command_line(one) for one in command.left_behind()))
    time.sleep(0.3)  # the line comes a moment before the run waits again
    yield process, out
    if process.poll() is None:
        process.kill()
        process.communicate()
        assert command.nothing_left()
        shutil.rmtree(command.temporary)  # nobody was left to do it


def kept_by(tiny_run, out):
    """Return the defenses whose trials are stored beside those that were there before."""
    before = numbers(tiny_run.out)
    after = numbers(out)
    assert before.items() < after.items()
    return [after[key]["defense"] for key in after.keys() - before.keys()]


@pytest.mark.parametrize("way", ["Ctrl-C", "SIGTERM"])
def test_an_interrupted_run_keeps_what_is_finished_and_says_so(tiny_run, nursing, way):
    process, out = nursing
    if way == "Ctrl-C":  # a terminal sends it to every process of the job
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.terminate()
    printed, said = process.communicate(timeout=120)
    assert process.returncode == 130
    told = "interrupted: 1 trials of this run are kept; the same command goes on from there"
    assert said.splitlines()[0] == told
    assert "Traceback" not in said
    assert "rattle" in printed
    assert kept_by(tiny_run, out) == ["rattle"]
    assert tiny_run.command.nothing_left()
    assert list(tiny_run.command.temporary.iterdir()) == []


def test_more_ctrl_c_while_a_run_stops_leave_nothing_behind(nursing, tiny_run):
    """Whoever is impatient gets the same answer, and no worker stays."""
    process, _ = nursing
    for pause in (0.0, 0.02, 0.1, 0.3):
        time.sleep(pause)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted" in said.splitlines()[0]
    assert tiny_run.command.nothing_left()


def test_a_kill_takes_the_child_of_a_defense_along(tiny_run, nursing):
    process, out = nursing
    process.kill()
    process.communicate(timeout=120)
    assert tiny_run.command.nothing_left()
    assert kept_by(tiny_run, out) == ["rattle"]
    shutil.rmtree(tiny_run.command.temporary)


def test_a_second_run_on_the_same_results_is_refused(tiny_run, nursing):
    process, out = nursing
    command = tiny_run.command
    second = command(*command.tiny(out, "--defense", "shake"))
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr.startswith(f"bench: {out} is being written by another run (pid ")
    assert f"(pid {process.pid} on " in second.stderr
    assert second.stderr.count("\n") == 1
    # looking is allowed meanwhile
    for arguments in (["leaderboard"], ["run", "--dry-run"]):
        asked = command.tiny(out, "--dry-run") if "run" in arguments else arguments
        look = command(*asked, *([] if "run" in arguments else ["--out", out]))
        assert look.returncode == 0, look.stderr
    assert process.poll() is None
    assert kept_by(tiny_run, out) == ["rattle"]


@pytest.mark.parametrize("delay", [0.2, 1.0])
def test_ctrl_c_while_workers_start_is_one_line(tiny_run, tmp_path, delay):
    command, out = tiny_run.command, tiny_run.copy(tmp_path / "results")
    asked = ["--plugin", STUBBORN, "--defense", "nanny", "--workers", 2]
    process = command.start(*command.tiny(out, *asked))
    wait_for(lambda: psutil.Process(process.pid).children())
    time.sleep(delay)
    process.send_signal(signal.SIGSTOP)  # it must not be quicker than its workers
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    first, *rest = said.splitlines()
    assert first == (
        "interrupted: 0 trials of this run are kept; the same command goes on from there"
    )
    assert not any("Traceback" in line or "KeyboardInterrupt" in line for line in rest)
    assert command.nothing_left()


@pytest.fixture
def preparing(command, tmp_path):
    """Start a run whose data set takes an hour to load."""
    started = tmp_path / "started"
    asked = ["--plugin", STUBBORN, "--dataset", "slow", "--defense", "shake"]
    process = command.start(*command.tiny(tmp_path / "results", *asked, dataset__started=started))
    wait_for(started.exists)
    yield process
    assert not (tmp_path / "results").exists()
    assert list(command.home.glob("cache/datasets/.*")) == []


@pytest.mark.parametrize("everybody", [True, False])
def test_ctrl_c_while_data_is_prepared_is_one_line(command, preparing, everybody):
    if everybody:
        os.killpg(preparing.pid, signal.SIGINT)
    else:
        preparing.send_signal(signal.SIGINT)
    printed, said = preparing.communicate(timeout=120)
    assert (preparing.returncode, printed, said) == (130, "", "bench: interrupted\n")
    assert command.nothing_left()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_killed_while_data_is_prepared_leaves_no_process(command, preparing, sign):
    preparing.send_signal(sign)
    preparing.communicate(timeout=120)
    assert command.nothing_left()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (
            "killed",
            "the data set 'fragile' could not be prepared: the process was ended by SIGKILL",
        ),
        ("raises", f"plugin file {STUBBORN}: line \\d+: RuntimeError: no images today"),
    ],
    ids=["killed", "raises"],
)
def test_a_data_set_that_cannot_be_loaded_is_one_line(command, tmp_path, how, reason):
    asked = ["--plugin", STUBBORN, "--dataset", "fragile", "--defense", "shake"]
    done = command(*command.tiny(tmp_path / "results", *asked, dataset__started=how))
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(f"bench: {reason}", done.stderr)
    assert done.stderr.count("\n") == 1


# Workers that are killed: nobody's fault, so the job is started again


def kill_the_worker(command, process, but=None):
    """Kill the worker of a run with one as soon as it carries out a job.

    Returns its number and the job's folder, which it leaves behind; `but` is one left before.
    """

    def at_work():
        found = command.temporary.glob("bench-run-*/job-*/outbox/progress.json")
        return [path.parents[1] for path in found if path.parents[1] != but]

    wait_for(at_work)
    (folder,) = at_work()
    for child in psutil.Process(process.pid).children():
        if any("spawn_main" in word for word in command_line(child)):
            child.kill()
            return child.pid, folder
    raise AssertionError("no worker")


def test_a_job_whose_worker_is_killed_is_started_again(tiny_run, tmp_path):
    command, out = tiny_run.command, tiny_run.copy(tmp_path / "results")
    asked = ["--defense", "rattle", "--workers", 1, "--retries", 1]
    sets = {"attack__triggers": "170", "rattle__seconds": 5}  # it must not end before the kill
    process = command.start(*command.tiny(out, *asked, **sets))
    first, left_behind = kill_the_worker(command, process)
    death = "rattle on bw3x3 170: the worker process died (killed, or out of memory)"
    assert lines_until(process, death)[-1].endswith("; it is started again (1)\n")
    wait_for(lambda: not psutil.pid_exists(first))
    assert kill_the_worker(command, process, but=left_behind)[0] != first
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "the worker process died (killed, or out of memory), 2 times" in said
    failed = [one for one in trials(out).values() if one["status"] == "failed"]
    assert [one["defense"] for one in failed] == ["rattle"]

    process = command.start(*command.tiny(out, *asked, **sets))
    kill_the_worker(command, process)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "1 trials done, 3 there already" in said
    assert command.nothing_left()
    assert list(command.temporary.iterdir()) == []


# Nobody reads what a run says


@pytest.mark.parametrize("output", ["2>&1", "2>/dev/full"])
def test_a_run_that_nobody_listens_to_goes_on_and_has_its_own_status(tiny_run, tmp_path, output):
    """As `2>&1 | head -2`, or into a log on a disk that is full."""
    out, shell = tiny_run.copy(tmp_path / "results"), ("sh", "-c", f'exec "$@" {output}', "sh")
    command = replace(tiny_run.command, prefix=shell)
    asked = ["--defense", "rattle", "--defense", "shake", "--workers", 1]
    process = command.start(*command.tiny(out, *asked, attack__triggers="170,0"))
    if output == "2>&1":
        assert "rattle on bw3x3 170: ASR" in process.stdout.readline()
        process.stdout.close()
        process.wait(timeout=300)
    else:
        printed, _ = process.communicate(timeout=300)
        assert "rattle" in printed
    assert process.returncode == 0
    assert len(kept_by(tiny_run, out)) == 2
    assert tiny_run.command.nothing_left()
    assert list(command.temporary.iterdir()) == []


# Failed trials, and jobs on which others wait


def test_failed_trials_are_run_again_unless_never(tiny_run, tmp_path):
    command, out = tiny_run.command, tiny_run.copy(tmp_path / "results")
    mended = tmp_path / "mended"
    asked = ["--plugin", STUBBORN, "--defense", "flaky"]
    sets = {"flaky__mended": mended, "attack__triggers": "170"}
    first = command(*command.tiny(out, *asked, **sets))
    assert first.returncode == 1
    assert "flaky on bw3x3 170: failed: RuntimeError: not mended yet" in first.stderr
    assert "0 trials done, 1 failed, 3 there already" in first.stderr

    mended.touch()
    never = command(*command.tiny(out, *asked, "--rerun", "never", **sets))
    assert never.returncode == 1
    assert never.stderr.startswith("all 4 trials are there already, 1 of which failed")
    # As when the first run was stopped before its other trials.
    more = command(*command.tiny(out, *asked, "--defense", "rattle", "--rerun", "never", **sets))
    assert "1 trials done, 4 there already, 1 of which failed" in more.stderr
    assert more.returncode == 1
    again = command(*command.tiny(out, *asked, **sets))
    assert again.returncode == 0
    assert "1 trials done, 3 there already" in again.stderr
    assert {record["status"] for record in trials(out).values()} == {"done"}


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (["--attack", "broken-attack"], "the attack failed: RuntimeError: no way in"),
        (
            ["--model", "broken-model"],
            "the attack failed: the base model failed: RuntimeError: no such layers",
        ),
    ],
)
def test_what_fails_before_the_defenses_is_the_reason_of_their_trials(
    tiny_run, tmp_path, asked, reason
):
    command, out = tiny_run.command, tiny_run.copy(tmp_path / "results")
    arguments = ["--plugin", STUBBORN, "--defense", "shake", *asked]
    done = command(*command.tiny(out, *arguments, attack__triggers="0"))
    assert done.returncode == 1, done.stderr
    assert "0 trials done, 4 failed" in done.stderr
    assert f"shake on {asked[1] if 'attack' in asked[1] else 'bw3x3'} 0: not run: " in done.stderr
    failed = [record for record in trials(out).values() if record["status"] == "failed"]
    assert [record["error"] for record in failed] == [reason] * 4
    assert "Traceback" not in done.stderr
