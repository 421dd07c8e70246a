"""Reports of jobs → records in the store."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark.environment import software
from benchmark.errors import UserError
from benchmark.jobs import BaseJob, Report, TrialJob, refuse_changed_files
from benchmark.plan import Planned, trial_record
from benchmark.records import METRICS, ModelRecord
from benchmark.store import Store


@dataclass
class Keeper:
    """Writes what became of each job, one transaction a job, and knows the models of the run."""

    store: Store
    run_id: str
    command: str = ""
    """What was typed."""
    doing: Collection[str] = ()
    """Identities of the jobs that this run does, stored ones among them."""
    models: dict[str, ModelRecord] = field(default_factory=dict)
    """Identity → the models that are there, those that failed among them."""

    def keep(self, planned: Planned, report: Report) -> None:
        """Store a report.

        Raises `PluginChanged` in the place of a fault that a plugin file which was edited since the
        run was planned may have caused: that fault would be told of the file as it was.
        """
        if report.status == "failed":
            refuse_changed_files(planned.job)
        if isinstance(planned.job, TrialJob):
            self._keep_trial(planned, report)
        else:
            self._keep_model(planned, report)

    def _made_with(self) -> dict[str, Any]:
        return software() | ({"command": self.command} if self.command else {})

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
            environment=self._made_with() | report.environment,
            log=report.log,
            series=report.series,
            **planned.facts,
        )
        self.models[job.id] = record
        before = self.store.model(job.id)
        if before is None or before.status == "failed":
            self.store.put_model(record)
        elif record.status == "done":
            self._refuse_contradiction(before, record)
            self.store.put_model(record)
        # Else what it was is still true of the trials that faced it.

    def _refuse_contradiction(self, before: ModelRecord, now: ModelRecord) -> None:
        """Raise `UserError` if finished jobs that are not done again started from other weights.

        A model is made anew where its file is gone; on another machine the rounding differs, and
        so do the weights. Under one identity there would be trials on both.
        """
        if before.artifact == now.artifact:
            return
        stale = [one for one in self.store.built_on(now.id) if one not in self.doing]
        if stale:
            what = f"base model, seed {now.seed}"
            if now.kind == "victim":
                what = f"attack {now.attack} {now.trigger}, seed {now.seed}"
            raise UserError(
                f"{what}: made again, its weights are others than those from which {len(stale)} "
                "stored results started; it is not kept",
                "use another --out, or --rerun always with all of their defenses",
            )

    def _keep_trial(self, planned: Planned, report: Report) -> None:
        job = planned.job
        assert isinstance(job, TrialJob)
        # The file's name alone: exported rows travel, and a folder is nobody's business.
        plugin = job.defense.origin | {"path": Path(job.defense.origin["path"]).name}
        # In no identity: a metric decides no other number. But it decides its own.
        measured = {METRICS: {metric.name: metric.code_version for metric in job.metrics}}
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
            environment=self._made_with() | report.environment | {"plugin": plugin} | measured,
            log=report.log,
            series=report.series,
            run=self.run_id,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.store.put_trial(record)

    def _base_accuracy(self, trial: Planned) -> float | None:
        victim = self.models.get(trial.needs)
        base = self.models.get(victim.payload.get("base", "")) if victim else None
        return base.clean_accuracy if base else None
