"""The hooks that a plugin may implement: signatures only, no torch.

Every hook returns a list of light spec objects (see `benchmark.specs`); the heavy code is
imported by a spec's factory, when a trial needs it.
"""

from __future__ import annotations

import pluggy

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
