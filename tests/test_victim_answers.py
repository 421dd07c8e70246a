"""What a worker makes of a job's files: victims asked once, weights as they were noted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark import steps, worker
from benchmark.config import Request, resolve
from benchmark.jobs import Report, TrialJob
from benchmark.plan import Machine, make_plan
from benchmark.plugins import load_plugins
from benchmark.preparing import prepare_apart
from benchmark.settings import parse_sets
from benchmark.store import Store
from benchmark.worker import perform

TINY = Path(__file__).parent / "plugin_files" / "tiny_case.py"


@pytest.fixture
def jobs(tiny_run, tmp_path: Path) -> dict[str, TrialJob]:
    """Return the trials of the tiny run on trigger 170, by their defenses."""
    out = tiny_run.copy(tmp_path / "out")
    sets = parse_sets([word for word in map(str, tiny_run.command.tiny(out)) if "=" in word])
    request = Request(
        dataset="tiny",
        model="one-conv",
        defenses=("shake",),
        sets=sets | {"attack.triggers": "170"},
    )
    config = resolve(request, load_plugins([TINY]))
    dataset = prepare_apart(config.dataset, None, tiny_run.command.home / "cache", lambda: None)
    plan = make_plan(config, dataset, Machine("cpu", 1, 1, 8000, 60.0, str(out)))
    with Store.open(out, write=False) as store:
        models = {one.id: one.artifact for one in store.models()}
    found = {}
    for planned in plan.trials:
        assert isinstance(planned.job, TrialJob)
        filled = {"artifact": models[planned.job.victim]}
        found[planned.job.defense.name] = planned.job.model_copy(update=filled)
    return found


@pytest.fixture
def done(tmp_path: Path):
    """Carry out a job in this process, as a worker does."""

    def carry_out(job: TrialJob) -> Report:
        report = Report.model_validate_json(perform(job.model_dump_json(), str(tmp_path / "p")))
        assert report.status == "done", report.error
        return report

    steps._victims.clear()
    yield carry_out
    steps._victims.clear()


def test_what_a_victim_answered_serves_all_of_its_defenses(jobs, done) -> None:
    first = done(jobs["none"])
    (known,) = steps._victims.values()
    # As if it had answered otherwise: whoever does not ask it again, says so too.
    clean, stamped = known
    steps._victims[next(iter(steps._victims))] = (clean, [99] * len(stamped))
    second = done(jobs["shake"])
    assert second.before == first.before | {"asr": 0.0, "robust_accuracy": 0.0}
    assert second.metrics["asr"] > 0.9
    steps._victims.clear()
    again = done(jobs["shake"])
    assert again.before == first.before
    assert again.metrics["asr"] == second.metrics["asr"]


def test_another_victim_or_place_is_asked(jobs, done) -> None:
    done(jobs["none"])
    job = jobs["shake"]
    elsewhere = job.split.model_copy(update={"places_seed": 5})
    other = replace(job.instance, target=(job.instance.target + 1) % 3)
    for changed in ({"split": elsewhere}, {"instance": other}):
        before = len(steps._victims)
        done(job.model_copy(update=changed))
        assert len(steps._victims) == before + 1


# What a process could still change when its plugin has returned


def test_weights_that_are_changed_after_the_result_was_read_are_not_scored(
    jobs, done, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that outlives the plugin's could put other weights in the place of those noted."""

    def swap_and_measure(job, folder, result):
        folder.model(0).write_bytes((folder.inbox / "model.safetensors").read_bytes())
        return steps.measure(job, folder, result)

    monkeypatch.setattr(worker, "measure", swap_and_measure)
    with pytest.raises(AssertionError, match="model 0 is not as it was written: cut short, or"):
        done(jobs["shake"])


FORGER = """
import os, time
from pathlib import Path

from benchmark.api import DefenseSpec, hookimpl
from benchmark.sandbox.files import Result, digest_back
from safetensors.torch import save_file


class Forger:
    def __init__(self, options):
        pass

    def repair(self, view, run):
        time.sleep(1.5)
        outbox = Path.cwd().parent / "outbox"
        save_file(view.model.state_dict(), outbox / "model-0.safetensors")
        facts = {"seconds": 0, "device_memory_mib": 0, "forward_images": 0, "backward_images": 0}
        models = (digest_back(outbox / "model-0.safetensors"),)
        result = Result(models=models, target=None, **facts)
        (outbox / "result.json").write_text(result.model_dump_json())
        os._exit(0)


@hookimpl
def bench_defenses():
    return [DefenseSpec("forger", "1", "x", Forger)]
"""


def test_seconds_that_a_process_makes_up_are_not_believed(
    jobs, done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "forger.py").write_text(FORGER, encoding="utf-8")
    config = resolve(Request(defenses=("forger",)), load_plugins([tmp_path / "forger.py"]))
    [forger] = [one for one in config.defenses if one.spec.name == "forger"]
    monkeypatch.setattr(worker, "_START_S", 0.5)
    job = jobs["shake"].model_copy(update={"defense": forger.component()})
    assert done(job).cost.seconds > 0.9
