"""A victim is asked once in a worker, however many defenses repair it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark import steps
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
