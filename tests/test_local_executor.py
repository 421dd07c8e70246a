"""The pool of this machine: its workers start together, and a worker's death is nobody else's."""

import contextlib
import sys
from pathlib import Path

import psutil
import pytest

from benchmark.config import Request, resolve
from benchmark.data import prepare
from benchmark.executors import WorkerLost
from benchmark.executors.local import LocalExecutor
from benchmark.jobs import Report
from benchmark.plan import Machine, make_plan
from benchmark.plugins import load_plugins
from benchmark.sandbox.keeper import forget_nursery
from benchmark.worker import perform, warm_up

NO_JOB = "no job"


@pytest.fixture
def start():
    """Return a function that makes an executor, and end those that it made."""
    made = []

    def make(slots):
        made.append(LocalExecutor(slots))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def children(word):
    """Return the living processes started here in whose command line the word stands."""
    found = set()
    for one in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # it has just ended
            if word in " ".join(one.cmdline()):
                found.add(one)
    return found


def workers():
    return children("spawn_main")


def test_all_workers_start_with_the_first_job(start, tmp_path):
    before = workers()
    executor = start(3)
    assert workers() == before
    executor.submit(NO_JOB, str(tmp_path / "progress")).exception(timeout=300)
    assert len(workers() - before) == 3


def test_a_worker_that_was_killed_while_idle_is_replaced(start, tmp_path):
    before, executor, progress = workers(), start(1), str(tmp_path / "progress")
    refused = executor.submit(NO_JOB, progress).exception(timeout=300)
    (worker,) = workers() - before
    worker.kill()
    worker.wait(60)
    again = executor.submit(NO_JOB, progress).exception(timeout=300)
    if isinstance(again, WorkerLost):  # handed out before the pool noticed: a run starts it again
        again = executor.submit(NO_JOB, progress).exception(timeout=300)
    assert type(again) is type(refused)
    assert str(again) == str(refused)
    assert len(workers() - before) == 1


TINY_CASE = Path(__file__).parent / "plugin_files" / "tiny_case.py"
TELLS = """
import os

from benchmark.api import ModelSpec, hookimpl


class Tells:
    def __init__(self, options):
        self.options = options

    def build(self, info):
        import torch

        print(torch.get_num_threads(), os.environ["OMP_NUM_THREADS"], os.getppid())
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 3))


@hookimpl
def bench_models():
    return [ModelSpec("tells", "1", "tells", Tells)]
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="jobs are no copies here")
def test_a_base_model_has_all_cores_in_a_copy_of_the_process_of_all_jobs(tmp_path):
    """One process for both: importing torch anew for the attacks would take seconds."""
    plugin = tmp_path / "tells.py"
    plugin.write_text(TELLS)
    sets = {"base.epochs": 1, "base.padding": 0, "attack.epochs": 1, "attack.triggers": "170"}
    request = Request(defenses=("shake",), dataset="tiny", model="tells", sets=sets)
    config = resolve(request, load_plugins([TINY_CASE, plugin]))
    data = prepare(config.dataset.spec, config.dataset.options, None, tmp_path / "cache")
    machine = Machine("cpu", 2, 2, 8000, 120.0, str(tmp_path / "out"), ())
    base, attack = (one.job for one in make_plan(config, data, machine).jobs[:2])
    (tmp_path / "work").mkdir()
    progress = str(tmp_path / "work" / "progress")
    forget_nursery()  # an earlier test's, in which this test's jobs would be carried out
    before = children("benchmark.sandbox.nursery")
    try:
        warm_up(base.model_dump_json(), progress)
        (parent,) = children("benchmark.sandbox.nursery") - before
        first = Report.model_validate_json(perform(base.model_dump_json(), progress))
        assert first.status == "done", first.error
        attack = attack.model_copy(update={"artifact": first.artifacts[0]})
        second = Report.model_validate_json(perform(attack.model_dump_json(), progress))
        assert second.status == "done", second.error
    finally:
        forget_nursery()
    assert [one.log.split()[:2] for one in (first, second)] == [["2", "1"], ["1", "1"]]
    assert [one.log.split()[2] for one in (first, second)] == [str(parent.pid)] * 2
