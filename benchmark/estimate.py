"""How long jobs take: from this machine's own finished jobs, else from the preset's figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from benchmark.jobs import TrialJob
from benchmark.plan import Plan, Planned
from benchmark.preset import Estimate, load_preset
from benchmark.store import Store

START_S = 3.0
"""Starting a process and importing torch, which every job pays; roughly."""

_COUNTED = ("attack.triggers",)
"""Settings that decide how many jobs there are, which an estimate knows."""

_FILE = "preset file"

_STAGES = ("base", "victim", "trial")
"""Kinds of jobs; one of each kind waits for one of the kind before."""


@dataclass
class Clock:
    """Mean seconds of a kind of job.

    A trial's kind is its defense with its options, that of a backdoored model its attack.
    """

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
        return self.total_of(((planned, 1, 0.0) for planned in jobs), workers)

    def total_of(self, jobs: Iterable[tuple[Planned, int, float]], workers: int) -> float:
        """Return the same for jobs of which each stands for so many, with seconds behind them.

        However many workers there are, a trial waits for its attack, and that for a base model.
        """
        whole, longest = dict.fromkeys(_STAGES, 0.0), dict.fromkeys(_STAGES, 0.0)
        for planned, count, behind in jobs:
            seconds, stage = max(self.expect(planned) - behind, 0.0), planned.job.kind
            whole[stage] += count * seconds
            longest[stage] = max(longest[stage], seconds)
        alone = whole.pop("base")
        return max(alone + sum(whole.values()) / workers, sum(longest.values()))


def kind_of(planned: Planned) -> str:
    """Return what jobs have in common that take about as long."""
    facts = planned.facts  # a control without a backdoor takes no time to make, an attack much
    return f"{planned.job.kind} {facts.get('variant_id') or facts.get('attack', '')}"


def left_out(plan: Plan, clock: Clock, jobs: Iterable[Planned]) -> str:
    """Return in brackets what the estimate of `jobs` does not know of; empty if nothing.

    The preset's figures are fixed: they know its own settings, and two CPU cores.
    """
    if all(kind_of(planned) in clock.seen for planned in jobs):
        return ""
    unknown = list(dict.fromkeys(_unknown(plan)))
    if not unknown and plan.machine.device == "cpu":
        return ""
    besides = f", without your {' and '.join(unknown)}" if unknown else ""
    return f" (the preset's own figures, for two CPU cores{besides})"


def _unknown(plan: Plan) -> Iterator[str]:
    """Yield what of a command changes how long a job takes.

    Somebody's own preset has the figures of the shipped one that it extends.
    """
    config, request = plan.config, plan.config.request
    shipped = load_preset(config.preset.shipped)
    if any(key not in _COUNTED for key in request.sets):
        yield "--set"
    if any(key not in _COUNTED for key in config.preset.own):
        yield _FILE
    if config.model.spec.name != shipped.model:
        yield "--model" if request.model is not None else _FILE
    if config.dataset.spec.name != shipped.dataset:
        yield "--dataset" if request.dataset is not None else _FILE
    if request.attack_files:
        yield "--attack-file"


def in_words(seconds: float) -> str:
    """Return `50 s`, `12 min` or `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
