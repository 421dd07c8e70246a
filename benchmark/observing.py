"""Tells observers what a run does. Whatever they raise is said once, and the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmark.display import Step, read_step
from benchmark.events import RunEvent, RunResult, TrialEvent, TrialResult
from benchmark.jobs import Report, TrialJob
from benchmark.loading.faults import Fault, guarded, in_words
from benchmark.loading.origin import Observer
from benchmark.plan import Planned
from benchmark.runner import Display


class Shown(Display, Protocol):
    """A display that is opened and closed."""

    def __enter__(self) -> Shown: ...

    def __exit__(self, *_: object) -> None: ...


class Observed:
    """A display that passes everything on to another one, and to the observers.

    `say` is given one line for each thing that an observer does wrong.
    """

    def __init__(
        self,
        display: Shown,
        observers: Sequence[Observer],
        run: RunEvent,
        say: Callable[[str], None],
    ) -> None:
        self._display = display
        self._observers = observers
        self._run = run
        self._say = say
        self._said: set[str] = set()
        self._trials: dict[str, tuple[TrialEvent, Path, Step]] = {}
        self._counts = {"done": 0, "failed": 0}
        self._open = False

    def __enter__(self) -> Observed:
        self._display.__enter__()
        self._open = True
        self._tell("bench_run_started")
        return self

    def __exit__(self, *raised: object) -> None:
        """Close the display and announce the end; without arguments, that of an interrupted run."""
        self._display.__exit__(*raised)
        if self._open:
            self._open = False
            interrupted = not raised or raised[0] is not None
            self._tell(
                "bench_run_finished", result=RunResult(**self._counts, interrupted=interrupted)
            )

    def started(self, planned: Planned, progress: Path) -> None:
        """Announce a trial; base models and attacks are not announced."""
        self._display.started(planned, progress)
        if isinstance(planned.job, TrialJob):
            trial = _event(planned, planned.job)
            self._trials[trial.trial] = trial, progress, Step()
            self._tell("bench_trial_started", trial=trial)

    def finished(self, planned: Planned, report: Report) -> None:
        """Announce a trial's result."""
        self._display.finished(planned, report)
        if planned.job.id in self._trials:
            trial, _, _ = self._trials.pop(planned.job.id)
            self._finish(trial, report)

    def _finish(self, trial: TrialEvent, report: Report) -> None:
        self._counts[report.status] += 1
        self._tell("bench_trial_finished", trial=trial, result=_result(report))

    def skipped(self, planned: Planned, reason: str, report: Report | None) -> None:
        """Announce both start and end of a trial that fails with its attack; else pass it on.

        Thus no observer is told of the end of a trial of whose start it was not.
        """
        self._display.skipped(planned, reason, report)
        if report is not None and isinstance(planned.job, TrialJob):
            trial = _event(planned, planned.job)
            self._tell("bench_trial_started", trial=trial)
            self._finish(trial, report)

    def lost(self, planned: Planned, reason: str, times: int) -> None:
        """Forget a trial that went down with its worker; its new start is announced again."""
        self._display.lost(planned, reason, times)
        self._trials.pop(planned.job.id, None)

    def tick(self) -> None:
        """Announce how far the running trials are, where that has changed."""
        self._display.tick()
        for key, (trial, progress, last) in self._trials.items():
            step = read_step(progress)
            if step not in (last, Step()):
                self._trials[key] = trial, progress, step
                told = {"step": step.step, "total": step.total, "text": step.text}
                self._tell("bench_trial_step", trial=trial, **told)

    def _tell(self, hook: str, **told: Any) -> None:
        told["run"] = self._run
        for observer in self._observers:
            if hook not in observer.calls:
                continue
            function, wanted = observer.calls[hook]
            faults: list[Fault] = []
            with guarded(observer.origin, faults):
                function(**{name: told[name] for name in wanted})
            for fault in faults:
                self._complain(f"warning: {in_words(fault.origin)}: {hook}: {fault.error}")

    def _complain(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._say(line)


def _event(planned: Planned, job: TrialJob) -> TrialEvent:
    facts = planned.facts
    return TrialEvent(
        trial=job.id,
        dataset=facts["dataset"],
        model=facts["model"],
        attack=facts["attack"],
        trigger=facts["trigger"],
        target=facts["target"],
        defense=facts["defense"],
        version=facts["version"],
        variant=facts["variant"],
        seed=facts["seed"],
        options=job.defense.options,
    )


def _result(report: Report) -> TrialResult:
    return TrialResult(
        status=report.status,
        error=report.error,
        before=report.before,
        metrics=report.metrics,
        seconds=report.cost.seconds,
        peak_memory_mib=report.cost.peak_memory_mib,
        series=tuple(report.series),
    )
