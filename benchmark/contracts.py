"""What the factories of the specs must return, and what the harness hands to it.

Images are float tensors in [0, 1] of shape (batch, 3, height, width), RGB; a classifier takes
them as they are (it normalises inside) and returns logits of shape (batch, classes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from jaxtyping import Float, Int64, UInt8

from benchmark.errors import UndeclaredKnowledge
from benchmark.types import AttackInstance, DatasetInfo, Knowledge

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmark.context import RunContext
else:  # annotations are strings; torch must not be imported for a spec
    Tensor = object


@dataclass(frozen=True)
class ImageSet:
    """Images and labels in memory: uint8 pixels 0 to 255, int64 class indices."""

    images: UInt8[Tensor, "count 3 height width"]
    labels: Int64[Tensor, " count"]


@dataclass(frozen=True)
class LoadedDataset:
    """A whole data set in memory."""

    train: ImageSet
    test: ImageSet
    class_names: tuple[str, ...] = ()


class DatasetSource(Protocol):
    """Finds, verifies and decodes a data set."""

    def fingerprint_inputs(self, data_dir: Path | None, cache_dir: Path) -> str:
        """Return a cheap key of the source files, so that a prepared copy can be found again.

        Raises `UserError`, naming the file, if something is missing or damaged.
        """

    def load(self, data_dir: Path | None, cache_dir: Path) -> LoadedDataset:
        """Decode everything. Raises `UserError`, naming the file, if something is damaged."""


class ModelBuilder(Protocol):
    """Builds an untrained network that maps normalised images to logits."""

    def build(self, info: DatasetInfo) -> nn.Module:
        """Return a network with inputs (batch, 3, height, width) and outputs (batch, classes)."""


class Attack(Protocol):
    """Turns a clean model and training data into a backdoored model."""

    def attack(
        self, model: nn.Module, train: ImageSet, instance: AttackInstance, run: RunContext
    ) -> nn.Module:
        """Return the backdoored model; `model` may be changed in place and returned."""


class Defense(Protocol):
    """Turns a backdoored model and some clean images into repaired models."""

    def repair(self, view: View, run: RunContext) -> Outcome:
        """Return what was repaired and recovered, from what the view grants."""


class Metric(Protocol):
    """Computes one number from what was scored."""

    def compute(self, evidence: Evidence) -> float:
        """Return the metric's value; NaN means that it does not apply."""


@dataclass(frozen=True)
class Outcome:
    """What a defense returns: one repaired model, or several of equal standing.

    Several models are independent repeats of the same repair (the pixel-space baseline retrains
    once with each of its ten patterns): every one is scored, a trial reports their mean and spread.
    """

    models: Sequence[nn.Module]
    triggers: Float[Tensor, "count 3 height width"] | None = None
    target: int | None = None


@dataclass(frozen=True)
class Evidence:
    """Predictions on the scoring images, each stamped at its own place; class indices.

    A metric whose spec `reads` an output is computed only for defenses that declare to give it.
    """

    labels: Int64[Tensor, " count"]
    target: int
    clean_before: Int64[Tensor, " count"]
    stamped_before: Int64[Tensor, " count"]
    clean_after: Int64[Tensor, " count"]
    stamped_after: Int64[Tensor, " count"]
    recovered_triggers: Float[Tensor, "count 3 height width"] | None = None
    recovered_target: int | None = None
    """The class that the defense holds for the target; None: it says that there is none."""
    backdoored: bool = True
    """False on a model that was never attacked; `target` is then what some defenses are told."""


_FIELDS = {
    "model": Knowledge.WEIGHTS,
    "clean": Knowledge.CLEAN_IMAGES,
    "trigger_size": Knowledge.TRIGGER_SIZE,
    "target": Knowledge.TARGET_CLASS,
    "trigger": Knowledge.TRIGGER_PIXELS,
}


@dataclass(frozen=True)
class View:
    """All that a defense is given. A field outside its `needs` raises `UndeclaredKnowledge`.

    `model`: the backdoored classifier, in eval mode, on the run's device.
    `clean`: the clean images of the defense split, on the run's device.
    `trigger_size`: height and width in pixels.
    `target`: the target class.
    `trigger`: the trigger's pixels, shape (3, height, width), in [0, 1]; of an attack whose trigger
    has a mask or a fixed place (4, height, width), as `benchmark.primitives.stamp` takes it.
    `info`: number of classes and image size; always readable.
    """

    defense: str
    info: DatasetInfo
    granted: dict[str, object] = field(repr=False)

    if TYPE_CHECKING:

        @property
        def model(self) -> nn.Module:
            """The backdoored classifier."""

        @property
        def clean(self) -> ImageSet:
            """The clean images."""

        @property
        def trigger_size(self) -> tuple[int, int]:
            """Height and width."""

        @property
        def target(self) -> int:
            """The target class."""

        @property
        def trigger(self) -> Float[Tensor, "channels height width"]:
            """The trigger's pixels."""

    def __getattr__(self, name: str) -> object:
        granted = self.__dict__.get("granted", {})
        if name in granted:
            return granted[name]
        if name in _FIELDS:
            raise UndeclaredKnowledge(
                f"defense {self.defense!r} read view.{name} without declaring "
                f"Knowledge.{_FIELDS[name].name} in needs"
            )
        raise AttributeError(name)
