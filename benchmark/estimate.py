"""How long jobs take: from this machine's own finished jobs, else from the preset's figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from benchmark.jobs import TrialJob
from benchmark.plan import Plan, Planned
from benchmark.preset import Estimate
from benchmark.store import Store

START_S = 3.0
"""Starting a process and importing torch, which every job pays; roughly."""

_COUNTED = ("attack.triggers",)
"""Settings that decide how many jobs there are, which an estimate knows."""


@dataclass
class Clock:
    """Mean seconds of a kind of job; a trial's kind is its defense with its options."""

    preset: Estimate
    seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Kind → how many were seen, and their seconds together."""

    @classmethod
    def of_store(cls, preset: Estimate, store: Store | None, jobs: Iterable[Planned]) -> Clock:
        """Learn from the finished jobs of this plan, if a store has some."""
        clock = cls(preset)
        for planned in jobs if store else ():
            assert store is not None
            record = (
                store.trial(planned.job.id)
                if isinstance(planned.job, TrialJob)
                else store.model(planned.job.id)
            )
            if record is not None and record.status == "done":
                clock.note(planned, record.seconds + START_S)
        return clock

    def note(self, planned: Planned, seconds: float) -> None:
        """Learn from a finished job."""
        count, together = self.seen.get(kind_of(planned), (0, 0.0))
        self.seen[kind_of(planned)] = count + 1, together + seconds

    def expect(self, planned: Planned) -> float:
        """Return the seconds that a job will take."""
        count, together = self.seen.get(kind_of(planned), (0, 0.0))
        return together / count if count else float(getattr(self.preset, planned.job.kind))

    def total(self, jobs: Iterable[Planned], workers: int) -> float:
        """Return the seconds that jobs will take together; base models run one at a time."""
        return self.total_of(((planned, 1) for planned in jobs), workers)

    def total_of(self, jobs: Iterable[tuple[Planned, int]], workers: int) -> float:
        """Return the same for jobs of which each stands for so many of its kind."""
        alone = together = 0.0
        for planned, count in jobs:
            if planned.job.kind == "base":
                alone += count * self.expect(planned)
            else:
                together += count * self.expect(planned)
        return alone + together / workers


def kind_of(planned: Planned) -> str:
    """Return what jobs have in common that take about as long."""
    return f"{planned.job.kind} {planned.facts.get('variant_id', '')}"


def left_out(plan: Plan, clock: Clock, jobs: Iterable[Planned]) -> str:
    """Return in brackets what the estimate of `jobs` does not know of; empty if nothing.

    The preset's figures are fixed: they know its own settings, and two CPU cores.
    """
    if all(kind_of(planned) in clock.seen for planned in jobs):
        return ""
    unknown = list(_unknown(plan))
    if not unknown and plan.machine.device == "cpu":
        return ""
    besides = f", without your {' and '.join(unknown)}" if unknown else ""
    return f" (the preset's own figures, for two CPU cores{besides})"


def _unknown(plan: Plan) -> Iterator[str]:
    """Yield the options of a command that change how long a job takes."""
    config = plan.config
    if any(key not in _COUNTED for key in config.request.sets):
        yield "--set"
    if config.model.spec.name != config.preset.model:
        yield "--model"
    if config.dataset.spec.name != config.preset.dataset:
        yield "--dataset"
    if config.request.attack_files:
        yield "--attack-file"


def in_words(seconds: float) -> str:
    """Return `50 s`, `12 min` or `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
