"""Reports of jobs → records in the store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from benchmark.environment import software
from benchmark.errors import UserError
from benchmark.jobs import BaseJob, Report, TrialJob, refuse_changed_files
from benchmark.plan import Planned, trial_record
from benchmark.records import METRICS, ModelRecord, TrialRecord
from benchmark.store import Store

MADE_AGAIN = "the model that it started from was made again and has other weights"
"""Why a finished job counts as failed, and so is done again."""


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

    def keep(self, planned: Planned, report: Report) -> bool:
        """Store a report; False where a finished one of an earlier run stays in its place.

        What a job once found is not made untrue by a failure when it is done again.

        Raises `PluginChanged` in the place of a fault that a plugin file which was edited since the
        run was planned may have caused: that fault would be told of the file as it was.
        """
        if report.status == "failed":
            refuse_changed_files(planned.job)
        if isinstance(planned.job, TrialJob):
            return self._keep_trial(planned, report)
        return self._keep_model(planned, report)

    def skip(self, planned: Planned) -> None:
        """Note that a trial is not run: what it failed of earlier is no failure any more."""
        stored = self.store.trial(planned.job.id)
        if stored is not None and stored.status == "failed":
            self.store.drop_trial(stored.trial)

    def _made_with(self) -> dict[str, Any]:
        return software() | ({"command": self.command} if self.command else {})

    def _keep_model(self, planned: Planned, report: Report) -> bool:
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
        if record.status == "done":
            stale = self._stale(before, record)
            # At once: whenever the run is stopped, no finished trial faced another model than is
            # stored. Those that it still comes to are stored anew.
            self.store.put_all(chain([record], self._voided(stale)))
        elif before is None or before.status == "failed":
            self.store.put_model(record)
        else:  # what it was is still true of the trials that faced it
            return False
        return True

    def _stale(self, before: ModelRecord | None, now: ModelRecord) -> list[str]:
        """Return the finished jobs that started from other weights than the model has now.

        A model is made anew where its file is gone; on another machine the rounding differs, and
        so do the weights. Under one identity there would be trials on both: raises `UserError` if
        some of these jobs are not done again in this run.
        """
        if not self._is_other(before, now):
            return []
        built = self.store.built_on(now.id)
        stale = [one for one in built if one not in self.doing]
        if stale:
            what = f"base model, seed {now.seed}"
            if now.kind == "victim":
                what = f"attack {now.attack} {now.trigger}, seed {now.seed}"
            raise UserError(
                f"{what}: made again, its weights are others than those from which {len(stale)} "
                "stored results started; it is not kept",
                "use another --out, or --rerun always with all of their defenses",
            )
        return built

    def _is_other(self, before: ModelRecord | None, now: ModelRecord) -> bool:
        """Say whether stored results started from other weights than the model has now.

        Where the model's record is lost, as it may be after `bench repair`, their own say on it
        must do: other weights hardly ever have the same accuracies.
        """
        if before is not None and before.status == "done":
            return before.artifact != now.artifact
        if now.id not in self._lost_models:
            return False
        trials = self.store.trials(set(self.store.built_on(now.id)))
        return any(_tells_of_another(trial, now) for trial in trials)

    @cached_property
    def _lost_models(self) -> set[str]:
        # Once: what this run stores itself has its models.
        return self.store.lost_models()

    def _voided(self, identities: Iterable[str]) -> Iterator[ModelRecord | TrialRecord]:
        """Yield the records of finished jobs as those of failed ones, without what they found."""
        for identity in identities:
            trial = self.store.trial(identity)
            if trial is not None:
                yield _voided_trial(trial)
            elif (model := self.store.model(identity)) is not None:
                yield _voided_model(model)

    def _keep_trial(self, planned: Planned, report: Report) -> bool:
        job = planned.job
        assert isinstance(job, TrialJob)
        if report.status == "failed":
            before = self.store.trial(job.id)
            # It faced the weights that are stored, or it would not count as done any more.
            if before is not None and before.status == "done":
                return False
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
            finished=_now(),
        )
        self.store.put_trial(record)
        return True

    def _base_accuracy(self, trial: Planned) -> float | None:
        victim = self.models.get(trial.needs)
        base = self.models.get(victim.payload.get("base", "")) if victim else None
        return base.clean_accuracy if base else None


def _tells_of_another(trial: TrialRecord, model: ModelRecord) -> bool:
    """Say whether a trial that started from a model noted other accuracies of it."""
    noted = [(trial.base_clean_accuracy, model.clean_accuracy)]
    if model.kind == "victim":
        noted = [
            (trial.asr_before, model.asr),
            (trial.clean_accuracy_before, model.clean_accuracy),
        ]
    return any(then is not None and then != now for then, now in noted)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _voided_trial(record: TrialRecord) -> TrialRecord:
    return replace(
        record,
        status="failed",
        error=MADE_AGAIN,
        base_clean_accuracy=None,
        asr_before=None,
        clean_accuracy_before=None,
        robust_accuracy_before=None,
        metrics={},
        spread={},
        repeats=1,
        empty={},
        recovered_target=None,
        artifacts=(),
        triggers_artifact="",
        series=[],
        finished=_now(),
    )


def _voided_model(record: ModelRecord) -> ModelRecord:
    return replace(
        record,
        status="failed",
        error=MADE_AGAIN,
        artifact="",
        clean_accuracy=None,
        asr=None,
        series=[],
    )
