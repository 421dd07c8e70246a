"""What a defense is told and gives may follow from its options: the plan goes by these."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plans import DATA, TINY_CASE

from benchmark.config import Request, resolve
from benchmark.errors import UserError
from benchmark.jobs import TrialJob
from benchmark.plan import Machine, make_plan, trial_record
from benchmark.plugins import load_plugins
from benchmark.rehearsal import rehearse

MACHINE = Machine(device="cpu", workers=1, cores=1, memory_mib=8000, timeout_s=60.0, out="/results")
SEEKER = """
from typing import Literal
from benchmark.api import DefenseSpec, Knowledge, Options, Output, hookimpl

class SeekerOptions(Options):
    target: Literal["given", "detect", "fail", "words", "all"] = "given"

WEIGHTS, TARGET = Knowledge.WEIGHTS, Knowledge.TARGET_CLASS

def terms(options):
    if options.target == "fail":
        raise RuntimeError("no such target")
    if options.target == "all":
        return frozenset(Knowledge), frozenset({Output.MODEL})
    if options.target == "words":
        return {"weights"}, frozenset({Output.MODEL})
    if options.target == "detect":
        return frozenset({WEIGHTS}), frozenset({Output.MODEL, Output.TARGET})
    return frozenset({WEIGHTS, TARGET}), frozenset({Output.MODEL})

@hookimpl
def bench_defenses():
    needs = frozenset({WEIGHTS, TARGET})
    return [DefenseSpec("seeker", "1", "s", int, SeekerOptions, needs, terms=terms)]
"""


@pytest.fixture
def trial(write_plugin: Callable[..., Path]) -> Callable[..., Any]:
    """Plan one trial of the seeker with the given settings."""
    file = write_plugin(SEEKER, header="")

    def plan(**sets: str) -> Any:
        chosen = {"attack.triggers": "170", "attack.target": "1"}
        chosen |= {f"seeker.{key}": value for key, value in sets.items()}
        request = Request(defenses=("seeker",), dataset="tiny", model="one-conv", sets=chosen)
        made = make_plan(resolve(request, load_plugins((TINY_CASE, file))), DATA, MACHINE)
        return next(one for one in made.trials if one.facts["defense"] == "seeker")

    return plan


def test_a_target_that_is_detected_is_not_told(trial: Callable[..., Any]) -> None:
    given, found = trial(), trial(target="detect")
    assert isinstance(found.job, TrialJob)
    assert given.job.needs == given.facts["knowledge"] == ("target class", "weights")
    assert found.job.needs == found.facts["knowledge"] == ("weights",)
    assert found.job.id != given.job.id


def test_metrics_of_the_target_are_for_defenses_that_name_one(trial: Callable[..., Any]) -> None:
    named = [{metric.name for metric in trial(**sets).job.metrics} for sets in ({}, DETECT)]
    assert not named[0] & {"detection", "false_alarm"}
    assert named[1] >= {"asr", "detection", "false_alarm"}


def test_a_metric_that_does_not_apply_is_empty_for_a_reason(trial: Callable[..., Any]) -> None:
    scored = {"status": "done", "error": "", "metrics": {"asr": 0.1}}
    record = trial_record(trial(), **scored, empty={"asr": "odd"})
    reason = "the defense gives no target"
    assert record.empty == {"asr": "odd", "detection": reason, "false_alarm": reason}
    assert "detection" not in record.metrics
    assert trial_record(trial(**DETECT), **scored).empty == {}
    assert trial_record(trial(), status="failed", error="it crashed").empty == {}


@pytest.mark.parametrize(
    ("target", "reason"), [("fail", "no such target"), ("words", "a frozenset of Knowledge")]
)
def test_terms_that_fail_are_blamed_on_the_plugin(
    trial: Callable[..., Any], target: str, reason: str
) -> None:
    with pytest.raises(UserError, match=f"a_plugin.py.*{reason}"):
        trial(target=target)


def test_an_option_that_tells_the_trigger_needs_the_oracles_role(
    write_plugin: Callable[..., Path],
) -> None:
    plugins = load_plugins((TINY_CASE, write_plugin(SEEKER, header="")))
    request = Request(
        defenses=("seeker",), dataset="tiny", model="one-conv", sets={"seeker.target": "all"}
    )
    with pytest.raises(UserError, match=r"'seeker': role must be Role\.ORACLE"):
        rehearse(resolve(request, plugins))


DETECT = {"target": "detect"}
