"""Plan → jobs → records: the only place that turns a fault into a failed trial.

The driver alone writes the store, one transaction a job; it never imports torch.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

from benchmark.environment import software
from benchmark.errors import UserError
from benchmark.executors import Executor, WorkerLost
from benchmark.jobs import BaseJob, Report, TrialJob, VictimJob
from benchmark.plan import Plan, Planned, trial_record
from benchmark.records import ModelRecord
from benchmark.store import ArtifactStore, Store
from benchmark.types import Role

Rerun = Literal["never", "failed", "always"]


class Display(Protocol):
    """Shows a run while it goes on."""

    def started(self, planned: Planned, progress: Path) -> None:
        """A job was handed to a worker; `progress` is where it says how far it is."""

    def finished(self, planned: Planned, report: Report) -> None:
        """A job's report is stored."""

    def skipped(self, planned: Planned, reason: str) -> None:
        """A job will not run."""

    def tick(self) -> None:
        """Called a few times a second."""


@dataclass
class Tally:
    """What became of a run's trials."""

    done: int = 0
    failed: int = 0
    already: int = 0
    skipped: int = 0


@dataclass
class Runner:
    """Runs what is missing of a plan. `work` is a folder for progress files."""

    plan: Plan
    store: Store
    executor: Executor
    display: Display
    work: Path
    run_id: str
    rerun: Rerun = "failed"
    tally: Tally = field(default_factory=Tally)
    _pending: list[Planned] = field(default_factory=list)
    _models: dict[str, ModelRecord] = field(default_factory=dict)
    _running: dict[Future[str], Planned] = field(default_factory=dict)

    def run(self) -> Tally:
        """Run every missing job; returns when all are done, failed or skipped."""
        self._pending = self._missing()
        try:
            while self._pending or self._running:
                self._start_ready()
                self._collect()
        finally:
            self.executor.stop()
        return self.tally

    def _missing(self) -> list[Planned]:
        """Return the jobs to do, most urgent first."""
        needed = missing_jobs(self.plan, self.store, self.rerun)
        for planned in self.plan.jobs:
            record = self.store.model(planned.job.id)
            if record is not None and planned.job.id not in needed:
                self._models[planned.job.id] = record
        trials = {planned.job.id for planned in self.plan.trials}
        self.tally.already = len(trials - needed)
        jobs = [planned for planned in self.plan.jobs if planned.job.id in needed]
        return sorted(jobs, key=self._urgency)

    def _urgency(self, planned: Planned) -> tuple[int, bool]:
        """Order by victim, but keep a few victims ahead, so that no worker waits for one."""
        is_trial = isinstance(planned.job, TrialJob)
        return planned.block if is_trial else planned.block - self.executor.slots, is_trial

    def _start_ready(self) -> None:
        """Fill the free slots with jobs whose model is there."""
        for planned in list(self._pending):
            if len(self._running) >= self.executor.slots or self._has_base_running():
                return
            model = self._models.get(planned.needs) if planned.needs else None
            if planned.needs and model is None:
                continue
            self._pending.remove(planned)
            reason = _obstacle(planned, model)
            if reason is not None:
                self._give_up(planned, *reason)
            elif not isinstance(planned.job, BaseJob) or not self._running:
                self._start(planned, model)
            else:  # a base model takes all cores: wait until it can be alone
                self._pending.insert(0, planned)
                return

    def _has_base_running(self) -> bool:
        return any(isinstance(planned.job, BaseJob) for planned in self._running.values())

    def _start(self, planned: Planned, model: ModelRecord | None) -> None:
        job = planned.job
        if model is not None:
            job = job.model_copy(update={"artifact": model.artifact})
        progress = self.work / f"progress-{job.id}"
        future = self.executor.submit(job.model_dump_json(), str(progress))
        self._running[future] = planned
        self.display.started(planned, progress)

    def _collect(self) -> None:
        """Store what has finished."""
        if not self._running:
            return
        done, _ = wait(self._running, timeout=0.25, return_when=FIRST_COMPLETED)
        for future in done:
            planned = self._running.pop(future)
            try:
                report = Report.model_validate_json(future.result())
            except WorkerLost as lost:
                report = Report(id=planned.job.id, status="failed", error=str(lost))
            except UserError:
                raise
            except Exception as error:  # whatever one job does to its worker, the run goes on
                text = f"the harness could not carry it out: {type(error).__name__}: {error}"
                report = Report(id=planned.job.id, status="failed", error=" ".join(text.split()))
            self._keep(planned, report)
            self.display.finished(planned, report)
        self.display.tick()

    def _keep(self, planned: Planned, report: Report) -> None:
        match planned.job:
            case BaseJob() | VictimJob():
                self._keep_model(planned, report)
            case TrialJob():
                self._keep_trial(planned, report)

    def _keep_model(self, planned: Planned, report: Report) -> None:
        job = planned.job
        record = ModelRecord(
            id=job.id,
            kind="base" if isinstance(job, BaseJob) else "victim",
            status=report.status,
            error=report.error,
            artifact=report.artifacts[0] if report.artifacts else "",
            clean_accuracy=report.before.get("clean_accuracy"),
            asr=report.before.get("asr"),
            seconds=report.cost.seconds,
            peak_memory_mib=report.cost.peak_memory_mib,
            payload=planned.payload,
            environment=software() | report.environment,
            log=report.log,
            series=report.series,
            **planned.facts,
        )
        self.store.put_model(record)
        self._models[job.id] = record

    def _keep_trial(self, planned: Planned, report: Report) -> None:
        job = planned.job
        assert isinstance(job, TrialJob)
        # The file's name alone: exported rows travel, and a folder is nobody's business.
        plugin = job.defense.origin | {"path": Path(job.defense.origin["path"]).name}
        record = trial_record(
            planned,
            status=report.status,
            error=report.error,
            base_clean_accuracy=self._base_accuracy(planned),
            asr_before=report.before.get("asr"),
            clean_accuracy_before=report.before.get("clean_accuracy"),
            robust_accuracy_before=report.before.get("robust_accuracy"),
            metrics=report.metrics,
            spread=report.spread,
            repeats=max(1, len(report.artifacts)),
            empty=report.empty,
            recovered_target=report.recovered_target,
            artifacts=report.artifacts,
            triggers_artifact=report.triggers_artifact,
            seconds=report.cost.seconds,
            peak_memory_mib=report.cost.peak_memory_mib,
            forward_images=report.cost.forward_images,
            backward_images=report.cost.backward_images,
            environment=software() | report.environment | {"plugin": plugin},
            log=report.log,
            series=report.series,
            run=self.run_id,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.store.put_trial(record)
        if report.status == "done":
            self.tally.done += 1
        else:
            self.tally.failed += 1

    def _base_accuracy(self, trial: Planned) -> float | None:
        victim = self._models.get(trial.needs)
        base = self._models.get(victim.payload.get("base", "")) if victim else None
        return base.clean_accuracy if base else None

    def _give_up(self, planned: Planned, status: Literal["failed", "skipped"], why: str) -> None:
        """Note a job that cannot run, because of the model that it needs."""
        if status == "failed":
            self._keep(planned, Report(id=planned.job.id, status="failed", error=why))
        else:
            self.tally.skipped += 1
        self.display.skipped(planned, why)


def _obstacle(
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
    """
    statuses = store.statuses(planned.job.id for planned in plan.trials)
    needed = {
        planned.job.id for planned in plan.trials if _wanted(statuses.get(planned.job.id), rerun)
    }
    artifacts = ArtifactStore(store.out)
    for planned in reversed(plan.jobs):  # trials stand behind their victim, victims behind bases
        if planned.job.id in needed and planned.needs and planned.needs not in needed:
            model = store.model(planned.needs)
            if rerun == "always" or not _usable(model, artifacts, rerun):
                needed.add(planned.needs)
    return needed


def _wanted(status: str | None, rerun: Rerun) -> bool:
    if rerun == "always" or status is None:
        return True
    return rerun == "failed" and status == "failed"


def _usable(model: ModelRecord | None, artifacts: ArtifactStore, rerun: Rerun) -> bool:
    if model is None:
        return False
    if model.status == "failed":
        return rerun == "never"
    return artifacts.verify(model.artifact)


def will_skip(plan: Plan, store: Store, needed: Iterable[str]) -> Counter[str]:
    """Return the reasons for which trials are already known not to run, with their numbers."""
    reasons: Counter[str] = Counter()
    wanted = set(needed)
    for planned in plan.trials:
        if planned.job.id in wanted and planned.needs not in wanted:
            with contextlib.suppress(KeyError):
                obstacle = _obstacle(planned, store.model(planned.needs))
                if obstacle:
                    reasons[obstacle[1]] += 1
    return reasons
