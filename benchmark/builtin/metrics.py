"""The metrics that come with the harness. Rates are fractions in [0, 1]."""

from __future__ import annotations

import math
from typing import Any

from jaxtyping import Bool, Int64
from torch import Tensor

from benchmark.contracts import Evidence


def rate(hits: Bool[Tensor, " count"], of: Bool[Tensor, " count"] | None = None) -> float:
    """Return the fraction of `hits` among `of` (or among all); NaN where there is none."""
    if of is not None:
        hits = hits[of]
    return hits.double().mean().item()


def attack_success_rate(
    stamped: Int64[Tensor, " count"], labels: Int64[Tensor, " count"], target: int
) -> float:
    """Return how often a stamped image of another class is answered with the target."""
    return rate(stamped == target, labels != target)


class _Plain:
    """A metric without options."""

    def __init__(self, options: Any) -> None:
        self.options = options


class Asr(_Plain):
    """Attack success rate after the defense."""

    def compute(self, evidence: Evidence) -> float:
        """Return a fraction in [0, 1]; images of the target class do not count."""
        return attack_success_rate(evidence.stamped_after, evidence.labels, evidence.target)


class CleanAccuracy(_Plain):
    """Accuracy on clean images after the defense."""

    def compute(self, evidence: Evidence) -> float:
        """Return a fraction in [0, 1]."""
        return rate(evidence.clean_after == evidence.labels)


class RobustAccuracy(_Plain):
    """Accuracy on stamped images after the defense."""

    def compute(self, evidence: Evidence) -> float:
        """Return a fraction in [0, 1]; images of the target class do not count."""
        others = evidence.labels != evidence.target
        return rate(evidence.stamped_after == evidence.labels, others)


class DefenseEffectivenessRating(_Plain):
    """Defense effectiveness rating (Zhu et al., ICCV 2023)."""

    def compute(self, evidence: Evidence) -> float:
        """Return (max(0, ASR lost) - max(0, accuracy lost) + 1) / 2, in [0, 1]."""
        labels, target = evidence.labels, evidence.target
        asr_lost = attack_success_rate(evidence.stamped_before, labels, target) - (
            attack_success_rate(evidence.stamped_after, labels, target)
        )
        accuracy_lost = rate(evidence.clean_before == labels) - rate(evidence.clean_after == labels)
        if math.isnan(asr_lost) or not evidence.backdoored:
            return math.nan  # max() below would make a number of it
        return (max(0.0, asr_lost) - max(0.0, accuracy_lost) + 1) / 2


class Detection(_Plain):
    """Whether the defense named the target class."""

    def compute(self, evidence: Evidence) -> float:
        """Return 1 or 0; NaN on a model that was never attacked."""
        if not evidence.backdoored:
            return math.nan
        return float(evidence.recovered_target == evidence.target)


class FalseAlarm(_Plain):
    """Whether the defense saw a backdoor where there is none."""

    def compute(self, evidence: Evidence) -> float:
        """Return 1 or 0; NaN on a backdoored model."""
        return math.nan if evidence.backdoored else float(evidence.recovered_target is not None)
