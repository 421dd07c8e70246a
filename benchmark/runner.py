"""Plan → jobs → reports, each stored as it comes; a job whose process is lost fails here.

The driver alone writes the store's database; it never imports torch.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from benchmark.errors import UserError, unexpected
from benchmark.estimate import Clock
from benchmark.executors import Executor, WorkerLost
from benchmark.jobs import BaseJob, Report, TrialJob
from benchmark.keeping import Keeper
from benchmark.missing import Rerun, missing_jobs, obstacle
from benchmark.plan import Plan, Planned
from benchmark.records import ModelRecord
from benchmark.scheduler import Scheduler, Task
from benchmark.signals import undisturbed


class Display(Protocol):
    """Shows a run while it goes on."""

    def started(self, planned: Planned, progress: Path) -> None:
        """A job was handed to a worker; `progress` is where it says how far it is."""

    def finished(self, planned: Planned, report: Report) -> None:
        """A job's report is stored."""

    def skipped(self, planned: Planned, reason: str, report: Report | None) -> None:
        """A job will not run; `report` says so of one that counts as failed."""

    def lost(self, planned: Planned, reason: str, times: int) -> None:
        """A job went down with its worker, for the `times`-th time, and will be started again."""

    def tick(self) -> None:
        """Called a few times a second."""


@dataclass
class Tally:
    """What became of a run's trials."""

    done: int = 0
    failed: int = 0
    kept: int = 0
    """Of those that failed, the ones that keep what an earlier run found."""
    already: int = 0
    skipped: int = 0


@dataclass
class Runner:
    """Runs what is missing of a plan. `work` is a folder for progress files."""

    plan: Plan
    keeper: Keeper
    executor: Executor
    display: Display
    work: Path
    clock: Clock
    rerun: Rerun
    retries: int
    """How often a job that went down with its worker is started again."""
    tally: Tally = field(default_factory=Tally)
    _planned: dict[str, Planned] = field(default_factory=dict)
    _running: dict[Future[str], Planned] = field(default_factory=dict)

    def run(self) -> Tally:
        """Run every missing job; returns when all are done, failed or skipped."""
        scheduler = Scheduler(self._tasks(), ahead=self.executor.slots, retries=self.retries)
        try:
            while not scheduler.is_finished:
                self._start_ready(scheduler)
                self._collect(scheduler)
        finally:
            # A second Ctrl-C in here would leave workers that the process then waits for.
            with undisturbed():
                self.executor.stop()
        return self.tally

    def _tasks(self) -> Iterator[Task]:
        """Yield the jobs to do; learn of the models that are there already."""
        needed = missing_jobs(self.plan, self.keeper.store, self.rerun)
        self.tally.already = sum(one.job.id not in needed for one in self.plan.trials)
        for planned in self.plan.jobs:
            job = planned.job
            if job.id in needed:
                self._planned[job.id] = planned
                alone = isinstance(job, BaseJob) and self.executor.base_alone
                seconds = self.clock.expect(planned)
                yield Task(job.id, planned.needs, seconds, planned.block, alone)
            elif not isinstance(job, TrialJob):
                record = self.keeper.store.model(job.id)
                if record is not None:
                    self.keeper.models[job.id] = record

    def _start_ready(self, scheduler: Scheduler) -> None:
        """Fill the free slots."""
        while (task := scheduler.next(self.executor.slots)) is not None:
            planned = self._planned[task.id]
            model = self.keeper.models[planned.needs] if planned.needs else None
            reason = obstacle(planned, model)
            if reason is not None:
                self._give_up(planned, *reason)
                scheduler.done(task.id)
            else:
                self._start(planned, model)

    def _start(self, planned: Planned, model: ModelRecord | None) -> None:
        job = planned.job
        if model is not None:
            job = job.model_copy(update={"artifact": model.artifact})
        # Whoever knows a name sees whether the file is there, sealed or not, and a trial's identity
        # is a hash of what everybody knows: it would tell trigger and target.
        progress = self.work / f"progress-{secrets.token_hex(8)}"
        future = self.executor.submit(job.model_dump_json(), str(progress))
        self._running[future] = planned
        self.display.started(planned, progress)

    def _collect(self, scheduler: Scheduler) -> None:
        """Store what has finished."""
        done, _ = wait(self._running, timeout=0.25, return_when=FIRST_COMPLETED)
        for future in done:
            planned = self._running.pop(future)
            try:
                report = Report.model_validate_json(future.result())
            except WorkerLost as lost:
                times = scheduler.lost(planned.job.id)
                if times:
                    self.display.lost(planned, str(lost), times)
                    continue
                report = Report(id=planned.job.id, status="failed", error=self._often(lost))
            except UserError:
                raise
            except Exception as error:  # whatever one job does to its worker, the run goes on
                report = Report(id=planned.job.id, status="failed", error=unexpected(error))
            told = self._keep(planned, report)
            scheduler.done(planned.job.id)
            self.display.finished(planned, told)
        self.display.tick()

    def _often(self, lost: WorkerLost) -> str:
        return f"{lost}, {self.retries + 1} times" if self.retries else str(lost)

    def _keep(self, planned: Planned, report: Report) -> Report:
        """Store a report; return it as it is told, with what becomes of an earlier result."""
        is_stored = self.keeper.keep(planned, report)
        if isinstance(planned.job, TrialJob):
            if report.status == "done":
                self.tally.done += 1
            else:
                self.tally.failed += 1
                self.tally.kept += not is_stored
        if is_stored:
            return report
        return report.model_copy(update={"error": f"{report.error}; its earlier result is kept"})

    def _give_up(self, planned: Planned, status: Literal["failed", "skipped"], why: str) -> None:
        """Note a job that cannot run, because of the model that it needs."""
        report = None
        if status == "failed":
            failed = Report(id=planned.job.id, status="failed", error=why)
            report = self._keep(planned, failed)
            why = report.error
        else:
            self.keeper.skip(planned)
            self.tally.skipped += 1
        self.display.skipped(planned, why, report)
