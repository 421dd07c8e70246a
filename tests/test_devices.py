"""Which slot of the local pool gets which GPU; without one: what is tested is who is told."""

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.config import Request, resolve
from benchmark.data import prepare
from benchmark.devices import Devices, find_devices, gpu_of, jobs_at_once
from benchmark.errors import UserError
from benchmark.estimate import Clock
from benchmark.executors import local
from benchmark.executors.local import LocalExecutor
from benchmark.keeping import Keeper
from benchmark.plan import Machine, make_plan
from benchmark.plugins import load_plugins
from benchmark.runner import Runner
from benchmark.store import Store

TINY_CASE = Path(__file__).parent / "plugin_files" / "tiny_case.py"
TINY = {
    **{"base.epochs": 1, "base.lr": 0.1, "base.batch_size": 60, "base.padding": 0},
    **{"attack.epochs": 1, "attack.batch_size": 40, "run.min_asr": 0},
}
GPUS = ("0", "1", "2", "3")
FOUR = Devices("cuda", GPUS)
CPU = Devices("cpu")


@pytest.mark.parametrize(
    ("devices", "workers", "part", "at_once"),
    [
        (CPU, None, None, 16),
        (CPU, 3, None, 3),
        (FOUR, None, None, 4),
        (FOUR, 8, None, 8),
        (FOUR, None, 1.0, 4),
        (FOUR, None, 0.5, 8),
        (FOUR, None, 0.1, 40),
        (FOUR, None, 0.3, 12),
        (FOUR, 6, 0.5, 6),
        (FOUR, 60, 0.5, 8),
        (FOUR, None, 0.7, 4),
    ],
)
def test_a_gpu_takes_as_many_jobs_as_fit(devices, workers, part, at_once):
    assert jobs_at_once(devices, 16, workers, part) == at_once


def test_a_part_of_a_gpu_is_refused_where_there_is_none():
    with pytest.raises(UserError, match="--gpus-per-trial: jobs run on the CPU here"):
        jobs_at_once(CPU, 2, None, 0.5)


def test_every_gpu_has_a_first_job_before_any_has_a_second():
    assert [gpu_of(slot, GPUS) for slot in range(6)] == ["0", "1", "2", "3", "0", "1"]


def test_the_cpu_has_no_gpus():
    assert find_devices("cpu") == CPU


HELD = """
import os
import time
from pathlib import Path


def tell_when_let(mark, ignored):
    while not Path(mark).exists():
        time.sleep(0.01)
    return os.environ["CUDA_VISIBLE_DEVICES"]
"""


def test_jobs_at_once_are_told_of_different_gpus(tmp_path, monkeypatch):
    (tmp_path / "held_jobs.py").write_text(HELD)
    monkeypatch.syspath_prepend(tmp_path)  # a worker looks there too
    monkeypatch.setattr(local, "_perform", importlib.import_module("held_jobs").tell_when_let)
    executor, let = LocalExecutor(2, ("5", "GPU-8a")), tmp_path / "let"
    try:
        for _ in range(2):  # anew, and in workers that are there
            let.unlink(missing_ok=True)
            both = [executor.submit(str(let), str(tmp_path / "progress")) for _ in range(2)]
            let.touch()
            assert {one.result(timeout=300) for one in both} == {"5", "GPU-8a"}
    finally:
        executor.stop()


TELLER = """
import os
import time

from benchmark.api import DefenseSpec, Knowledge, Outcome, hookimpl


class Teller:
    def __init__(self, options):
        self.options = options

    def repair(self, view, run):
        print("I see", os.environ.get("CUDA_VISIBLE_DEVICES"))
        time.sleep(0.5)
        return Outcome([view.model])


@hookimpl
def bench_defenses():
    return [DefenseSpec("teller", "1", "tells", Teller, needs=frozenset({Knowledge.WEIGHTS}))]
"""


class Silent:
    """Shows nothing."""

    def __getattr__(self, name):
        return lambda *_: None


def run(out, gpus, plugin, cache):
    """Run the plugin's defense on two victims of the tiny case; return what each trial saw."""
    plugins = load_plugins([TINY_CASE, plugin])
    request = Request(
        defenses=("teller",),
        dataset="tiny",
        model="one-conv",
        sets=TINY | {"attack.triggers": "170,0"},
    )
    config = resolve(request, plugins)
    data = prepare(config.dataset.spec, config.dataset.options, None, cache)
    machine = Machine("cpu", 2, 2, 8000, 120.0, str(out), gpus)
    plan = make_plan(config, data, machine)
    keep = [one for one in plan.jobs if one.facts.get("defense", "teller") == "teller"]
    plan = replace(plan, jobs=tuple(keep))
    with Store.open(out, write=True, create=True) as store, store.work_folder() as work:
        executor = LocalExecutor(machine.workers, machine.gpus)
        clock = Clock(config.preset.estimate)
        Runner(plan, Keeper(store, "r"), executor, Silent(), work, clock, "never", 0).run()
        return {one.trial: one for one in store.trials() if one.defense == "teller"}


def test_jobs_see_the_gpu_of_their_slot_and_identities_do_not_depend_on_it(tmp_path):
    """The jobs compute on the CPU; what they see is what a job on a GPU would compute on.

    Whether two of them run at once, and so on different GPUs, is a matter of the moment.
    """
    plugin = tmp_path / "teller.py"
    plugin.write_text(TELLER)
    found = run(tmp_path / "out", ("5", "GPU-8a"), plugin, tmp_path / "cache")
    assert {one.status for one in found.values()} == {"done"}
    assert {one.log for one in found.values()} <= {"I see 5\n", "I see GPU-8a\n"}
    other = run(tmp_path / "other", ("7",), plugin, tmp_path / "cache")
    assert {one.log for one in other.values()} == {"I see 7\n"}
    assert {key: one.metrics for key, one in other.items()} == {
        key: one.metrics for key, one in found.items()
    }
