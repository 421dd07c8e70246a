"""Which jobs of a plan are still to be done, and which are known not to run."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from benchmark.jobs import Component, TrialJob
from benchmark.plan import Plan, Planned
from benchmark.records import METRICS, ModelRecord
from benchmark.store import ArtifactStore, Store
from benchmark.types import Role

Rerun = Literal["never", "failed", "always"]


def obstacle(
    planned: Planned, model: ModelRecord | None
) -> tuple[Literal["failed", "skipped"], str] | None:
    """Return why a job cannot run on its model, if so."""
    if model is None:
        return None
    if model.status == "failed":
        what = "base model" if model.kind == "base" else "attack"
        return "failed", f"the {what} failed: {model.error}"
    least = planned.facts.get("min_asr")
    took = model.asr is None or least is None or model.asr >= least
    if not took and planned.facts.get("role") != Role.FLOOR:
        return "skipped", f"the attack did not take: ASR {model.asr:.3f} is below {least:g}"
    return None


def missing_jobs(plan: Plan, store: Store, rerun: Rerun) -> set[str]:
    """Return the identities of the jobs to run: missing trials, and the models that they need.

    A trial whose attack did not take needs nothing; a model whose artifact is gone is made again.
    So is, unless nothing stored shall be, a trial that other code measured than a metric's now.
    """
    statuses = store.statuses(planned.job.id for planned in plan.trials)
    needed = {
        planned.job.id for planned in plan.trials if _wanted(statuses.get(planned.job.id), rerun)
    }
    if rerun == "failed":
        needed |= measured_otherwise(plan, store).keys()
    artifacts = ArtifactStore(store.out)
    for planned in reversed(plan.jobs):  # trials stand behind their victim, victims behind bases
        if planned.job.id in needed and planned.needs and planned.needs not in needed:
            model = store.model(planned.needs)
            if rerun != "always" and _is_skipped(planned, model):
                continue
            if rerun == "always" or not _usable(model, artifacts, rerun):
                needed.add(planned.needs)
    return needed


def _is_skipped(planned: Planned, model: ModelRecord | None) -> bool:
    """Say whether a job will not run, whatever has become of its model's file."""
    found = obstacle(planned, model)
    return found is not None and found[0] == "skipped"


def _wanted(status: str | None, rerun: Rerun) -> bool:
    if rerun == "always" or status is None:
        return True
    return rerun == "failed" and status == "failed"


def measured_otherwise(plan: Plan, store: Store) -> dict[str, list[str]]:
    """Return the finished trials of the plan in which metrics are missing or other code's.

    Identity → names of the metrics. A metric is in no trial's identity, so its values would stand
    beside those of the code before the edit under one name. Trials from before this was kept, which
    tell of no metric's code, have the built-in ones in their first version.
    """
    asked = {
        planned.job.id: planned.job.metrics
        for planned in plan.trials
        if isinstance(planned.job, TrialJob) and not all(map(_is_first, planned.job.metrics))
    }
    found = {}
    for trial in store.trials(asked) if asked else ():
        kept = trial.environment.get(METRICS, {})
        others = [
            metric.name
            for metric in asked[trial.trial]
            if kept.get(metric.name, metric.code_version if _is_first(metric) else "")
            != metric.code_version
        ]
        if others and trial.status == "done":
            found[trial.trial] = others
    return found


def _is_first(metric: Component) -> bool:
    return metric.origin["kind"] == "builtin" and metric.version == "1"


def _usable(model: ModelRecord | None, artifacts: ArtifactStore, rerun: Rerun) -> bool:
    if model is None:
        return False
    if model.status == "failed":
        return rerun == "never"
    return artifacts.verify(model.artifact)


def lost_models(plan: Plan, store: Store, needed: Collection[str]) -> int:
    """Return how many models are made again, file or record being gone, under results that stay."""
    artifacts, without_record, lost = ArtifactStore(store.out), store.lost_models(), 0
    for planned in plan.jobs:
        if planned.job.id in needed and not isinstance(planned.job, TrialJob):
            model = store.model(planned.job.id)
            if model is not None and model.status == "done":
                is_gone = not artifacts.verify(model.artifact)
            else:
                is_gone = planned.job.id in without_record
            if is_gone:
                lost += any(one not in needed for one in store.built_on(planned.job.id))
    return lost


def will_skip(plan: Plan, store: Store, needed: Collection[str]) -> dict[str, str]:
    """Return the trials that are already known not to run, each with the reason."""
    reasons = {}
    for planned in plan.trials:
        if planned.job.id in needed and planned.needs not in needed:
            found = obstacle(planned, store.model(planned.needs))
            if found:
                reasons[planned.job.id] = found[1]
    return reasons
