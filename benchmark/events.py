"""What observers are told of a run: plain data that nobody can change. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunEvent:
    """One invocation that has trials to run."""

    id: str
    """Start and a random end, such as `20260131T120000-a1b2c3`; stored with each trial."""
    out: Path
    """The results folder."""
    trials: int
    """How many trials are to be run; those that are stored already do not count."""


@dataclass(frozen=True)
class TrialEvent:
    """One trial of a run."""

    trial: str
    """Its identity, as `bench show` takes it."""
    dataset: str
    model: str
    attack: str
    trigger: str
    target: int
    defense: str
    version: str
    variant: str
    """The defense's options that were set by hand, such as `epochs=5`."""
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    """All options of the defense."""


@dataclass(frozen=True)
class TrialResult:
    """What became of a trial."""

    status: str
    """`done` or `failed`."""
    error: str
    """One line; empty when done."""
    before: Mapping[str, float]
    """The undefended model's `asr`, `clean_accuracy` and `robust_accuracy`, fractions."""
    metrics: Mapping[str, float | None]
    """After the defense; None where a metric does not apply."""
    seconds: float
    peak_memory_mib: float
    series: Sequence[Mapping[str, Any]]
    """What the defense recorded: one flat mapping a step, with the key `series`."""


@dataclass(frozen=True)
class RunResult:
    """What became of a run."""

    done: int
    failed: int
    interrupted: bool
