"""What is kept of every finished job: plain data between runner, store and report. No torch.

Rates are fractions in [0, 1]; a metric that does not apply is None, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["done", "failed"]

EXAMPLES = "examples"
"""Name of the rows in a trial's `series` that tell of single scoring images.

Each has `image` (its number in the test images), `row` and `column` of the stamp's upper left
corner, `label`, and what the model answered: `clean_before`, `stamped_before` of the victim,
`clean_after`, `stamped_after` of the first repaired model. The image itself is not kept.
"""

METRICS = "metrics"
"""Name of the part of a trial's `environment` that tells, for each metric, which code made it."""


@dataclass(frozen=True)
class ModelRecord:
    """A base model or a backdoored model (victim) that later jobs build on."""

    id: str
    """Identity: the hash of what decides its weights."""
    kind: Literal["base", "victim"]
    status: Status
    error: str
    dataset: str
    model: str
    seed: int
    attack: str = ""
    trigger: str = ""
    target: int | None = None
    artifact: str = ""
    """SHA-256 of the weights' safetensors file, its name in the artifact store; empty if failed."""
    clean_accuracy: float | None = None
    """Base: on the whole test set. Victim: on the scoring images."""
    asr: float | None = None
    """Victim only: on the scoring images whose true class is not the target."""
    seconds: float = 0.0
    peak_memory_mib: float = 0.0
    payload: dict[str, Any] = field(default_factory=dict)
    """What the identity hashes."""
    environment: dict[str, Any] = field(default_factory=dict)
    log: str = ""
    series: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class TrialRecord:
    """One (data set, model, attack instance, defense, seed), scored or failed."""

    trial: str
    """Identity: the hash of what decides the trial's numbers."""
    group: str
    """Hash of what the trials of one leaderboard share: all but defense, trigger, target, seed."""
    variant_id: str
    """Hash of the defense with its version and options: a row of the leaderboard."""
    status: Status
    error: str
    """One line; empty when done."""
    dataset: str
    model: str
    attack: str
    trigger: str
    target: int
    defense: str
    version: str
    variant: str
    """The defense's options that were set by hand, such as `epochs=5`; empty by default. What
    somebody's own preset file says is set by hand too."""
    setting: str
    """Preset and the other options set by hand; heads the leaderboard."""
    knowledge: tuple[str, ...]
    role: str
    """`ranked`, `floor`, `control` or `oracle`: see `benchmark.types.Role`."""
    seed: int
    victim: str
    """Identity of the backdoored model."""
    min_asr: float | None
    """Below this undefended ASR the attack did not take and the trial is in no average; None on a
    model that was never attacked."""
    base_clean_accuracy: float | None = None
    asr_before: float | None = None
    clean_accuracy_before: float | None = None
    robust_accuracy_before: float | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    """Metric name → value after the defense, the mean over the defense's repaired models."""
    spread: dict[str, dict[str, float]] = field(default_factory=dict)
    """Metric name → `std`, `min`, `max` over the repaired models, if there are several."""
    repeats: int = 1
    """How many repaired models the defense returned."""
    empty: dict[str, str] = field(default_factory=dict)
    """Metric name → why it has no value."""
    recovered_target: int | None = None
    artifacts: tuple[str, ...] = ()
    """SHA-256 of each scored artifact."""
    triggers_artifact: str = ""
    seconds: float = 0.0
    peak_memory_mib: float = 0.0
    forward_images: int = 0
    backward_images: int = 0
    payload: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    """Package and plugin versions, git revision, hardware, threads, device."""
    log: str = ""
    series: list[dict[str, Any]] = field(default_factory=list)
    """Diagnostics: one flat dict a step, with the key `series`."""
    run: str = ""
    finished: str = ""
    """ISO 8601, UTC."""

    @property
    def backdoored(self) -> bool:
        """Whether the model was attacked; False in the control arm."""
        return self.min_asr is not None
