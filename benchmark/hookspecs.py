"""The hooks that a plugin may implement: signatures only, no torch.

The first five return a list of light spec objects (see `benchmark.specs`); the heavy code is
imported by a spec's factory, when a trial needs it. The others are called while trials run, in the
process that drives the run; what they raise is logged and changes nothing.
"""

from __future__ import annotations

import pluggy

from benchmark.events import RunEvent, RunResult, TrialEvent, TrialResult
from benchmark.specs import AttackSpec, DatasetSpec, DefenseSpec, MetricSpec, ModelSpec

PROJECT = "backdoor_bench"
"""Name of the pluggy project and of the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def bench_attacks() -> list[AttackSpec]:  # type: ignore[empty-body]
    """Return the attack grids that this plugin offers."""


@hookspec
def bench_defenses() -> list[DefenseSpec]:  # type: ignore[empty-body]
    """Return the defenses that this plugin offers."""


@hookspec
def bench_metrics() -> list[MetricSpec]:  # type: ignore[empty-body]
    """Return the metrics that this plugin offers."""


@hookspec
def bench_datasets() -> list[DatasetSpec]:  # type: ignore[empty-body]
    """Return the data sets that this plugin offers."""


@hookspec
def bench_models() -> list[ModelSpec]:  # type: ignore[empty-body]
    """Return the model architectures that this plugin offers."""


@hookspec
def bench_run_started(run: RunEvent) -> None:
    """Take note that a run begins that has trials to run."""


@hookspec
def bench_trial_started(run: RunEvent, trial: TrialEvent) -> None:
    """Take note that a trial was handed to a worker: once more if its worker was lost.

    Of a trial that fails because its attack did, called at once before its end is told.
    """


@hookspec
def bench_trial_step(run: RunEvent, trial: TrialEvent, step: int, total: int, text: str) -> None:
    """Take note of how far a trial is: `step` of `total` of the stage `text`.

    Called when that changed, at most four times a second; short stages may be missed.
    """


@hookspec
def bench_trial_finished(run: RunEvent, trial: TrialEvent, result: TrialResult) -> None:
    """Take note that a trial was scored, or failed, and is stored."""


@hookspec
def bench_run_finished(run: RunEvent, result: RunResult) -> None:
    """Take note that a run has ended, or was interrupted."""
