"""One row of a leaderboard, with every figure that any format shows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Untaken:
    """An attack that did not take: its victim is in no mean."""

    trigger: str
    target: int
    seed: int
    asr: float
    """Undefended ASR, a fraction in [0, 1]."""


@dataclass(frozen=True)
class Row:
    """One defense with its options, over the triggers and seeds of one leaderboard.

    Rates are fractions in [0, 1]. Means, spreads and worst cases are over the averaged trials:
    done, on a victim whose attack took. What has no value is None.
    """

    dataset: str
    model: str
    attack: str
    setting: str
    """Preset and options that all trials of the leaderboard share, without what only chose them."""
    group: str
    """Hash of what the rows of one leaderboard share."""
    defense: str
    version: str
    variant: str
    """Options set by hand, such as `epochs=5`."""
    variant_id: str
    role: str
    knowledge: tuple[str, ...]
    ranked: bool
    """Whether the role competes; floor, controls and oracles do not."""
    triggers: tuple[str, ...]
    """Names of the triggers of its trials."""
    seeds: tuple[int, ...]
    """Numbers of the seeds of its trials."""
    trials: int
    """Stored trials: the averaged, the failed, and those whose attack did not take."""
    failed: int
    averaged: int
    models: int
    """Different models among the averaged trials: victims of the same weights are one, and so are
    the stamps that were tried on one clean model."""
    repeats: int
    """Repaired models a trial, the largest number."""
    attack_failed: tuple[Untaken, ...]
    backdoored: bool = True
    """False in the control arm: on models that were never attacked nobody is ranked."""
    rank: int | None = None
    """From 1, by mean ASR after the defense, then by clean accuracy; None for who does not compete
    and for who has fewer averaged trials than another who does."""
    tell_apart: str = ""
    """Start of its `variant_id`, where another row of the leaderboard is called the same: a plugin
    file that was edited keeps name, version and options."""
    incomplete: bool = False
    """Fewer averaged trials than another row of the leaderboard."""
    look: bool = False
    """Ranked, and below the oracle's mean ASR by more than its own interval."""
    accuracy_lost: bool = False
    """More than 10 points of clean accuracy: a model that hardly classifies obeys no trigger."""
    asr_before_mean: float | None = None
    asr_after_mean: float | None = None
    asr_after_std: float | None = None
    """Sample standard deviation (n - 1) over trials; None under two."""
    asr_after_ci_low: float | None = None
    """95 % bootstrap interval of the mean, over attacks and seeds; None under three of either."""
    asr_after_ci_high: float | None = None
    units: int = 0
    """What the interval rests on: different attacks, or seeds if these are more."""
    asr_after_worst: float | None = None
    """Largest mean over the seeds of one trigger and target: what an attacker would choose."""
    asr_after_worst_trigger: str | None = None
    asr_after_over_10: float | None = None
    """Fraction of the averaged trials with more than 10 % ASR left."""
    asr_after_models_std: float | None = None
    """Standard deviation over the repaired models of a trial, its mean over trials."""
    asr_after_models_worst: float | None = None
    """Largest ASR of any single repaired model."""
    base_clean_accuracy_mean: float | None = None
    """Of the models before the attack."""
    clean_accuracy_before_mean: float | None = None
    clean_accuracy_after_mean: float | None = None
    robust_accuracy_before_mean: float | None = None
    robust_accuracy_after_mean: float | None = None
    der_mean: float | None = None
    detection_mean: float | None = None
    """Fraction of backdoored models in which the defense named the right target class."""
    false_alarm_mean: float | None = None
    """Fraction of models never attacked, each counted once, in which it named one."""
    seconds_mean: float | None = None
    """Wall time of the defense."""
    peak_memory_mib_mean: float | None = None
    forward_images_mean: float | None = None
    backward_images_mean: float | None = None

    @property
    def shown(self) -> str:
        """Version, options set by hand, and what tells it apart: all but the defense's name."""
        return " ".join(filter(None, (self.version, self.variant, self.tell_apart)))

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain data, the knowledge as a list."""
        fields = asdict(self)
        return {name: list(v) if isinstance(v, tuple) else v for name, v in fields.items()}
