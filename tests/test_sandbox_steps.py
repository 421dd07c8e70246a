"""What the harness does itself for a job: in processes that end, whatever a metric does to them."""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmark.errors import JobFault
from benchmark.sandbox.keeper import forget_nursery, nursery
from benchmark.sandbox.memory import unnamed_memory, write_text
from benchmark.sandbox.trusted import carry_out_step
from benchmark.store import Store

BAD = Path(__file__).parent / "plugin_files" / "bad_metrics.py"
linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="elsewhere nothing is copied"
)

# Steps by themselves; any function from text to text is one. A shell's parent is the copy.


@pytest.fixture(scope="module")
def step(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    yield lambda name, text: carry_out_step(name, text, 1, home)
    forget_nursery()


def shell(step, command):
    return step("subprocess:getoutput", command)


def test_a_step_has_the_environment_and_the_folder_of_who_asks(step, monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_TEST_SIGN", "ünder the table")
    monkeypatch.chdir(tmp_path)
    assert step("os.path:expandvars", "it lies $BENCH_TEST_SIGN") == "it lies ünder the table"
    assert step("os.path:abspath", "file") == str(tmp_path / "file")


def test_temporary_files_of_a_step_lie_where_those_of_who_asks_do(step, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert Path(step("tempfile:mkdtemp", "")).parent == tmp_path


TRAINING = """
import os, sys, tempfile
from unittest.mock import patch
import torch
from benchmark.sandbox.nursery import _import_what_copies_need

def asked(*_): raise AssertionError("a copy cannot use a GPU that this process has asked for")

environment = dict(os.environ)
with patch.multiple(torch.cuda, is_available=asked, device_count=asked, _lazy_init=asked):
    _import_what_copies_need()
assert (dict(os.environ), tempfile.tempdir) == (environment, None)
assert len(os.listdir("/proc/self/task")) == int(sys.argv[1])
loaded = set(sys.modules)
weight = torch.zeros(3, requires_grad=True)
optimiser = torch.optim.Adam([weight])
optimiser.zero_grad()
weight.sum().backward()
optimiser.step()
print(len(set(sys.modules) - loaded))
"""


@linux
def test_a_copy_of_the_nursery_has_what_training_imports_and_none_of_its_places(python):
    threads = python("import torch, os; print(len(os.listdir('/proc/self/task')))").stdout.strip()
    assert int(python(TRAINING, threads).stdout) < 20


def test_a_long_text_goes_there_and_back(step):
    text = "Zahl 1, " * 200_000
    assert step("textwrap:dedent", text) == text


def test_a_step_is_another_process_each_time_and_none_is_left(step):
    first, second = (shell(step, "echo $PPID") for _ in range(2))
    assert len({first, second, str(os.getpid())}) == 3
    assert not psutil.pid_exists(int(first))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("sys:exit", "no", "the harness could not carry it out: SystemExit: no"),
        ("json:loads", "{", "the harness could not carry it out: JSONDecodeError: Expecting"),
        ("nowhere:at_all", "", "the harness could not carry it out: ModuleNotFoundError: No"),
        ("subprocess:getoutput", "kill -SEGV $PPID", "step getoutput failed: .* SIGSEGV"),
        ("subprocess:getoutput", "kill -KILL $PPID", "step getoutput failed: .* SIGKILL"),
    ],
)
def test_whatever_ends_a_step_is_a_fault_of_the_job(step, name, text, reason):
    with pytest.raises(JobFault, match=reason):
        step(name, text)
    assert step("textwrap:dedent", "the next one") == "the next one"


@linux
def test_a_step_that_never_ends_is_a_fault_of_the_job_and_leaves_no_process(tmp_path):
    """A metric may loop; the run must not."""
    home = tmp_path / "home"
    home.mkdir()
    loops = f"while true; do sleep 0.1; done # {home}"
    with pytest.raises(JobFault, match=r"getoutput failed: still running after 2 s \(by a met"):
        carry_out_step("subprocess:getoutput", loops, 1, home, 2.0)
    end = time.monotonic() + 60
    while any(loops in (one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert carry_out_step("textwrap:dedent", "the next one", 1, home, 60.0) == "the next one"


def test_a_step_is_carried_out_even_where_the_process_that_starts_them_was_killed(step):
    parent = "sed 's/.*) . //; s/ .*//' /proc/$PPID/stat"
    nursery = int(shell(step, parent))
    os.kill(nursery, signal.SIGKILL)
    assert step("textwrap:dedent", "at home") == "at home"
    assert int(shell(step, parent)) != nursery


@linux
def test_the_end_of_a_copy_that_came_too_late_is_not_taken_for_the_next_one(step, tmp_path):
    keeper = nursery(1, tmp_path)
    asked = {"environment": dict(os.environ), "folder": "/", "text": "__import__('time').sleep(60)"}
    with unnamed_memory() as question, unnamed_memory() as answer:
        write_text(question, json.dumps(asked))
        copy = keeper.start("builtins:eval", [question, answer, 2])
        os.kill(keeper.pid, signal.SIGSTOP)  # a machine may be as slow
        os.waitpid(keeper.pid, os.WUNTRACED)  # it stands still
        os.kill(copy.pid, signal.SIGTERM)
        assert copy.wait(0.1) == -9
    with contextlib.suppress(ProcessLookupError):
        os.kill(keeper.pid, signal.SIGCONT)
    time.sleep(0.5)
    assert step("textwrap:dedent", "the next one") == "the next one"
    assert nursery(1, tmp_path) is not keeper


@linux
def test_a_status_is_not_taken_for_a_number_of_a_process(step, tmp_path):
    keeper = nursery(1, tmp_path)
    with unnamed_memory() as question, unnamed_memory() as answer:
        first = keeper.start("textwrap:dedent", [question, answer, 2])
        assert first.pid > 1
        assert select.select([keeper._socket], [], [], 60)[0]  # its status, which nobody reads
        with pytest.raises(JobFault, match="spoke of another one"):
            keeper.start("textwrap:dedent", [question, answer, 2])
    assert step("textwrap:dedent", "the next one") == "the next one"


# Metrics that end what measures


@pytest.fixture(scope="module")
def moody_run(tiny_run, tmp_path_factory):
    """One worker for all, so that it has to survive them."""
    out = tiny_run.copy(tmp_path_factory.mktemp("moody") / "results")
    names = [f"metric-{way}" for way in ("crashes", "vanishes", "gives_up")]
    asked = [word for name in names for word in ("--defense", name)]
    command = tiny_run.command
    done = command(
        *command.tiny(out, "--plugin", BAD, *asked, "--workers", 1, attack__triggers="170")
    )
    with Store.open(out, write=False) as store:
        return done, {one.defense: one for one in store.trials()}


@pytest.mark.parametrize(
    ("way", "end"), [("crashes", "SIGSEGV"), ("vanishes", "without an answer")]
)
def test_a_metric_that_ends_its_process_fails_its_trial_and_no_other(moody_run, way, end):
    done, trials = moody_run
    assert done.returncode == 1, done.stderr
    assert "4 trials done, 2 failed" in done.stderr  # three stored ones, for a metric new to them
    trial = trials[f"metric-{way}"]
    assert trial.status == "failed"
    assert re.search(rf"^the harness's own step measure failed: .*{end}.* metric", trial.error)
    assert trial.metrics == {}
    assert trial.environment["processor"]


def test_a_metric_that_gives_up_leaves_its_cell_empty(moody_run):
    trial = moody_run[1]["metric-gives_up"]
    assert (trial.status, trial.error) == ("done", "")
    assert (trial.metrics["moody"], trial.empty["moody"]) == (None, "SystemExit: no more")
    assert trial.metrics["asr"] == trial.asr_before


def test_what_a_metric_prints_does_not_get_into_the_leaderboard(moody_run):
    done = moody_run[0]
    assert "the metric speaks" in done.stderr
    assert "the metric speaks" not in done.stdout


# Stopped while a metric takes its time


@pytest.fixture
def dawdling(tiny_run, tmp_path):
    """A run in which a metric takes an hour."""
    command, out = tiny_run.command, tiny_run.copy(tmp_path / "results")
    asked = ["--plugin", BAD, "--defense", "metric-dawdles", "--workers", 1]
    process = command.start(*command.tiny(out, *asked, attack__triggers="170"))
    mark, end = command.temporary / "dawdling", time.monotonic() + 300
    while not mark.exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    yield process
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.communicate()
    shutil.rmtree(command.temporary)


@pytest.mark.parametrize(("sign", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_stop_takes_what_measures_along(tiny_run, dawdling, sign, status):
    dawdling.send_signal(sign)
    said = dawdling.communicate(timeout=120)[1]
    assert dawdling.returncode == status
    assert "Traceback" not in said
    assert tiny_run.command.nothing_left()


def test_a_worker_holds_no_torch(dawdling):
    driver = psutil.Process(dawdling.pid)
    (worker,) = (one for one in driver.children() if "spawn_main" in " ".join(one.cmdline()))
    (nursery,) = worker.children()
    assert worker.memory_info().rss < 150 * 2**20 < nursery.memory_info().rss
