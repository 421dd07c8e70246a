"""A plugin file that is edited while a run goes on: no number of the new code under the old one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from benchmark.building import build
from benchmark.config import Request, resolve
from benchmark.errors import PluginChanged, UserError
from benchmark.handing_out import fill_inbox
from benchmark.jobs import Component, Report
from benchmark.keeping import Keeper
from benchmark.plan import Machine, make_plan
from benchmark.plugins import Plugins, load_plugins
from benchmark.preparing import prepare_apart
from benchmark.sandbox.files import JobFolder
from benchmark.scoring import Answers, Recovered, score
from benchmark.settings import parse_sets
from benchmark.store import Store

ALL_KINDS = """
from benchmark.api import (
    AttackInstance, AttackSpec, DatasetInfo, DatasetSpec, DefenseSpec, MetricSpec, ModelSpec,
    Outcome, Trigger, hookimpl,
)


class Mine:
    def __init__(self, options):
        pass

    def repair(self, view, run):
        return Outcome([view.model])

    def compute(self, evidence):
        return 0.25


def instances(options, info):
    white = Trigger("white", (((1.0,),),) * 3)
    return [AttackInstance(white, 0)]


@hookimpl
def bench_attacks():
    return [AttackSpec("my-attack", "1", "x", instances, Mine)]


@hookimpl
def bench_defenses():
    return [DefenseSpec("mine", "1", "x", Mine)]


@hookimpl
def bench_metrics():
    return [MetricSpec("my-metric", "1", "x", Mine, higher_is_better=True)]


@hookimpl
def bench_models():
    return [ModelSpec("my-model", "1", "x", Mine)]


@hookimpl
def bench_datasets():
    return [DatasetSpec("my-data", "1", "x", DatasetInfo(3, (16, 16)), Mine)]
"""
EDITOR = """
from pathlib import Path

from benchmark.api import hookimpl


@hookimpl
def bench_trial_finished(trial, result):
    if trial.defense != "mine":
        return
    with (Path(__file__).parent / "mine.py").open("a") as file:
        file.write("# another line\\n")
"""
KINDS = ("defense", "attack", "metric", "model", "dataset")
NAMES = dict(zip(KINDS, ("mine", "my-attack", "my-metric", "my-model", "my-data"), strict=True))
LINE = "changed since the run was planned; start again"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(ALL_KINDS, encoding="utf-8")
    return file


def edit(file: Path) -> None:
    file.write_text(file.read_text("utf-8").replace("0.25", "0.75"), encoding="utf-8")


def component(plugins: Plugins, kind) -> Component:
    found = plugins.get(kind, NAMES[kind])
    origin = found.origin.to_json()
    return Component(kind=kind, name=NAMES[kind], version="1", origin=origin, options={})


@pytest.mark.parametrize("kind", KINDS)
def test_no_process_builds_with_an_edited_file(mine: Path, kind) -> None:
    planned = component(load_plugins([mine]), kind)
    assert type(build(planned)).__name__ == "Mine"
    edit(mine)
    with pytest.raises(PluginChanged, match=f"{mine} {LINE}"):
        build(planned)
    assert build(component(load_plugins([mine]), kind))  # planned anew, it is as good as any
    mine.unlink()
    with pytest.raises(PluginChanged, match=LINE):
        build(planned)


def test_a_metric_of_an_edited_file_has_no_value_and_no_reason(mine: Path) -> None:
    metric = component(load_plugins([mine]), "metric")
    labels = torch.tensor([0, 1])
    given = ((metric,), Answers(labels, labels), [Answers(labels, labels)], labels, 0, Recovered())
    assert score(*given).metrics == {"my-metric": 0.25}
    edit(mine)
    with pytest.raises(PluginChanged):
        score(*given)


def test_a_data_set_is_not_decoded_with_an_edited_file(command, tmp_path: Path) -> None:
    file = tmp_path / "tiny_case.py"
    shutil.copy(Path(__file__).parent / "plugin_files" / "tiny_case.py", file)
    plugins = load_plugins([file])
    config = resolve(Request(dataset="tiny", model="one-conv", defenses=("shake",)), plugins)

    def edited() -> None:
        file.write_text(file.read_text("utf-8") + "\n# another line\n", encoding="utf-8")

    with pytest.raises(UserError, match=LINE):
        prepare_apart(config.dataset, None, tmp_path / "cache", edited)


def planned_on(store: Store, tiny_run, mine: Path):
    """Plan `mine` on the victims that are there."""
    sets = [word for word in map(str, tiny_run.command.tiny(store.out)) if "=" in word]
    tiny = Path(__file__).parent / "plugin_files" / "tiny_case.py"
    request = Request(dataset="tiny", model="one-conv", defenses=("mine",), sets=parse_sets(sets))
    config = resolve(request, load_plugins([tiny, mine]))
    cache = tiny_run.command.home / "cache"
    dataset = prepare_apart(config.dataset, None, cache, lambda: None)
    machine = Machine("cpu", 1, 1, 8000, 60.0, str(store.out))
    return next(
        one for one in make_plan(config, dataset, machine).trials if one.facts["defense"] == "mine"
    )


def test_a_job_is_not_begun_and_its_fault_not_kept_with_an_edited_file(
    tiny_run, mine: Path, tmp_path: Path
) -> None:
    with Store.open(tiny_run.copy(tmp_path / "out"), write=True) as store:
        trial = planned_on(store, tiny_run, mine)
        edit(mine)
        with pytest.raises(PluginChanged):
            fill_inbox(trial.job, JobFolder(tmp_path))
        # It was edited when the job had begun: what its process says is no failed trial.
        with pytest.raises(PluginChanged):
            Keeper(store, "run").keep(trial, Report(id=trial.job.id, status="failed", error="so"))
        assert store.trial(trial.job.id) is None


def test_a_run_ends_with_one_line_and_keeps_what_was_finished_before(
    tiny_run, mine: Path, tmp_path: Path
) -> None:
    command, out = tiny_run.command, tiny_run.copy(tmp_path / "out")
    (tmp_path / "editor.py").write_text(EDITOR, encoding="utf-8")
    asked = ["--plugin", mine, "--plugin", tmp_path / "editor.py", "--defense", "mine"]
    # The plugin's attack, model and data set are not of this run; its metric is.
    done = command(*command.tiny(out, *asked, "--workers", 1))
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].endswith(LINE), done.stderr
    assert "Traceback" not in done.stderr
    with Store.open(out, write=False) as store:
        kept = [trial for trial in store.trials() if trial.defense == "mine"]
    assert [(trial.status, trial.metrics["my-metric"]) for trial in kept] == [("done", 0.25)]
    again = command(*command.tiny(out, *asked[:2], *asked[4:], "--workers", 1))
    assert again.returncode == 0, again.stderr
    with Store.open(out, write=False) as store:
        kept = [trial for trial in store.trials() if trial.defense == "mine"]
    # The file is another one now, and so are all of its trials.
    assert len(kept) == 3
    assert len({trial.variant_id for trial in kept}) == 2
