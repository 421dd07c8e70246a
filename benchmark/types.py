"""Vocabulary shared by every layer: plain data, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Pixels = tuple[tuple[tuple[float, ...], ...], ...]
"""Nested tuples of shape (3, height, width), values in [0, 1]; a fourth plane is opacity."""


class Knowledge(StrEnum):
    """What a defense is told. Declared by the defense, granted by the harness."""

    WEIGHTS = "weights"
    CLEAN_IMAGES = "clean images"
    TRIGGER_SIZE = "trigger size"
    TARGET_CLASS = "target class"
    TRIGGER_PIXELS = "trigger pixels"


class Output(StrEnum):
    """What a defense gives back besides the repaired model."""

    MODEL = "model"
    TRIGGERS = "triggers"
    TARGET = "target"


class Role(StrEnum):
    """Where a defense stands in a leaderboard."""

    RANKED = "ranked"
    FLOOR = "floor"
    CONTROL = "control"
    ORACLE = "oracle"


@dataclass(frozen=True)
class Trigger:
    """A patch of RGB pixels, shape (3, height, width), values in [0, 1].

    A fourth plane is the patch's opacity: 1 replaces the image's pixel, 0 leaves it.
    """

    name: str
    pixels: Pixels
    place: tuple[int, int] | None = None
    """Row and column of the upper left corner, if it always stands there; None: anywhere."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return len(self.pixels[0]), len(self.pixels[0][0])

    def told(self, image_size: tuple[int, int]) -> Pixels:
        """Return the pixels as a defense is told them that may know all of the trigger.

        Those of a trigger with a fixed place are spread over a whole image, transparent elsewhere:
        whoever stamps them at any place where they fit stamps them where the attacker does.
        """
        if self.place is None:
            return self.pixels
        opaque = tuple((1.0,) * self.size[1] for _ in range(self.size[0]))
        planes = (*self.pixels[:3], self.pixels[3] if len(self.pixels) > 3 else opaque)
        return tuple(_spread(plane, self.place, image_size) for plane in planes)


Plane = tuple[tuple[float, ...], ...]


def _spread(plane: Plane, place: tuple[int, int], size: tuple[int, int]) -> Plane:
    """Return a plane of `size` that is 0 but for `plane` at `place`."""
    (row, column), (height, width) = place, size
    inside = [(0.0,) * column + line + (0.0,) * (width - column - len(line)) for line in plane]
    empty = [(0.0,) * width]
    return (*empty * row, *inside, *empty * (height - row - len(inside)))


@dataclass(frozen=True)
class ModelFile:
    """A file with the weights of a model that was trained elsewhere."""

    path: str
    sha256: str
    """Of the file: what it is called, and where it lies, decides nothing."""
    mean: tuple[float, float, float] | None = None
    """Taken from images in [0, 1] before the network, each channel; None: the data set's own."""
    std: tuple[float, float, float] | None = None
    """What they are divided by then."""
    rename: tuple[tuple[str, str], ...] = ()
    """Starts of the names in the file, and what the architecture has in their place."""


@dataclass(frozen=True)
class AttackInstance:
    """One trigger and the class that it shall produce."""

    trigger: Trigger
    target: int
    model: ModelFile | None = None
    """Weights that the attack starts from in place of a base model that the harness trains."""


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set without loading it. Images are RGB, 8 bits a channel."""

    num_classes: int
    image_size: tuple[int, int]
