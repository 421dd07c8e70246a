"""Vocabulary shared by every layer: plain data, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Pixels = tuple[tuple[tuple[float, ...], ...], ...]
"""Nested tuples of shape (3, height, width), values in [0, 1]."""


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
    """A patch of RGB pixels, shape (3, height, width), values in [0, 1]."""

    name: str
    pixels: Pixels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return len(self.pixels[0]), len(self.pixels[0][0])


@dataclass(frozen=True)
class AttackInstance:
    """One trigger and the class that it shall produce."""

    trigger: Trigger
    target: int


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set without loading it. Images are RGB, 8 bits a channel."""

    num_classes: int
    image_size: tuple[int, int]
